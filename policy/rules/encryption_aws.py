"""Encryption at AWS: disks, file systems, buckets, parameters, queues, the CDN and keys."""

from judging.kinds import custom, sdk
from judging.resource import Resource, is_map, is_true
from judging.rule import ABSENT, CRITICAL, HIGH, MEDIUM, Finding, Findings, rule, show

from rules.documents import denies_plain_http

VIEWER_TLS = ("TLSv1.2_2021", "TLSv1.2_2025", "TLSv1.3_2025")
TO_HTTPS = ("https-only", "redirect-to-https")


def _encrypted(it: Resource, place: str, key: str = "kmsKeyId") -> Findings:
    """A disk: encrypted, with a key of ours. `place` is "" or the path of the disk's settings."""
    at = f"{place}." if place else ""
    if not is_true(it.at(f"{at}encrypted")):
        yield Finding(f"{at}encrypted", show(it.at(f"{at}encrypted")), "it must be true")
    yield from _customer_key(it, f"{at}{key}")


def _customer_key(it: Resource, path: str) -> Findings:
    key = it.at(path)
    if not key or (isinstance(key, str) and "alias/aws/" in key):
        yield Finding(path, show(key), "it must be a customer key, whose use we decide on")


@rule(
    "ebs-volume-encrypted",
    "EBS volumes are encrypted with a customer key",
    sdk("pulumi_aws.ebs", "Volume"),
    HIGH,
    cure="Set encrypted to true and kms_key_id to a key of ours",
    reference="CIS AWS Foundations 3.0.0, 2.2.1",
    guards={"encrypted": (False, ABSENT), "kmsKeyId": ("", "alias/aws/ebs", ABSENT)},
)
def ebs_volume(it: Resource) -> Findings:
    yield from _encrypted(it, "")


@rule(
    "image-copy-encrypted",
    "Copies of snapshots and images are encrypted with a customer key",
    (*sdk("pulumi_aws.ebs", "SnapshotCopy"), *sdk("pulumi_aws.ec2", "AmiCopy")),
    HIGH,
    cure="Set encrypted to true and kms_key_id to a key of ours",
    reference="CIS AWS Foundations 3.0.0, 2.2.1",
    guards={"encrypted": (False, ABSENT), "kmsKeyId": (ABSENT,)},
)
def image_copy(it: Resource) -> Findings:
    yield from _encrypted(it, "")


@rule(
    "launch-template-encrypted",
    "Machines from launch templates have encrypted disks",
    (*sdk("pulumi_aws.ec2", "LaunchTemplate"), *custom("karpenter.k8s.aws/v1", "EC2NodeClass")),
    HIGH,
    cure="Name every disk under block_device_mappings, the root disk too, with encrypted true and a kms_key_id of ours",
    reference="CIS AWS Foundations 3.0.0, 2.2.1",
    guards={
        "blockDeviceMappings.0.ebs.encrypted": ("false", False, ABSENT),
        "blockDeviceMappings.0.ebs.kmsKeyId": (ABSENT,),
        "blockDeviceMappings": ([], ABSENT),
        "spec.blockDeviceMappings.0.ebs.encrypted": (False, ABSENT),
        "spec.blockDeviceMappings.0.ebs.kmsKeyID": (ABSENT,),
    },
)
def launch_template(it: Resource) -> Findings:
    nodes = it.kind.startswith("kubernetes:")
    path = "spec.blockDeviceMappings" if nodes else "blockDeviceMappings"
    disks = 0
    for place, mapping in it.each(path):
        if mapping.get("noDevice") or mapping.get("virtualName"):
            continue
        disks += 1
        if not is_map(mapping.get("ebs")):
            yield Finding(f"{place}.ebs", "not set", "a disk must say that it is encrypted")
            continue
        yield from _encrypted(it, f"{place}.ebs", "kmsKeyID" if nodes else "kmsKeyId")
    if not disks:
        yield Finding(path, "without a disk", "the image's own root disk would not be encrypted")


@rule(
    "instance-encrypted",
    "Machines at EC2 have encrypted disks",
    sdk("pulumi_aws.ec2", "Instance", "SpotInstanceRequest", "LaunchConfiguration"),
    HIGH,
    cure="Set encrypted true and a kms_key_id of ours on root_block_device and each of ebs_block_devices; "
    "replace launch configurations, which can name no key, by launch templates",
    reference="CIS AWS Foundations 3.0.0, 2.2.1",
    guards={
        "rootBlockDevice.encrypted": (False, ABSENT),
        "rootBlockDevice.kmsKeyId": (ABSENT,),
        "rootBlockDevice": (ABSENT,),
        "ebsBlockDevices.0.encrypted": (False, ABSENT),
    },
)
def instance(it: Resource) -> Findings:
    if not is_map(it.at("rootBlockDevice")):
        yield Finding("rootBlockDevice", "not set", "the image's own root disk would not be encrypted")
    else:
        yield from _encrypted(it, "rootBlockDevice")
    for place, _ in it.each("ebsBlockDevices"):
        yield from _encrypted(it, place)


@rule(
    "efs-encrypted",
    "EFS file systems are encrypted with a customer key",
    sdk("pulumi_aws.efs", "FileSystem"),
    HIGH,
    cure="Set encrypted to true and kms_key_id to a key of ours",
    reference="CIS AWS Foundations 3.0.0, 2.4.1",
    guards={"encrypted": (False, ABSENT), "kmsKeyId": (ABSENT,)},
)
def efs(it: Resource) -> Findings:
    yield from _encrypted(it, "")


@rule(
    "efs-tls-only",
    "EFS file systems refuse mounts without TLS",
    sdk("pulumi_aws.efs", "FileSystemPolicy"),
    HIGH,
    cure='Add a statement that denies "*" to everybody where aws:SecureTransport is false',
    reference="OWASP Top 10 2021, A02",
    guards={"policy": ('{"Statement": [{"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::1:root"}}]}', ABSENT)},
)
def efs_tls(it: Resource) -> Findings:
    if not denies_plain_http(it.at("policy"), ("*", "elasticfilesystem:*")):
        yield Finding("policy", "without a denial of plain connections", "it must deny aws:SecureTransport false")


@rule(
    "s3-customer-key",
    "Buckets are encrypted with a customer key",
    sdk(
        "pulumi_aws.s3",
        "BucketServerSideEncryptionConfiguration",
        "BucketServerSideEncryptionConfigurationV2",
    ),
    HIGH,
    cure="Set sse_algorithm to aws:kms and kms_master_key_id to a key of ours",
    reference="OWASP Top 10 2021, A02",
    guards={
        "rules.0.applyServerSideEncryptionByDefault.sseAlgorithm": ("AES256", ABSENT),
        "rules.0.applyServerSideEncryptionByDefault.kmsMasterKeyId": ("alias/aws/s3", ABSENT),
        "rules": ([],),
    },
)
def s3_key(it: Resource) -> Findings:
    count = 0
    for place, _ in it.each("rules"):
        count += 1
        default = f"{place}.applyServerSideEncryptionByDefault"
        algorithm = it.at(f"{default}.sseAlgorithm")
        if algorithm not in ("aws:kms", "aws:kms:dsse"):
            yield Finding(f"{default}.sseAlgorithm", show(algorithm), "it must be aws:kms")
        yield from _customer_key(it, f"{default}.kmsMasterKeyId")
    if not count:
        yield Finding("rules", "empty", "one must name a customer key")


@rule(
    "s3-tls-only",
    "Buckets refuse requests without TLS",
    sdk("pulumi_aws.s3", "BucketPolicy"),
    HIGH,
    cure='Add a statement that denies "s3:*" to everybody where aws:SecureTransport is false, with no other condition',
    reference="CIS AWS Foundations 3.0.0, 2.1.1",
    guards={"policy": ('{"Statement": [{"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::1:root"}}]}', ABSENT)},
)
def s3_tls(it: Resource) -> Findings:
    if not denies_plain_http(it.at("policy"), ("*", "s3:*")):
        yield Finding("policy", "without a denial of plain requests", "it must deny aws:SecureTransport false")


@rule(
    "ssm-parameter-secure",
    "SSM parameters are encrypted with a customer key",
    sdk("pulumi_aws.ssm", "Parameter"),
    HIGH,
    cure='Set type to "SecureString" and key_id to a key of ours; only an image id may be a plain String, with '
    'data_type "aws:ec2:image"',
    reference="OWASP Top 10 2021, A02",
    guards={"type": ("String", "StringList", ABSENT), "keyId": ("alias/aws/ssm", ABSENT)},
)
def ssm_parameter(it: Resource) -> Findings:
    if it.at("dataType") == "aws:ec2:image":
        return
    if it.at("type") != "SecureString":
        yield Finding("type", show(it.at("type")), "it must be SecureString")
    else:
        yield from _customer_key(it, "keyId")


@rule(
    "sqs-encrypted",
    "Queues are encrypted with a customer key",
    sdk("pulumi_aws.sqs", "Queue"),
    MEDIUM,
    cure="Set kms_master_key_id to a key of ours",
    reference="OWASP Top 10 2021, A02",
    guards={"kmsMasterKeyId": ("alias/aws/sqs", "", ABSENT)},
)
def sqs(it: Resource) -> Findings:
    yield from _customer_key(it, "kmsMasterKeyId")


@rule(
    "cloudfront-tls-minimum",
    "CloudFront speaks TLS 1.2 or newer only",
    sdk("pulumi_aws.cloudfront", "Distribution"),
    HIGH,
    cure="Set minimum_protocol_version to TLSv1.2_2021 or newer on a certificate of our own, and each behaviour's "
    "viewer_protocol_policy to https-only or redirect-to-https",
    reference="OWASP Top 10 2021, A02",
    guards={
        "viewerCertificate.minimumProtocolVersion": ("TLSv1", "TLSv1.2_2018", ABSENT),
        "viewerCertificate.cloudfrontDefaultCertificate": (True,),
        "defaultCacheBehavior.viewerProtocolPolicy": ("allow-all", ABSENT),
    },
)
def cloudfront(it: Resource) -> Findings:
    place = "viewerCertificate"
    if it.at(f"{place}.cloudfrontDefaultCertificate"):
        yield Finding(f"{place}.cloudfrontDefaultCertificate", "true", "its minimum is TLSv1")
    minimum = it.at(f"{place}.minimumProtocolVersion")
    if minimum not in VIEWER_TLS:
        yield Finding(f"{place}.minimumProtocolVersion", show(minimum), f"it must be one of {', '.join(VIEWER_TLS)}")
    for path in ("defaultCacheBehavior", *(one for one, _ in it.each("orderedCacheBehaviors"))):
        policy = it.at(f"{path}.viewerProtocolPolicy")
        if policy not in TO_HTTPS:
            yield Finding(f"{path}.viewerProtocolPolicy", show(policy), f"it must be {' or '.join(TO_HTTPS)}")


@rule(
    "kms-rotation",
    "Customer keys are rotated every year",
    sdk("pulumi_aws.kms", "Key"),
    MEDIUM,
    cure="Set enable_key_rotation to true",
    reference="CIS AWS Foundations 3.0.0, 3.6",
    guards={"enableKeyRotation": (False, ABSENT)},
)
def kms_rotation(it: Resource) -> Findings:
    spec = it.at("customerMasterKeySpec") or "SYMMETRIC_DEFAULT"
    if spec == "SYMMETRIC_DEFAULT" and it.at("enableKeyRotation") is not True:
        yield Finding("enableKeyRotation", show(it.at("enableKeyRotation")), "it must be true")


@rule(
    "kms-key-not-given-away",
    "A customer key is not deleted at once, and its policy check is not bypassed",
    sdk("pulumi_aws.kms", "Key"),
    CRITICAL,
    cure="Leave deletion_window_in_days at 30, or set at least 14; leave bypass_policy_lockout_safety_check off",
    reference="OWASP Top 10 2021, A01",
    guards={"deletionWindowInDays": (7,), "bypassPolicyLockoutSafetyCheck": (True,)},
)
def kms_deletion(it: Resource) -> Findings:
    days = it.at("deletionWindowInDays")
    if days is not None and days < 14:
        yield Finding("deletionWindowInDays", f"{show(days)} days", "data is lost with its key: at least 14 days")
    if it.at("bypassPolicyLockoutSafetyCheck"):
        yield Finding("bypassPolicyLockoutSafetyCheck", "true", "a key that nobody can manage can never be mended")


RULES = (
    ebs_volume,
    image_copy,
    launch_template,
    instance,
    efs,
    efs_tls,
    s3_key,
    s3_tls,
    ssm_parameter,
    sqs,
    cloudfront,
    kms_rotation,
    kms_deletion,
)
