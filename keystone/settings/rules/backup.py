"""Rules about copies off the site."""

from collections.abc import Iterator

from keystone.settings.aws import Aws
from keystone.settings.backup import Backup
from keystone.settings.faults import Fault
from keystone.settings.observability import Observability
from keystone.settings.storage import Storage

WEEKS_KEPT = 14


def backups_lie_at_aws(backup: Backup | None, aws: Aws | None) -> Iterator[Fault]:
    if backup and aws is None:
        yield Fault("backup", "needs an account for its bucket, and there is no section aws", "Add aws, or remove it")


def locks_end_with_the_copies(backup: Backup | None) -> Iterator[Fault]:
    if backup and backup.lock.days > backup.retention_days:
        yield Fault(
            "backup.lock.days",
            f"{backup.lock.days} days is longer than copies stay, which is {backup.retention_days} days",
            f"Set it to {backup.retention_days} or less, or raise retentionDays",
        )


def weekly_copies_overlap(backup: Backup | None) -> Iterator[Fault]:
    if backup and backup.zfs == "weekly" and backup.retention_days < WEEKS_KEPT:
        yield Fault(
            "backup.retentionDays",
            f"{backup.retention_days} days may hold no weekly snapshot, when one run fails",
            f"Keep {WEEKS_KEPT} days or more, or set zfs to daily or never",
        )


def copied_buckets_have_a_store(backup: Backup | None, storage: Storage | None) -> Iterator[Fault]:
    if backup and backup.object_buckets and not (storage and storage.ceph and storage.ceph.object):
        yield Fault(
            "backup.objectBuckets", "there is no object store to copy from", "Choose storage.ceph.object, or remove it"
        )


def copied_logs_lie_in_a_bucket(backup: Backup | None, observability: Observability | None) -> Iterator[Fault]:
    if backup and backup.logs and not (observability and observability.logs.store == "bucket"):
        yield Fault(
            "backup.logs", "logs lie in no bucket", "Set observability.logs.store to bucket, or remove backup.logs"
        )


RULES = (
    backups_lie_at_aws,
    locks_end_with_the_copies,
    weekly_copies_overlap,
    copied_buckets_have_a_store,
    copied_logs_lie_in_a_bucket,
)
