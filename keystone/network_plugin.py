"""Whether the network plugin that runs is the one of the settings, all of it, and still the host layer's.

The host layer brings the plugin before there is any pod. A delivery tool that takes it over would have to run on the
network that it changes, so none may own it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from keystone.settings import Settings

Thing = Mapping[str, Any]

PLUGINS = {
    "cilium": ("kube-system", "cilium"),
    "calico": ("kube-system", "calico-node"),
    "flannel": ("kube-flannel", "kube-flannel-ds"),
}
"""The DaemonSet of each plugin, as the charts and manifests of the host layer call it."""
BUILT_IN = "flannel.alpha.coreos.com/backend-type"
"""k3s runs flannel in its own process, and says so on each node."""
OWNERS = {
    "helm.toolkit.fluxcd.io/name": "Flux's HelmRelease",
    "kustomize.toolkit.fluxcd.io/name": "Flux's Kustomization",
    "argocd.argoproj.io/tracking-id": "Argo CD's application",
}
"""What delivery tools write on the objects that they own: labels of Flux, an annotation of Argo CD."""
HELM = "meta.helm.sh/release-name"


def by_chart(settings: Settings) -> bool:
    """Whether k3s installs the plugin, from a HelmChart object of the plugin's name; else it comes as manifests."""
    return settings.network.cni == "cilium" and settings.cluster.distribution == "k3s"


def state(settings: Settings, daemon_sets: Sequence[Thing]) -> str:
    """What runs, in a few words."""
    chosen = settings.network.cni
    found = _found(daemon_sets).get(chosen)
    if found is None:
        return f"{chosen}, within k3s"
    ready = found.get("status", {}).get("numberReady", 0)
    return f"{chosen} on {ready} node{'' if ready == 1 else 's'}"


def starting(settings: Settings, daemon_sets: Sequence[Thing]) -> bool:
    """Whether the plugin is there and still on its way to some nodes, as after a restart of machines."""
    found = _found(daemon_sets).get(settings.network.cni)
    return found is not None and any(_incomplete(found))


def faults(
    settings: Settings, daemon_sets: Sequence[Thing], nodes: Sequence[Thing], charts: Sequence[str]
) -> Iterator[str]:
    """What is wrong with the plugin; `charts` are the names of the HelmChart objects in kube-system."""
    chosen, found = settings.network.cni, _found(daemon_sets)
    for other in sorted(found.keys() - {chosen}):
        yield f"{'/'.join(PLUGINS[other])} runs too, and the stack file says {chosen}"
    if chosen == "flannel" and settings.cluster.distribution == "k3s":
        # Nodes of before a change of plugin would lack it, and have no network for their pods.
        silent = sorted(it["metadata"]["name"] for it in nodes if BUILT_IN not in _marks(it))
        if silent:
            yield f"k3s runs no flannel on {', '.join(silent)}"
        return
    name = "/".join(PLUGINS[chosen])
    if chosen not in found:
        yield f"there is no DaemonSet {name}"
        return
    yield from (f"{name}: {problem}" for problem in _incomplete(found[chosen]))
    marks = _marks(found[chosen])
    for mark, owner in OWNERS.items():
        if mark in marks:
            yield f"{name} belongs to {owner} {marks[mark]}, not to the host layer"
    if by_chart(settings) and chosen not in charts:
        yield f"{name} is not the host layer's: there is no HelmChart kube-system/{chosen}"
    if not by_chart(settings) and HELM in marks:
        yield f"{name} belongs to Helm's release {marks[HELM]}, not to the host layer"


def _found(daemon_sets: Sequence[Thing]) -> dict[str, Thing]:
    """The plugins that run, by name."""
    names = {place: plugin for plugin, place in PLUGINS.items()}
    places = {(it["metadata"]["namespace"], it["metadata"]["name"]): it for it in daemon_sets}
    return {names[place]: it for place, it in places.items() if place in names}


def _incomplete(daemon_set: Thing) -> Iterator[str]:
    status = daemon_set.get("status", {})
    wanted, ready = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
    if status.get("observedGeneration", 0) < daemon_set["metadata"].get("generation", 0):
        yield "its newest form has not been looked at yet"
    if not wanted or ready < wanted:
        yield f"ready on {ready} of {wanted} nodes"


def _marks(thing: Thing) -> dict[str, str]:
    metadata = thing["metadata"]
    return {**metadata.get("annotations", {}), **metadata.get("labels", {})}
