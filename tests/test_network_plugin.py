"""The network plugin that runs: the one of the settings, whole, and nobody's but the host layer's."""

from typing import Any

import pytest

from keystone.network_plugin import faults, state
from keystone.settings import Settings
from tests.components.platforms import settings


def chosen(cni: str = "cilium", distribution: str = "k3s") -> Settings:
    network: dict[str, Any] = {"cni": cni}
    if cni != "cilium":
        network |= {"gateway": "traefik", "loadBalancer": {"provider": "metallb"}, "defaultDeny": False}
    base = settings(network=network)
    return base.model_copy(update={"cluster": base.cluster.model_copy(update={"distribution": distribution})})


def daemon_set(namespace: str, name: str, ready: int = 4, marks: dict[str, str] | None = None) -> dict[str, Any]:
    return {
        "metadata": {"namespace": namespace, "name": name, "generation": 2, "annotations": marks or {}},
        "status": {"observedGeneration": 2, "desiredNumberScheduled": 4, "numberReady": ready},
    }


CILIUM = daemon_set("kube-system", "cilium")
CALICO = daemon_set("kube-system", "calico-node")
FLANNEL = daemon_set("kube-flannel", "kube-flannel-ds")
PLAIN = [{"metadata": {"name": "w1"}}]
WITHIN = [{"metadata": {"name": "w1", "annotations": {"flannel.alpha.coreos.com/backend-type": "wireguard"}}}]


@pytest.mark.parametrize(
    ("which", "sets", "nodes", "charts", "says"),
    [
        (chosen(), [CILIUM], PLAIN, ["cilium", "flux-operator"], "cilium on 4 nodes"),
        (chosen("cilium", "kubeadm"), [CILIUM], PLAIN, [], "cilium on 4 nodes"),
        (chosen("calico"), [CALICO, daemon_set("monitoring", "cilium")], PLAIN, ["flux-operator"], "calico on 4 nodes"),
        (chosen("flannel"), [], WITHIN, ["flux-operator"], "flannel, within k3s"),
        (chosen("flannel", "kubeadm"), [FLANNEL], PLAIN, [], "flannel on 4 nodes"),
    ],
)
def test_the_plugin_of_the_settings_holds(
    which: Settings, sets: list[Any], nodes: list[Any], charts: list[str], says: str
) -> None:
    assert list(faults(which, sets, nodes, charts)) == []
    assert state(which, sets) == says


@pytest.mark.parametrize(
    ("which", "sets", "nodes", "charts", "message"),
    [
        (chosen(), [], PLAIN, ["cilium"], "there is no DaemonSet kube-system/cilium"),
        (chosen(), [daemon_set("kube-system", "cilium", 3)], PLAIN, ["cilium"], "ready on 3 of 4 nodes"),
        (chosen(), [CILIUM, CALICO], PLAIN, ["cilium"], "kube-system/calico-node runs too, and the stack file says"),
        (chosen(), [CILIUM], PLAIN, [], "there is no HelmChart kube-system/cilium"),
        (chosen("flannel"), [], PLAIN, [], "k3s runs no flannel on w1"),
        (chosen("flannel"), [CILIUM], WITHIN, [], "kube-system/cilium runs too"),
        (
            chosen(),
            [daemon_set("kube-system", "cilium", marks={"helm.toolkit.fluxcd.io/name": "net"})],
            PLAIN,
            ["cilium"],
            "kube-system/cilium belongs to Flux's HelmRelease net, not to the host layer",
        ),
        (
            chosen(),
            [daemon_set("kube-system", "cilium", marks={"argocd.argoproj.io/tracking-id": "net:apps/DaemonSet"})],
            PLAIN,
            ["cilium"],
            "belongs to Argo CD's application net:apps/DaemonSet",
        ),
        (
            chosen("calico"),
            [daemon_set("kube-system", "calico-node", marks={"meta.helm.sh/release-name": "calico"})],
            PLAIN,
            [],
            "belongs to Helm's release calico",
        ),
    ],
)
def test_another_plugin_a_part_of_one_or_another_owner_is_told(
    which: Settings, sets: list[Any], nodes: list[Any], charts: list[str], message: str
) -> None:
    [problem] = faults(which, sets, nodes, charts)
    assert message in problem


def test_a_form_that_nobody_has_looked_at_yet_is_told() -> None:
    stale = {**CILIUM, "status": {**CILIUM["status"], "observedGeneration": 1}}
    assert list(faults(chosen(), [stale], PLAIN, ["cilium"])) == [
        "kube-system/cilium: its newest form has not been looked at yet"
    ]
