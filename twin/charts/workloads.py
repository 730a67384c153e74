"""Placeholder workloads of a chart: pods that the real scheduler places and that kwok makes ready."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twin.charts.catalogue import Chart

Object = dict[str, Any]
RELEASE = "app.kubernetes.io/instance"
NAME = "app.kubernetes.io/name"
IMAGE = "registry.k8s.io/pause:3.10"
# The strictest level of Pod Security takes these pods, so that every namespace does.
CONTAINER = {
    "name": "placeholder",
    "image": IMAGE,
    "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}, "limits": {"memory": "8Mi"}},
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "runAsUser": 65535,
        "seccompProfile": {"type": "RuntimeDefault"},
    },
}


def workloads(chart: Chart, release: str, namespace: str) -> Iterator[Object]:
    """The Deployments and DaemonSets of one release."""
    for name in chart.workloads:
        yield _workload("Deployment", _named(release, name), release, namespace)
    for name in chart.daemons:
        yield _workload("DaemonSet", _named(release, name), release, namespace)


def _named(release: str, name: str) -> str:
    return name if name.startswith(release) else f"{release}-{name}"


def _workload(kind: str, name: str, release: str, namespace: str) -> Object:
    labels = {RELEASE: release, NAME: name}
    pod: Object = {"automountServiceAccountToken": False, "containers": [CONTAINER]}
    if kind == "DaemonSet":
        pod["tolerations"] = [{"operator": "Exists"}]
    spec: Object = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {**({"replicas": 1} if kind == "Deployment" else {}), **spec},
    }


def ready(workload: Object) -> bool:
    """Whether all pods of a Deployment or DaemonSet are ready for its newest form."""
    status = workload.get("status", {})
    if status.get("observedGeneration", 0) < workload["metadata"].get("generation", 0):
        return False
    if workload["kind"] == "DaemonSet":
        return status.get("numberReady", 0) >= status.get("desiredNumberScheduled", 1)
    return status.get("readyReplicas", 0) >= workload["spec"]["replicas"]
