"""What AWS is really asked for by who acts for the cluster: each request is let in by the policies of its role.

A request is one line for each resource that AWS asks about, with what it knows of that resource alone: tags that are
asked for are those of what is made, and not of where it is made (https://docs.aws.amazon.com/service-authorization).
"""

from typing import Any

import pytest

from keystone import iam
from keystone.aws import controllers, deployer, operators, pipelines, rights
from keystone.iam import Statement
from keystone.settings import Settings, parse
from keystone.settings.operators import AwsService
from tests.aws.sites import KARPENTER, document_of, site
from twin.clouds.aws import access

HERE = "eu-central-1:123456789012"
IAM = "arn:aws:iam::123456789012"
KEY = f"arn:aws:kms:{HERE}:key/1"
REGION = {"aws:requestedregion": "eu-central-1"}
ASKED = {"aws:RequestTag/keystone-operator": "site", "ec2:CreateAction": "CreateSubnet"}
OURS = {"aws:ResourceTag/keystone-operator": "site"}


def let_in(settings: Settings, statements: list[Statement], action: str, resource: str, **context: Any) -> bool:
    """By the role's own policy and by the bound of all roles."""
    policies = iam.policy(statements), iam.policy(rights.boundary(settings))
    return all(access.allowed([one], action, resource, REGION | context) for one in policies)


@pytest.mark.parametrize(
    ("service", "action", "resource", "context"),
    [
        ("s3", "s3:ListAllMyBuckets", "*", {}),
        ("s3", "s3:CreateBucket", "arn:aws:s3:::site-managed-a", {}),
        ("s3", "s3:TagResource", "arn:aws:s3:::site-managed-a", {}),
        *(
            ("s3", f"s3:Get{part}Configuration", "arn:aws:s3:::site-managed-a", {})
            for part in ("Analytics", "IntelligentTiering", "Inventory", "Metrics", "Replication")
        ),
        ("rds", "rds:CreateDBInstance", f"arn:aws:rds:{HERE}:db:site-managed-a", {}),
        ("rds", "rds:CreateDBInstance", f"arn:aws:rds:{HERE}:og:default:postgres-17", {}),
        ("rds", "rds:CreateDBInstance", f"arn:aws:rds:{HERE}:pg:default.postgres17", {}),
        ("rds", "rds:CreateDBCluster", f"arn:aws:rds:{HERE}:cluster-pg:default.aurora-postgresql17", {}),
        ("rds", "rds:CreateDBInstance", f"arn:aws:rds:{HERE}:subgrp:default", {}),
        ("eks", "iam:GetRole", f"{IAM}:role/keystone/site/nodes", {}),
        ("eks", "iam:ListAttachedRolePolicies", f"{IAM}:role/keystone/site/nodes", {}),
        ("eks", "iam:PassRole", f"{IAM}:role/keystone/site/nodes", {"iam:PassedToService": "eks.amazonaws.com"}),
        (
            "eks",
            "iam:CreateServiceLinkedRole",
            f"{IAM}:role/aws-service-role/eks-nodegroup.amazonaws.com/AWSServiceRoleForAmazonEKSNodegroup",
            {"iam:AWSServiceName": "eks-nodegroup.amazonaws.com"},
        ),
        ("iam", "iam:ListRoleTags", f"{IAM}:role/keystone/site/operators/a", {}),
        ("iam", "iam:ListPolicyTags", f"{IAM}:policy/keystone/site/operators/a", {}),
        ("ec2", "ec2:CreateSubnet", f"arn:aws:ec2:{HERE}:subnet/*", ASKED),
        ("ec2", "ec2:CreateSubnet", f"arn:aws:ec2:{HERE}:vpc/vpc-1", OURS),
        ("ec2", "ec2:CreateSecurityGroup", f"arn:aws:ec2:{HERE}:vpc/vpc-1", OURS),
        ("ec2", "ec2:CreateRouteTable", f"arn:aws:ec2:{HERE}:vpc/vpc-1", OURS),
        ("ec2", "ec2:CreateNatGateway", f"arn:aws:ec2:{HERE}:subnet/subnet-1", OURS),
        ("ec2", "ec2:CreateTags", f"arn:aws:ec2:{HERE}:subnet/*", ASKED),
    ],
)
def test_an_operator_may_do_what_its_objects_ask_for(
    service: AwsService, action: str, resource: str, context: dict[str, Any]
) -> None:
    settings = site()
    assert let_in(settings, operators.statements(settings, service), action, resource, **context)


@pytest.mark.parametrize(
    ("service", "action", "resource"),
    [
        ("ec2", "ec2:CreateSubnet", f"arn:aws:ec2:{HERE}:vpc/vpc-of-others"),
        ("rds", "rds:ModifyDBInstance", f"arn:aws:rds:{HERE}:db:theirs"),
        ("eks", "iam:PassRole", f"{IAM}:role/keystone/site/nodes"),
        ("s3", "s3:GetBucketPolicy", "arn:aws:s3:::theirs"),
    ],
)
def test_an_operator_does_nothing_to_things_of_others(service: AwsService, action: str, resource: str) -> None:
    settings = site()
    assert not let_in(settings, operators.statements(settings, service), action, resource)


@pytest.mark.parametrize(
    ("action", "resource", "context"),
    [
        # Before a class of machines goes, Karpenter looks for profiles that it may have made for it.
        ("iam:ListInstanceProfiles", f"{IAM}:instance-profile/karpenter/eu-central-1/site/1/", {}),
        ("iam:GetInstanceProfile", f"{IAM}:instance-profile/site_1234567890", {}),
        ("iam:GetInstanceProfile", f"{IAM}:instance-profile/keystone/site/site-pool-spot", {}),
        ("ec2:DescribeInstanceStatus", "*", {}),
        ("kms:Decrypt", KEY, {"kms:ViaService": "ec2.eu-central-1.amazonaws.com"}),
    ],
)
def test_karpenter_may_do_what_it_does(action: str, resource: str, context: dict[str, Any]) -> None:
    settings = site(nodePools={"spot": KARPENTER})
    assert let_in(settings, controllers.karpenter(settings, "QUEUE", KEY), action, resource, **context)


@pytest.mark.parametrize(
    "action", ["ec2:ReplaceRoute", "ec2:ReplaceRouteTableAssociation", "ec2:AssociateRouteTable", "ec2:CreateRoute"]
)
def test_a_network_may_get_a_gateway_per_zone_later(action: str) -> None:
    settings = site()
    assert let_in(settings, deployer.statements(settings), action, f"arn:aws:ec2:{HERE}:route-table/rtb-1")


@pytest.mark.parametrize("bucket", [None, "copies-of-ours"])
def test_who_runs_the_program_may_make_the_bucket_of_copies_by_any_name(bucket: str | None) -> None:
    settings = parse({**document_of(), "backup": {"bucket": bucket} if bucket else {}})
    place = f"arn:aws:s3:::{bucket or 'keystone-site-backup-123456789012-eu-central-1'}"
    granted = deployer.statements(settings)
    assert let_in(settings, granted, "s3:CreateBucket", place)
    assert let_in(settings, granted, "s3:PutObject", f"{place}/catalogue.json")
    assert not let_in(settings, granted, "s3:CreateBucket", "arn:aws:s3:::theirs")


@pytest.mark.parametrize("kind", ["preview", "up"])
def test_a_pipeline_reaches_the_state_in_another_region(kind: str) -> None:
    key = "arn:aws:kms:eu-west-1:123456789012:key/1"
    ci = {"repository": "t/c", "environments": {"a": kind}, "stateBucket": "team-state", "stateKeyArn": key}
    settings = site(ci=ci)
    assert settings.aws
    assert settings.aws.ci
    granted = pipelines.statements(settings, settings.aws.ci, kind, KEY)
    there = {"aws:requestedregion": "eu-west-1"}
    assert let_in(settings, granted, "s3:GetObject", "arn:aws:s3:::team-state/.pulumi/stacks/site.json", **there)
    assert let_in(settings, granted, "kms:Decrypt", key, **there)
    assert not let_in(settings, granted, "s3:GetObject", "arn:aws:s3:::keystone-site-x", **there)
