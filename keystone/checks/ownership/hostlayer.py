"""What the host layer owns in the cluster: the charts that the machines bring with them, before any GitOps engine."""

from collections.abc import Iterator

from keystone.checks.ownership.objects import Claim, Key, release_key
from keystone.settings import Settings

OWNER = "the host layer"
CNI_PLACE, ENGINE_PLACE = "nix/modules/cni.nix", "nix/modules/gitops.nix"
# Chart and namespace of the releases, as nix/lib/charts.json has them.
_CNI = {"cilium": ("kube-system", "cilium")}
_ENGINES = {"flux": ("flux-system", "flux-operator"), "argocd": ("argocd", "argo-cd")}
# Calico and kubeadm's flannel are plain manifests; these are their parts that others install too.
_PLAIN = {
    "calico": (
        Key("apps", "DaemonSet", "kube-system", "calico-node"),
        Key("apps", "Deployment", "kube-system", "calico-kube-controllers"),
        Key("", "ConfigMap", "kube-system", "calico-config"),
    ),
}


def claims(settings: Settings) -> Iterator[Claim]:
    """The claims of network plugin and GitOps engine, as the settings choose them."""
    if chart := _CNI.get(settings.network.cni):
        yield Claim(key=release_key(*chart), owner=OWNER, place=CNI_PLACE, method="client-side")
        yield Claim(
            key=Key("helm.cattle.io", "HelmChart", *_chart(chart)), owner=OWNER, place=CNI_PLACE, method="client-side"
        )
    for key in _PLAIN.get(settings.network.cni, ()):
        yield Claim(key=key, owner=OWNER, place=CNI_PLACE, method="client-side")
    engine = _ENGINES[settings.gitops.engine]
    yield Claim(key=release_key(*engine), owner=OWNER, place=ENGINE_PLACE, method="client-side")


def _chart(chart: tuple[str, str]) -> tuple[str, str]:
    """k3s' chart objects all lie in kube-system."""
    return "kube-system", chart[1]
