"""What is copied off the site: by whom, how often, under which name of the bucket, encrypted with what.

The one list that the jobs, the check of their copies, the roles and the catalogue for a restore are made from.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from keystone import iam
from keystone.aws import names
from keystone.charts import observability
from keystone.settings import Backup, Settings
from keystone.settings.backup import NAMESPACE as NAMESPACE

HOSTS_ACCOUNT = "hosts"
"""The service account whose tokens the machines' own services take to AWS; no pod runs under it."""
ROLES = {"hosts": "backup-hosts", "verify-backup": "backup-verify", "buckets-backup": "backup-buckets"}
"""Service account -> its role's name after the cluster's."""
HOST_PREFIX, BUCKET_PREFIX = "hosts", "buckets"
CATALOGUE_KEY = "catalogue.json"
SLACK_HOURS = 20
"""How late a copy may be before the check fails: a machine may be off for a night's work on it."""
ETCD_FOLDERS = {"k3s": "/var/lib/rancher/k3s/server/db/snapshots", "kubeadm": "/var/backup/etcd"}
HEADSCALE_FOLDER = "/var/backup/headscale"
POOL = "rpool"

DAY_HOURS = 24
ETCD_HOURS = 6
"""How often the servers themselves save etcd (nix/modules/k3s/server.nix, nix/modules/kubeadm/etcd-backup.nix)."""

Kind = Literal["etcd", "headscale", "zfs", "bucket"]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Something that is copied. `host` is empty for what the cluster holds; `hours` is the time between two copies."""

    kind: Kind
    name: str
    host: str = ""
    origin: str
    prefix: str
    hours: int

    @property
    def limit_hours(self) -> int:
        """Older than this, the newest copy is overdue."""
        return self.hours + SLACK_HOURS


def bucket_name(settings: Settings, backup: Backup) -> str:
    """The bucket's name."""
    return backup.bucket or names.bucket(settings, "backup")


def bucket_arn(settings: Settings, backup: Backup) -> str:
    """The bucket's ARN."""
    return f"arn:{names.chosen(settings).partition}:s3:::{bucket_name(settings, backup)}"


def sources(settings: Settings, backup: Backup) -> Iterator[Source]:
    """Everything that is copied, in the order of a restore."""
    for host in settings.servers:
        yield Source(
            kind="etcd",
            name=f"etcd of {host}",
            host=host,
            origin=ETCD_FOLDERS[settings.cluster.distribution],
            prefix=f"{HOST_PREFIX}/{host}/etcd",
            hours=max(backup.every_hours, ETCD_HOURS),
        )
    primer, _ = settings.primer
    yield Source(
        kind="headscale",
        name="the mesh's database",
        host=primer,
        origin=HEADSCALE_FOLDER,
        prefix=f"{HOST_PREFIX}/{primer}/headscale",
        hours=backup.every_hours,
    )
    yield from _snapshots(settings, backup)
    for name in object_buckets(settings, backup):
        yield Source(
            kind="bucket", name=f"bucket {name}", origin=name, prefix=f"{BUCKET_PREFIX}/{name}", hours=DAY_HOURS
        )


def _snapshots(settings: Settings, backup: Backup) -> Iterator[Source]:
    if backup.zfs == "never":
        return
    for host, machine in settings.servers.items():
        if machine.layout != "zfs-luks":
            continue
        for dataset in datasets(settings, host):
            yield Source(
                kind="zfs",
                name=f"dataset {dataset} of {host}",
                host=host,
                origin=f"{POOL}/{dataset}",
                prefix=f"{HOST_PREFIX}/{host}/zfs/{dataset}",
                hours=DAY_HOURS * (7 if backup.zfs == "weekly" else 1),
            )


def datasets(settings: Settings, host: str) -> tuple[str, ...]:
    """The datasets of a server that hold what is nowhere else; programs and logs are not among them."""
    return ("etcd", *(("headscale",) if settings.hosts[host].role == "primer" else ()), "root")


@dataclass(frozen=True, kw_only=True)
class Offsite:
    """What a server must know to copy; the keys are those of nix/modules/offsite."""

    bucket: str
    region: str
    role_arn: str
    every_hours: int
    zfs_days: int
    datasets: tuple[str, ...]
    """Datasets that are sent whole; none where that is not chosen."""
    rclone: Mapping[str, str]
    """rclone's settings, as its environment."""


def offsite(settings: Settings, host: str) -> Offsite | None:
    """What the host copies; None for one that has nothing of its own to copy."""
    backup, aws = settings.backup, settings.aws
    if backup is None or aws is None or host not in settings.servers:
        return None
    sent = settings.hosts[host].layout == "zfs-luks" and backup.zfs != "never"
    return Offsite(
        bucket=bucket_name(settings, backup),
        region=aws.region,
        role_arn=iam.role_arn(aws.partition, aws.account_id, settings.cluster.name, ROLES[HOSTS_ACCOUNT]),
        every_hours=backup.every_hours,
        zfs_days=7 if backup.zfs == "weekly" else 1,
        datasets=datasets(settings, host) if sent else (),
        rclone=rclone(aws.region),
    )


def rclone(region: str) -> dict[str, str]:
    """rclone's settings for the bucket, of jobs and machines alike."""
    return {
        "RCLONE_CONFIG": "/dev/null",
        "RCLONE_S3_PROVIDER": "AWS",
        "RCLONE_S3_ENV_AUTH": "true",
        "RCLONE_S3_REGION": region,
        "RCLONE_S3_NO_CHECK_BUCKET": "true",
        # The time in the list will do; another question per object would need the right to read it.
        "RCLONE_USE_SERVER_MODTIME": "true",
        # 10,000 parts are the most: streams of 312 GiB.
        "RCLONE_S3_CHUNK_SIZE": "32Mi",
        "RCLONE_S3_UPLOAD_CONCURRENCY": "2",
        "RCLONE_RETRIES": "3",
        "RCLONE_LOW_LEVEL_RETRIES": "5",
        "RCLONE_TIMEOUT": "5m",
    }


def object_buckets(settings: Settings, backup: Backup) -> tuple[str, ...]:
    """The buckets of the object store that are copied."""
    logs = (observability.bucket_name(settings),) if backup.logs else ()
    return (*backup.object_buckets, *logs)
