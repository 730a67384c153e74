"""A bucket with all that none may lack: customer key, no public access, versions, one owner, TLS alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import s3

from keystone import iam
from keystone.aws import rights
from keystone.iam import Statement
from keystone.settings import Lock

OLD_VERSIONS_DAYS = 30
PARTS_DAYS = 3
"""After so many days the parts of an upload that broke off are removed."""


@dataclass(frozen=True, kw_only=True)
class AwsBucketArgs:
    """`arn` holds the name; `further` statements join its policy; with `lock` no version goes before its time.

    `lifecycle` are rules beside the one for uploads that broke off; left out: replaced objects end after 30 days.
    """

    arn: str
    key_arn: pulumi.Input[str]
    protect: bool
    further: Sequence[Statement] = ()
    lock: Lock | None = None
    lifecycle: Sequence[s3.BucketLifecycleConfigurationRuleArgs] = ()


class AwsBucket(pulumi.ComponentResource):
    name: pulumi.Output[str]
    """Once it is closed: objects come after."""

    def __init__(self, name: str, args: AwsBucketArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("keystone:components:AwsBucket", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        bucket = s3.Bucket(
            f"{name}-bucket",
            bucket=args.arn.rpartition(":")[2],
            object_lock_enabled=True if args.lock else None,
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
        )
        block = s3.BucketPublicAccessBlock(
            f"{name}-block",
            bucket=bucket.id,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=child,
        )
        owner = s3.BucketOwnershipControls(
            f"{name}-owner", bucket=bucket.id, rule={"object_ownership": "BucketOwnerEnforced"}, opts=child
        )
        encryption = s3.BucketServerSideEncryptionConfiguration(
            f"{name}-encryption",
            bucket=bucket.id,
            rules=[
                {
                    "apply_server_side_encryption_by_default": {
                        "sse_algorithm": "aws:kms",
                        "kms_master_key_id": args.key_arn,
                    },
                    "bucket_key_enabled": True,
                }
            ],
            opts=child,
        )
        versions = s3.BucketVersioning(
            f"{name}-versions", bucket=bucket.id, versioning_configuration={"status": "Enabled"}, opts=child
        )
        lifecycle = s3.BucketLifecycleConfiguration(
            f"{name}-lifecycle",
            bucket=bucket.id,
            rules=[*(args.lifecycle or [_old_versions()]), _broken_uploads()],
            opts=pulumi.ResourceOptions(parent=self, depends_on=[versions]),  # it speaks of versions
        )
        policy = s3.BucketPolicy(
            f"{name}-policy",
            bucket=bucket.id,
            policy=pulumi.Output.json_dumps(iam.policy(rights.bucket_policy(args.arn, *args.further)), sort_keys=True),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[block]),  # S3 takes one change at a time
        )
        locked = self._lock(name, bucket, args.lock, versions)
        closed = [block.id, owner.id, encryption.id, versions.id, lifecycle.id, policy.id, *(it.id for it in locked)]
        self.name = pulumi.Output.all(bucket.id, *closed).apply(lambda values: values[0])
        self.register_outputs({"name": self.name})

    def _lock(
        self, name: str, bucket: s3.Bucket, lock: Lock | None, versions: pulumi.Resource
    ) -> list[s3.BucketObjectLockConfiguration]:
        if lock is None:
            return []
        made = s3.BucketObjectLockConfiguration(
            f"{name}-lock",
            bucket=bucket.id,
            rule={"default_retention": {"mode": lock.mode.upper(), "days": lock.days}},
            opts=pulumi.ResourceOptions(parent=self, depends_on=[versions]),  # S3 locks versions, not objects
        )
        return [made]


def _old_versions() -> s3.BucketLifecycleConfigurationRuleArgs:
    return s3.BucketLifecycleConfigurationRuleArgs(
        id="old-versions",
        status="Enabled",
        filter=s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=""),
        noncurrent_version_expiration=s3.BucketLifecycleConfigurationRuleNoncurrentVersionExpirationArgs(
            noncurrent_days=OLD_VERSIONS_DAYS
        ),
    )


def _broken_uploads() -> s3.BucketLifecycleConfigurationRuleArgs:
    return s3.BucketLifecycleConfigurationRuleArgs(
        id="parts",
        status="Enabled",
        filter=s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=""),
        abort_incomplete_multipart_upload=s3.BucketLifecycleConfigurationRuleAbortIncompleteMultipartUploadArgs(
            days_after_initiation=PARTS_DAYS
        ),
    )
