"""The stand-in plugin for AWS under the real engine: whole lives, and what goes wrong on the way."""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.clouds.aws import ACCOUNT, REGION, AwsCloud, running
from tests.clouds.aws_life import document, trust
from tests.clouds.aws_lives import LIVES
from tests.engine import REPOSITORY, Background, Engine, Run, is_secret
from tests.waiting import until
from twin.clouds.aws import ACCESS_KEY, SECRET_KEY
from twin.env import aws_variables

pytestmark = [pytest.mark.twin, pytest.mark.timeout(600)]
UP_SECONDS = 300
PROGRAM = """
import json, re
from pathlib import Path
import pulumi, pulumi_aws

settings = json.loads(Path("provider.json").read_text())
aws = pulumi_aws.Provider("aws", **settings)
made = {}

def fill(value):
    if isinstance(value, dict):
        return {key: fill(item) for key, item in value.items()}
    if isinstance(value, list):
        return [fill(item) for item in value]
    found = re.search(r"\\$\\{(\\w+)(?:\\.(\\w+))?\\}", value) if isinstance(value, str) else None
    if not found:
        return value
    one = made[found[1]]
    return getattr(one, found[2]) if found[2] else one.id

for row in json.loads(Path("rows.json").read_text()):
    inputs = fill(row["inputs"])
    for name in row["secret"]:
        inputs[name] = pulumi.Output.secret(inputs[name])
    properties = {name: None for name in row["outputs"]} | inputs
    options = pulumi.ResourceOptions(provider=aws)
    made[row["name"]] = pulumi.CustomResource(row["token"], row["name"], properties, options)
"""
OUTPUTS = ("arn", "name", "bucket", "bucketRegionalDomainName", "keyId", "targetId")


class Stage:
    """A project with rows for resources, under an engine of its own."""

    def __init__(self, root: Path, cloud: AwsCloud, **settings: Any) -> None:
        self.cloud = cloud
        self.engine = Engine(root, PROGRAM, names=("aws",), environment=self.variables())
        given = {
            "region": REGION,
            "allowed_account_ids": [ACCOUNT],
            "default_tags": {"tags": {"keystone": "dev"}},
            "endpoints": cloud.endpoints,
            "s3_use_path_style": True,
            **settings,
        }
        (self.engine.workdir / "provider.json").write_text(json.dumps(given))

    def variables(self) -> dict[str, str]:
        return {**aws_variables(), "PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "ignore"}

    def rows(self, *rows: tuple[str, str, dict[str, Any]]) -> None:
        """The program from now on."""
        written = [
            {
                "token": token,
                "name": name,
                "inputs": {key: item for key, item in inputs.items() if item is not None},
                "outputs": [one for one in OUTPUTS if one not in inputs],
                "secret": [key for key in ("value", "valueWo") if key in inputs],
            }
            for token, name, inputs in rows
        ]
        (self.engine.workdir / "rows.json").write_text(json.dumps(written))

    def lives(self, what: dict[str, str]) -> None:
        """Every life, in the state `changed` or `replaced` where `what` says so by name, or for all by "*"."""
        rows = []
        for life in LIVES:
            stage = what.get(life.name) or what.get("*", "first")
            more = {"first": {}, "changed": life.changed, "replaced": {**life.changed, **life.replaced}}[stage]
            rows.append((life.token, life.name, {**life.first, **more}))
        self.rows(*rows)

    def up(self) -> Run:
        return self.engine.up(timeout=UP_SECONDS)

    def texts(self) -> str:
        """The whole state as it lies on the disk, and every log."""
        files = [
            path
            for path in self.engine.root.rglob("*")
            if path.is_file() and path.suffix in (".json", ".jsonl", ".out")
        ]
        return "\n".join(path.read_text(errors="replace") for path in files if path.name != "rows.json")


@dataclass
class Story:
    """One life of everything, told once."""

    created: Run
    state: dict[str, dict[str, Any]]
    again: Run
    previewed: Run
    changed: Run
    drifted: Run
    repaired: Run
    replaced: Run
    destroyed: Run
    texts: str
    left: dict[str, int]


@pytest.fixture(scope="module")
def cloud() -> Iterator[AwsCloud]:
    with running() as one:
        yield one


@pytest.fixture(scope="module")
def story(cloud: AwsCloud, tmp_path_factory: pytest.TempPathFactory) -> Story:
    stage = Stage(tmp_path_factory.mktemp("story"), cloud)
    stage.lives({})
    previewed = stage.engine.preview(timeout=UP_SECONDS)
    created = stage.up()
    assert created.ok, created.output
    state, again = stage.engine.resources(), stage.up()
    stage.lives({"*": "changed"})
    changed = stage.up()
    assert changed.ok, changed.output
    queue = state["queue"]["id"]
    cloud.client("sqs").set_queue_attributes(QueueUrl=queue, Attributes={"MessageRetentionPeriod": "999"})
    cloud.client("s3").delete_public_access_block(Bucket=state["bucket"]["id"])
    drifted = stage.engine.refresh(timeout=UP_SECONDS)
    repaired = stage.up()
    stage.lives({"*": "changed", "token": "replaced", "point": "replaced", "out": "replaced", "rights": "replaced"})
    replaced = stage.up()
    texts = stage.texts()
    destroyed = stage.engine.destroy(timeout=UP_SECONDS)
    return Story(created, state, again, previewed, changed, drifted, repaired, replaced, destroyed, texts, left(cloud))


def left(cloud: AwsCloud) -> dict[str, int]:
    """How many objects of each kind there still are."""
    asked = {
        "Roles": ("iam", "list_roles"),
        "Buckets": ("s3", "list_buckets"),
        "QueueUrls": ("sqs", "list_queues"),
        "Parameters": ("ssm", "describe_parameters"),
        "AutoScalingGroups": ("autoscaling", "describe_auto_scaling_groups"),
        "LaunchTemplates": ("ec2", "describe_launch_templates"),
        "FileSystems": ("efs", "describe_file_systems"),
        "CertificateSummaryList": ("acm", "list_certificates"),
        "Rules": ("events", "list_rules"),
    }
    found = {key: len(getattr(cloud.client(service), call)().get(key) or []) for key, (service, call) in asked.items()}
    running_now = cloud.order("instances")
    return {**found, "instances": sum(one["state"] == "running" for one in running_now)}


def test_a_preview_of_everything_works_before_anything_is_there(story: Story) -> None:
    assert story.previewed.ok, story.previewed.output
    assert set(story.previewed.steps) == {life.name for life in LIVES}


def test_everything_is_made_and_a_second_run_changes_nothing(story: Story) -> None:
    assert set(story.created.steps) == {life.name for life in LIVES}
    assert story.again.ok, story.again.output
    assert story.again.changes == {}


def test_every_change_happens_in_place(story: Story) -> None:
    wanted = {life.name: ["update"] for life in LIVES if life.changed}
    # A new version of the template is a new input of nothing: the group says $Latest.
    assert story.changed.changes == wanted


def test_a_refresh_shows_what_somebody_else_changed_and_the_next_run_mends_it(story: Story) -> None:
    assert story.drifted.ok, story.drifted.output
    assert "queue" in story.drifted.output
    assert story.repaired.ok, story.repaired.output
    assert story.repaired.changes == {"queue": ["update"], "closed": ["create"]}


def test_what_cannot_change_is_replaced(story: Story) -> None:
    assert story.replaced.ok, story.replaced.output
    names = {name for name, steps in story.replaced.changes.items() if "replace" in steps}
    assert names == {"token", "point", "out", "rights"}


def test_a_destroy_leaves_nothing(story: Story) -> None:
    assert story.destroyed.ok, story.destroyed.output
    assert set(story.left.values()) == {0}, story.left


def test_no_secret_lies_in_plain_state_or_in_a_log(story: Story) -> None:
    assert "hush" not in story.texts
    assert SECRET_KEY not in story.texts
    assert is_secret(story.state["value"]["outputs"]["value"])
    assert "valueWo" not in story.state["token"]["outputs"]
    assert is_secret(story.state["token"]["inputs"]["valueWo"])


# --- faults ---

QUEUE, ROLE = "aws:sqs/queue:Queue", "aws:iam/role:Role"
ROLE_ROW = (ROLE, "role", {"name": "faulty", "assumeRolePolicy": trust("ec2.amazonaws.com")})


@pytest.fixture
def stage(cloud: AwsCloud, tmp_path: Path) -> Iterator[Stage]:
    one = Stage(tmp_path, cloud, max_retries=3)
    yield one
    cloud.fail()
    cloud.order("expired", [])
    one.rows()
    assert one.engine.up().ok


@pytest.mark.parametrize(
    ("service", "action", "code", "status"),
    [
        ("sqs", "CreateQueue", "ThrottlingException", 429),
        ("sqs", "CreateQueue", "InternalFailure", 500),
        ("sqs", "CreateQueue", "ServiceUnavailable", 503),
        ("iam", "CreateRole", "Throttling", 400),
    ],
)
def test_throttling_and_errors_of_the_server_are_tried_again(
    stage: Stage, service: str, action: str, code: str, status: int
) -> None:
    stage.cloud.fail({"service": service, "action": action, "code": code, "status": status, "times": 2})
    stage.rows((QUEUE, "queue", {"name": "retried"}), ROLE_ROW)
    before = stage.cloud.actions(service).count(action)
    run = stage.up()
    assert run.ok, run.output
    assert stage.cloud.actions(service).count(action) == before + 3


def test_a_server_that_stays_down_is_given_up_in_one_line(stage: Stage) -> None:
    stage.cloud.fail({"service": "sqs", "action": "CreateQueue", "code": "InternalFailure", "status": 500})
    stage.rows((QUEUE, "queue", {"name": "given-up"}))
    run = stage.up()
    assert not run.ok
    assert any(
        "SQS: CreateQueue, exceeded maximum number of attempts, 4, " in one and "InternalFailure: " in one
        for one in run.messages("queue")
    )


def test_expired_credentials_are_one_clear_line(stage: Stage) -> None:
    stage.cloud.order("expired", [ACCESS_KEY])
    stage.rows((QUEUE, "queue", {"name": "late"}), ROLE_ROW)
    run = stage.engine.keystone("up")
    assert not run.ok
    assert "api error ExpiredToken: The security token included in the request is expired" in run.output
    assert "  cure: AWS refuses the credentials: they are wrong or have expired. Log in again" in run.output
    stage.cloud.order("expired", [])
    assert stage.up().ok


def test_a_reached_quota_says_where_to_raise_it(stage: Stage) -> None:
    fault = {"code": "LimitExceeded", "message": "Cannot exceed quota for RolesPerAccount: 1000", "status": 409}
    stage.cloud.fail({"service": "iam", "action": "CreateRole", **fault})
    stage.rows(ROLE_ROW)
    run = stage.engine.keystone("up")
    assert not run.ok
    assert "Cannot exceed quota for RolesPerAccount: 1000" in run.output
    assert "  cure: A quota of the account is reached" in run.output


def test_a_plugin_killed_in_the_middle_of_an_update_is_made_good_by_the_next_run(stage: Stage) -> None:
    stage.rows((QUEUE, "queue", {"name": "killed", "messageRetentionSeconds": 300}))
    assert stage.up().ok
    stage.cloud.fail({"service": "sqs", "action": "SetQueueAttributes", "hold": True})
    stage.rows((QUEUE, "queue", {"name": "killed", "messageRetentionSeconds": 600}))
    background = stage.engine.start()
    until(stage.cloud.held, "the request that waits for its answer", UP_SECONDS)
    _kill_plugin(background)
    assert not background.wait(120).ok
    stage.cloud.fail()
    run = stage.up()
    assert run.ok, run.output
    found = stage.cloud.client("sqs").get_queue_attributes(
        QueueUrl=stage.engine.resources()["queue"]["id"], AttributeNames=["MessageRetentionPeriod"]
    )
    assert found["Attributes"]["MessageRetentionPeriod"] == "600"
    assert stage.up().changes == {}


def _kill_plugin(background: Background) -> None:
    children = psutil.Process(background.process.pid).children(recursive=True)
    [plugin] = [one for one in children if any("plugins/aws/__main__.py" in word for word in one.cmdline())]
    plugin.kill()


def test_a_foreign_object_is_taken_over_by_the_command_that_is_shown(stage: Stage) -> None:
    stage.cloud.client("iam").create_role(RoleName="faulty", AssumeRolePolicyDocument=trust("ec2.amazonaws.com"))
    stage.rows(ROLE_ROW)
    run = stage.engine.keystone("up")
    assert not run.ok
    found = re.search(r"pulumi import .*--provider '[^']*'", run.output)
    assert found, run.output
    _, *words = shlex.split(found[0])
    # The provider must be in the state, as it is after the run that was refused.
    imported = stage.engine.pulumi_command(*words, "--yes", "--protect=false", "--generate-code=false", timeout=120)
    assert imported.ok, imported.output
    again = stage.up()
    assert again.ok, again.output
    roles = [role["RoleName"] for role in stage.cloud.client("iam").list_roles()["Roles"]]
    assert roles.count("faulty") == 1


def test_a_policy_that_is_written_otherwise_is_no_change(stage: Stage) -> None:
    policy = "aws:iam/policy:Policy"
    stage.rows((policy, "p", {"policy": document("s3:GetObject")}))
    assert stage.up().ok
    other = json.dumps(json.loads(document("s3:GetObject")), indent=2).replace('["s3:GetObject"]', '"s3:GetObject"')
    stage.rows((policy, "p", {"policy": other}))
    assert stage.up().changes == {}
