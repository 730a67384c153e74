"""An update of AWS that is killed: the next `keystone up` finds what was made by its name, and makes nothing twice."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clouds.aws import ACCOUNT, REGION, AwsCloud, running
from tests.engine import REPOSITORY, Engine
from tests.waiting import gone, until
from twin.clouds.aws import ACCESS_KEY, SECRET_KEY

pytestmark = [pytest.mark.timeout(900)]
RUN_SECONDS = 180
SLOW = 15
SENT = 4
PROGRAM = f"""
import json
import pulumi
import pulumi_aws as aws

scene = json.load(open("scene.json"))
provider = aws.Provider(
    "aws",
    region="{REGION}",
    allowed_account_ids=["{ACCOUNT}"],
    s3_use_path_style=True,
    endpoints=[aws.ProviderEndpointArgs(**dict.fromkeys(("iam", "s3", "sts"), scene["url"]))],
)
trust = {{
    "Version": "2012-10-17",
    "Statement": [
        {{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {{"Service": "ec2.amazonaws.com"}}}}
    ],
}}
opts = pulumi.ResourceOptions(provider=provider)
aws.iam.Role("reader", name="site-reader", assume_role_policy=json.dumps(trust), opts=opts)
"""


@pytest.fixture
def cloud() -> Iterator[AwsCloud]:
    with running() as one:
        yield one


@pytest.fixture
def stage(tmp_path: Path, cloud: AwsCloud) -> Engine:
    made = Engine(
        tmp_path,
        PROGRAM,
        names=("aws",),
        environment={
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONWARNINGS": "ignore",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        },
    )
    (made.workdir / "scene.json").write_text(json.dumps({"url": cloud.url}))
    return made


def roles(cloud: AwsCloud) -> list[str]:
    return [one["RoleName"] for one in cloud.client("iam").list_roles()["Roles"]]


def creating(stage: Engine) -> bool:
    """Whether the backend knows that the role is being created."""
    [file] = (stage.root / "state/.pulumi/stacks").glob(f"*/{stage.stack}.json")
    return '"creating"' in file.read_text()


@pytest.mark.parametrize("arrives", [True, False])
def test_what_a_killed_engine_was_making_is_found_or_made(stage: Engine, cloud: AwsCloud, arrives: bool) -> None:
    fault = {"service": "iam", "action": "CreateRole", "delay": SLOW, "times": 1}
    lost = {"code": "ServiceFailure", "message": "lost", "status": 500}
    cloud.fail(fault if arrives else {**fault, **lost, "times": 99})
    update = stage.start()
    until(lambda: creating(stage), "the create that waits", RUN_SECONDS)
    time.sleep(SENT)  # the engine notes it before the plugin is asked
    plugin = update.plugin("aws")
    update.kill()
    until(lambda: gone(plugin), "the end of the plugin, which must not repeat its request", SLOW - SENT)
    assert not update.wait(RUN_SECONDS).ok
    until(lambda: "CreateRole" in cloud.actions("iam"), "the late answer", SLOW + 20)
    cloud.fail()
    assert roles(cloud) == (["site-reader"] if arrives else [])

    done = stage.keystone("up")
    assert done.ok, done.output
    assert f"found what it had made: {'reader' if arrives else 'nothing'}" in done.output
    assert roles(cloud) == ["site-reader"]
    assert stage.up(timeout=RUN_SECONDS).changes == {}
    destroyed = stage.keystone("destroy")
    assert destroyed.ok, destroyed.output
    assert roles(cloud) == []
