"""Section `storage`: where volumes of pods come from. Left out: the cluster has no storage classes of ours."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StrictInt, StrictStr

from keystone.settings.model import Bool, Model, Wrong

StorageClass = Literal[
    "ceph-block",
    "ceph-filesystem",
    "local-path",
    "longhorn",
    "openebs-hostpath",
    "ebs-gp3",
    "efs",
    "proxmox",
]
"""Names of the classes that pods ask for; a bucket class is none of them."""


def _folder(value: str) -> str:
    if not value.startswith("/") or ".." in value.split("/") or value == "/":
        raise Wrong(f"{value!r} is not a folder of the host", "Write it like /var/lib/keystone/volumes")
    return value


def _arn(value: str) -> str:
    if not value.startswith("arn:aws"):
        raise Wrong(f"{value!r} is not an ARN", "Copy it from AWS; it begins with arn:aws")
    return value


HostFolder = Annotated[StrictStr, AfterValidator(_folder)]
Arn = Annotated[StrictStr, AfterValidator(_arn)]
Replicas = Annotated[StrictInt, Field(ge=1, le=5)]
Gib = Annotated[StrictInt, Field(ge=1, le=100_000)]


class Ceph(Model):
    """Ceph by Rook, on the hosts' `osdDisks` and on nothing else."""

    replicas: Replicas | None = Field(
        default=None, description="copies of each object; left out: 3, or one per host with disks when there are fewer"
    )
    block: Bool = Field(default=True, description="class ceph-block: volumes for one node at a time")
    filesystem: Bool = Field(default=True, description="class ceph-filesystem: volumes that many nodes share")
    object: Bool = Field(default=True, description="class ceph-bucket: S3 buckets, for logs and backups too")
    osd_memory_gib: Annotated[StrictInt, Field(ge=2, le=64)] = Field(
        default=4, description="memory that an OSD may take, in GiB"
    )


class LocalPath(Model):
    """Folders of the node that a pod runs on: fast, and lost with the node."""

    path: HostFolder = Field(default="/var/lib/keystone/volumes", description="folder of the host for the volumes")


class Longhorn(Model):
    """Replicated volumes without Ceph."""

    replicas: Replicas = Field(default=2, description="copies of each volume, on different nodes")
    path: HostFolder = Field(default="/var/lib/longhorn", description="folder of the host for the copies")


class OpenEbs(Model):
    """OpenEBS' local engine; its replicated engine stays off, it takes a CPU of each node."""

    path: HostFolder = Field(default="/var/openebs/local", description="folder of the host for the volumes")


class Ebs(Model):
    """EBS volumes for nodes in AWS: gp3, encrypted. With the section `aws` all of it may be left out."""

    role_arn: Arn | None = Field(
        default=None, description="role that the driver takes by web identity; left out: one is made"
    )
    kms_key_arn: Arn | None = Field(default=None, description="KMS key of the volumes; left out: the cluster's own")
    region: Annotated[StrictStr, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")] | None = Field(
        default=None, description="region of the nodes; left out: that of aws"
    )

    @property
    def complete(self) -> bool:
        """Whether nothing of it has to be made or looked up."""
        return bool(self.role_arn and self.kms_key_arn and self.region)


class Efs(Model):
    """An EFS file system for nodes in AWS, encrypted on the way."""

    role_arn: Arn | None = Field(
        default=None, description="role that the driver takes by web identity; left out: one is made"
    )
    file_system_id: Annotated[StrictStr, Field(pattern=r"^fs-[0-9a-f]+$")] = Field(description="the file system")


REGION_LABEL = "topology.kubernetes.io/region"
"""By it, and by the node's zone, Proxmox' driver knows where a machine is."""


class Proxmox(Model):
    """Disks of a Proxmox cluster for nodes that are its virtual machines.

    The driver's file config.yaml, with clusters and tokens, is keystone:proxmoxConfig. Each such node has the region of
    that file as its label topology.kubernetes.io/region, and the name of its Proxmox host as its zone.
    """

    storage_id: Annotated[StrictStr, Field(pattern=r"^[A-Za-z][A-Za-z0-9._-]*$")] = Field(
        description="storage of Proxmox that holds the disks"
    )
    encrypted_by_host: Bool = Field(
        description="that this storage lies on an encrypted disk; Proxmox does not encrypt the volumes itself"
    )


class Storage(Model):
    """The choices, and which class is the default one."""

    default: StorageClass | None = Field(
        default=None, description="class of claims that name none; may be left out when only one class is chosen"
    )
    ceph: Ceph | None = Field(default=None, description="Ceph by Rook")
    local_path: LocalPath | None = Field(default=None, description="folders of the node")
    longhorn: Longhorn | None = Field(default=None, description="Longhorn")
    openebs: OpenEbs | None = Field(default=None, description="OpenEBS, local engine")
    ebs: Ebs | None = Field(default=None, description="EBS of AWS")
    efs: Efs | None = Field(default=None, description="EFS of AWS")
    proxmox: Proxmox | None = Field(default=None, description="Proxmox CSI")
    mount_test: Bool = Field(
        default=True, description="whether Jobs write and read a volume of each class on the hosts, and a bucket"
    )

    @property
    def classes(self) -> tuple[StorageClass, ...]:
        """The classes that the choices make, without that of buckets."""
        ceph = self.ceph
        made: dict[StorageClass, object] = {
            "ceph-block": ceph and ceph.block,
            "ceph-filesystem": ceph and ceph.filesystem,
            "local-path": self.local_path,
            "longhorn": self.longhorn,
            "openebs-hostpath": self.openebs,
            "ebs-gp3": self.ebs,
            "efs": self.efs,
            "proxmox": self.proxmox,
        }
        return tuple(name for name, choice in made.items() if choice)

    @property
    def default_class(self) -> StorageClass:
        """The one default class. A rule holds that there is one."""
        return self.default or self.classes[0]
