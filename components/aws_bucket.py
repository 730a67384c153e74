"""A bucket with all that none may lack: customer key, no public access, versions, one owner, TLS alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import s3

from keystone import iam
from keystone.aws import names, rights
from keystone.iam import Statement
from keystone.settings import Settings

OLD_VERSIONS_DAYS = 30


@dataclass(frozen=True, kw_only=True)
class AwsBucketArgs:
    """`what` is the part of the name for its use; `allows` are further statements of its policy."""

    settings: Settings
    what: str
    key_arn: pulumi.Input[str]
    allows: Sequence[Statement] = ()


class AwsBucket(pulumi.ComponentResource):
    name: pulumi.Output[str]
    """Once it is closed: objects come after."""

    def __init__(self, name: str, args: AwsBucketArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("keystone:components:AwsBucket", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        bucket = s3.Bucket(
            f"{name}-bucket",
            bucket=names.bucket(args.settings, args.what),
            opts=pulumi.ResourceOptions(parent=self, protect=args.settings.protect_hosts),
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
        s3.BucketLifecycleConfiguration(
            f"{name}-lifecycle",
            bucket=bucket.id,
            rules=[
                {
                    "id": "old-versions",
                    "status": "Enabled",
                    "filter": {"prefix": ""},
                    "noncurrent_version_expiration": {"noncurrent_days": OLD_VERSIONS_DAYS},
                    "abort_incomplete_multipart_upload": {"days_after_initiation": 7},
                }
            ],
            opts=pulumi.ResourceOptions(parent=self, depends_on=[versions]),  # it speaks of versions
        )
        document = iam.policy(rights.bucket_policy(names.bucket_arn(args.settings, args.what), *args.allows))
        policy = s3.BucketPolicy(
            f"{name}-policy",
            bucket=bucket.id,
            policy=pulumi.Output.json_dumps(document, sort_keys=True),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[block]),  # S3 takes one change at a time
        )
        closed = pulumi.Output.all(bucket.id, block.id, owner.id, encryption.id, versions.id, policy.id)
        self.name = closed.apply(lambda values: values[0])
        self.register_outputs({"name": self.name})
