"""components/observability.py"""

import json
from collections.abc import Callable
from typing import Any

import pulumi
from pulumi_kubernetes.core.v1 import ConfigMap, Secret, Service

from components.observability import Observability, ObservabilityArgs
from keystone import charts
from keystone.identities import Identities
from keystone.settings import Secrets, Settings
from tests.observability.queries import site
from tests.recording import ROOT_SECRET, Engine, is_secret, plain

Deploy = Callable[..., Engine]
SSO = {
    "name": "Login",
    "clientId": "grafana",
    "authUrl": "https://id.test/auth",
    "tokenUrl": "https://id.test/token",
    "apiUrl": "https://id.test/me",
    "adminGroups": ["admins"],
}


def _build(settings: Settings) -> Callable[[], object]:
    def build() -> object:
        assert settings.observability
        secrets = Secrets(
            root=pulumi.Output.secret(ROOT_SECRET),
            grafana_sso=pulumi.Output.secret("sso-canary"),
            receivers={"slack": pulumi.Output.secret("https://slack.test/canary")},
        )
        return Observability(
            "observability",
            ObservabilityArgs(
                settings=settings,
                observability=settings.observability,
                secrets=secrets,
                releases=charts.releases(settings),
                namespaces={"monitoring": "monitoring", "alloy": "alloy"},
                after={},
            ),
        )

    return build


def _text(engine: Engine) -> str:
    """All inputs of all resources but Secrets."""
    return json.dumps([r.inputs for r in engine.resources if not r.kind.endswith(":Secret")])


def test_the_administrators_password_is_derived_and_stays_a_secret(deploy: Deploy) -> None:
    engine = deploy(_build(site()))
    [secret] = engine.of(Secret)
    found: dict[str, Any] = plain(secret.inputs["stringData"])
    expected = Identities(ROOT_SECRET, "site").grafana_password()
    assert plain(found["admin-password"]) == expected
    assert is_secret(secret.inputs["stringData"]) or is_secret(found["admin-password"])
    assert expected not in _text(engine)


def test_grafana_uses_that_password_and_no_default_one(deploy: Deploy) -> None:
    engine = deploy(_build(site()))
    values = engine.named("chart-kube-prometheus-stack-release").inputs["spec"]["values"]
    assert values["grafana"]["admin"] == {"existingSecret": "grafana-admin"}
    assert "adminPassword" not in json.dumps(values)


def test_the_chart_comes_after_the_secrets_that_its_pods_use(deploy: Deploy) -> None:
    engine = deploy(_build(site()))
    assert "observability-grafana-admin" in engine.named("chart-kube-prometheus-stack-release").dependencies


def test_secrets_of_receivers_and_login_reach_secrets_alone(deploy: Deploy) -> None:
    more = {
        "alerting": {"default": "slack", "receivers": {"slack": {"channel": "#alerts"}}},
        "grafana": {"sso": SSO},
    }
    engine = deploy(_build(site(observability=more)))
    keys = {r.inputs["metadata"]["name"]: set(plain(r.inputs["stringData"])) for r in engine.of(Secret)}
    assert keys == {
        "grafana-admin": {"admin-user", "admin-password"},
        "grafana-sso": {"GF_AUTH_GENERIC_OAUTH_CLIENT_SECRET"},
        "alert-receivers": {"slack"},
    }
    assert "canary" not in _text(engine)


def test_without_login_and_receivers_there_are_no_such_secrets(deploy: Deploy) -> None:
    names = {r.inputs["metadata"]["name"] for r in deploy(_build(site())).of(Secret)}
    assert names == {"grafana-admin"}


def test_rules_and_monitors_come_after_the_chart_that_brings_their_kinds(deploy: Deploy) -> None:
    engine = deploy(_build(site()))
    found = [r for r in engine.resources if r.inputs.get("apiVersion") == "monitoring.coreos.com/v1"]
    assert {r.inputs["kind"] for r in found} == {"PrometheusRule", "PodMonitor"}
    assert all("chart-kube-prometheus-stack-release" in r.dependencies for r in found)


def test_all_dashboards_lie_in_one_config_map_that_grafana_looks_for(deploy: Deploy) -> None:
    [found] = deploy(_build(site())).of(ConfigMap)
    assert found.inputs["metadata"]["labels"] == {"grafana_dashboard": "1"}
    assert set(found.inputs["data"]) == {f"keystone-{name}.json" for name in ("cluster", "mesh", "storage", "backups")}


def test_grafana_is_behind_the_gateway(deploy: Deploy) -> None:
    route = deploy(_build(site())).named("observability-route").inputs
    assert route["kind"] == "HTTPRoute"
    assert route["spec"]["hostnames"] == ["grafana.keystone.test"]
    assert route["spec"]["parentRefs"] == [{"name": "public", "namespace": "gateway", "sectionName": "https"}]


def test_it_takes_few_resources(deploy: Deploy) -> None:
    # The engine writes the whole state at every step.
    assert len(deploy(_build(site())).resources) <= 24


def test_several_prometheus_have_a_service_each(deploy: Deploy) -> None:
    engine = deploy(_build(site(observability={"metrics": {"replicas": 3}})))
    assert [r.inputs["metadata"]["name"] for r in engine.of(Service)] == [f"prometheus-{number}" for number in range(3)]
    assert len({r.inputs["spec"]["clusterIP"] for r in engine.of(Service)}) == 3
    assert deploy(_build(site())).of(Service) == []
