"""Operators that make things at clouds: AWS' controllers and Crossplane with its providers.

What they make is theirs: nothing that Pulumi or the GitOps repository owns is given to them, and by their roles they
reach nothing else (keystone/aws/operators.py).
"""

from collections.abc import Iterator, Mapping
from typing import Any

import versions
from keystone.aws import names, operators
from keystone.charts.aws import ON_HOSTS, ROLE_ANNOTATION, WEBHOOK
from keystone.charts.objects import Thing
from keystone.charts.release import CONTAINER, POD, Release
from keystone.settings import Settings
from keystone.settings.operators import Ack, AwsService

ACK_NAMESPACE, CROSSPLANE_NAMESPACE = "ack-system", "crossplane-system"
CROSSPLANE = "crossplane"
REGISTRY = "xpkg.upbound.io/upbound"
ACK_VERSIONS: Mapping[AwsService, str] = {
    "ec2": versions.ACK_EC2_CHART,
    "eks": versions.ACK_EKS_CHART,
    "iam": versions.ACK_IAM_CHART,
    "rds": versions.ACK_RDS_CHART,
    "s3": versions.ACK_S3_CHART,
}


def releases(settings: Settings) -> Iterator[Release]:
    chosen = settings.operators
    if chosen and chosen.ack:
        for service in sorted(chosen.ack.services):
            yield ack(settings, chosen.ack, service)
    if wants_crossplane(settings):
        yield crossplane(settings)


def chosen(settings: Settings) -> bool:
    """Whether any operator is chosen or needed."""
    return wants_crossplane(settings) or bool(settings.operators and settings.operators.ack)


def wants_crossplane(settings: Settings) -> bool:
    """Whether Crossplane is chosen, or needed by pools of a cloud."""
    clouds = settings.clouds
    return bool((settings.operators and settings.operators.crossplane) or (clouds and (clouds.gcp or clouds.azure)))


# --- AWS Controllers for Kubernetes ---


def ack_name(service: AwsService) -> str:
    """The release, the service account and the role of a controller."""
    return f"ack-{service}"


def ack(settings: Settings, choice: Ack, service: AwsService) -> Release:
    return Release(
        name=ack_name(service),
        chart=f"{service}-chart",
        repository="oci://public.ecr.aws/aws-controllers-k8s",
        version=ACK_VERSIONS[service],
        namespace=ACK_NAMESPACE,
        crd_groups=(f"{service}.services.k8s.aws", "services.k8s.aws"),
        needs=(WEBHOOK,),
        values={
            "fullnameOverride": ack_name(service),
            "aws": {"region": names.chosen(settings).region},
            "deletionPolicy": choice.on_deletion,
            # The others' objects are not reconciled, and the role has no rights for them.
            "reconcile": {"resources": list(operators.KINDS[service])},
            "resourceTags": [
                f"{operators.TAG}={settings.cluster.name}",
                "services.k8s.aws/controller-version=%CONTROLLER_SERVICE%-%CONTROLLER_VERSION%",
                "services.k8s.aws/namespace=%K8S_NAMESPACE%",
            ],
            # Another account's role by an annotation on a namespace: whoever may write one would choose the account.
            "enableCARM": False,
            "enableCrossNamespace": False,
            "leaderElection": {"enabled": True},
            "deployment": {"affinity": ON_HOSTS},
        },
        openings=("api", "internet"),
    )


def ack_values(service: AwsService, role_arn: Any) -> dict[str, Any]:
    account = {"create": True, "name": ack_name(service), "annotations": {ROLE_ANNOTATION: role_arn}}
    return {"serviceAccount": account}


# --- Crossplane ---


def crossplane(settings: Settings) -> Release:
    return Release(
        name=CROSSPLANE,
        chart="crossplane",
        repository="https://charts.crossplane.io/stable",
        version=versions.CROSSPLANE_CHART,
        namespace=CROSSPLANE_NAMESPACE,
        # Kinds of providers come while they are installed, after the chart.
        crd_groups=("pkg.crossplane.io", "apiextensions.crossplane.io", "protection.crossplane.io"),
        values={
            # Hundreds of kinds of a provider would burden the API; the policies below activate what is chosen.
            "provider": {"defaultActivations": []},
            "affinity": ON_HOSTS,
            "podSecurityContextCrossplane": POD,
            "podSecurityContextRBACManager": POD,
            "securityContextCrossplane": CONTAINER,
            "securityContextRBACManager": CONTAINER,
            "replicas": 2 if len(settings.servers) > 1 else 1,
            "leaderElection": True,
            "metrics": {"enabled": True},
        },
        openings=("api", "webhooks", "internet"),
    )


def provider_name(service: AwsService) -> str:
    """The provider, its service account and its role."""
    return f"provider-aws-{service}"


def providers(settings: Settings) -> tuple[AwsService, ...]:
    """The services of AWS with a provider."""
    chosen = settings.operators
    return tuple(sorted(chosen.crossplane.aws)) if chosen and chosen.crossplane else ()


def provider(service: AwsService, role_arn: Any) -> Iterator[Thing]:
    """A provider: which of its kinds are active, under which service account it runs, and its package."""
    name = provider_name(service)
    kinds = [f"{plural}.{service}.aws.m.upbound.io" for plural in _PLURALS[service]]
    yield Thing(
        api="apiextensions.crossplane.io/v1alpha1",
        kind="ManagedResourceActivationPolicy",
        name=name,
        after=CROSSPLANE,
        spec={"activate": kinds},
    )
    yield runtime(name, {"metadata": {"name": name, "annotations": {ROLE_ANNOTATION: role_arn}}})
    yield package(name, f"{REGISTRY}/{name}:v{versions.CROSSPLANE_AWS}")


def runtime(name: str, account: Mapping[str, Any], pod: Mapping[str, Any] | None = None) -> Thing:
    """Under which service account, and with which further parts of its pod, a provider runs."""
    container = {"name": "package-runtime", "securityContext": CONTAINER}
    spec = {"securityContext": POD, **(pod or {})}
    spec["containers"] = [{**container, **one} for one in spec.get("containers", [{}])]
    return Thing(
        api="pkg.crossplane.io/v1beta1",
        kind="DeploymentRuntimeConfig",
        name=name,
        after=CROSSPLANE,
        spec={
            "serviceAccountTemplate": account,
            "deploymentTemplate": {"spec": {"selector": {}, "template": {"spec": spec}}},
        },
    )


def package(name: str, image: str) -> Thing:
    """A provider's package. Healthy means that its kinds are there and its pod runs."""
    return Thing(
        api="pkg.crossplane.io/v1",
        kind="Provider",
        name=name,
        after=CROSSPLANE,
        wait="condition=Healthy",
        spec={
            "package": image,
            "runtimeConfigRef": {"name": name},
            # One more revision to go back to, and no more.
            "revisionHistoryLimit": 1,
        },
    )


def account_of_aws() -> Thing:
    """How every provider of AWS proves itself: by the token of its own service account."""
    return Thing(
        api="aws.m.upbound.io/v1beta1",
        kind="ClusterProviderConfig",
        name="default",
        after=CROSSPLANE,
        spec={"credentials": {"source": "IRSA"}},
    )


_PLURALS: Mapping[AwsService, tuple[str, ...]] = {
    "ec2": ("internetgateways", "natgateways", "routes", "routetables", "securitygroups", "subnets", "vpcs"),
    "eks": ("addons", "clusters", "nodegroups"),
    "iam": ("instanceprofiles", "policies", "roles", "rolepolicyattachments"),
    "rds": ("clusters", "instances", "parametergroups", "subnetgroups"),
    "s3": ("buckets", "bucketpolicies", "bucketpublicaccessblocks", "bucketversionings"),
}
