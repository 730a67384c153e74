"""What the controllers of pools may do at AWS."""

from typing import Any

from keystone import iam
from keystone.aws import names, rights
from keystone.iam import Statement
from keystone.settings import Settings


def _groups(settings: Settings) -> str:
    return names.arn(settings, "autoscaling", f"autoScalingGroup:*:autoScalingGroupName/{settings.cluster.name}-*")


def autoscaler(settings: Settings) -> list[Statement]:
    """https://github.com/kubernetes/autoscaler, cluster-autoscaler/cloudprovider/aws/README.md"""
    return [
        Statement(
            sid="Look",
            actions=(
                "autoscaling:DescribeAutoScalingGroups",
                "autoscaling:DescribeAutoScalingInstances",
                "autoscaling:DescribeLaunchConfigurations",
                "autoscaling:DescribeScalingActivities",
                "autoscaling:DescribeTags",
                "ec2:DescribeImages",
                "ec2:DescribeInstanceTypes",
                "ec2:DescribeLaunchTemplateVersions",
                "ec2:GetInstanceTypesFromInstanceRequirements",
            ),
            resources=("*",),
            reason="it works out what a machine of each group would be; these calls know no resource",
        ),
        Statement(
            sid="Scale",
            actions=("autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"),
            resources=(_groups(settings),),
            conditions={
                "StringEquals": {f"aws:ResourceTag/k8s.io/cluster-autoscaler/{settings.cluster.name}": "owned"}
            },
            reason="it changes the size of the groups that are given to it",
        ),
    ]


def queue_reader(settings: Settings, queue_arn: Any, key_arn: Any) -> list[Statement]:
    """Who takes the news of leaving machines."""
    aws = names.chosen(settings)
    return [
        Statement(
            sid="Hear",
            actions=("sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ReceiveMessage"),
            resources=(queue_arn,),
            reason="it hears of machines that are about to leave",
        ),
        Statement(
            sid="Decrypt",
            actions=("kms:Decrypt",),
            resources=(key_arn,),
            conditions={"StringEquals": {"kms:ViaService": f"sqs.{aws.region}.amazonaws.com"}},
            reason="the queue is encrypted with the customer key",
        ),
    ]


def termination_handler(settings: Settings, queue_arn: Any, key_arn: Any) -> list[Statement]:
    """https://github.com/aws/aws-node-termination-handler, README.md, "IAM policy"."""
    return [
        *queue_reader(settings, queue_arn, key_arn),
        Statement(
            sid="Look",
            actions=(
                "autoscaling:DescribeAutoScalingInstances",
                "autoscaling:DescribeTags",
                "ec2:DescribeInstances",
            ),
            resources=("*",),
            reason="it looks whether a machine is one of ours; these calls know no resource",
        ),
        Statement(
            sid="LetGo",
            actions=("autoscaling:CompleteLifecycleAction", "autoscaling:RecordLifecycleActionHeartbeat"),
            resources=(_groups(settings),),
            reason="a machine goes when it is drained, not before",
        ),
    ]


def lifecycle() -> list[Statement]:
    """https://github.com/kubernetes/cloud-provider-aws, docs/prerequisites.md, of which one loop runs."""
    return [
        Statement(
            sid="Look",
            actions=("ec2:DescribeAvailabilityZones", "ec2:DescribeInstances", "ec2:DescribeRegions"),
            resources=("*",),
            reason="it looks whether the machine of a silent node is still there; these calls know no resource",
        )
    ]


def karpenter(settings: Settings, queue_arn: Any, key_arn: Any) -> list[Statement]:
    """https://github.com/aws/karpenter-provider-aws, cloudformation.yaml, without what EKS alone needs."""
    aws, cluster = names.chosen(settings), settings.cluster.name
    region = {"StringEquals": {"aws:RequestedRegion": aws.region}}
    made = {
        "StringEquals": {f"aws:RequestTag/kubernetes.io/cluster/{cluster}": "owned"},
        "StringLike": {"aws:RequestTag/karpenter.sh/nodepool": "*"},
    }
    owned = {
        "StringEquals": {f"aws:ResourceTag/kubernetes.io/cluster/{cluster}": "owned"},
        "StringLike": {"aws:ResourceTag/karpenter.sh/nodepool": "*"},
    }
    ec2 = f"arn:{aws.partition}:ec2:{aws.region}"
    kinds = ("fleet", "instance", "volume", "network-interface", "launch-template", "spot-instances-request")
    role = names.iam_arn(settings, f"role{iam.path(cluster)}{cluster}-pool-*")
    profiles = names.iam_arn(settings, "instance-profile/*")
    return [
        Statement(
            sid="From",
            actions=("ec2:CreateFleet", "ec2:RunInstances"),
            resources=(
                f"{ec2}::image/*",
                f"{ec2}::snapshot/*",
                *(f"{ec2}:*:{kind}/*" for kind in ("security-group", "subnet", "capacity-reservation")),
            ),
            reason="a machine starts from an image, in a subnet, behind a security group",
        ),
        Statement(
            sid="FromTemplate",
            actions=("ec2:CreateFleet", "ec2:RunInstances"),
            resources=(f"{ec2}:*:launch-template/*",),
            conditions=owned,
            reason="a machine starts from a template that Karpenter made",
        ),
        Statement(
            sid="Start",
            actions=("ec2:CreateFleet", "ec2:CreateLaunchTemplate", "ec2:RunInstances"),
            resources=tuple(f"{ec2}:*:{kind}/*" for kind in kinds),
            conditions=made,
            reason="what it makes carries the cluster's name",
        ),
        Statement(
            sid="TagNew",
            actions=("ec2:CreateTags",),
            resources=tuple(f"{ec2}:*:{kind}/*" for kind in kinds),
            conditions={
                **made,
                "StringEquals": {
                    **made["StringEquals"],
                    "ec2:CreateAction": ["CreateFleet", "CreateLaunchTemplate", "RunInstances"],
                },
            },
            reason="tags come with what they are on",
        ),
        Statement(
            sid="TagOwn",
            actions=("ec2:CreateTags",),
            resources=(f"{ec2}:*:instance/*",),
            conditions={**owned, "ForAllValues:StringEquals": {"aws:TagKeys": ["karpenter.sh/nodeclaim", "Name"]}},
            reason="a machine is named when its node is known",
        ),
        Statement(
            sid="End",
            actions=("ec2:DeleteLaunchTemplate", "ec2:TerminateInstances"),
            resources=(f"{ec2}:*:instance/*", f"{ec2}:*:launch-template/*"),
            conditions=owned,
            reason="it ends what it started",
        ),
        Statement(
            sid="Look",
            actions=(
                "ec2:DescribeCapacityReservations",
                "ec2:DescribeImages",
                "ec2:DescribeInstances",
                "ec2:DescribeInstanceStatus",
                "ec2:DescribeInstanceTypeOfferings",
                "ec2:DescribeInstanceTypes",
                "ec2:DescribeLaunchTemplates",
                "ec2:DescribeSecurityGroups",
                "ec2:DescribeSpotPriceHistory",
                "ec2:DescribeSubnets",
            ),
            resources=("*",),
            conditions=region,
            reason="Describe calls know no resource",
        ),
        rights.makes_linked_roles(
            settings, (rights.SPOT,), "the first spot machine of an account makes a role of AWS' own"
        ),
        Statement(sid="Prices", actions=("pricing:GetProducts",), resources=("*",), reason="it takes the cheapest"),
        Statement(
            sid="MachineRole",
            actions=("iam:PassRole",),
            resources=(role,),
            conditions={"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}},
            reason="its machines get the role of their pool",
        ),
        Statement(
            sid="MachineProfile",
            actions=("iam:GetInstanceProfile", "iam:ListInstanceProfiles"),
            resources=(profiles,),
            reason="it looks for the pool's profile, and before a pool goes for profiles of its own making",
        ),
        Statement(
            sid="Disks",
            actions=(
                "kms:CreateGrant",
                "kms:Decrypt",
                "kms:DescribeKey",
                "kms:GenerateDataKeyWithoutPlaintext",
                "kms:ReEncrypt*",
            ),
            resources=(key_arn,),
            conditions={"StringEquals": {"kms:ViaService": f"ec2.{aws.region}.amazonaws.com"}},
            reason="the disks of its machines are encrypted with the customer key",
        ),
        *queue_reader(settings, queue_arn, key_arn),
    ]
