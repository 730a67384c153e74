"""keystone/engine/at_aws.py: each kind is found as its create has asked for it, and a foreign one is told apart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from keystone.aws import deployer
from keystone.engine import adoption, at_aws
from keystone.errors import KeystoneError
from tests.clouds.aws import REGION, AwsCloud, running
from tests.clouds.aws_driving import Stage
from tests.clouds.aws_life import Life, trust
from tests.clouds.aws_lives import LIVES
from twin.clouds.aws import ACCESS_KEY, SECRET_KEY
from twin.plugins import wire

ROLE, BUCKET, KEY = "aws:iam/role:Role", "aws:s3/bucket:Bucket", "aws:kms/key:Key"
VPC, RECORD = "aws:ec2/vpc:Vpc", "aws:route53/record:Record"
OURS = {"tags": {"keystone-cluster": "dev"}}
UNTAGGED = {
    "aws:cloudfront/originAccessControl:OriginAccessControl",
    "aws:ec2/route:Route",
    "aws:ec2/routeTableAssociation:RouteTableAssociation",
    "aws:kms/alias:Alias",
}
SOUGHT = [life for life in LIVES if life.token in at_aws.KINDS]


@pytest.fixture(scope="module")
def cloud() -> Iterator[AwsCloud]:
    with running() as one:
        yield one


@pytest.fixture(autouse=True)
def _session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)


@pytest.fixture(scope="module")
def stage(cloud: AwsCloud) -> Stage:
    """A cluster's account with one of each kind in it."""
    made = Stage(cloud, defaultTags=OURS)
    for life in LIVES:
        made.put(life.token, life.name, _with_tag(life))
    return made


def _with_tag(life: Life) -> dict[str, Any]:
    """A group's provider adds no tags to it: the program does."""
    if life.token != "aws:autoscaling/group:Group":
        return life.first
    return {**life.first, "tags": [{"key": "keystone-cluster", "value": "dev", "propagateAtLaunch": False}]}


def provider(cloud: AwsCloud, **more: Any) -> dict[str, Any]:
    given = {"endpoints": cloud.endpoints, "defaultTags": OURS, **more}
    return {"region": REGION, **{name: json.dumps(item) for name, item in given.items()}}


def found(cloud: AwsCloud, kind: str, inputs: dict[str, Any], **more: Any) -> str | None:
    given = {name: more.pop(name) for name in ("defaultTags",) if name in more}
    urn = f"urn:pulumi:test::probe::{kind}::it"
    one = adoption.Pending(urn=urn, kind=kind, inputs=inputs, provider=provider(cloud, **given), **more)
    return adoption.find(one, print)


def test_every_kind_of_the_program_is_looked_for_or_made_again() -> None:
    registered = {kind for kinds in deployer.SERVES.values() for kind in kinds}
    assert {kind for kind in registered if not adoption.repeatable(kind)} <= {*at_aws.KINDS}


@pytest.mark.parametrize("life", SOUGHT, ids=lambda life: life.name)
def test_what_was_made_is_found_by_what_was_asked_for(cloud: AwsCloud, stage: Stage, life: Life) -> None:
    asked = wire.reveal(stage.inputs[life.name])
    assert found(cloud, life.token, asked) == stage.ids[life.name]


@pytest.mark.parametrize("life", SOUGHT, ids=lambda life: life.name)
def test_what_the_state_has_already_is_not_what_the_update_was_making(
    cloud: AwsCloud, stage: Stage, life: Life
) -> None:
    asked, held = wire.reveal(stage.inputs[life.name]), frozenset({stage.ids[life.name]})
    assert found(cloud, life.token, asked, held=held) is None


@pytest.mark.parametrize("life", [life for life in SOUGHT if life.token not in UNTAGGED], ids=lambda life: life.name)
def test_what_carries_the_tag_of_another_cluster_is_left_alone(cloud: AwsCloud, stage: Stage, life: Life) -> None:
    asked = wire.reveal(stage.inputs[life.name])
    if isinstance(asked.get("tags"), list):
        asked = {**asked, "tags": [{"key": "keystone-cluster", "value": "other"}]}
    other = {"tags": {"keystone-cluster": "other"}}
    assert found(cloud, life.token, asked, defaultTags=other) is None


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("alias", {"targetKeyId": "another-key"}),
        ("access", {"description": "another"}),
        ("route", {"gatewayId": "igw-0"}),
    ],
)
def test_what_has_no_tags_and_leads_elsewhere_is_left_alone(
    cloud: AwsCloud, stage: Stage, name: str, other: dict[str, str]
) -> None:
    [life] = [life for life in SOUGHT if life.name == name]
    assert found(cloud, life.token, {**wire.reveal(stage.inputs[name]), **other}) is None


def test_what_is_not_there_is_made_again(cloud: AwsCloud) -> None:
    for kind in (ROLE, "aws:iam/policy:Policy", "aws:sqs/queue:Queue", "aws:ssm/parameter:Parameter"):
        assert found(cloud, kind, {"name": "nobody"}) is None
    assert found(cloud, BUCKET, {"bucket": "nobody-has-it"}) is None
    assert found(cloud, VPC, {"cidrBlock": "10.99.0.0/20"}) is None
    route = {"routeTableId": "rtb-0123456789abcdef0", "destinationCidrBlock": "0.0.0.0/0", "gatewayId": "igw-0"}
    assert found(cloud, "aws:ec2/route:Route", route) is None


def test_a_role_of_our_name_that_somebody_else_has_made_is_not_ours(cloud: AwsCloud) -> None:
    cloud.client("iam").create_role(RoleName="theirs", AssumeRolePolicyDocument=trust("ec2.amazonaws.com"))
    assert found(cloud, ROLE, {"name": "theirs"}) is None


def test_a_bucket_whose_tags_never_came_is_ours_while_it_is_empty(cloud: AwsCloud) -> None:
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="half-made", CreateBucketConfiguration={"LocationConstraint": REGION})
    assert found(cloud, BUCKET, {"bucket": "half-made"}) == "half-made"
    s3.put_object(Bucket="half-made", Key="letters", Body=b"x")
    assert found(cloud, BUCKET, {"bucket": "half-made"}) is None


def test_a_record_is_ours_if_it_says_what_was_asked_for(cloud: AwsCloud) -> None:
    zone = cloud.client("route53").create_hosted_zone(Name="example.org", CallerReference="r")["HostedZone"]["Id"]
    record = {"zoneId": zone.rpartition("/")[2], "name": "issuer.example.org", "type": "CNAME", "ttl": 300}
    made = Stage(cloud, defaultTags=OURS)
    made.put(RECORD, "record", {**record, "records": ["a.example.net"]})
    assert found(cloud, RECORD, {**record, "records": ["a.example.net"]}) == made.ids["record"]
    assert found(cloud, RECORD, {**record, "records": ["b.example.net"]}) is None
    assert found(cloud, RECORD, {**record, "name": "no.example.org", "records": ["a.example.net"]}) is None


def test_two_that_carry_our_tags_are_left_to_a_person(cloud: AwsCloud) -> None:
    ec2 = cloud.client("ec2")
    tags = [{"Key": "keystone-cluster", "Value": "dev"}]
    for _ in range(2):
        ec2.create_vpc(CidrBlock="10.98.0.0/20", TagSpecifications=[{"ResourceType": "vpc", "Tags": tags}])
    with pytest.raises(KeystoneError, match="there are 2 of that name"):
        found(cloud, VPC, {"cidrBlock": "10.98.0.0/20"})


def test_without_a_clusters_tag_nothing_proves_whose_it_is(cloud: AwsCloud, stage: Stage) -> None:
    asked = wire.reveal(stage.inputs["vpc"])
    with pytest.raises(KeystoneError, match=r"nothing tells whether what is there is ours.*--adopt"):
        found(cloud, VPC, asked, defaultTags={"tags": {}})


def test_an_aws_that_does_not_tell_is_one_line(cloud: AwsCloud) -> None:
    cloud.fail({"service": "iam", "code": "AccessDenied", "message": "You may not.", "status": 403})
    with pytest.raises(KeystoneError, match=r"AWS: cannot tell whether the Role exists .*You may not") as error:
        found(cloud, ROLE, {"name": "reader"})
    cloud.fail()
    assert "\n" not in str(error.value)


def test_a_key_that_is_to_go_is_not_there(cloud: AwsCloud) -> None:
    made = Stage(cloud, defaultTags=OURS)
    made.put(KEY, "gone", {"description": "about to go"})
    assert found(cloud, KEY, {"description": "about to go"}) == made.ids["gone"]
    made.delete("gone")
    assert found(cloud, KEY, {"description": "about to go"}) is None
