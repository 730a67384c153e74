"""Who may do what with the bucket: its own policy, and the statements of the roles that write and check copies."""

from collections.abc import Sequence
from typing import Any

from keystone.backup import plan
from keystone.iam import Statement

ENCRYPTION = "s3:x-amz-server-side-encryption"
KEY = f"{ENCRYPTION}-aws-kms-key-id"
"""What a request says of its object's encryption."""


def refused(bucket: Any, key: Any) -> tuple[Statement, ...]:
    """What nobody may do besides what every bucket of ours refuses, whatever their role says. Both are ARNs."""
    everybody = {"AWS": "*"}
    objects = _objects(bucket, "")
    return (
        Statement(
            sid="ModernTlsOnly",
            effect="Deny",
            principal=everybody,
            actions=["s3:*"],
            resources=[bucket, objects],
            reason="older versions of TLS can be broken",
            conditions={"NumericLessThan": {"s3:TlsVersion": "1.2"}},
        ),
        Statement(
            sid="OurKeyOnly",
            effect="Deny",
            principal=everybody,
            actions=["s3:PutObject"],
            resources=[objects],
            reason="a copy under somebody else's key would be theirs to read, and ours to lose",
            # Requests that name no key get the bucket's own. They are judged before they have it, and a negated
            # operator holds for what is absent, with and without IfExists.
            conditions={"StringNotEquals": {KEY: key}, "Null": {KEY: "false"}},
        ),
        Statement(
            sid="NoOtherEncryption",
            effect="Deny",
            principal=everybody,
            actions=["s3:PutObject"],
            resources=[objects],
            reason="an encryption that is asked for without our key is by a key of AWS",
            conditions={"Null": {ENCRYPTION: "false", KEY: "true"}},
        ),
    )


def hosts(bucket: Any, key: Any) -> tuple[Statement, ...]:
    """The machines' own services: they add copies and remove none. What they could read, only a restore's key opens."""
    return (
        _listing(bucket, plan.HOST_PREFIX, "a machine copies only what is not there yet"),
        _adding(bucket, plan.HOST_PREFIX, "a machine adds its copies, and by the lock can spoil none"),
        _checking(bucket, plan.HOST_PREFIX, "rclone asks for the size of what it sent as a stream"),
        _encrypting(key),
    )


def buckets(bucket: Any, key: Any) -> tuple[Statement, ...]:
    """The job that follows the object store's buckets. What it removes stays as an older version."""
    return (
        _listing(bucket, plan.BUCKET_PREFIX, "the job copies only what differs"),
        _adding(bucket, plan.BUCKET_PREFIX, "the job adds what is new"),
        _checking(bucket, plan.BUCKET_PREFIX, "rclone asks for the checksum of what it sent"),
        Statement(
            sid="Follow",
            actions=["s3:DeleteObject"],
            resources=[_objects(bucket, plan.BUCKET_PREFIX)],
            reason="what is gone from a bucket goes from its copy; versions cannot be removed by it",
        ),
        _encrypting(key),
    )


def verify(bucket: Any) -> tuple[Statement, ...]:
    """The job that asks how old the newest copies are: names and times, no contents."""
    return (
        Statement(
            sid="List",
            actions=["s3:ListBucket"],
            resources=[bucket],
            reason="the age of a copy stands in the list of the bucket",
            conditions={"StringLike": {"s3:prefix": [f"{plan.HOST_PREFIX}/*", f"{plan.BUCKET_PREFIX}/*"]}},
        ),
    )


def restore(bucket: Any, key: Any) -> tuple[Statement, ...]:
    """For the documents: what a person needs to bring copies back. No role of ours has it."""
    return (
        Statement(
            sid="Read",
            actions=["s3:ListBucket", "s3:ListBucketVersions", "s3:GetObject", "s3:GetObjectVersion"],
            resources=[bucket, _objects(bucket, "")],
            reason="who restores reads copies, older versions too",
        ),
        Statement(
            sid="Decrypt",
            actions=["kms:Decrypt"],
            resources=[key],
            reason="copies are encrypted under the bucket's key",
        ),
    )


def _objects(bucket: Any, prefix: str) -> Any:
    """The ARN of the objects below a prefix; `bucket` may be an Output, which knows `apply`."""
    tail = f"/{prefix}/*" if prefix else "/*"
    return f"{bucket}{tail}" if isinstance(bucket, str) else bucket.apply(lambda arn: f"{arn}{tail}")


def _listing(bucket: Any, prefix: str, reason: str) -> Statement:
    return Statement(
        sid="List",
        actions=["s3:ListBucket"],
        resources=[bucket],
        reason=reason,
        conditions={"StringLike": {"s3:prefix": f"{prefix}/*"}},
    )


def _adding(bucket: Any, prefix: str, reason: str) -> Statement:
    actions: Sequence[str] = ("s3:PutObject", "s3:AbortMultipartUpload")
    return Statement(sid="Add", actions=actions, resources=[_objects(bucket, prefix)], reason=reason)


def _checking(bucket: Any, prefix: str, reason: str) -> Statement:
    return Statement(sid="Check", actions=["s3:GetObject"], resources=[_objects(bucket, prefix)], reason=reason)


def _encrypting(key: Any) -> Statement:
    return Statement(
        sid="Encrypt",
        actions=["kms:GenerateDataKey", "kms:Decrypt"],
        resources=[key],
        reason="the bucket encrypts under its key; of an upload in parts S3 reads the parts again",
    )
