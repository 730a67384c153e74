"""Section `backup`: copies off the site of what would be lost for good. Left out: the copies on the hosts are all."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StrictInt, StrictStr

from keystone.settings.model import Bool, Generation, Model, Wrong


def _bucket(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", value):
        raise Wrong(
            f"{value!r} is not the name of a bucket",
            "Use 3 to 63 lower case letters, digits and inner hyphens; a dot would break its TLS name",
        )
    return value


BucketName = Annotated[StrictStr, AfterValidator(_bucket)]
NAMESPACE = "backup"
"""The namespace of the jobs, and of the object store's user that reads buckets."""
Days = Annotated[StrictInt, Field(ge=1, le=3650)]


class Lock(Model):
    """Object lock: for so long nobody can take a copy away, whatever credentials they have stolen."""

    mode: Literal["governance", "compliance"] = Field(
        default="governance",
        description="who may lift the lock: whom IAM allows to bypass it (governance), or nobody at all (compliance)",
    )
    days: Days = Field(default=14, description="how long each version of a copy is locked")


class Backup(Model):
    """A bucket at AWS and what fills it. Machines and jobs write there by web identity, without a static key."""

    bucket: BucketName | None = Field(
        default=None, description="name of the bucket; left out: keystone-CLUSTER-backup-ACCOUNT-REGION"
    )
    retention_days: Days = Field(default=35, description="how long copies stay")
    lock: Lock = Field(default=Lock(), description="how long copies cannot be removed")
    every_hours: Literal[1, 2, 3, 4, 6, 8, 12] = Field(
        default=6, description="how often servers copy etcd's snapshots, and the Primer the mesh's database"
    )
    zfs: Literal["daily", "weekly", "never"] = Field(
        default="weekly", description="how often servers send a whole snapshot of their ZFS datasets"
    )
    object_buckets: tuple[BucketName, ...] = Field(
        default=(), description="buckets of Ceph's object store that are copied; their policies must let `backup` read"
    )
    logs: Bool = Field(default=False, description="whether the bucket of the logs is copied too")
    key_generation: Generation = Field(
        default=1, description="raising it encrypts later copies with another key; the old one is still derived"
    )
    protect: Bool = Field(default=True, description="whether bucket and key refuse to be destroyed with the stack")

    @property
    def copies_buckets(self) -> bool:
        """Whether buckets of the object store are copied."""
        return bool(self.object_buckets) or self.logs
