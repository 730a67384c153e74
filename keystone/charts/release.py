"""What a chart's release is, as a value: the catalogue makes these, `components/chart_release.py` delivers them."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from keystone.errors import KeystoneError

PodSecurity = Literal["privileged", "baseline", "restricted"]

Opening = Literal["api", "webhooks", "internet", "lan", "nodes", "cluster", "outside"]
"""What a namespace's default-deny policy lets through besides its own pods, DNS and Prometheus:

`api` to the API server, `webhooks` from it, `internet` to addresses outside the cluster and its sites, `lan` to the
sites' own, `nodes` to and from the machines (host network, kubelets, kernel clients), `cluster` from pods of every
namespace, `outside` from anywhere. Cilium has one word for `internet` and `lan`.
"""

USER = 65534
CONTAINER = {
    "runAsNonRoot": True,  # some charts say False here, which would win over the pod's
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
POD = {"runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "seccompProfile": {"type": "RuntimeDefault"}}
"""Security contexts with which a pod is let into a restricted namespace: charts' own often lack a part."""


SYSTEM_NAMESPACES = ("kube-system", "flux-system", "argocd")
"""Namespaces that the cluster or the host layer makes; we never do."""


def pod_security(level: PodSecurity) -> dict[str, str]:
    """The labels by which a namespace refuses, reports and warns of pods past the level."""
    return {f"pod-security.kubernetes.io/{mode}": level for mode in ("enforce", "audit", "warn")}


@dataclass(frozen=True, kw_only=True)
class Release:
    """One chart, its version, and the values that the settings choose.

    `needs` names the releases that must be ready before; `crd_groups` the API groups that come with the chart;
    `pod_security` the level that the chart's pods need of their namespace, `openings` what they need of its network
    policy; `limit_seconds` how long an installation may take.
    """

    name: str
    chart: str
    repository: str
    version: str
    namespace: str
    pod_security: PodSecurity = "restricted"
    crd_groups: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    openings: tuple[Opening, ...] = ("api",)
    limit_seconds: int = 300

    @property
    def oci(self) -> bool:
        """Whether the chart lies in an OCI registry instead of a chart repository."""
        return self.repository.startswith("oci://")


def in_order(chosen: Iterable[Release]) -> dict[str, Release]:
    """The releases by name, each after all that it needs; otherwise in the given order.

    Raises KeystoneError for a name that stands twice, a need that is not chosen, and needs that go in a circle.
    """
    waiting: dict[str, Release] = {}
    for release in chosen:
        if release.name in waiting:
            raise KeystoneError(f"release {release.name}", "is in the catalogue twice", "Give one another name")
        waiting[release.name] = release
    for release in waiting.values():
        for need in release.needs:
            if need not in waiting:
                raise KeystoneError(
                    f"release {release.name}", f"needs {need}, which is not chosen", f"Choose {need}, or drop the need"
                )
    ordered: dict[str, Release] = {}
    while waiting:
        ready = next((r for r in waiting.values() if all(need in ordered for need in r.needs)), None)
        if ready is None:
            raise KeystoneError(
                "releases", f"{', '.join(sorted(waiting))} need one another in a circle", "Break the circle"
            )
        ordered[ready.name] = waiting.pop(ready.name)
    return ordered


def namespaces(chosen: Collection[Release]) -> dict[str, PodSecurity]:
    """The namespaces that we make for the releases, with the weakest level that one of their charts needs."""
    found: dict[str, PodSecurity] = {}
    for level in ("restricted", "baseline", "privileged"):
        found |= {
            r.namespace: level for r in chosen if r.pod_security == level and r.namespace not in SYSTEM_NAMESPACES
        }
    return found
