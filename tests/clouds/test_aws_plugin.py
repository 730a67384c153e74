"""The stand-in plugin for AWS: every type lives as the official one's does, and what that refuses is refused."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from keystone.engine import at_aws, refusals
from tests.clouds.aws import ACCOUNT, REGION, AwsCloud, running
from tests.clouds.aws_driving import DEFAULT_TAGS, Stage
from tests.clouds.aws_life import Life, document, trust
from tests.clouds.aws_lives import ELSEWHERE, LIVES
from twin.clouds.aws import ACCESS_KEY, SECRET_KEY
from twin.plugins import wire
from twin.plugins.aws import extract
from twin.plugins.aws.rows import KINDS
from twin.plugins.base import ProviderError

ROLE, BUCKET, QUEUE = "aws:iam/role:Role", "aws:s3/bucket:Bucket", "aws:sqs/queue:Queue"
PARAMETER, RULE = "aws:ssm/parameter:Parameter", "aws:cloudwatch/eventRule:EventRule"
KEEPS = {
    "aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration",
    "aws:s3/bucketVersioning:BucketVersioning",
}
"""What no request can take off a bucket."""


@pytest.fixture(scope="module")
def cloud() -> Iterator[AwsCloud]:
    with running() as one:
        yield one


@pytest.fixture(scope="module")
def lived(cloud: AwsCloud) -> Stage:
    """A stage on which every life has begun and changed once; each step is checked as it happens."""
    stage = Stage(cloud)
    for life in LIVES:
        stage.live(life)
    return stage


def test_every_row_of_the_table_has_a_life() -> None:
    assert {life.token for life in LIVES} | ELSEWHERE == set(KINDS)


def test_the_fields_are_those_of_the_sdk() -> None:
    assert extract.FIELDS.read_text() == extract.text(), "run python -m twin.plugins.aws.extract"


@pytest.mark.parametrize("life", [life for life in LIVES if life.replaced], ids=lambda life: life.name)
def test_only_what_the_official_plugin_replaces_is_replaced(lived: Stage, life: Life) -> None:
    diff = lived.diff(life, **life.replaced)
    assert any(map(diff.replaces, diff.changes)), diff.changes
    if life.changed:
        diff = lived.diff(life, **life.changed)
        assert diff.changes
        assert not any(map(diff.replaces, diff.changes)), diff.changes


@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.name)
def test_an_import_finds_it_as_the_program_has_it(lived: Stage, life: Life) -> None:
    found, state, inputs = lived.imported(life.token, lived.filled(life.imported, life.name))
    assert found == lived.ids[life.name]
    checked, _ = lived.check(life.token, life.name, lived.filled(life.first))
    missing = {name for name, item in checked.items() if name not in inputs and item is not None}
    kind = KINDS[life.token]
    assert missing <= {*life.told, *kind.defaults, *kind.write_only, *kind.secret, kind.named, "region"}
    assert state[kind.named] == lived.states[life.name][kind.named] if kind.named else state


def test_everything_changes_in_place_and_goes_at_the_end(cloud: AwsCloud, lived: Stage) -> None:
    for life in LIVES:
        if life.changed:
            lived.live(life, **life.changed)
    for life in reversed(LIVES):
        lived.delete(life.name)
        if life.token not in KEEPS:
            assert lived.refresh(life.name) == "", f"{life.name} is still there"
        lived.delete(life.name)
    for service, call, key in (
        ("iam", "list_roles", "Roles"),
        ("s3", "list_buckets", "Buckets"),
        ("ec2", "describe_launch_templates", "LaunchTemplates"),
        ("autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups"),
        ("ssm", "describe_parameters", "Parameters"),
        ("efs", "describe_file_systems", "FileSystems"),
    ):
        assert getattr(cloud.client(service), call)()[key] == []


def test_a_preview_knows_inputs_and_not_what_aws_will_say(cloud: AwsCloud) -> None:
    state = Stage(cloud).preview(BUCKET, {"bucket": "known"})
    assert state["bucket"] == "known"
    assert state["arn"] == wire.UNKNOWN
    assert state["tagsAll"] == DEFAULT_TAGS


@pytest.mark.parametrize(
    ("token", "inputs", "said"),
    [
        (ROLE, {}, "Missing required property 'assumeRolePolicy'"),
        (ROLE, {"assumeRolePolicy": "{}", "nme": "x"}, "An argument named 'nme' is not expected here"),
        (ROLE, {"assumeRolePolicy": ["x"]}, "'assumeRolePolicy' must be a string, got a list"),
        (ROLE, {"assumeRolePolicy": "{}", "maxSessionDuration": "long"}, "'maxSessionDuration' must be a number"),
        (PARAMETER, {"type": "Secret", "value": "x"}, "must be one of String, StringList, SecureString, got 'Secret'"),
        (PARAMETER, {"type": "String"}, "exactly one of value, valueWo and insecureValue is needed, and none is given"),
        (PARAMETER, {"type": "String", "valueWo": "x"}, "valueWo and valueWoVersion must be given together"),
        (RULE, {}, "eventPattern or scheduleExpression is needed"),
        ("aws:ec2/route:Route", {"routeTableId": "r"}, "exactly one of destinationCidrBlock"),
        (
            "aws:ec2/launchTemplate:LaunchTemplate",
            {"metadataOptions": {"httpTokens": "always"}},
            "'metadataOptions.httpTokens' must be one of required, optional, got 'always'",
        ),
        (
            "aws:ec2/launchTemplate:LaunchTemplate",
            {"blockDeviceMappings": [{"ebs": {"size": 3}}]},
            "An argument named 'blockDeviceMappings[0].ebs.size' is not expected here",
        ),
        (
            "aws:autoscaling/group:Group",
            {"minSize": 3, "maxSize": 1, "desiredCapacity": 2, "launchTemplate": {"id": "x"}},
            "minSize must not be above maxSize, not 3 and 1",
        ),
        (
            "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
            {"securityGroupId": "sg", "ipProtocol": "-1", "cidrIpv4": "0.0.0.0/0", "toPort": 1},
            "toPort must be left out with ipProtocol -1",
        ),
        (
            "aws:cloudfront/originAccessControl:OriginAccessControl",
            {"originAccessControlOriginType": "s3", "signingBehavior": "often", "signingProtocol": "sigv4"},
            "must be one of always, never, no-override, got 'often'",
        ),
    ],
)
def test_inputs_that_the_official_plugin_refuses_are_refused(
    cloud: AwsCloud, token: str, inputs: dict[str, Any], said: str
) -> None:
    _, failures = Stage(cloud).check(token, "x", inputs)
    assert any(said in reason for _, reason in failures), failures


def test_an_unknown_value_is_never_a_fault(cloud: AwsCloud) -> None:
    inputs = {"type": wire.UNKNOWN, "value": wire.secret(wire.UNKNOWN), "tags": wire.UNKNOWN}
    assert Stage(cloud).check(PARAMETER, "x", inputs)[1] == []


def test_a_written_only_value_is_in_no_state_and_alone_no_change(cloud: AwsCloud) -> None:
    stage = Stage(cloud)
    inputs = {"name": "/wo", "type": "SecureString", "valueWo": "hush-one", "valueWoVersion": 1}
    state = stage.put(PARAMETER, "wo", inputs)
    assert "hush" not in json.dumps(state)
    assert wire.signature(stage.inputs["wo"]["valueWo"]) == wire.SECRET
    life = Life(PARAMETER, "wo", inputs)
    assert stage.diff(life, valueWo="hush-two").changes == {}
    cloud.client("ssm").put_parameter(Name="/wo", Value="from the timer", Type="SecureString", Overwrite=True)
    stage.refresh("wo")
    assert "timer" not in json.dumps(stage.states["wo"])
    assert set(stage.diff(life).changes) == set()
    # A change of something else keeps what was written since.
    stage.put(PARAMETER, "wo", {**inputs, "description": "d"})
    ssm = cloud.client("ssm")
    assert ssm.get_parameter(Name="/wo", WithDecryption=True)["Parameter"]["Value"] == "from the timer"
    stage.put(PARAMETER, "wo", {**inputs, "description": "d", "valueWo": "hush-three", "valueWoVersion": 2})
    assert ssm.get_parameter(Name="/wo", WithDecryption=True)["Parameter"]["Value"] == "hush-three"
    stage.delete("wo")


def test_a_value_is_marked_secret_wherever_it_stands(cloud: AwsCloud) -> None:
    stage = Stage(cloud)
    stage.put(PARAMETER, "value", {"name": "/v", "type": "SecureString", "value": "hush"})
    assert stage.states["value"]["value"] == wire.secret("hush")
    _, state, inputs = stage.imported(PARAMETER, "/v")
    assert state["value"] == inputs["value"] == wire.secret("hush")
    stage.delete("value")


def test_default_tags_are_on_everything_and_a_change_of_them_is_one(cloud: AwsCloud) -> None:
    stage = Stage(cloud)
    life = Life(ROLE, "tagged", {"assumeRolePolicy": trust("ec2.amazonaws.com"), "tags": {"own": "1"}})
    state = stage.live(life)
    assert state["tags"] == {"own": "1"}
    assert state["tagsAll"] == {**DEFAULT_TAGS, "own": "1"}
    other = Stage(cloud, defaultTags={"tags": {"keystone": "prod"}})
    other.states, other.inputs, other.ids, other.tokens = stage.states, stage.inputs, stage.ids, stage.tokens
    assert set(other.diff(life).changes) == {"tagsAll"}
    assert other.live(life)["tagsAll"] == {"keystone": "prod", "own": "1"}
    other.delete("tagged")


@pytest.mark.parametrize(
    ("token", "inputs", "identity"),
    [
        (ROLE, {"name": "mine", "assumeRolePolicy": trust("ec2.amazonaws.com")}, "mine"),
        ("aws:iam/policy:Policy", {"name": "p", "policy": document("s3:*")}, f"arn:aws:iam::{ACCOUNT}:policy/p"),
        (
            "aws:iam/openIdConnectProvider:OpenIdConnectProvider",
            {"url": "https://taken.example.org", "clientIdLists": ["sts.amazonaws.com"]},
            f"arn:aws:iam::{ACCOUNT}:oidc-provider/taken.example.org",
        ),
        (BUCKET, {"bucket": "taken-name"}, "taken-name"),
        (QUEUE, {"name": "taken"}, "/taken"),
        (PARAMETER, {"name": "/taken", "type": "String", "value": "x"}, "/taken"),
        ("aws:ec2/launchTemplate:LaunchTemplate", {"name": "taken", "imageId": "ami-1"}, "lt-"),
    ],
    ids=lambda item: item.rpartition(":")[2] if isinstance(item, str) else "",
)
def test_a_name_that_is_taken_is_refused_as_the_official_plugin_does_and_its_owner_is_found(
    cloud: AwsCloud, monkeypatch: pytest.MonkeyPatch, token: str, inputs: dict[str, Any], identity: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    owner, stage = Stage(cloud), Stage(cloud)
    owner.put(token, "x", inputs)
    with pytest.raises(ProviderError) as refused:
        stage.put(token, "x", inputs)
    assert "\n" not in str(refused.value)
    assert refusals.taken(token, str(refused.value))
    provider = {"region": REGION, "endpoints": json.dumps(cloud.endpoints)}
    assert identity in str(at_aws.owner(token, wire.reveal(owner.inputs["x"]), provider))
    assert owner.refresh("x"), "the foreign object was touched"
    owner.delete("x")


def test_a_rule_of_somebody_else_is_not_overwritten(cloud: AwsCloud) -> None:
    owner, inputs = Stage(cloud), {"name": "taken", "scheduleExpression": "rate(1 hour)"}
    owner.put(RULE, "x", inputs)
    with pytest.raises(ProviderError, match="there is a rule taken on the bus default"):
        Stage(cloud).put(RULE, "x", inputs)
    owner.delete("x")


def test_what_cannot_be_finished_is_taken_away_again(cloud: AwsCloud) -> None:
    cloud.fail({"service": "ssm", "action": "DescribeParameters", "code": "AccessDeniedException", "status": 400})
    with pytest.raises(ProviderError, match=r"SSM: DescribeParameters, .* AccessDeniedException: "):
        Stage(cloud).put(PARAMETER, "half", {"name": "/half", "type": "String", "value": "x"})
    cloud.fail()
    assert "/half" not in [one["Name"] for one in cloud.client("ssm").describe_parameters()["Parameters"]]


def test_credentials_of_another_account_make_nothing(cloud: AwsCloud) -> None:
    stage = Stage(cloud, allowedAccountIds=["111122223333"])
    with pytest.raises(ProviderError, match=f"belong to account {ACCOUNT}, and the provider may use only 111122223333"):
        stage.put(QUEUE, "q", {"name": "elsewhere"})
    assert "QueueUrls" not in cloud.client("sqs").list_queues(QueueNamePrefix="elsewhere")


def test_a_record_of_route_53_lives_in_its_zone(cloud: AwsCloud) -> None:
    zone = cloud.client("route53").create_hosted_zone(Name="example.org", CallerReference="x")["HostedZone"]["Id"]
    zone = zone.rpartition("/")[2]
    stage, token = Stage(cloud), "aws:route53/record:Record"
    record = {"zoneId": zone, "name": "issuer.example.org", "type": "CNAME", "ttl": 300, "records": ["a.example.net"]}
    stage.put(token, "record", record)
    stage.put(token, "record", {**record, "records": ["b.example.net"]})
    assert stage.imported(token, f"{zone}_issuer.example.org_CNAME")[0] == stage.ids["record"]
    stage.delete("record")
    assert stage.refresh("record") == ""


def test_a_certificate_that_is_issued_is_validated(cloud: AwsCloud) -> None:
    stage = Stage(cloud)
    stage.put("aws:acm/certificate:Certificate", "c", {"domainName": "a.example.org", "validationMethod": "DNS"})
    token = "aws:acm/certificateValidation:CertificateValidation"
    cloud.fail()
    state = stage.put(token, "v", {"certificateArn": "${c}"})
    assert state["certificateArn"] == stage.ids["c"]


def test_functions_answer_as_the_official_ones(cloud: AwsCloud) -> None:
    stage = Stage(cloud)
    assert stage.invoke("aws:index/getCallerIdentity:getCallerIdentity")["accountId"] == ACCOUNT
    assert stage.invoke("aws:index/getPartition:getPartition")["dnsSuffix"] == "amazonaws.com"
    assert stage.invoke("aws:index/getRegion:getRegion")["region"] == "eu-central-1"
    zones = stage.invoke("aws:index/getAvailabilityZones:getAvailabilityZones", state="available")
    assert zones["names"] == ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
    statement = {"actions": ["s3:GetObject"], "resources": ["*"], "principals": [{"type": "AWS", "identifiers": ["1"]}]}
    made = stage.invoke("aws:iam/getPolicyDocument:getPolicyDocument", statements=[statement])
    assert json.loads(made["json"])["Statement"] == [
        {"Effect": "Allow", "Principal": {"AWS": "1"}, "Action": "s3:GetObject", "Resource": "*"}
    ]
    with pytest.raises(ProviderError, match="unknown function 'aws:x/y:y'"):
        stage.invoke("aws:x/y:y")
