"""What Prometheus reads: every release of the catalogue has a monitor, or a written reason why not.

`told-metrics.json` says under which port the pods of which version tell their metrics, and where that was read.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keystone.charts import Release, monitoring, releases
from keystone.settings import Settings, parse
from tests.aws.sites import KARPENTER, POOL, document_of
from tests.charts.test_cloud_pools import CLOUDS
from tests.charts.test_values_in_use import STACKS
from tests.components.platforms import settings as platform
from tests.observability.queries import site
from tests.recording import document

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "told-metrics.json").read_text())
WATCHED: dict[str, Any] = {"observability": {}, "storage": {"localPath": {}}}


def catalogue() -> Iterator[Settings]:
    """Stacks that together choose every chart, with metrics."""
    for sections in STACKS:
        yield platform(**{**WATCHED, **sections})
    dns = {"provider": "cloudflare", "domains": ["example.org"]}
    kubeadm = document()
    kubeadm["cluster"]["distribution"] = "kubeadm"
    yield parse({**kubeadm, **WATCHED, "platform": {"externalDns": dns}})
    pools = {"one": POOL, "two": {**POOL, "scaler": "cluster-autoscaler"}, "three": KARPENTER}
    operators = {"ack": {"services": ["ec2", "eks", "iam", "rds", "s3"]}}
    yield parse({**document_of(nodePools=pools), **WATCHED, "operators": operators, "clouds": CLOUDS})


def monitored() -> Iterator[tuple[Release, dict[str, Any]]]:
    """Each release that has one, with what its monitor reads."""
    for found in catalogue():
        chosen = releases(found)
        for it in monitoring.monitors(found, chosen):
            if it.name in chosen:
                yield chosen[it.name], json.loads(json.dumps(it.spec))


def test_every_release_has_a_monitor_or_a_written_reason() -> None:
    chosen = {name for found in catalogue() for name in releases(found)}
    assert {release.name for release, _ in monitored()} == chosen - RECORDED["untold"].keys() == RECORDED["told"].keys()
    assert chosen >= RECORDED["untold"].keys()
    for name, reason in RECORDED["untold"].items():
        print(f"no monitor: {name}: {reason}")


def test_a_monitor_reads_the_port_that_this_version_of_the_chart_names() -> None:
    for release, spec in monitored():
        told = RECORDED["told"][release.name]
        [endpoint] = spec["podMetricsEndpoints"]
        assert release.version == told["version"], f"{release.name}: look its port up again in {told['source']}"
        assert endpoint == {"portNumber" if isinstance(told["port"], int) else "port": told["port"]}
        assert spec["namespaceSelector"] == {"matchNames": [release.namespace]}
        assert spec["selector"]["matchLabels"]


def test_charts_that_tell_metrics_only_when_asked_are_asked() -> None:
    chosen = {name: release.values for found in catalogue() for name, release in releases(found).items()}
    assert chosen["ingress-nginx"]["controller"]["metrics"] == {"enabled": True}
    assert chosen["aws-efs-csi-driver"]["controller"]["enableMetrics"] is True
    assert chosen["node-termination-handler"]["enablePrometheusServer"] is True
    assert chosen["crossplane"]["metrics"] == chosen["proxmox-csi-plugin"]["metrics"] == {"enabled": True}


def test_the_gitops_engine_has_a_monitor() -> None:
    for engine in ("flux", "argocd"):
        found = site(gitops={"engine": engine})
        assert engine in {it.name for it in monitoring.monitors(found, releases(found))}
