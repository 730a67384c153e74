"""Load balancer, certificates, gateway and service mesh, over the choices."""

from typing import Any

import pulumi
import pytest
from pulumi_kubernetes.core.v1 import Secret

from components.cluster_network import ClusterNetwork, ClusterNetworkArgs
from keystone import charts
from tests.components.platforms import POOLS, Anything, names, settings
from tests.recording import Engine, is_secret, plain, run

CERTIFICATES = {"certManager": {}}
ACME = {"certManager": {"acme": {"email": "ops@example.org"}}}


def deploy(**sections: Any) -> Engine:
    chosen = settings(**sections)

    def build() -> None:
        args = ClusterNetworkArgs(
            settings=chosen,
            releases=charts.releases(chosen),
            namespaces=names(chosen),
            after=Anything(),
            acme_token=pulumi.Output.secret("acme-canary"),
            dns_key=pulumi.Output.secret("dns-canary"),
        )
        ClusterNetwork("network", args)

    return run(build)


def kinds(engine: Engine) -> dict[str, str]:
    return {r.name: r.inputs["kind"] for r in engine.resources if "kind" in r.inputs}


def network(provider: str, gateway: str = "cilium", **more: Any) -> dict[str, Any]:
    return {"gateway": gateway, "loadBalancer": {"provider": provider, "pools": POOLS}, **more}


def test_ciliums_pools_are_chosen_by_a_services_label_and_announced_by_nodes_of_the_lan() -> None:
    engine = deploy(network=network("cilium"))
    pool = engine.named("network-pool-ingress").inputs["spec"]
    assert pool["blocks"] == [{"start": "127.78.5.200", "stop": "127.78.5.209"}]
    assert pool["serviceSelector"] == {"matchLabels": {"keystone.internal/pool": "ingress"}}
    announced = engine.named("network-pool-pools").inputs["spec"]
    assert announced["nodeSelector"]["matchExpressions"] == [
        {"key": "keystone.internal/role", "operator": "Exists"},
        {"key": "keystone.internal/remote", "operator": "DoesNotExist"},
    ]


def test_metallbs_pools_come_after_its_chart_and_are_given_out_by_name_alone() -> None:
    engine = deploy(network=network("metallb"))
    pool = engine.named("network-pool-ingress")
    assert pool.inputs["kind"] == "IPAddressPool"
    assert pool.inputs["spec"] == {"addresses": ["127.78.5.200-127.78.5.209"], "autoAssign": False}
    assert "chart-metallb-release" in pool.dependencies
    assert engine.named("network-pool-pools").inputs["kind"] == "L2Advertisement"


def test_the_gateway_takes_its_address_from_the_ingress_pool_and_turns_http_into_https() -> None:
    engine = deploy(network=network("cilium"), platform=CERTIFICATES)
    gateway = engine.named("network-gateway-public").inputs
    assert gateway["spec"]["infrastructure"] == {"labels": {"keystone.internal/pool": "ingress"}}
    assert [listener["name"] for listener in gateway["spec"]["listeners"]] == ["http", "https"]
    assert gateway["metadata"]["annotations"]["cert-manager.io/cluster-issuer"] == "private"
    redirect = engine.named("network-gateway-to-https").inputs["spec"]
    assert redirect["parentRefs"] == [{"name": "public", "sectionName": "http"}]
    # Waiting for a certificate makes sense only after who issues it.
    assert "network-issuer-private" in engine.named("network-gateway-public").dependencies


def test_without_a_pool_or_with_nginx_there_is_no_gateway() -> None:
    assert "Gateway" not in kinds(deploy()).values()
    assert "Gateway" not in kinds(deploy(network=network("cilium", "nginx"))).values()


def test_traefiks_gateway_is_its_charts_own() -> None:
    engine = deploy(network=network("metallb", "traefik"), platform=CERTIFICATES)
    assert "Gateway" not in kinds(engine).values()
    values = engine.named("chart-traefik-release").inputs["spec"]["values"]
    assert values["gateway"]["listeners"]["websecure"]["certificateRefs"] == [{"name": "public-tls"}]
    assert engine.named("network-gateway-to-https").inputs["spec"]["parentRefs"][0]["sectionName"] == "web"


def test_a_private_authority_is_made_of_itself_and_a_public_one_asked_by_dns() -> None:
    made = kinds(deploy(platform=CERTIFICATES))
    assert {name: kind for name, kind in made.items() if "issuer" in name} == {
        "network-issuer-self-signed": "ClusterIssuer",
        "network-issuer-private-ca": "Certificate",
        "network-issuer-private": "ClusterIssuer",
    }
    [solver] = deploy(platform=ACME).named("network-issuer-public").inputs["spec"]["acme"]["solvers"]
    assert set(solver["dns01"]) == {"cloudflare"}
    assert solver["selector"] == {"dnsZones": ["keystone.test"]}


@pytest.mark.parametrize("cni", ["calico", "flannel"])
def test_other_network_plugins_do_without_any_object_of_cilium(cni: str) -> None:
    engine = deploy(network=network("metallb", "traefik", cni=cni), platform=CERTIFICATES)
    assert not [r.name for r in engine.resources if "cilium" in str(r.inputs.get("apiVersion"))]


def test_the_network_plugin_is_never_a_release() -> None:
    engine = deploy(network=network("cilium"), platform=CERTIFICATES)
    assert not [
        r.name for r in engine.resources if r.name.startswith(("chart-cilium", "chart-calico", "chart-flannel"))
    ]


def test_istio_comes_in_the_order_of_its_charts() -> None:
    engine = deploy(network={"serviceMesh": "istio"})
    spec = engine.named("chart-ztunnel-release").inputs["spec"]
    assert spec["dependsOn"] == [{"name": "istiod"}, {"name": "istio-cni"}]


def test_external_dns_comes_after_the_secret_that_its_pods_want() -> None:
    engine = deploy(platform={"externalDns": {"provider": "cloudflare", "domains": ["example.org"]}})
    [secret] = engine.of(Secret)
    release = engine.named("chart-external-dns-release")
    assert "network-dns-provider" in release.dependencies
    [variable] = release.inputs["spec"]["values"]["env"]
    reference = variable["valueFrom"]["secretKeyRef"]
    assert secret.inputs["metadata"] == {"name": reference["name"], "namespace": "external-dns"}
    assert is_secret(secret.inputs["stringData"])
    assert plain(secret.inputs["stringData"]) == {reference["key"]: "dns-canary"}


def test_a_public_authority_is_asked_after_the_secret_that_cert_manager_reads() -> None:
    engine = deploy(platform=ACME)
    [secret] = engine.of(Secret)
    assert "network-acme-dns-provider" in engine.named("chart-cert-manager-release").dependencies
    issuer = engine.named("network-issuer-public")
    assert "chart-cert-manager-release" in issuer.dependencies
    [solver] = issuer.inputs["spec"]["acme"]["solvers"]
    reference = solver["dns01"]["cloudflare"]["apiTokenSecretRef"]
    # Who issues for the whole cluster reads Secrets of cert-manager's own namespace.
    assert secret.inputs["metadata"] == {"name": reference["name"], "namespace": "cert-manager"}
    assert is_secret(secret.inputs["stringData"])
    assert plain(secret.inputs["stringData"]) == {reference["key"]: "acme-canary"}


def test_where_nothing_writes_dns_records_there_is_no_such_secret() -> None:
    assert not deploy(platform=CERTIFICATES).of(Secret)
