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
_CALICO = (
    Key("apps", "DaemonSet", "kube-system", "calico-node"),
    Key("apps", "Deployment", "kube-system", "calico-kube-controllers"),
    Key("", "ConfigMap", "kube-system", "calico-config"),
)
_FLANNEL = (
    Key("apps", "DaemonSet", "kube-flannel", "kube-flannel-ds"),
    Key("", "ConfigMap", "kube-flannel", "kube-flannel-cfg"),
)
GATEWAY_KINDS = (
    *("backendtlspolicies", "gatewayclasses", "gateways", "grpcroutes", "httproutes", "listenersets"),
    *("referencegrants", "tcproutes", "tlsroutes", "udproutes"),
)
"""The definitions of nix/lib/gateway-api.json."""


def claims(settings: Settings) -> Iterator[Claim]:
    """The claims of network plugin, Gateway API and GitOps engine, as the settings choose them."""
    k3s = settings.cluster.distribution == "k3s"
    engine = _ENGINES[settings.gitops.engine]
    parts: list[tuple[str, Key]] = [(ENGINE_PLACE, release_key(*engine))]
    if k3s:
        parts.append((ENGINE_PLACE, _chart(engine)))
    if settings.gitops.engine == "flux":
        parts.append((ENGINE_PLACE, Key("fluxcd.controlplane.io", "FluxInstance", "flux-system", "flux")))
    if chart := _CNI.get(settings.network.cni):
        parts += [(CNI_PLACE, release_key(*chart)), *([(CNI_PLACE, _chart(chart))] if k3s else [])]
    if settings.network.cni == "calico":
        parts += [(CNI_PLACE, key) for key in _CALICO]
    # k3s has its flannel within itself.
    if settings.network.cni == "flannel" and not k3s:
        parts += [(CNI_PLACE, key) for key in _FLANNEL]
    if settings.network.gateway != "nginx":
        parts += [(CNI_PLACE, _definition(kind)) for kind in GATEWAY_KINDS]
    for place, key in parts:
        yield Claim(key=key, owner=OWNER, place=place, method="client-side")


def _chart(chart: tuple[str, str]) -> Key:
    """k3s' chart objects all lie in kube-system."""
    return Key("helm.cattle.io", "HelmChart", "kube-system", chart[1])


def _definition(kind: str) -> Key:
    return Key("apiextensions.k8s.io", "CustomResourceDefinition", "", f"{kind}.gateway.networking.k8s.io")
