"""What the drivers of volumes may do at AWS: with what they made for this cluster, known by its tag."""

from collections.abc import Mapping
from typing import Any

from keystone.aws import names
from keystone.iam import Statement
from keystone.settings import Settings

CLUSTER_TAG = "ebs.csi.aws.com/cluster-name"
EFS_TAG = "efs.csi.aws.com/cluster"
EBS, EFS = "ebs-csi-controller-sa", "efs-csi-controller-sa"
"""The service accounts of the drivers' charts, in kube-system."""
ROLES: Mapping[str, str] = {EBS: "ebs-csi", EFS: "efs-csi"}
NAMESPACE = "kube-system"


def ebs(settings: Settings, key_arn: Any) -> list[Statement]:
    """https://github.com/kubernetes-sigs/aws-ebs-csi-driver, docs/example-iam-policy.json: narrowed to our tag."""
    cluster = settings.cluster.name
    places = [f"arn:{names.chosen(settings).partition}:ec2:{names.chosen(settings).region}::snapshot/*"]
    made = [names.arn(settings, "ec2", "volume/*"), *places]
    own = {"StringEquals": {f"aws:ResourceTag/{CLUSTER_TAG}": cluster}}
    return [
        Statement(
            sid="Make",
            actions=["ec2:CreateSnapshot", "ec2:CreateVolume"],
            resources=made,
            conditions={"StringEquals": {f"aws:RequestTag/{CLUSTER_TAG}": cluster}},
            reason="what it makes carries the cluster's tag from the beginning",
        ),
        Statement(
            sid="FromOwn",
            actions=["ec2:CreateSnapshot", "ec2:CreateVolume"],
            resources=made,
            conditions=own,
            reason="a snapshot is made of a volume, a volume of a snapshot, each of this cluster",
        ),
        Statement(
            sid="Tag",
            actions=["ec2:CreateTags"],
            resources=made,
            conditions={"StringEquals": {"ec2:CreateAction": ["CreateSnapshot", "CreateVolume"]}},
            reason="tags come with the making and not later, so that nothing of others becomes its own",
        ),
        Statement(
            sid="Own",
            actions=[
                "ec2:AttachVolume",
                "ec2:DeleteSnapshot",
                "ec2:DeleteVolume",
                "ec2:DetachVolume",
                "ec2:EnableFastSnapshotRestores",
                "ec2:ModifyVolume",
            ],
            resources=made,
            conditions=own,
            reason="it attaches, changes and removes what carries the tag",
        ),
        Statement(
            sid="Machines",
            actions=["ec2:AttachVolume", "ec2:DetachVolume"],
            resources=[names.arn(settings, "ec2", "instance/*")],
            conditions={"StringLike": {"aws:ResourceTag/keystone-parameters": f"{names.prefix(settings)}/pools/*"}},
            reason="volumes are attached to machines of the cluster's pools",
        ),
        Statement(
            sid="Look",
            actions=[
                "ec2:DescribeAvailabilityZones",
                "ec2:DescribeInstances",
                "ec2:DescribeSnapshots",
                "ec2:DescribeTags",
                "ec2:DescribeVolumes",
                "ec2:DescribeVolumesModifications",
                "ec2:DescribeVolumeStatus",
            ],
            resources=["*"],
            reason="these calls know no resource",
        ),
        Statement(
            sid="Encrypt",
            actions=["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncrypt*"],
            resources=[key_arn],
            reason="volumes are encrypted under the cluster's key",
        ),
        Statement(
            sid="LendKey",
            actions=["kms:CreateGrant"],
            resources=[key_arn],
            conditions={"Bool": {"kms:GrantIsForAWSResource": "true"}},
            reason="EC2 itself opens a volume when it is attached",
        ),
    ]


def efs(settings: Settings, file_system: str) -> list[Statement]:
    """https://github.com/kubernetes-sigs/aws-efs-csi-driver, docs/iam-policy-example.json: of one file system."""
    place = names.arn(settings, "elasticfilesystem", f"file-system/{file_system}")
    points = names.arn(settings, "elasticfilesystem", "access-point/*")
    return [
        Statement(
            sid="Look",
            actions=["elasticfilesystem:DescribeAccessPoints", "elasticfilesystem:DescribeFileSystems"],
            resources=[place, points],
            reason="it looks for the file system and its access points",
        ),
        Statement(
            sid="LookAround",
            actions=["ec2:DescribeAvailabilityZones", "elasticfilesystem:DescribeMountTargets"],
            resources=["*"],
            reason="it finds the mount target of a node's zone",
        ),
        Statement(
            sid="Make",
            actions=["elasticfilesystem:CreateAccessPoint"],
            resources=[place],
            conditions={"StringEquals": {f"aws:RequestTag/{EFS_TAG}": "true"}},
            reason="each volume is an access point of its own",
        ),
        Statement(
            sid="Tag",
            actions=["elasticfilesystem:TagResource"],
            resources=[points],
            conditions={"StringEquals": {f"aws:ResourceTag/{EFS_TAG}": "true"}},
            reason="it keeps the tags of its access points",
        ),
        Statement(
            sid="Remove",
            actions=["elasticfilesystem:DeleteAccessPoint"],
            resources=[points],
            conditions={"StringEquals": {f"aws:ResourceTag/{EFS_TAG}": "true"}},
            reason="a volume that is released goes",
        ),
    ]
