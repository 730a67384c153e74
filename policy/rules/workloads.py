"""Kubernetes' workloads and their pods' specs. No rules here."""

from collections.abc import Iterator, Mapping
from typing import Any

from judging.kinds import custom, sdk
from judging.resource import Resource, is_map

_NAMES = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet")
PODS = sdk("pulumi_kubernetes.core.v1", "Pod", "PodPatch")
JOBS = sdk("pulumi_kubernetes.batch.v1", "Job", "JobPatch")
CRON_JOBS = sdk("pulumi_kubernetes.batch.v1", "CronJob", "CronJobPatch")
CONTROLLERS = sdk("pulumi_kubernetes.apps.v1", *_NAMES, *(f"{name}Patch" for name in _NAMES))
REPLICATION = sdk("pulumi_kubernetes.core.v1", "ReplicationController", "ReplicationControllerPatch")
# What Crossplane lays over the pods of its providers.
RUNTIMES = custom("pkg.crossplane.io/v1beta1", "DeploymentRuntimeConfig")
WORKLOADS = (*PODS, *JOBS, *CRON_JOBS, *CONTROLLERS, *REPLICATION, *RUNTIMES)
CONTAINERS = ("containers", "initContainers", "ephemeralContainers")


def pod(it: Resource) -> tuple[str, Mapping[str, Any]]:
    """(path, spec) of a workload's pods."""
    if it.kind in PODS:
        path = "spec"
    elif it.kind in CRON_JOBS:
        path = "spec.jobTemplate.spec.template.spec"
    elif it.kind in RUNTIMES:
        path = "spec.deploymentTemplate.spec.template.spec"
    else:
        path = "spec.template.spec"
    found = it.at(path)
    return path, found if is_map(found) else {}


def containers(it: Resource) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(path, container) of every container, those that only start up too."""
    path, spec = pod(it)
    for kind in CONTAINERS:
        found = spec.get(kind) or []
        for index in range(len(found)):
            yield f"{path}.{kind}.{index}", found[index]


def namespace(it: Resource) -> str:
    return str(it.at("metadata.namespace") or "default")
