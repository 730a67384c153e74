"""What kube-state-metrics tells besides Kubernetes' objects: labels of nodes, and whether Flux' objects are ready."""

from typing import Any

from keystone.settings import Settings


def values(settings: Settings) -> dict[str, Any]:
    labels = ("keystone.internal/role", "keystone.internal/cloud", "topology.kubernetes.io/zone")
    found: dict[str, Any] = {"metricLabelsAllowlist": [f"nodes=[{','.join(labels)}]"]}
    if settings.gitops.engine == "flux":
        kinds = {
            "helm.toolkit.fluxcd.io": ("v2", "HelmRelease", "helmreleases"),
            "kustomize.toolkit.fluxcd.io": ("v1", "Kustomization", "kustomizations"),
        }
        found["customResourceState"] = {
            "enabled": True,
            "config": {
                "kind": "CustomResourceStateMetrics",
                "spec": {"resources": [_flux_state(group, v, kind) for group, (v, kind, _) in kinds.items()]},
            },
        }
        found["rbac"] = {
            "extraRules": [
                {"apiGroups": [group], "resources": [plural], "verbs": ["list", "watch"]}
                for group, (_, _, plural) in kinds.items()
            ]
        }
    return found


def _flux_state(group: str, version: str, kind: str) -> dict[str, Any]:
    """gotk_resource_info, as Flux' own monitoring example makes it: Flux itself tells no state of an object."""
    return {
        "groupVersionKind": {"group": group, "version": version, "kind": kind},
        "metricNamePrefix": "gotk",
        "metrics": [
            {
                "name": "resource_info",
                "help": "State of an object of Flux",
                "each": {"type": "Info", "info": {"labelsFromPath": {"name": ["metadata", "name"]}}},
                "labelsFromPath": {
                    "exported_namespace": ["metadata", "namespace"],
                    "ready": ["status", "conditions", "[type=Ready]", "status"],
                    "suspended": ["spec", "suspend"],
                },
            }
        ],
    }
