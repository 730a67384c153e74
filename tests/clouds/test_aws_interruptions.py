"""An update of AWS that is killed: the next `keystone up` finds what was made, and makes nothing twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clouds.aws import ACCOUNT, REGION, AwsCloud, running
from tests.engine import REPOSITORY, Engine
from tests.waiting import gone, until
from twin.clouds.aws import ACCESS_KEY, SECRET_KEY

pytestmark = [pytest.mark.timeout(900)]
RUN_SECONDS = 180
PROGRAM = f"""
import json
import pulumi
import pulumi_aws as aws

scene = json.load(open("scene.json"))
provider = aws.Provider(
    "aws",
    region="{REGION}",
    allowed_account_ids=["{ACCOUNT}"],
    default_tags={{"tags": {{"keystone-cluster": "site"}}}},
    s3_use_path_style=True,
    endpoints=[aws.ProviderEndpointArgs(**dict.fromkeys(("ec2", "iam", "kms", "s3", "sts"), scene["url"]))],
)
trust = {{
    "Version": "2012-10-17",
    "Statement": [
        {{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {{"Service": "ec2.amazonaws.com"}}}}
    ],
}}
opts = pulumi.ResourceOptions(provider=provider)
match scene["makes"]:
    case "role":
        aws.iam.Role("it", name="site-reader", assume_role_policy=json.dumps(trust), opts=opts)
    case "vpc":
        aws.ec2.Vpc("it", cidr_block="10.60.0.0/20", tags={{"Name": "site-pools"}}, opts=opts)
    case "key":
        aws.kms.Key("it", description="Keystone cluster site", opts=opts)
"""


@dataclass(frozen=True)
class Story:
    """What is being made; `made` lists those that are there."""

    makes: str
    service: str
    action: str
    made: Callable[[AwsCloud], list[str]]

    def __str__(self) -> str:
        return self.makes


def roles(cloud: AwsCloud) -> list[str]:
    return [one["RoleName"] for one in cloud.client("iam").list_roles()["Roles"]]


def networks(cloud: AwsCloud) -> list[str]:
    return [one["VpcId"] for one in cloud.client("ec2").describe_vpcs()["Vpcs"] if not one["IsDefault"]]


def keys(cloud: AwsCloud) -> list[str]:
    kms = cloud.client("kms")
    about = [kms.describe_key(KeyId=one["KeyId"])["KeyMetadata"] for one in kms.list_keys()["Keys"]]
    return [one["KeyId"] for one in about if one["KeyState"] == "Enabled"]


ROLE = Story("role", "iam", "CreateRole", roles)
VPC = Story("vpc", "ec2", "CreateVpc", networks)
KEY = Story("key", "kms", "CreateKey", keys)


@pytest.fixture
def cloud() -> Iterator[AwsCloud]:
    with running() as one:
        yield one


@pytest.fixture
def stage(tmp_path: Path) -> Engine:
    environment = {
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONWARNINGS": "ignore",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    }
    return Engine(tmp_path, PROGRAM, names=("aws",), environment=environment)


def kill_while_creating(stage: Engine, cloud: AwsCloud, story: Story, *, arrives: bool) -> None:
    """Kill the engine while its request waits for an answer. Whether it arrives: made, but nobody is told."""
    (stage.workdir / "scene.json").write_text(json.dumps({"url": cloud.url, "makes": story.makes}))
    fault = {"service": story.service, "action": story.action, "hold": True, "times": 99}
    lost = {"code": "ServiceFailure", "message": "lost", "status": 500}
    cloud.fail(fault if arrives else {**fault, **lost})
    update = stage.start()
    until(cloud.held, "the request that waits for its answer", RUN_SECONDS)
    plugin = update.plugin("aws")
    update.kill()
    until(lambda: gone(plugin), "the end of the plugin, which must not repeat its request")
    assert not update.wait(RUN_SECONDS).ok
    cloud.fail()
    until(lambda: story.action in cloud.actions(story.service), "the late answer")


@pytest.mark.parametrize(("story", "arrives"), [(ROLE, True), (ROLE, False), (VPC, True), (KEY, True)], ids=str)
def test_what_a_killed_engine_was_making_is_found_or_made(
    stage: Engine, cloud: AwsCloud, story: Story, arrives: bool
) -> None:
    kill_while_creating(stage, cloud, story, arrives=arrives)
    before = story.made(cloud)
    assert len(before) == int(arrives)

    done = stage.keystone("up")
    assert done.ok, done.output
    assert ("found what it had made: it" if arrives else "doing again: it (creating)") in done.output
    assert len(story.made(cloud)) == 1
    assert story.made(cloud) == before or not arrives
    assert stage.up(timeout=RUN_SECONDS).changes == {}
    destroyed = stage.keystone("destroy")
    assert destroyed.ok, destroyed.output
    assert story.made(cloud) == []


def test_what_somebody_else_has_made_under_our_name_meanwhile_is_refused_and_stays(
    stage: Engine, cloud: AwsCloud
) -> None:
    kill_while_creating(stage, cloud, ROLE, arrives=False)
    cloud.client("iam").create_role(RoleName="site-reader", AssumeRolePolicyDocument="{}")
    refused = stage.keystone("up")
    assert not refused.ok
    assert "pulumi import 'aws:iam/role:Role' 'it' 'site-reader'" in refused.output
    destroyed = stage.keystone("destroy")
    assert destroyed.ok, destroyed.output
    assert roles(cloud) == ["site-reader"]
