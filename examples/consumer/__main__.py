"""An application on a Keystone cluster, made by another project: storage, a route and a dashboard.

All that it knows of the cluster comes from the outputs of the cluster's stack.
"""

import json
import sys
from pathlib import Path

import pulumi
import pulumi_kubernetes as kubernetes
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.apps import v1 as apps
from pulumi_kubernetes.core import v1 as core
from pulumi_kubernetes.meta import v1 as meta
from pulumi_kubernetes.networking import v1 as networking

# In a project of your own the package is installed; here it lies two folders above.
sys.path.append(str(Path(__file__).resolve().parents[2]))

from keystone.outputs import Services, StackOutputs

NAME = "hello"
PORT = 8080
LABELS = {"app.kubernetes.io/name": NAME}
IMAGE = (
    "registry.k8s.io/e2e-test-images/agnhost:2.53"
    "@sha256:99c6b4bb4a1e1df3f0b3752168c89358794d02258ebebc26bf21c29399011a85"
)
PANEL = {
    "type": "timeseries",
    "title": "CPU of the pods",
    "gridPos": {"h": 8, "w": 24, "x": 0, "y": 0},
    "targets": [{"expr": f'sum(rate(container_cpu_usage_seconds_total{{namespace="{NAME}"}}[5m])) by (pod)'}],
}
DASHBOARD = {"title": "Hello", "uid": "hello", "schemaVersion": 41, "panels": [PANEL]}

config = pulumi.Config()
host = config.require("host")
cluster = StackOutputs(pulumi.StackReference(config.require("cluster")))
provider = kubernetes.Provider(
    "cluster",
    kubeconfig=cluster.kubeconfig,
    cluster_identifier=config.require("cluster"),
    enable_server_side_apply=True,
)
opts = pulumi.ResourceOptions(provider=provider)

namespace = core.Namespace(
    NAME,
    metadata={
        "name": NAME,
        "labels": {f"pod-security.kubernetes.io/{level}": "restricted" for level in ("enforce", "audit", "warn")},
    },
    opts=opts,
)


def about(
    name: str = NAME, labels: pulumi.Input[dict[str, str]] = LABELS, *, wait: bool = False
) -> meta.ObjectMetaArgs:
    """Name, namespace and labels; without `wait` the update does not wait until the thing is ready."""
    return meta.ObjectMetaArgs(
        name=name,
        namespace=namespace.metadata["name"],
        labels=labels,
        annotations=None if wait else {"pulumi.com/skipAwait": "true"},
    )


def volume(services: Services) -> core.PersistentVolumeClaimSpecArgs:
    """One gibibyte of the cluster's default class."""
    return core.PersistentVolumeClaimSpecArgs(
        access_modes=["ReadWriteOnce"],
        resources=core.VolumeResourceRequirementsArgs(requests={"storage": "1Gi"}),
        storage_class_name=services.storage_class,
    )


claim = core.PersistentVolumeClaim(
    NAME,
    # A claim is bound once its pod is scheduled; without storage it waits, and does not hold up the rest.
    metadata=about(),
    spec=cluster.services.apply(volume),
    opts=opts,
)

apps.Deployment(
    NAME,
    metadata=about(),
    spec={
        "replicas": 1,
        "selector": {"match_labels": LABELS},
        # The volume is for one node at a time: the old pod goes first.
        "strategy": {"type": "Recreate"},
        "template": {
            "metadata": {"labels": LABELS},
            "spec": {
                "automount_service_account_token": False,
                "security_context": {
                    "run_as_non_root": True,
                    "run_as_user": 1000,
                    "fs_group": 1000,
                    "seccomp_profile": {"type": "RuntimeDefault"},
                },
                "containers": [
                    {
                        "name": NAME,
                        "image": IMAGE,
                        "args": ["netexec", f"--http-port={PORT}", "--udp-port=-1"],
                        "ports": [{"name": "http", "container_port": PORT}],
                        "readiness_probe": {"http_get": {"path": "/healthz", "port": "http"}},
                        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}},
                        "security_context": {"allow_privilege_escalation": False, "capabilities": {"drop": ["ALL"]}},
                        "volume_mounts": [{"name": "data", "mount_path": "/data"}],
                    }
                ],
                "volumes": [{"name": "data", "persistent_volume_claim": {"claim_name": claim.metadata["name"]}}],
            },
        },
    },
    opts=opts,
)

service = core.Service(
    NAME,
    metadata=about(),
    spec={"selector": LABELS, "ports": [{"name": "http", "port": 80, "target_port": "http"}]},
    opts=opts,
)


def parents(services: Services) -> list[dict[str, str]]:
    """Where an HTTPRoute attaches."""
    gateway = services.gateway
    if not gateway:
        return []
    if not gateway.serves(host):
        raise pulumi.RunError(
            f"consumer:host {host} is not served by the cluster's gateway. Take one of {gateway.hostname}."
        )
    return [{"namespace": gateway.namespace, "name": gateway.name, "sectionName": gateway.listener}]


# The kind of route is a choice of the cluster's settings: known to whoever writes this program, so it is configuration.
if config.get_bool("gateway"):
    CustomResource(
        NAME,
        api_version="gateway.networking.k8s.io/v1",
        kind="HTTPRoute",
        metadata=about(wait=True),
        spec={
            "hostnames": [host],
            "parentRefs": cluster.services.apply(parents),
            "rules": [{"backendRefs": [{"name": service.metadata["name"], "port": 80}]}],
        },
        opts=opts,
    )
else:
    networking.Ingress(
        NAME,
        metadata=about(),
        spec={
            "rules": [
                {
                    "host": host,
                    "http": {
                        "paths": [
                            {
                                "path": "/",
                                "path_type": "Prefix",
                                "backend": {"service": {"name": service.metadata["name"], "port": {"name": "http"}}},
                            }
                        ]
                    },
                }
            ]
        },
        opts=opts,
    )

core.ConfigMap(
    f"{NAME}-dashboard",
    metadata=about(
        f"{NAME}-dashboard",
        cluster.services.apply(lambda services: {**LABELS, services.dashboard_label: "1"}),
        wait=True,
    ),
    data={"hello.json": json.dumps(DASHBOARD, sort_keys=True)},
    opts=opts,
)


def url(services: Services) -> str:
    """Where the application is: the gateway's listener speaks TLS where it is bound to names."""
    secure = services.gateway is not None and services.gateway.hostname is not None
    return f"{'https' if secure else 'http'}://{host}/"


pulumi.export("url", cluster.services.apply(url))
pulumi.export("nodes", cluster.nodes.apply(lambda nodes: sorted(nodes)))
