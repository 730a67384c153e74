"""components/logs.py"""

from collections.abc import Callable
from typing import Any

import pulumi
from pulumi_command import local

from components.logs import Logs, LogsArgs
from keystone import charts
from keystone.identities import Identities
from keystone.settings import Settings
from tests.observability.queries import site
from tests.recording import ROOT_SECRET, Engine

Deploy = Callable[..., Engine]


def _build(settings: Settings) -> Callable[[], object]:
    def build() -> object:
        assert settings.observability
        after: dict[str, pulumi.Resource] = {
            name: local.Command(f"{name}-there", create="keystone.hosts join x")
            for name in ("kube-prometheus-stack", "rook-ceph-cluster", "local-path")
        }
        return Logs(
            "logs",
            LogsArgs(
                settings=settings,
                observability=settings.observability,
                root=pulumi.Output.secret(ROOT_SECRET),
                releases=charts.releases(settings),
                namespaces={"monitoring": "monitoring", "alloy": "alloy"},
                after=after,
            ),
        )

    return build


def test_loki_waits_for_the_storage_of_its_volume(deploy: Deploy) -> None:
    on_ceph = deploy(_build(site())).named("chart-loki")
    on_nodes = deploy(_build(site(full=False))).named("chart-loki")
    assert "rook-ceph-cluster-there" in on_ceph.dependencies
    assert "local-path-there" in on_nodes.dependencies
    assert "rook-ceph-cluster-there" not in on_nodes.dependencies


def test_with_a_bucket_loki_waits_for_it(deploy: Deploy) -> None:
    engine = deploy(_build(site(observability={"logs": {"store": "bucket", "bucketGib": 50}})))
    claim: dict[str, Any] = engine.named("logs-bucket").inputs
    assert claim["spec"] == {
        "bucketName": "site-logs",
        "storageClassName": "ceph-bucket",
        "additionalConfig": {"maxSize": "50Gi"},
    }
    assert claim["metadata"]["annotations"] == {"pulumi.com/waitFor": "jsonpath={.status.phase}=Bound"}
    # Rook makes a ConfigMap of this name, which must not be the chart's own: those are called after the release.
    release = engine.named("chart-loki-release").inputs["metadata"]["name"]
    assert claim["metadata"]["name"] not in (release, f"{release}-runtime")
    keys = engine.named("chart-loki-release").inputs["spec"]["values"]["singleBinary"]["extraEnvFrom"]
    assert keys == [{"secretRef": {"name": claim["metadata"]["name"]}}]
    assert "rook-ceph-cluster-there" in engine.named("logs-bucket").dependencies
    assert "logs-authority" in engine.named("chart-loki").dependencies
    assert "logs-bucket" in engine.named("logs-authority").dependencies


def test_loki_trusts_the_private_authority_whose_certificate_is_public(deploy: Deploy) -> None:
    found = deploy(_build(site(observability={"logs": {"store": "bucket"}}))).named("logs-authority").inputs
    assert found["data"] == {"ca.crt": Identities(ROOT_SECRET, "site").mesh_ca()[0]}


def test_without_a_bucket_none_is_asked_for(deploy: Deploy) -> None:
    names = {r.name for r in deploy(_build(site(full=False))).resources}
    assert "logs-bucket" not in names
    assert {"chart-loki-release", "chart-alloy-logs-release"} <= names


def test_what_reads_the_logs_comes_after_what_takes_them(deploy: Deploy) -> None:
    reader = deploy(_build(site(full=False))).named("chart-alloy-logs")
    assert any("chart-loki" in name for name in reader.dependencies)
