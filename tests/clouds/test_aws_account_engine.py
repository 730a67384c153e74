"""The AWS account made by the real engine: up, nothing to do, changes in place, rotation, destroy, nothing left."""

import json
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from keystone import issuer
from keystone.aws import deployer, keys, pipelines
from keystone.iam import Statement
from keystone.identities import Identities
from keystone.preview_comment.run import UNREAD
from tests.aws.sites import KARPENTER, POOL
from tests.clouds.account_stage import AccountStage
from tests.clouds.aws import REGION, AwsCloud, running
from tests.recording import ROOT_SECRET

pytestmark = [pytest.mark.twin, pytest.mark.timeout(1500)]
CI = {"repository": "team/cluster", "environments": {"site": "up", "site-preview": "preview"}}
BUCKET = f"keystone-site-issuer-210987654321-{REGION}"


@pytest.fixture
def cloud() -> Iterator[AwsCloud]:
    with running() as one:
        yield one


@pytest.fixture
def stage(tmp_path: Path, cloud: AwsCloud) -> AccountStage:
    return AccountStage(tmp_path, cloud)


def published(cloud: AwsCloud) -> list[dict[str, Any]]:
    return json.loads(cloud.client("s3").get_object(Bucket=BUCKET, Key=issuer.KEYS)["Body"].read())["keys"]


def mesh_key(cloud: AwsCloud) -> str:
    found = cloud.client("ssm").get_parameter(Name="/keystone/site/pools/spot/mesh-key", WithDecryption=True)
    return found["Parameter"]["Value"]


def group(cloud: AwsCloud, name: str = "site-spot") -> dict[str, Any]:
    [found] = cloud.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[name])[
        "AutoScalingGroups"
    ]
    return found


def beyond(requests: list[dict[str, str]], statements: Iterable[Statement]) -> set[str]:
    """What was asked of AWS and these statements do not name.

    S3 and CloudFront are asked by path, not by action; who one is anybody may ask.
    """
    granted = {action for one in statements for action in one.actions}
    asked = {f"{one['service']}:{one['action']}" for one in requests if "/" not in one["action"]}
    asked -= {"sts:GetCallerIdentity"}
    return {action for action in asked if not any(fnmatchcase(action, pattern) for pattern in granted)}


def test_the_account_lives_through_its_life(stage: AccountStage, cloud: AwsCloud) -> None:
    stage.set(ci=CI, nodePools={"spot": POOL, "batch": KARPENTER})
    made = stage.up()
    assert made.ok, made.output
    assert set(stage.outputs()["pipelineRoles"]) == {"preview", "up"}
    assert len(published(cloud)) == 1
    assert (group(cloud)["MinSize"], group(cloud)["MaxSize"], len(group(cloud)["Instances"])) == (1, 3, 1)

    # The token is where machines read it, and nowhere in what the engine keeps.
    token = Identities(ROOT_SECRET, "site").agent_token()
    parameter = cloud.client("ssm").get_parameter(Name="/keystone/site/pools/spot/agent-token", WithDecryption=True)
    assert parameter["Parameter"]["Value"] == token
    for secret in (token, token.rpartition(":")[2], ROOT_SECRET):
        assert secret not in stage.texts()

    # What the Primer's timer and the autoscaler do is not fought over.
    for key in keys.minted(stage.settings()).values():
        given = {"Name": key.parameter, "KeyId": key.key_id, "Value": "minted", "Type": "SecureString"}
        cloud.client("ssm").put_parameter(**given, Overwrite=True)
    cloud.client("autoscaling").set_desired_capacity(AutoScalingGroupName="site-spot", DesiredCapacity=2)
    again = stage.up()
    assert again.ok, again.output
    assert again.changes == {}
    refreshed = stage.refresh()
    assert refreshed.ok, refreshed.output
    assert stage.up().changes == {}
    assert mesh_key(cloud) == "minted"

    before = len(cloud.order("requests"))
    drift = stage.refresh("--exclude", UNREAD)
    assert drift.ok, drift.output
    asked = cloud.order("requests")[before:]
    settings = stage.settings()
    assert settings.aws
    assert settings.aws.ci
    assert beyond(asked, pipelines.statements(settings, settings.aws.ci, "preview", "KEY")) == set()
    assert {"DescribeAutoScalingGroups", "GetInstanceProfile", "GetQueueAttributes"} <= {one["action"] for one in asked}
    assert "ssm" not in {one["service"] for one in asked}, "a parameter is read with its value"
    assert group(cloud)["DesiredCapacity"] == 2

    # More machines in one pool, the other pool gone, and another key published beside the first.
    stage.set(ci=CI, nodePools={"spot": {**POOL, "min": 2, "max": 5}}, publishedKeyGeneration=2)
    changed = stage.up()
    assert changed.ok, changed.output
    kept = {name: steps for name, steps in changed.changes.items() if steps != ["delete"]}
    assert set(kept) == {"pool-spot-group", "aws-identity-pool-keys-rights", "aws-identity-issuer-keys"}
    assert all(steps == ["update"] for steps in kept.values())
    assert (group(cloud)["MinSize"], group(cloud)["MaxSize"]) == (2, 5)
    assert len(published(cloud)) == 2

    settings = stage.settings()
    gone = stage.destroy()
    assert gone.ok, gone.output
    assert stage.resources() == {}
    assert cloud.client("s3").list_buckets()["Buckets"] == []
    assert cloud.client("iam").list_roles()["Roles"] == []
    assert cloud.client("iam").list_open_id_connect_providers()["OpenIDConnectProviderList"] == []
    assert cloud.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"] == []
    assert cloud.client("ssm").describe_parameters()["Parameters"] == []
    assert beyond(cloud.order("requests"), deployer.statements(settings)) == set()
