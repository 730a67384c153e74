"""The autoscaler of one cloud beside AWS, and the token by which it proves itself there."""

from collections.abc import Mapping
from typing import Any

import versions
from keystone.charts.aws import AUTOSCALER_IMAGE, ON_HOSTS, waits_for
from keystone.charts.release import CONTAINER, POD, Release
from keystone.settings import Settings

NAMESPACE = "cloud-nodes"
TOKEN_FOLDER = "/var/run/secrets/keystone/cloud"
TOKEN = f"{TOKEN_FOLDER}/token"
TOKEN_SECONDS = 3600


def autoscaler_name(cloud: str) -> str:
    """The release and the service account of a cloud's autoscaler."""
    return f"cluster-autoscaler-{cloud}"


def autoscaler(settings: Settings, cloud: str, values: Mapping[str, Any], **arguments: str) -> Release:
    """The release of a cloud's autoscaler; `arguments` are its own, by name."""
    name = autoscaler_name(cloud)
    return Release(
        name=name,
        chart="cluster-autoscaler",
        repository="https://kubernetes.github.io/autoscaler",
        version=versions.CLUSTER_AUTOSCALER_CHART,
        namespace=NAMESPACE,
        values={
            "fullnameOverride": name,
            "cloudProvider": {"gcp": "gce"}.get(cloud, cloud),
            "image": {"tag": AUTOSCALER_IMAGE},
            "rbac": {"create": True, "serviceAccount": {"create": True, "name": name}},
            "extraArgs": {
                "expander": "least-waste",
                "skip-nodes-with-system-pods": False,
                # Several autoscalers in one cluster, each with its own pools.
                "leader-elect-resource-name": name,
                "status-config-map-name": f"{name}-status",
                **waits_for(settings),
                **arguments,
            },
            "affinity": ON_HOSTS,
            "securityContext": POD,
            "containerSecurityContext": CONTAINER,
            **values,
        },
        openings=("api", "internet"),
    )


def token(audience: str) -> list[dict[str, Any]]:
    """A volume with a token of the pod's service account."""
    source = {"audience": audience, "expirationSeconds": TOKEN_SECONDS, "path": "token"}
    return [{"name": "identity", "projected": {"sources": [{"serviceAccountToken": source}]}}]


MOUNTS = [{"name": "identity", "mountPath": TOKEN_FOLDER, "readOnly": True}]
