"""What the person (or the pipeline) may at AWS who runs the program: what its resources need, each with a reason.

Create calls know the tags that are asked for and later calls those of the resource; Describe calls know neither
(https://docs.aws.amazon.com/service-authorization). So what has names is bounded by name, the network by region.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from keystone import iam
from keystone.aws import leftovers, names, rights
from keystone.iam import Statement
from keystone.settings import Settings

MAX_POLICY = 6144
"""Characters that IAM takes in one policy."""
LEFTOVER_SIDS = ("RemoveOurs", "RemoveOfKubernetes", "RemoveOfDrivers", "RemoveOfBalancers")
"""One statement for each tag by which a thing is known: conditions of one statement must all hold."""
READING = ("Get", "List", "Describe")
SERVES: Mapping[str, tuple[str, ...]] = {
    "Buckets": (
        "aws:s3/bucket:Bucket",
        "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
        "aws:s3/bucketObjectv2:BucketObjectv2",
        "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
        "aws:s3/bucketPolicy:BucketPolicy",
        "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
        "aws:s3/bucketVersioning:BucketVersioning",
        "aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration",
    ),
    "Issuer": (
        "aws:acm/certificate:Certificate",
        "aws:acm/certificateValidation:CertificateValidation",
        "aws:cloudfront/distribution:Distribution",
        "aws:cloudfront/originAccessControl:OriginAccessControl",
    ),
    "IssuerName": ("aws:route53/record:Record",),
    "Providers": ("aws:iam/openIdConnectProvider:OpenIdConnectProvider",),
    "Identities": (
        "aws:iam/instanceProfile:InstanceProfile",
        "aws:iam/policy:Policy",
        "aws:iam/role:Role",
        "aws:iam/rolePolicy:RolePolicy",
    ),
    "MakeKeys": ("aws:kms/key:Key",),
    "Keys": ("aws:kms/alias:Alias",),
    "Network": (
        "aws:ec2/eip:Eip",
        "aws:ec2/internetGateway:InternetGateway",
        "aws:ec2/launchTemplate:LaunchTemplate",
        "aws:ec2/natGateway:NatGateway",
        "aws:ec2/route:Route",
        "aws:ec2/routeTable:RouteTable",
        "aws:ec2/routeTableAssociation:RouteTableAssociation",
        "aws:ec2/securityGroup:SecurityGroup",
        "aws:ec2/subnet:Subnet",
        "aws:ec2/vpc:Vpc",
        "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
    ),
    "Groups": ("aws:autoscaling/group:Group", "aws:autoscaling/lifecycleHook:LifecycleHook"),
    "Queues": ("aws:sqs/queue:Queue", "aws:sqs/queuePolicy:QueuePolicy"),
    "Events": ("aws:cloudwatch/eventRule:EventRule", "aws:cloudwatch/eventTarget:EventTarget"),
    "Parameters": ("aws:ssm/parameter:Parameter",),
}
"""Which kinds of resources each statement is for; a test holds that every kind that we register is here."""


def statements(settings: Settings) -> list[Statement]:
    """The policy of who runs the program."""
    aws, cluster = names.chosen(settings), settings.cluster.name
    part, account, region = aws.partition, aws.account_id, aws.region
    path, root = iam.path(cluster), f"arn:{part}:iam::{account}"
    in_regions = {"StringEquals": {"aws:RequestedRegion": sorted({region, names.CERTIFICATE_REGION})}}
    ours = {"StringEquals": {"aws:ResourceTag/keystone-cluster": cluster}}
    found = [
        Statement(
            sid="Buckets",
            actions=(
                "s3:CreateBucket",
                "s3:Delete*",
                "s3:Get*",
                "s3:List*",
                "s3:PutBucket*",
                "s3:PutEncryptionConfiguration",
                "s3:PutLifecycleConfiguration",
                "s3:PutObject*",
                "s3:TagResource",
            ),
            resources=names.bucket_arns(settings),
            reason="the issuer's documents and the copies off site",
        ),
        Statement(
            sid="Issuer",
            actions=(
                "acm:AddTagsToCertificate",
                "acm:DeleteCertificate",
                "acm:DescribeCertificate",
                "acm:ListCertificates",
                "acm:ListTagsForCertificate",
                "acm:RequestCertificate",
                "cloudfront:CreateDistribution*",
                "cloudfront:CreateOriginAccessControl",
                "cloudfront:Delete*",
                "cloudfront:Get*",
                "cloudfront:List*",
                "cloudfront:TagResource",
                "cloudfront:UpdateDistribution",
                "cloudfront:UpdateOriginAccessControl",
            ),
            resources=("*",),
            conditions=in_regions,
            reason="certificate and distribution get their ids when they are made",
        ),
        Statement(
            sid="Providers",
            actions=(
                "iam:AddClientID*",
                "iam:CreateOpenID*",
                "iam:DeleteOpenID*",
                "iam:GetOpenID*",
                "iam:ListOpenID*",
                "iam:RemoveClientID*",
                "iam:TagOpenID*",
                "iam:UntagOpenID*",
                "iam:UpdateOpenID*",
            ),
            resources=(f"{root}:oidc-provider/{names.issuer_host(settings)}", f"{root}:oidc-provider/token.actions.*"),
            reason="AWS trusts the cluster's issuer, and GitHub's where pipelines are wanted",
        ),
        Statement(
            sid="Identities",
            actions=(
                "iam:AddRoleToInstanceProfile",
                "iam:CreateInstanceProfile",
                "iam:CreatePolicy*",
                "iam:DeleteInstanceProfile",
                "iam:DeletePolicy*",
                "iam:DeleteRole",
                "iam:DeleteRolePolicy",
                "iam:GetInstanceProfile",
                "iam:GetPolicy*",
                "iam:GetRole*",
                "iam:ListAttachedRolePolicies",
                "iam:ListInstanceProfile*",
                "iam:ListPolicyVersions",
                "iam:ListRole*",
                "iam:PutRolePolicy",
                "iam:RemoveRoleFromInstanceProfile",
                "iam:TagInstanceProfile",
                "iam:TagPolicy",
                "iam:TagRole",
                "iam:UntagInstanceProfile",
                "iam:UpdateAssumeRolePolicy",
                "iam:UpdateRole*",
            ),
            resources=tuple(f"{root}:{kind}{path}*" for kind in ("instance-profile", "policy", "role")),
            reason="roles and policies below the cluster's path, and none elsewhere",
        ),
        Statement(
            sid="BoundedRoles",
            actions=("iam:CreateRole", "iam:PutRolePermissionsBoundary"),
            resources=(f"{root}:role{path}*",),
            conditions={"StringEquals": {"iam:PermissionsBoundary": names.boundary_arn(settings)}},
            reason="a role is only made within the cluster's bound",
        ),
        Statement(
            sid="MachineRoles",
            actions=("iam:PassRole",),
            resources=(f"{root}:role{path}*",),
            conditions={"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}},
            reason="machines of a pool start with their role",
        ),
        Statement(
            sid="MakeKeys",
            actions=("kms:CreateKey", "kms:TagResource"),
            resources=("*",),
            conditions={"StringEquals": {"aws:RequestTag/keystone-cluster": cluster}},
            reason="a key has no name before it is made, but it is made with our tag",
        ),
        Statement(
            sid="Keys",
            actions=(
                "kms:CreateAlias",
                "kms:CreateGrant",
                "kms:Decrypt",
                "kms:DeleteAlias",
                "kms:Describe*",
                "kms:EnableKeyRotation",
                "kms:Encrypt",
                "kms:GenerateDataKey*",
                "kms:Get*",
                "kms:List*",
                "kms:PutKeyPolicy",
                "kms:ScheduleKeyDeletion",
                "kms:UpdateAlias",
                "kms:UpdateKeyDescription",
            ),
            resources=(names.arn(settings, "kms", "key/*"),),
            conditions=ours,
            reason="the cluster's own keys: manage them, and write parameters and objects with them",
        ),
        Statement(
            sid="KeyNames",
            actions=("kms:CreateAlias", "kms:DeleteAlias", "kms:UpdateAlias"),
            resources=tuple(names.arn(settings, "kms", f"{names.key_alias(settings)}{rest}") for rest in ("", "-*")),
            reason="an alias needs the right at both its ends, and an alias has no tags",
        ),
        Statement(
            sid="FindKeys",
            actions=("kms:ListAliases", "kms:ListKeys"),
            resources=("*",),
            reason="aliases, and keys that an interrupted update has made, are found by listing",
        ),
    ]
    if aws.hosted_zone_id:
        found.append(
            Statement(
                sid="IssuerName",
                actions=("route53:ChangeResourceRecordSets", "route53:GetHostedZone", "route53:ListResourceRecordSets"),
                resources=(f"arn:{part}:route53:::hostedzone/{aws.hosted_zone_id}",),
                reason="the issuer's name, and the proof for its certificate",
            )
        )
        found.append(
            Statement(
                sid="IssuerNameDone",
                actions=("route53:GetChange",),
                resources=(f"arn:{part}:route53:::change/*",),
                reason="a record is there when its change is done",
            )
        )
    return [*found, *_parameters(settings), *(_pools(settings) if aws.node_pools else ()), *_leftovers(settings)]


def documents(settings: Settings) -> list[dict[str, Any]]:
    """The policy as documents that IAM takes, in the order of the statements."""
    found: list[list[Statement]] = [[]]
    for one in statements(settings):
        if len(iam.document([*found[-1], one])) > MAX_POLICY:
            found.append([])
        found[-1].append(one)
    return [iam.policy(part) for part in found]


def _parameters(settings: Settings) -> list[Statement]:
    prefix = names.parameter_arn(settings, f"{names.prefix(settings)}/*")
    return [
        Statement(
            sid="Parameters",
            actions=(
                "ssm:AddTagsToResource",
                "ssm:DeleteParameter",
                "ssm:GetParameter*",
                "ssm:ListTagsForResource",
                "ssm:PutParameter",
            ),
            resources=(prefix,),
            reason="join secrets of pools and pipelines",
        ),
        Statement(
            sid="FindParameters",
            actions=("ssm:DescribeParameters",),
            resources=("*",),
            reason="a parameter's key is shown by a call that knows no resource",
        ),
    ]


def _leftovers(settings: Settings) -> list[Statement]:
    """What a destroy looks for and removes: things that others made for the cluster (keystone/aws/leftovers.py)."""
    remove = (
        "ec2:DeleteNetworkInterface",
        "ec2:DeleteSecurityGroup",
        "ec2:RevokeSecurityGroup*",
        "ec2:TerminateInstances",
        "elasticloadbalancing:DeleteLoadBalancer",
        "elasticloadbalancing:DeleteTargetGroup",
    )
    found = [
        Statement(
            sid="FindLeftovers",
            actions=(
                "ec2:DescribeInstances",
                "ec2:DescribeNetworkInterfaces",
                "ec2:DescribeSecurityGroups",
                "ec2:DescribeSnapshots",
                "ec2:DescribeVolumes",
                "elasticloadbalancing:Describe*",
            ),
            resources=("*",),
            reason="a destroy tells what controllers have made besides; these calls know no resource",
        )
    ]
    for sid, (key, value) in zip(LEFTOVER_SIDS, leftovers.tags(settings.cluster.name).items(), strict=True):
        found.append(
            Statement(
                sid=sid,
                actions=remove,
                resources=("*",),
                conditions={"StringEquals": {f"aws:ResourceTag/{key}": value}},
                reason="a destroy removes what controllers have made and what holds no data, by its tag",
            )
        )
    return found


def _pools(settings: Settings) -> list[Statement]:
    aws, cluster = names.chosen(settings), settings.cluster.name
    return [
        Statement(
            sid="Network",
            actions=(
                "ec2:AllocateAddress",
                "ec2:AssociateRouteTable",
                "ec2:AttachInternetGateway",
                "ec2:AuthorizeSecurityGroupEgress",
                "ec2:Create*",
                "ec2:Delete*",
                "ec2:Describe*",
                "ec2:DetachInternetGateway",
                "ec2:DisassociateAddress",
                "ec2:DisassociateRouteTable",
                "ec2:Get*",
                "ec2:Modify*",
                "ec2:ReleaseAddress",
                "ec2:ReplaceRoute*",
                "ec2:RevokeSecurityGroup*",
                "ec2:RunInstances",
            ),
            resources=("*",),
            conditions={"StringEquals": {"aws:RequestedRegion": aws.region}},
            reason="network and launch templates; a group is refused to who may not start its machines",
        ),
        Statement(
            sid="Groups",
            actions=("autoscaling:*",),
            resources=(names.arn(settings, "autoscaling", f"autoScalingGroup:*:autoScalingGroupName/{cluster}-*"),),
            reason="the groups of the pools, by name",
        ),
        rights.makes_linked_roles(
            settings,
            (rights.AUTO_SCALING, rights.SPOT),
            "the first group and the first spot machine of an account make a role of AWS' own",
        ),
        Statement(
            sid="FindGroups",
            actions=("autoscaling:Describe*",),
            resources=("*",),
            reason="Describe calls of Auto Scaling know no resource",
        ),
        Statement(
            sid="Queues",
            actions=(
                "sqs:CreateQueue",
                "sqs:DeleteQueue",
                "sqs:GetQueue*",
                "sqs:ListQueueTags",
                "sqs:SetQueueAttributes",
                "sqs:TagQueue",
                "sqs:UntagQueue",
            ),
            resources=(names.arn(settings, "sqs", f"keystone-{cluster}-*"),),
            reason="the queue with the news of leaving machines",
        ),
        Statement(
            sid="Events",
            actions=(
                "events:DeleteRule",
                "events:DescribeRule",
                "events:List*",
                "events:PutRule",
                "events:PutTargets",
                "events:RemoveTargets",
                "events:TagResource",
            ),
            resources=(names.arn(settings, "events", f"rule/keystone-{cluster}-*"),),
            reason="what EventBridge puts into that queue",
        ),
    ]


def reading(granted: Iterable[Statement]) -> list[Statement]:
    """The part of the statements that only looks. It decrypts nothing: no parameter's value is among it."""
    found = []
    for one in granted:
        looks = tuple(action for action in one.actions if action.partition(":")[2].startswith(READING))
        if looks:
            values = {**vars(one), "actions": looks}
            found.append(Statement(**values))
    return found
