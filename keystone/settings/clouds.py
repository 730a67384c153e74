"""Section `clouds`: pools of machines at other clouds than AWS, of the same shape. Left out: none."""

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Field, StrictInt, StrictStr

from keystone.settings.aws import Count, PoolName
from keystone.settings.hosts import LabelValue, QualifiedName, Taint
from keystone.settings.model import Bool, Model, Wrong


def _matching(pattern: str, what: str, example: str) -> AfterValidator:
    def validate(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise Wrong(f"{value!r} is not {what}", f"Write it like {example}")
        return value

    return AfterValidator(validate)


_UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
Word = Annotated[StrictStr, _matching(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", "a name at this cloud", "eu-west-1")]
Zone = Word
MachineType = Annotated[StrictStr, _matching(r"[A-Za-z][A-Za-z0-9_.-]{1,62}", "a machine's type", "e2-standard-4")]
Image = Annotated[StrictStr, _matching(r"[A-Za-z0-9/._-]{1,256}", "an image", "projects/p/global/images/keystone")]
Uuid = Annotated[StrictStr, _matching(_UUID, "an id", "01234567-89ab-cdef-0123-456789abcdef")]
Project = Annotated[StrictStr, _matching(r"[a-z][a-z0-9-]{4,28}[a-z0-9]", "a project of GCP", "home-cluster-1")]
Number = Annotated[StrictStr, _matching(r"\d{6,20}", "a project's number", '"123456789012"')]
ServiceAccount = Annotated[
    StrictStr,
    _matching(r"[a-z][a-z0-9-]{4,28}[a-z0-9]@[a-z0-9.-]+", "a service account", "nodes1@home.iam.gserviceaccount.com"),
]
ResourceId = Annotated[
    StrictStr,
    _matching(r"/subscriptions/[A-Za-z0-9/._-]+", "the id of a resource", "/subscriptions/ID/resourceGroups/g"),
]
Vault = Annotated[StrictStr, _matching(r"[a-z][a-z0-9-]{1,22}[a-z0-9]", "a key vault's name", "home-cluster")]


class CloudPool(Model):
    """A group of equal machines. Its shape is that of a pool at AWS; the autoscaler changes its size."""

    machine_type: MachineType = Field(description="type of the machines, as the cloud calls it")
    min: Count = Field(default=0, description="least number of machines")
    max: Count = Field(description="greatest number of machines")
    zones: tuple[Zone, ...] = Field(min_length=1, description="zones; GCP and Hetzner take one for each pool")
    image: Image = Field(description="the pool image, uploaded there")
    disk_gib: Annotated[StrictInt, Field(ge=8, le=16384)] = Field(default=50, description="size of the disk")
    spot: Bool = Field(default=True, description="whether the cloud may take the machines away, for a lower price")
    labels: Mapping[QualifiedName, LabelValue] = Field(default_factory=dict, description="labels of the nodes")
    taints: tuple[Taint, ...] = Field(default=(), description="taints of the nodes: {key, value, effect}")


class OneZonePool(CloudPool):
    """A pool of a cloud whose groups lie in one zone."""

    zones: tuple[Zone, ...] = Field(min_length=1, max_length=1, description="the one zone of the pool")


Pools = Annotated[Mapping[PoolName, CloudPool], Field(min_length=1)]
OneZonePools = Annotated[Mapping[PoolName, OneZonePool], Field(min_length=1)]


class Hetzner(Model):
    """Hetzner Cloud. It trusts no other issuer, so its API wants a static token: keystone:hetznerToken."""

    pools: OneZonePools = Field(description="pools, by name")


class Gcp(Model):
    """Google Cloud, which trusts the cluster's issuer by a workload identity provider."""

    project: Project = Field(description="the project's id")
    project_number: Number = Field(description="the project's number, in quotes")
    identity_pool: Word = Field(description="the workload identity pool")
    identity_provider: Word = Field(description="its provider, which trusts cluster.issuerHost")
    service_account: ServiceAccount = Field(description="account that makes and scales groups")
    machine_account: ServiceAccount = Field(description="account of the machines, which reads their two secrets")
    network: Word = Field(description="network of the machines")
    subnetwork: Word = Field(description="subnetwork of the machines, without public addresses")
    disk_key: Image = Field(description="KMS key of the disks: projects/P/locations/L/keyRings/R/cryptoKeys/K")
    pools: OneZonePools = Field(description="pools, by name")


class Azure(Model):
    """Azure, which trusts the cluster's issuer by federated credentials of two applications."""

    tenant_id: Uuid = Field(description="the directory")
    subscription_id: Uuid = Field(description="the subscription")
    resource_group: Word = Field(description="group of the machines")
    location: Word = Field(description="location, such as westeurope")
    client_id: Uuid = Field(description="application that makes and scales groups")
    subnet_id: ResourceId = Field(description="subnet of the machines")
    machine_identity: ResourceId = Field(description="identity of the machines, which reads their two secrets")
    disk_encryption_set: ResourceId = Field(description="what encrypts the disks under a customer key")
    vault: Vault = Field(description="key vault with the machines' secrets")
    pools: Pools = Field(description="pools, by name")


class Clouds(Model):
    """The clouds. What they must hold already is in docs/operations/other-clouds.md."""

    hetzner: Hetzner | None = Field(default=None, description="Hetzner Cloud")
    gcp: Gcp | None = Field(default=None, description="Google Cloud")
    azure: Azure | None = Field(default=None, description="Azure")

    @property
    def pools(self) -> Mapping[str, Mapping[str, CloudPool]]:
        """Cloud -> its pools by name, of the clouds that are chosen."""
        chosen = {"hetzner": self.hetzner, "gcp": self.gcp, "azure": self.azure}
        return {name: cloud.pools for name, cloud in chosen.items() if cloud}
