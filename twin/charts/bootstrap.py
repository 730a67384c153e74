"""What the host layer brings to a new cluster: network plugin, Gateway API and GitOps engine, before any other chart.

On machines k3s applies these from its manifests folder as HelmChart objects; here the same objects are applied.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from keystone.settings import Settings
from twin.charts import stages
from twin.charts.catalogue import Chart, chart
from twin.charts.cluster import Cluster
from twin.charts.definitions import Permissive, permissive
from twin.charts.workloads import workloads

Object = dict[str, Any]
HELM_CHART = Permissive("helm.cattle.io", "v1", "HelmChart", "helmcharts")
PINS = Path(__file__).parents[2] / "nix" / "lib" / "charts.json"
"""The charts of the host layer, as the Nix build pins them."""
CALICO = Chart(workloads=("calico-kube-controllers",), daemons=("calico-node",))
ENGINE_CHARTS = {"flux": "flux-operator", "argocd": "argo-cd"}


def charts(settings: Settings) -> set[str]:
    """The charts of the host layer by name, and what it applies besides."""
    network = {"cilium"} if settings.network.cni == "cilium" else set()
    return {"gateway-api", ENGINE_CHARTS[settings.gitops.engine], *network}


async def bootstrap(cluster: Cluster, facts: Object) -> None:
    """Apply what the machines' systems would, by the facts of the cluster. Safe to repeat."""
    definitions = [permissive(HELM_CHART)]
    if facts["network"]["gateway"] != "nginx":
        definitions += chart("gateway-api").definitions()
    await cluster.define(definitions)
    await stages.follow(cluster, definitions)
    for thing in (*helm_charts(facts), *manifests(facts)):
        await cluster.apply(thing)


def manifests(facts: Object) -> Iterator[Object]:
    """What the host layer brings without a chart: Calico, and the Flux that its operator makes.

    k3s runs flannel in its own process.
    """
    if facts["network"]["cni"] == "calico":
        yield from workloads(CALICO, "calico", "kube-system")
    if facts["gitops"]["engine"] == "flux":
        pin = json.loads(PINS.read_text())["flux-operator"]
        yield {
            "apiVersion": "fluxcd.controlplane.io/v1",
            "kind": "FluxInstance",
            "metadata": {"name": "flux", "namespace": pin["namespace"]},
            "spec": {"distribution": {"version": pin["distribution"], "registry": "ghcr.io/fluxcd"}},
        }


def helm_charts(facts: Object) -> list[Object]:
    """The HelmChart objects of the host layer."""
    pins = json.loads(PINS.read_text())
    wanted: dict[str, Object] = {ENGINE_CHARTS[facts["gitops"]["engine"]]: {}}
    network = facts["network"]
    if network["cni"] == "cilium":
        wanted["cilium"] = {
            "encryption": {"enabled": network["encryption"] == "wireguard", "type": "wireguard"},
            "gatewayAPI": {"enabled": network["gateway"] == "cilium"},
        }
    return [
        {
            "apiVersion": "helm.cattle.io/v1",
            "kind": "HelmChart",
            "metadata": {"name": name, "namespace": "kube-system"},
            "spec": {
                "chart": name,
                "repo": pins[name]["repo"],
                "version": pins[name]["version"],
                "targetNamespace": pins[name]["namespace"],
                "createNamespace": True,
                "valuesContent": yaml.safe_dump(values),
            },
        }
        for name, values in wanted.items()
    ]
