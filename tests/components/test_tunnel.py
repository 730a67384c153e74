"""components/tunnel.py and keystone/charts/tunnel.py"""

import json
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from typing import Any

import pulumi
import pytest
from pulumi_kubernetes.apps.v1 import Deployment
from pulumi_kubernetes.core.v1 import ConfigMap, Secret

from keystone.charts import releases
from keystone.settings import Settings, parse
from tests.policy import court
from tests.recording import Engine, document, is_secret, plain

Deploy = Callable[..., Engine]
ACCOUNT, ZONE = "a" * 32, "b" * 32
LOGIN = {
    "name": "Login",
    "clientId": "cloudflare",
    "authUrl": "https://id.example.org/auth",
    "tokenUrl": "https://id.example.org/token",
    "certsUrl": "https://id.example.org/jwks",
}
GRAFANA = {
    "origin": {"namespace": "monitoring", "service": "grafana", "port": 80},
    "access": {"emails": ["ada@example.org"], "emailDomains": ["example.com"]},
}
HOOK = {
    "origin": {
        "namespace": "apps",
        "service": "hook",
        "port": 8443,
        "scheme": "https",
        "serverName": "hook.example.org",
    },
    "access": {"serviceTokens": ["robot"]},
}
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the SDK's own, of its old names


def site(**tunnel: Any) -> Settings:
    changed = document(edges=1)
    taint = {"key": "example.org/ingress", "value": "yes", "effect": "NoSchedule"}
    changed["hosts"]["w1"]["taints"] = [taint]
    for section in ("network", "gitops", "storage", "observability"):
        if section in tunnel:
            changed[section] = tunnel.pop(section)
    changed["tunnel"] = {
        "accountId": ACCOUNT,
        "zone": "example.org",
        "zoneId": ZONE,
        "team": "home",
        "serviceTokens": {"robot": {}},
        "hostnames": {"grafana": GRAFANA, "hook": HOOK},
        **tunnel,
    }
    return parse(changed)


def build(settings: Settings, *, monitors: bool = False) -> Callable[[], object]:
    def program() -> object:
        from components.tunnel import Tunnel, TunnelArgs  # its SDK warns as it is imported

        assert settings.tunnel
        stand_in = ConfigMap("platform", data={})
        tunnel = Tunnel(
            "tunnel",
            TunnelArgs(
                settings=settings,
                tunnel=settings.tunnel,
                after=stand_in,
                identity_provider_secret=pulumi.Output.secret("hush-hush"),
                namespaces={"monitoring": "monitoring"},
                monitors=stand_in if monitors else None,
            ),
        )
        pulumi.export("tokens", tunnel.service_tokens)
        return tunnel

    return program


def kinds(engine: Engine, word: str) -> list[str]:
    return sorted(resource.name for resource in engine.resources if word in resource.kind)


def test_each_public_name_has_one_record_and_one_application_with_its_policy(deploy: Deploy) -> None:
    engine = deploy(build(site()))
    assert kinds(engine, "DnsRecord") == ["tunnel-dns-grafana", "tunnel-dns-hook"]
    assert kinds(engine, "AccessApplication") == ["tunnel-application-grafana", "tunnel-application-hook"]
    assert kinds(engine, "AccessPolicy") == ["tunnel-policy-grafana-people", "tunnel-policy-hook-programs"]
    for key in ("grafana", "hook"):
        application = engine.named(f"tunnel-application-{key}").inputs
        assert application["domain"] == f"{key}.example.org"
        [policy] = application["policies"]
        assert policy["id"].startswith(f"tunnel-policy-{key}-")
        assert application["httpOnlyCookieAttribute"] is True


def test_a_record_leads_into_the_tunnel_through_cloudflare(deploy: Deploy) -> None:
    record = deploy(build(site())).named("tunnel-dns-grafana").inputs
    assert record == {
        "zoneId": ZONE,
        "name": "grafana.example.org",
        "type": "CNAME",
        "content": "tunnel-1-id.cfargotunnel.com",
        "proxied": True,
        "ttl": 1,
        "comment": "Keystone cluster site",
    }


def test_a_name_appears_after_its_login_and_after_its_tunnel_runs(deploy: Deploy) -> None:
    record = deploy(build(site())).named("tunnel-dns-grafana")
    assert {"tunnel-application-grafana", "tunnel-1-config", "tunnel-1-cloudflared"} <= record.dependencies


def test_people_are_let_in_by_name_and_programs_by_token(deploy: Deploy) -> None:
    engine = deploy(build(site()))
    people = engine.named("tunnel-policy-grafana-people").inputs
    assert people["decision"] == "allow"
    assert people["includes"] == [
        {"email": {"email": "ada@example.org"}},
        {"emailDomain": {"domain": "example.com"}},
    ]
    programs = engine.named("tunnel-policy-hook-programs").inputs
    assert programs["decision"] == "non_identity"
    assert programs["includes"] == [{"serviceToken": {"tokenId": "tunnel-token-robot-id"}}]
    assert engine.named("tunnel-application-hook").inputs["serviceAuth401Redirect"] is True


def test_a_name_for_both_has_both_policies_in_one_application(deploy: Deploy) -> None:
    both = {**GRAFANA, "access": {**GRAFANA["access"], "serviceTokens": ["robot"]}}
    engine = deploy(build(site(hostnames={"grafana": both})))
    assert engine.named("tunnel-application-grafana").inputs["policies"] == [
        {"id": "tunnel-policy-grafana-programs-id", "precedence": 1},
        {"id": "tunnel-policy-grafana-people-id", "precedence": 2},
    ]


def test_every_name_leads_to_its_service_and_any_other_to_nothing(deploy: Deploy) -> None:
    config = deploy(build(site())).named("tunnel-1-config").inputs["config"]
    access = {"required": True, "teamName": "home"}
    assert config["ingresses"] == [
        {
            "hostname": "grafana.example.org",
            "service": "http://grafana.monitoring.svc:80",
            "originRequest": {"access": {**access, "audTags": ["audience of grafana.example.org"]}},
        },
        {
            "hostname": "hook.example.org",
            "service": "https://hook.apps.svc:8443",
            "originRequest": {
                "access": {**access, "audTags": ["audience of hook.example.org"]},
                "originServerName": "hook.example.org",
            },
        },
        {"service": "http_status:404"},
    ]


def test_keystones_own_programs_are_found_by_their_word(deploy: Deploy) -> None:
    people = {"emails": ["ada@example.org"]}
    hostnames = {"graphs": {"app": "grafana", "access": people}, "cd": {"app": "argocd", "access": people}}
    more = {"observability": {}, "storage": {"localPath": {}}, "gitops": {"engine": "argocd"}}
    settings = site(**more, hostnames=hostnames)
    engine = deploy(build(settings))
    cd, graphs, _ = engine.named("tunnel-1-config").inputs["config"]["ingresses"]
    assert cd["service"] == "http://argo-cd-argocd-server.argocd.svc:80"
    assert graphs["service"] == "http://kube-prometheus-stack-grafana.monitoring.svc:80"
    grafana = releases(settings)["kube-prometheus-stack"].values["grafana"]
    assert grafana["grafana.ini"]["server"]["root_url"] == "https://graphs.example.org"
    assert "tunnel-policy-monitoring-from-cloudflared" in kinds(engine, "NetworkPolicy")


def test_groups_come_from_the_identity_provider_whose_secret_stays_one(deploy: Deploy) -> None:
    hostnames = {"grafana": {**GRAFANA, "access": {"groups": ["admins"]}}}
    engine = deploy(build(site(identityProvider=LOGIN, hostnames=hostnames)))
    config = engine.named("tunnel-login").inputs["config"]
    config = plain(config)
    assert is_secret(engine.named("tunnel-login").inputs["config"]) or is_secret(config["clientSecret"])
    assert plain(config["clientSecret"]) == "hush-hush"
    assert engine.named("tunnel-policy-grafana-people").inputs["includes"] == [
        {"oidc": {"claimName": "groups", "claimValue": "admins", "identityProviderId": "tunnel-login-id"}}
    ]
    assert engine.named("tunnel-application-grafana").inputs["allowedIdps"] == ["tunnel-login-id"]


def test_the_connectors_token_lies_in_a_secret_and_nowhere_else(deploy: Deploy) -> None:
    engine = deploy(build(site()))
    [secret] = engine.of(Secret)
    data = plain(secret.inputs["stringData"])
    assert is_secret(secret.inputs["stringData"]) or is_secret(data["token"])
    assert plain(data["token"]) == "token of tunnel-1-id"
    others = [resource.inputs for resource in engine.resources if resource is not secret]
    assert "token of tunnel-1-id" not in json.dumps(others)


def test_service_tokens_are_exported_as_secrets(deploy: Deploy) -> None:
    engine = deploy(build(site()))
    token = engine.named("tunnel-token-robot")
    assert token.inputs == {"accountId": ACCOUNT, "name": "site-robot", "duration": "8760h"}
    assert "clientSecret" in token.secret_outputs


def test_a_higher_generation_rotates_a_service_token(deploy: Deploy) -> None:
    rotated = {"robot": {"generation": 2, "previousUntil": "2027-01-31T00:00:00Z", "validDays": 30}}
    token = deploy(build(site(serviceTokens=rotated))).named("tunnel-token-robot").inputs
    assert token["clientSecretVersion"] == 2
    assert token["previousClientSecretExpiresAt"] == "2027-01-31T00:00:00Z"
    assert token["duration"] == "720h"


@pytest.mark.parametrize(("valid", "after", "told"), [(365, 0, 0), (365, 340, 1), (8, 0, 0), (8, 7, 1)])
def test_a_service_token_that_ends_soon_is_spoken_of(
    valid: int, after: int, told: int, deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Later(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime.now(tz) + timedelta(days=after)

    said: list[str] = []
    monkeypatch.setattr("components.tunnel.datetime", Later)
    monkeypatch.setattr("pulumi.log.warn", lambda text, *_: said.append(text))
    deploy(build(site(serviceTokens={"robot": {"validDays": valid}})))
    assert len(said) == told
    assert all(line.startswith("the service token robot ends on 20") for line in said)


def test_a_higher_generation_is_a_second_tunnel_and_the_same_names(deploy: Deploy) -> None:
    first = {resource.name for resource in deploy(build(site())).resources}
    second = {resource.name for resource in deploy(build(site(generation=2))).resources}
    assert {name for name in first - second if not name.startswith("tunnel-1")} == set()
    assert {name for name in second - first if not name.startswith("tunnel-2")} == set()
    assert {"tunnel-dns-grafana", "tunnel-application-grafana", "tunnel-token-robot"} <= first & second
    names = [resource.inputs["metadata"]["name"] for resource in deploy(build(site(generation=2))).of(Deployment)]
    assert names == ["cloudflared-2"]


def test_cloudflared_runs_twice_on_different_nodes_without_any_right(deploy: Deploy) -> None:
    [deployment] = deploy(build(site())).of(Deployment)
    spec = deployment.inputs["spec"]
    pod = spec["template"]["spec"]
    [container] = pod["containers"]
    assert spec["replicas"] == 2
    assert pod["topologySpreadConstraints"][0]["topologyKey"] == "kubernetes.io/hostname"
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["env"] == [{"name": "TUNNEL_TOKEN_FILE", "value": "/etc/cloudflared/token"}]
    assert container["readinessProbe"]["httpGet"]["path"] == "/ready"
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()


def test_one_pod_at_a_time_may_be_away(deploy: Deploy) -> None:
    engine = deploy(build(site()))
    budget = engine.named("tunnel-1-budget").inputs["spec"]
    [deployment] = engine.of(Deployment)
    assert budget == {"maxUnavailable": 1, "selector": deployment.inputs["spec"]["selector"]}


def test_dedicated_nodes_run_it_alone_and_their_taints_are_tolerated(deploy: Deploy) -> None:
    [deployment] = deploy(build(site(ingressNodes=["w1", "w2"]))).of(Deployment)
    pod = deployment.inputs["spec"]["template"]["spec"]
    required = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    expected = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["w1", "w2"]}
    assert required == {"nodeSelectorTerms": [{"matchExpressions": [expected]}]}
    assert pod["tolerations"] == [
        {"key": "example.org/ingress", "operator": "Equal", "value": "yes", "effect": "NoSchedule"}
    ]


def test_without_dedicated_nodes_nothing_is_tolerated(deploy: Deploy) -> None:
    [deployment] = deploy(build(site())).of(Deployment)
    assert not {"affinity", "tolerations"} & deployment.inputs["spec"]["template"]["spec"].keys()


def test_its_network_reaches_cloudflare_and_the_services_and_no_more(deploy: Deploy) -> None:
    engine = deploy(build(site()))
    names = [name for name in kinds(engine, "Policy") if name.startswith("tunnel-policy-")]
    assert {name for name in names if "cloudflared" in name} == {
        "tunnel-policy-cloudflared-default-deny",
        "tunnel-policy-cloudflared-origins",
        "tunnel-policy-monitoring-from-cloudflared",
    }
    spec = engine.named("tunnel-policy-cloudflared-origins").inputs["spec"]
    spaces = [to["namespaceSelector"]["matchLabels"] for rule in spec["egress"] for to in rule["to"]]
    assert spaces == [{"kubernetes.io/metadata.name": "apps"}, {"kubernetes.io/metadata.name": "monitoring"}]
    [deployment] = engine.of(Deployment)
    assert set(names) >= {name for name in deployment.dependencies if "policy" in name} != set()


def test_a_namespace_of_the_user_gets_no_policy_that_would_shut_others_out(deploy: Deploy) -> None:
    engine = deploy(build(site()))
    assert not any(name.startswith("tunnel-policy-apps") for name in kinds(engine, "Policy"))


def test_without_default_deny_there_are_no_policies(deploy: Deploy) -> None:
    engine = deploy(build(site(network={"defaultDeny": False})))
    assert kinds(engine, "NetworkPolicy") == []


def test_prometheus_asks_it_where_there_is_one(deploy: Deploy) -> None:
    assert kinds(deploy(build(site())), "PodMonitor") == []
    monitor = deploy(build(site(), monitors=True)).named("tunnel-monitor")
    assert "platform" in monitor.dependencies
    [endpoint] = monitor.inputs["spec"]["podMetricsEndpoints"]
    [deployment] = deploy(build(site())).of(Deployment)
    [container] = deployment.inputs["spec"]["template"]["spec"]["containers"]
    assert endpoint["port"] == container["ports"][0]["name"]


def test_a_destroy_removes_it_while_the_nodes_still_run(deploy: Deploy) -> None:
    assert "platform" in deploy(build(site())).named("tunnel-namespace").dependencies


def test_a_preview_of_nothing_made_yet_shows_every_resource(deploy: Deploy) -> None:
    settings = site(identityProvider=LOGIN)
    made, previewed = deploy(build(settings)), deploy(build(settings), preview=True)
    assert {r.name for r in previewed.resources} == {r.name for r in made.resources}


def test_the_policy_pack_finds_no_fault_with_it(deploy: Deploy) -> None:
    settings = site(identityProvider=LOGIN, serviceTokens={"robot": {"validDays": 90}})

    def program() -> object:
        import providers
        from components.tunnel import Tunnel, TunnelArgs

        assert settings.tunnel
        kubernetes = providers.kubernetes("kubeconfig", "site")
        cloudflare = providers.cloudflare(pulumi.Output.secret("token"), settings.tunnel)
        after = ConfigMap("platform", data={}, opts=pulumi.ResourceOptions(provider=kubernetes))
        secret = pulumi.Output.secret("hush-hush")
        args = TunnelArgs(settings=settings, tunnel=settings.tunnel, after=after, identity_provider_secret=secret)
        return Tunnel("tunnel", args, opts=pulumi.ResourceOptions(providers=[kubernetes, cloudflare]))

    engine = deploy(program)
    endpoint = "clusters: [{cluster: {server: https://127.78.5.10:6443}}]"
    made = {one.name: one for one in engine.resources if one.kind.startswith("pulumi:providers:")}
    cases = [
        court.Case(
            kind=one.kind,
            name=one.name,
            props=one.inputs,
            protect=one.protect,
            provider=one.provider,
            provider_props={**made[one.provider].inputs, "kubeconfig": endpoint} if one.provider in made else {},
        )
        for one in engine.resources
    ]
    verdict = court.judge(cases, whole=True)
    assert verdict.violations == []
    assert len([one for one in cases if "cloudflare:" in one.kind]) >= 10
