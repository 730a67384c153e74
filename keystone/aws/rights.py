"""What may be done with what we make at AWS: the key, the buckets, the pools' machines, the bound of all our roles."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from keystone import iam
from keystone.aws import names
from keystone.iam import Statement
from keystone.settings import Aws, Settings

WORKLOAD_SERVICES = (
    "acm",
    "autoscaling",
    "cloudfront",
    "ec2",
    "eks",
    "elasticfilesystem",
    "elasticloadbalancing",
    "events",
    "kms",
    "rds",
    "route53",
    "s3",
    "sqs",
    "ssm",
)
"""What any role of ours may ever touch; what each one may do is in its own policy."""
AUTO_SCALING, RDS, SPOT = "autoscaling.amazonaws.com", "rds.amazonaws.com", "spot.amazonaws.com"
EKS, EKS_NODES = "eks.amazonaws.com", "eks-nodegroup.amazonaws.com"
LINKED_ROLES: Mapping[str, str] = {
    AUTO_SCALING: "AWSServiceRoleForAutoScaling",
    EKS: "AWSServiceRoleForAmazonEKS",
    EKS_NODES: "AWSServiceRoleForAmazonEKSNodegroup",
    RDS: "AWSServiceRoleForRDS",
    SPOT: "AWSServiceRoleForEC2Spot",
}
"""Roles of AWS' services in the account, by service. The first use of a service makes its own, in the user's name."""


def account_root(aws: Aws) -> str:
    return f"arn:{aws.partition}:iam::{aws.account_id}:root"


def linked_roles(aws: Aws, services: Iterable[str]) -> list[str]:
    """The ARNs of the roles of these services."""
    root = f"arn:{aws.partition}:iam::{aws.account_id}:role/aws-service-role"
    return [f"{root}/{service}/{LINKED_ROLES[service]}" for service in services]


def makes_linked_roles(settings: Settings, services: Sequence[str], reason: str) -> Statement:
    """What an account needs in which nobody has used these services before."""
    return Statement(
        sid="LinkedRoles",
        actions=("iam:CreateServiceLinkedRole",),
        resources=linked_roles(names.chosen(settings), services),
        conditions={"StringEquals": {"iam:AWSServiceName": list(services)}},
        reason=reason,
    )


def key_policy(settings: Settings) -> list[Statement]:
    """Who may use the customer key."""
    aws = names.chosen(settings)
    linked = linked_roles(aws, (AUTO_SCALING, SPOT))
    # By condition, not as principal: KMS refuses a key whose policy names a role that the account has not made yet.
    is_linked = {"StringEquals": {"aws:PrincipalArn": linked, "kms:CallerAccount": aws.account_id}}
    use = ("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*")
    return [
        Statement(
            sid="Account",
            principal={"AWS": account_root(aws)},
            actions=("kms:*",),
            resources=("*",),
            reason="the account's own policies decide who manages and uses the key; without this nobody could mend it",
        ),
        Statement(
            sid="IssuerDocuments",
            principal={"Service": "cloudfront.amazonaws.com"},
            actions=("kms:Decrypt",),
            resources=("*",),
            conditions={
                "ArnLike": {"aws:SourceArn": f"arn:{aws.partition}:cloudfront::{aws.account_id}:distribution/*"}
            },
            reason="CloudFront reads the issuer's documents from their encrypted bucket",
        ),
        Statement(
            sid="PoolEvents",
            principal={"Service": "events.amazonaws.com"},
            actions=("kms:Decrypt", "kms:GenerateDataKey"),
            resources=("*",),
            conditions={"StringEquals": {"aws:SourceAccount": aws.account_id}},
            reason="EventBridge puts the news of leaving machines into an encrypted queue",
        ),
        Statement(
            sid="PoolDisks",
            principal={"AWS": "*"},
            actions=use,
            resources=("*",),
            conditions=is_linked,
            reason="Auto Scaling and EC2 Spot start machines with encrypted disks",
        ),
        Statement(
            sid="PoolDiskGrants",
            principal={"AWS": "*"},
            actions=("kms:CreateGrant",),
            resources=("*",),
            conditions={**is_linked, "Bool": {"kms:GrantIsForAWSResource": "true"}},
            reason="the disk of a running machine needs the key for as long as it runs",
        ),
    ]


def bucket_policy(bucket_arn: str, *more: Statement) -> list[Statement]:
    """What every bucket of ours refuses, and what one of them allows besides."""
    return [
        Statement(
            sid="TlsOnly",
            effect="Deny",
            principal={"AWS": "*"},
            actions=("s3:*",),
            resources=(bucket_arn, f"{bucket_arn}/*"),
            conditions={"Bool": {"aws:SecureTransport": "false"}},
            reason="requests without TLS",
        ),
        *more,
    ]


def issuer_reader(bucket_arn: str, distribution_arn: Any) -> Statement:
    """The one reader of the issuer's bucket: our distribution."""
    return Statement(
        sid="Distribution",
        principal={"Service": "cloudfront.amazonaws.com"},
        actions=("s3:GetObject",),
        resources=(f"{bucket_arn}/*",),
        conditions={"StringEquals": {"aws:SourceArn": distribution_arn}},
        reason="the documents are public by way of CloudFront alone",
    )


def machine(settings: Settings, pool: str, key_arn: Any) -> list[Statement]:
    """What a machine of a pool may: read its own join secrets."""
    aws = names.chosen(settings)
    own = names.parameter_arn(settings, f"{names.pool_prefix(settings, pool)}/*")
    return [reads_parameters((own,), "its mesh key and its agent token"), decrypts_parameters(aws, (own,), key_arn)]


def reads_parameters(parameters: Iterable[str], what: str) -> Statement:
    return Statement(
        sid="ReadParameters",
        actions=("ssm:GetParameter",),
        resources=tuple(parameters),
        reason=f"it joins with {what}",
    )


def decrypts_parameters(aws: Aws, parameters: Iterable[str], key_arn: Any) -> Statement:
    return Statement(
        sid="DecryptParameters",
        actions=("kms:Decrypt",),
        resources=(key_arn,),
        conditions={
            "StringEquals": {"kms:ViaService": f"ssm.{aws.region}.amazonaws.com"},
            "StringLike": {"kms:EncryptionContext:PARAMETER_ARN": list(parameters)},
        },
        reason="SSM decrypts these parameters, and no other, in the caller's name",
    )


def boundary(settings: Settings) -> list[Statement]:
    """The most that any role of ours may have, so that who makes roles cannot make one stronger than itself."""
    aws, cluster = names.chosen(settings), settings.cluster.name
    arn, path = names.boundary_arn(settings), iam.path(cluster)
    root = f"arn:{aws.partition}:iam::{aws.account_id}"
    own = [f"{root}:{kind}{path}*" for kind in ("role", "policy", "instance-profile")]
    return [
        Statement(
            sid="Services",
            actions=(*(f"{service}:*" for service in WORKLOAD_SERVICES), "sts:AssumeRole*"),
            resources=("*",),
            conditions={"StringEquals": {"aws:RequestedRegion": sorted({aws.region, names.CERTIFICATE_REGION})}},
            reason="services that the cluster uses, in its region and in that of global services",
        ),
        Statement(
            sid="Prices",
            actions=("pricing:GetProducts",),
            resources=("*",),
            reason="prices are public, and told in one region of each part of the world",
        ),
        Statement(
            sid="Identities",
            actions=("iam:*",),
            resources=(*own, f"{root}:oidc-provider/*"),
            reason="pipelines make the roles of the cluster, below its path alone",
        ),
        *_state(aws),
        makes_linked_roles(settings, tuple(LINKED_ROLES), "services that the cluster uses bring a role of their own"),
        Statement(
            sid="ReadIdentities",
            actions=("iam:Get*", "iam:List*"),
            resources=("*",),
            reason="making a role begins with looking whether it is there",
        ),
        Statement(
            sid="BoundedRolesOnly",
            effect="Deny",
            actions=("iam:CreateRole", "iam:PutRolePermissionsBoundary"),
            resources=("*",),
            conditions={"StringNotEquals": {"iam:PermissionsBoundary": arn}},
            reason="a role without this bound would be a way around it",
        ),
        Statement(
            sid="BoundStays",
            effect="Deny",
            actions=(
                "iam:CreatePolicyVersion",
                "iam:DeletePolicy",
                "iam:DeletePolicyVersion",
                "iam:DeleteRolePermissionsBoundary",
                "iam:SetDefaultPolicyVersion",
            ),
            resources=(arn, f"{root}:role{path}*"),
            reason="who is bound does not loosen the bound",
        ),
    ]


def _state(aws: Aws) -> list[Statement]:
    """The state of the stack may lie in another region than the cluster's account works in."""
    if aws.ci is None or aws.ci.state_bucket is None:
        return []
    bucket = f"arn:{aws.partition}:s3:::{aws.ci.state_bucket}"
    key = ("kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey") if aws.ci.state_key_arn else ()
    return [
        Statement(
            sid="State",
            actions=("s3:DeleteObject", "s3:GetObject", "s3:ListBucket", "s3:PutObject", *key),
            resources=(bucket, f"{bucket}/*", *((aws.ci.state_key_arn,) if aws.ci.state_key_arn else ())),
            reason="pipelines read and write the state, in whatever region it is",
        )
    ]
