"""What a cluster with an AWS account runs: the webhook that hands out tokens, and the controllers of pools.

Roles and addresses are known when their resources are made: the functions `..._values` take them, and give whole keys
of the chart's values.
"""

from collections.abc import Iterator
from typing import Any

import versions
from keystone import iam
from keystone.aws import names
from keystone.charts.platform import CERT_MANAGER
from keystone.charts.release import CONTAINER, POD, USER, Release
from keystone.pools import POOL_LABEL, startup_taint
from keystone.settings import NodePool, Settings

WEBHOOK = "pod-identity-webhook"
AUTOSCALER = "cluster-autoscaler"
TERMINATION = "node-termination-handler"
LIFECYCLE = "aws-node-lifecycle"
KARPENTER_CRDS, KARPENTER = "karpenter-crd", "karpenter"
IDENTITY_NAMESPACE, NODES_NAMESPACE = "aws-identity", "aws-nodes"
ROLE_ANNOTATION = "eks.amazonaws.com/role-arn"
IDENTITY_FOLDER = "/var/run/secrets/keystone/aws"
IDENTITY = {"audience": iam.AUDIENCE, "expirationSeconds": 3600, "path": "token"}
CONFIG_MAP, CONFIG_KEY, CONFIG_FOLDER = "aws-cloud-config", "cloud.conf", "/etc/aws"
KEY_SECRET, KEY_VARIABLES = "aws-credentials", ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
# The autoscaler follows the cluster's minor version.
AUTOSCALER_IMAGE = f"v{versions.CLUSTER_AUTOSCALER}"
# Who decides about machines of a pool does not run on one.
ON_HOSTS = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [
                {
                    "matchExpressions": [
                        {"key": POOL_LABEL, "operator": "DoesNotExist"},
                        {"key": "karpenter.sh/nodepool", "operator": "DoesNotExist"},
                    ]
                }
            ]
        }
    }
}


def _static(settings: Settings) -> bool:
    """Whether the controllers use a key that does not end. The policy pack wants a dated exception for it."""
    return names.chosen(settings).credentials == "secret"


def _annotations(role_arn: Any | None) -> dict[str, Any]:
    return {} if role_arn is None else {ROLE_ANNOTATION: role_arn}


def _account(name: str, role_arn: Any | None) -> dict[str, Any]:
    return {"create": True, "name": name, "annotations": _annotations(role_arn)}


def _key_references() -> Iterator[tuple[str, dict[str, str]]]:
    """The keys of a Secret that the user makes, by the variable that AWS' SDKs read."""
    for variable in KEY_VARIABLES:
        yield variable, {"name": KEY_SECRET, "key": variable}


def _environment() -> list[dict[str, Any]]:
    return [{"name": variable, "valueFrom": {"secretKeyRef": key}} for variable, key in _key_references()]


def groups(settings: Settings) -> dict[str, NodePool]:
    """The pools that are groups of Auto Scaling."""
    return {name: pool for name, pool in _pools(settings).items() if pool.scaler != "karpenter"}


def nodes_of_karpenter(settings: Settings) -> dict[str, NodePool]:
    """The pools that Karpenter fills."""
    return {name: pool for name, pool in _pools(settings).items() if pool.scaler == "karpenter"}


def _pools(settings: Settings) -> dict[str, NodePool]:
    return dict(sorted(settings.aws.node_pools.items())) if settings.aws else {}


def releases(settings: Settings) -> Iterator[Release]:
    if settings.aws is None:
        return
    yield webhook(settings)
    if groups(settings):
        yield termination_handler(settings)
        yield lifecycle()
    if any(pool.scaler == "cluster-autoscaler" for pool in groups(settings).values()):
        yield autoscaler(settings)
    if nodes_of_karpenter(settings):
        yield from karpenter()


def webhook(settings: Settings) -> Release:
    """Gives pods of annotated service accounts their token and their role."""
    return Release(
        name=WEBHOOK,
        chart="amazon-eks-pod-identity-webhook",
        repository="oci://ghcr.io/jkroepke/helm-charts",
        version=versions.POD_IDENTITY_WEBHOOK_CHART,
        namespace=IDENTITY_NAMESPACE,
        needs=(CERT_MANAGER,),
        values={
            "fullnameOverride": WEBHOOK,
            "replicaCount": 2 if len(settings.nodes) > 1 else 1,
            "podDisruptionBudget": {"enabled": True, "maxUnavailable": 1},
            "config": {"defaultAwsRegion": names.chosen(settings).region, "tokenExpiration": 3600},
            # A pod that starts without its role says so; a cluster whose pods cannot start says nothing.
            "mutatingWebhook": {"failurePolicy": "Ignore"},
            "podSecurityContext": POD,
            "securityContext": CONTAINER,
            "affinity": ON_HOSTS,
        },
        openings=("api", "webhooks"),
    )


def autoscaler(settings: Settings) -> Release:
    aws = names.chosen(settings)
    return Release(
        name=AUTOSCALER,
        chart="cluster-autoscaler",
        repository="https://kubernetes.github.io/autoscaler",
        version=versions.CLUSTER_AUTOSCALER_CHART,
        namespace=NODES_NAMESPACE,
        needs=(WEBHOOK,),
        values={
            "fullnameOverride": AUTOSCALER,
            "cloudProvider": "aws",
            "awsRegion": aws.region,
            "autoDiscovery": {"clusterName": settings.cluster.name},
            "image": {"tag": AUTOSCALER_IMAGE},
            "extraArgs": {
                "balance-similar-node-groups": True,
                "expander": "least-waste",
                **waits_for(settings),
                "skip-nodes-with-system-pods": False,
                "skip-nodes-with-local-storage": False,
            },
            "affinity": ON_HOSTS,
            "securityContext": POD,
            "containerSecurityContext": CONTAINER,
        },
        openings=("api", "internet"),
    )


def waits_for(settings: Settings) -> dict[str, str]:
    """What lets an autoscaler wait for a machine that has begun: it would start another for the same pods."""
    taint = startup_taint(settings)
    return {"startup-taint": taint.key} if taint else {}


def autoscaler_values(settings: Settings, role_arn: Any | None) -> dict[str, Any]:
    keys = {"extraEnvSecrets": dict(_key_references())} if _static(settings) else {}
    return {"rbac": {"create": True, "serviceAccount": _account(AUTOSCALER, role_arn)}, **keys}


def termination_handler(settings: Settings) -> Release:
    """Drains a machine of which AWS says that it is about to leave."""
    return Release(
        name=TERMINATION,
        chart="aws-node-termination-handler",
        repository="oci://public.ecr.aws/aws-ec2/helm",
        version=versions.NODE_TERMINATION_HANDLER_CHART,
        namespace=NODES_NAMESPACE,
        needs=(WEBHOOK,),
        values={
            "fullnameOverride": TERMINATION,
            "enableSqsTerminationDraining": True,
            "awsRegion": names.chosen(settings).region,
            # Nodes are called by their instance's id, not by its DNS name.
            "useProviderId": True,
            "checkTagBeforeDraining": True,
            "managedTag": drain_tag(settings),
            "enableRebalanceDraining": True,
            "enablePrometheusServer": True,
            "rbac": {"create": True, "pspEnabled": False},
            "podSecurityContext": {**POD, "fsGroup": USER},
            "securityContext": {**CONTAINER, "runAsUser": USER, "runAsGroup": USER},
            "affinity": ON_HOSTS,
        },
        openings=("api", "internet"),
    )


def drain_tag(settings: Settings) -> str:
    """The tag of machines that this cluster drains: others of the account send their news too."""
    return f"keystone-node-{settings.cluster.name}"


def termination_values(settings: Settings, role_arn: Any | None, queue_url: Any) -> dict[str, Any]:
    keys = {"extraEnv": _environment()} if _static(settings) else {}
    return {"serviceAccount": _account(TERMINATION, role_arn), "queueURL": queue_url, **keys}


def lifecycle() -> Release:
    """Removes the node whose machine is gone. Of AWS' cloud controller this one loop alone: the rest is ours."""
    return Release(
        name=LIFECYCLE,
        chart="aws-cloud-controller-manager",
        repository="https://kubernetes.github.io/cloud-provider-aws",
        version=versions.CLOUD_PROVIDER_AWS_CHART,
        namespace=NODES_NAMESPACE,
        values={
            "nameOverride": LIFECYCLE,
            "namespace": NODES_NAMESPACE,
            "image": {"tag": f"v{versions.CLOUD_PROVIDER_AWS}"},
            "args": [
                "--v=2",
                "--cloud-provider=aws",
                f"--cloud-config={CONFIG_FOLDER}/{CONFIG_KEY}",
                "--controllers=cloud-node-lifecycle-controller",
                "--configure-cloud-routes=false",
                # k3s' own controller holds the usual one.
                f"--leader-elect-resource-name={LIFECYCLE}",
            ],
            "clusterRoleName": f"system:{LIFECYCLE}",
            "roleBindingName": f"{LIFECYCLE}:apiserver-authentication-reader",
            "serviceAccountName": LIFECYCLE,
            # The chart's own choice is taken out: k3s writes another value.
            "nodeSelector": {"node-role.kubernetes.io/control-plane": None, "keystone.internal/role": "primer"},
            "podSecurityContext": POD,
            "securityContext": CONTAINER,
            "dnsPolicy": "ClusterFirst",
            "extraVolumes": [
                {"name": "config", "configMap": {"name": CONFIG_MAP}},
                {"name": "identity", "projected": {"sources": [{"serviceAccountToken": IDENTITY}]}},
            ],
            "extraVolumeMounts": [
                {"name": "config", "mountPath": CONFIG_FOLDER, "readOnly": True},
                {"name": "identity", "mountPath": IDENTITY_FOLDER, "readOnly": True},
            ],
        },
        openings=("api", "internet"),
    )


def lifecycle_values(settings: Settings, role_arn: Any | None) -> dict[str, Any]:
    """The chart's service account takes no annotation, by which the webhook would give it the role."""
    if role_arn is None:
        return {"env": _environment()} if _static(settings) else {}
    given = {
        "AWS_REGION": names.chosen(settings).region,
        "AWS_ROLE_ARN": role_arn,
        "AWS_WEB_IDENTITY_TOKEN_FILE": f"{IDENTITY_FOLDER}/{IDENTITY['path']}",
    }
    return {"env": [{"name": name, "value": value} for name, value in given.items()]}


def cloud_config(settings: Settings, vpc_id: str, subnet_id: str, zone: str) -> str:
    """What lets AWS' controller run outside of AWS: it does not ask a metadata service where it is."""
    wanted = {"Zone": zone, "VPC": vpc_id, "SubnetID": subnet_id, "KubernetesClusterID": settings.cluster.name}
    return "[Global]\n" + "".join(f"{key}={value}\n" for key, value in wanted.items())


def karpenter() -> Iterator[Release]:
    repository, version = "oci://public.ecr.aws/karpenter", versions.KARPENTER_CHART
    groups = ("karpenter.sh", "karpenter.k8s.aws")
    yield Release(
        name=KARPENTER_CRDS,
        chart="karpenter-crd",
        repository=repository,
        version=version,
        namespace=NODES_NAMESPACE,
        crd_groups=groups,
    )
    yield Release(
        name=KARPENTER,
        chart="karpenter",
        repository=repository,
        version=version,
        namespace=NODES_NAMESPACE,
        needs=(WEBHOOK, KARPENTER_CRDS),
        values={
            "fullnameOverride": KARPENTER,
            "replicas": 1,
            "affinity": ON_HOSTS,
            "topologySpreadConstraints": [],
        },
        openings=("api", "internet"),
    )


def karpenter_values(settings: Settings, role_arn: Any | None, queue_name: Any) -> dict[str, Any]:
    region = {"name": "AWS_REGION", "value": names.chosen(settings).region}
    return {
        "serviceAccount": _account(KARPENTER, role_arn),
        "controller": {"env": [region, *(_environment() if _static(settings) else ())]},
        "settings": {
            "clusterName": settings.cluster.name,
            # Else it asks EKS, which knows no such cluster.
            "clusterEndpoint": settings.cluster.api.endpoint,
            "eksControlPlane": False,
            "interruptionQueue": queue_name,
        },
    }
