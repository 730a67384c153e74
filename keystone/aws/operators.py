"""What operators in the cluster may do at AWS: by service, within the cluster's own names, path or tags.

The documents of upstream give whole services away (AmazonRDSFullAccess and the like). Here an operator reaches what is
its own: names that begin with CLUSTER-managed-, IAM's path of the operators, or their tag on things at EC2.
"""

from collections.abc import Callable, Mapping, Sequence

from keystone import iam
from keystone.aws import names, rights
from keystone.iam import Statement
from keystone.settings import Settings
from keystone.settings.operators import AwsService

TAG = "keystone-operator"
"""On all that operators make at EC2, where names are ours and not AWS'. Its value is the cluster's name."""
_INSIDE = ("NatGateway", "RouteTable", "SecurityGroup", "Subnet")
"""What is made within a network that is there already."""
_EC2 = ("InternetGateway", "NatGateway", "Route", "RouteTable", "SecurityGroup", "Subnet", "Vpc")
_RDS = ("DBCluster", "DBInstance", "DBParameterGroup", "DBSubnetGroup")
_EKS = ("Addon", "Cluster", "Nodegroup")
_IAM = ("InstanceProfile", "Policy", "Role")
KINDS: Mapping[AwsService, Sequence[str]] = {
    "ec2": ("InternetGateway", "NATGateway", "RouteTable", "SecurityGroup", "Subnet", "VPC"),
    "eks": _EKS,
    "iam": _IAM,
    "rds": _RDS,
    "s3": ("Bucket",),
}
"""The kinds of objects that the operators reconcile, by service; what is not here nobody has rights for."""


def statements(settings: Settings, service: AwsService) -> list[Statement]:
    """What an operator of the service may do."""
    made: Mapping[AwsService, Callable[[Settings], list[Statement]]] = {
        "ec2": _ec2,
        "eks": _eks,
        "iam": _iam,
        "rds": _rds,
        "s3": _s3,
    }
    return made[service](settings)


def prefix(settings: Settings) -> str:
    """How the names of all begin that operators make: the cluster's other things at AWS are out of their reach."""
    return f"{settings.cluster.name}-managed-"


def _roles(settings: Settings) -> str:
    return names.iam_arn(settings, f"role{iam.path(settings.cluster.name)}*")


def _s3(settings: Settings) -> list[Statement]:
    place = f"arn:{names.chosen(settings).partition}:s3:::{prefix(settings)}*"
    parts = ("Versioning", "Policy", "PublicAccessBlock", "OwnershipControls", "Tagging")
    whole = (
        *("Accelerate", "Analytics", "Encryption", "IntelligentTiering"),
        *("Inventory", "Lifecycle", "Metrics", "Replication"),
    )
    written = (
        *(f"s3:PutBucket{part}" for part in parts),
        "s3:PutEncryptionConfiguration",
        "s3:PutLifecycleConfiguration",
        "s3:TagResource",
    )
    read = [f"s3:Get{part}Configuration" for part in whole]
    return [
        Statement(
            sid="OwnBuckets",
            actions=["s3:CreateBucket", "s3:GetBucket*", "s3:ListBucket", *written, *read],
            resources=[place],
            reason="it makes buckets of the cluster's name; it reads no object and removes no bucket",
        ),
        Statement(
            sid="Look",
            actions=["s3:ListAllMyBuckets"],
            resources=["*"],
            reason="it looks for a bucket in the list of all; this call knows no resource",
        ),
    ]


def _rds(settings: Settings) -> list[Statement]:
    kinds = ("cluster", "cluster-pg", "db", "pg", "subgrp")
    return [
        Statement(
            sid="OwnDatabases",
            actions=[
                *(f"rds:{verb}{kind}" for verb in ("Create", "Modify") for kind in _RDS),
                "rds:AddTagsToResource",
                "rds:ListTagsForResource",
                "rds:RemoveTagsFromResource",
            ],
            resources=[names.arn(settings, "rds", f"{kind}:{prefix(settings)}*") for kind in kinds],
            reason="it makes databases of the cluster's name; who ends one does so at AWS",
        ),
        Statement(
            sid="Defaults",
            actions=[f"rds:{verb}DB{kind}" for verb in ("Create", "Modify") for kind in ("Cluster", "Instance")],
            resources=[
                *(names.arn(settings, "rds", f"{kind}:default*") for kind in ("cluster-pg", "og", "pg")),
                names.arn(settings, "rds", "subgrp:default"),
            ],
            reason="a database that names no options, parameters or subnets has those that AWS made",
        ),
        Statement(
            sid="Look",
            actions=["rds:Describe*"],
            resources=["*"],
            reason="these calls know no resource before it is there",
        ),
        rights.makes_linked_roles(settings, (rights.RDS,), "the first database of an account makes a role of AWS' own"),
    ]


def _eks(settings: Settings) -> list[Statement]:
    own = f"{prefix(settings)}*"
    return [
        Statement(
            sid="OwnClusters",
            actions=[
                *(f"eks:{verb}{kind}" for verb in ("Create", "Delete", "Describe") for kind in _EKS),
                *(f"eks:List{kind}s" for kind in _EKS if kind != "Cluster"),
                "eks:DescribeUpdate",
                "eks:TagResource",
                "eks:UntagResource",
                "eks:UpdateAddon",
                "eks:UpdateClusterConfig",
                "eks:UpdateClusterVersion",
                "eks:UpdateNodegroupConfig",
                "eks:UpdateNodegroupVersion",
            ],
            resources=[names.arn(settings, "eks", f"{kind}/{own}") for kind in ("addon", "cluster", "nodegroup")],
            reason="it makes clusters and node groups of the cluster's name",
        ),
        Statement(
            sid="HandOverRoles",
            actions=["iam:PassRole"],
            resources=[_roles(settings)],
            conditions={"StringEquals": {"iam:PassedToService": [rights.EKS, "ec2.amazonaws.com"]}},
            reason="a cluster and its nodes run under roles below the cluster's path",
        ),
        Statement(
            sid="LookAtRoles",
            actions=["iam:GetRole", "iam:ListAttachedRolePolicies"],
            resources=[
                _roles(settings),
                *rights.linked_roles(names.chosen(settings), (rights.EKS, rights.EKS_NODES)),
            ],
            reason="EKS looks in the caller's name whether the roles are there and fit",
        ),
        Statement(
            sid="Look", actions=["ec2:DescribeSubnets"], resources=["*"], reason="EKS looks at the subnets of nodes"
        ),
        rights.makes_linked_roles(
            settings,
            (rights.EKS, rights.EKS_NODES),
            "the first cluster and the first node group of an account make roles of AWS' own",
        ),
    ]


def _iam(settings: Settings) -> list[Statement]:
    path = f"{iam.path(settings.cluster.name)}operators/"
    own = [names.iam_arn(settings, f"{kind}{path}*") for kind in ("instance-profile", "policy", "role")]
    bounded = {"StringEquals": {"iam:PermissionsBoundary": names.boundary_arn(settings)}}
    return [
        Statement(
            sid="BoundedRoles",
            actions=["iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy", "iam:PutRolePermissionsBoundary"],
            resources=[one for one in own if ":role/" in one],
            conditions=bounded,
            reason="it makes roles below its own path, none stronger than the bound of the cluster",
        ),
        Statement(
            sid="OwnIdentities",
            actions=[
                *(f"iam:{verb}{kind}" for verb in ("Delete", "Get", "Tag", "Untag") for kind in _IAM),
                "iam:AddRoleToInstanceProfile",
                "iam:CreateInstanceProfile",
                "iam:CreatePolicy",
                "iam:CreatePolicyVersion",
                "iam:DeletePolicyVersion",
                "iam:DeleteRolePolicy",
                "iam:DetachRolePolicy",
                "iam:GetPolicyVersion",
                "iam:GetRolePolicy",
                "iam:ListAttachedRolePolicies",
                "iam:ListInstanceProfilesForRole",
                "iam:ListPolicyTags",
                "iam:ListPolicyVersions",
                "iam:ListRolePolicies",
                "iam:ListRoleTags",
                "iam:RemoveRoleFromInstanceProfile",
                "iam:UpdateAssumeRolePolicy",
                "iam:UpdateRole",
            ],
            resources=own,
            reason="it changes and removes what lies below its own path",
        ),
    ]


def _ec2(settings: Settings) -> list[Statement]:
    cluster = settings.cluster.name
    return [
        Statement(
            sid="Make",
            actions=[f"ec2:Create{kind}" for kind in _EC2 if kind != "Route"],
            resources=["*"],
            conditions={"StringEquals": {f"aws:RequestTag/{TAG}": cluster}},
            reason="what it makes carries its tag from the beginning",
        ),
        Statement(
            sid="MakeInside",
            actions=[f"ec2:Create{kind}" for kind in _INSIDE],
            # Tags that are asked for are those of what is made: where it is made is asked about by itself.
            resources=[names.arn(settings, "ec2", f"{kind}/*") for kind in ("elastic-ip", "subnet", "vpc")],
            conditions={"StringEquals": {f"aws:ResourceTag/{TAG}": cluster}},
            reason="what it makes lies in networks with its tag",
        ),
        Statement(
            sid="Tag",
            actions=["ec2:CreateTags"],
            resources=[names.arn(settings, "ec2", "*/*")],
            conditions={"StringLike": {"ec2:CreateAction": "Create*"}},
            reason="tags come with the making and not later, so that nothing of others becomes its own",
        ),
        Statement(
            sid="Own",
            actions=[
                *(f"ec2:Delete{kind}" for kind in _EC2),
                "ec2:AssociateRouteTable",
                "ec2:AttachInternetGateway",
                "ec2:AuthorizeSecurityGroupEgress",
                "ec2:AuthorizeSecurityGroupIngress",
                "ec2:CreateRoute",
                "ec2:DetachInternetGateway",
                "ec2:DisassociateRouteTable",
                "ec2:ModifySubnetAttribute",
                "ec2:ModifyVpcAttribute",
                "ec2:ReplaceRoute",
                "ec2:RevokeSecurityGroupEgress",
                "ec2:RevokeSecurityGroupIngress",
            ],
            resources=["*"],
            conditions={"StringEquals": {f"aws:ResourceTag/{TAG}": cluster}},
            reason="it changes and removes what carries its tag",
        ),
        Statement(sid="Look", actions=["ec2:Describe*"], resources=["*"], reason="these calls know no resource"),
    ]
