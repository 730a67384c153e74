"""The pack as a part of `keystone up` and `preview`."""

import io
import json
import shutil
import sys
from pathlib import Path

import pytest

from keystone import cli
from keystone.engine import Failure, Run, execute, policies
from keystone.engine.events import Reporter
from tests.engine import Engine
from tests.policy import court

PROGRAM = """
import pulumi
from pulumi_command import local


class CephStorage(pulumi.ComponentResource):
    def __init__(self):
        super().__init__("keystone:components:CephStorage", "ceph", {})
        local.Command("made", create="printf made > made.txt", logging="none", opts=pulumi.ResourceOptions(parent=self))
        self.register_outputs({})


CephStorage()
"""


def _project(folder: Path, *, pack: bool = True, exceptions: bool = False) -> Path:
    (folder / "policy").mkdir()
    if pack:
        (folder / "policy" / "PulumiPolicy.yaml").write_text("name: keystone")
    if exceptions:
        (folder / "policy" / "exceptions.dev.json").write_text("{}")
    return folder


def test_the_projects_pack_judges_every_up_and_preview_and_no_destroy(tmp_path: Path) -> None:
    assert policies.arguments(_project(tmp_path), "dev", ()) == ["--policy-pack", "policy"]
    assert policies.packs(tmp_path, ("policy/",)) == ["policy"], "naming it again changes nothing"


def test_the_exceptions_of_the_stack_go_with_it(tmp_path: Path) -> None:
    project = _project(tmp_path, exceptions=True)
    assert policies.arguments(project, "dev", ()) == [
        *("--policy-pack", "policy"),
        *("--policy-pack-config", "policy/exceptions.dev.json"),
    ]
    assert policies.arguments(project, "prod", ()) == ["--policy-pack", "policy"]


def test_a_further_pack_has_no_part_in_the_exceptions(tmp_path: Path) -> None:
    words = policies.arguments(_project(tmp_path, exceptions=True), "dev", ("other",))
    assert words[words.index("other") - 2 :][:3] == ["policy", "--policy-pack", "other"]
    assert words[-4:] == [
        *("--policy-pack-config", "policy/exceptions.dev.json"),
        *("--policy-pack-config", "policy/no-exceptions.json"),
    ]
    assert json.loads((court.PACK / "no-exceptions.json").read_text()) == {}


def test_a_project_without_a_pack_runs_without(tmp_path: Path) -> None:
    assert policies.arguments(_project(tmp_path, pack=False), "dev", ()) == []


VIOLATION = {"policyName": "host-disks", "enforcementLevel": "mandatory", "message": "w1 has no LUKS2"}
ADVICE = {"policyName": "spare", "enforcementLevel": "advisory", "message": "late is not known yet"}
URN = "urn:pulumi:dev::probe::command:local:Command::w1"


def judged(
    folder: Path, monkeypatch: pytest.MonkeyPatch, status: int, *events: dict[str, str], pack: bool = True
) -> int:
    """`keystone policy` in a project whose `pulumi preview` tells of these findings of the pack."""
    _project(folder, pack=pack)
    (folder / "Pulumi.yaml").write_text("name: probe\n")
    (folder / "Pulumi.dev.yaml").write_text("config: {}\n")
    plan = {"op": "create", "urn": URN, "type": "command:local:Command", "new": {"custom": True}}
    told = [{"resourcePreEvent": {"metadata": plan}}, {"resOutputsEvent": {"metadata": plan}}]
    told += [{"policyEvent": {**event, "resourceUrn": URN}} for event in events]
    (folder / "events").write_text("".join(f"{json.dumps(one)}\n" for one in told))
    (folder / "pulumi").write_text(
        '#!/bin/sh\nif [ "$1" = stack ]; then echo \'{"deployment": {"resources": []}}\'; exit; fi\n'
        f'echo "$@" >> {folder}/asked; cat {folder}/events; exit {status}\n'
    )
    (folder / "pulumi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{folder}/state")
    monkeypatch.chdir(folder)
    return cli.main(["policy", "--stack", "dev"])


def test_the_pack_alone_judges_a_preview_and_says_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert judged(tmp_path, monkeypatch, 0, ADVICE) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "warning: w1: policy spare: late is not known yet",
        "policy dev: no violation in the plan",
    ]
    assert said.err == ""
    [asked] = (tmp_path / "asked").read_text().splitlines()
    assert asked.startswith("preview --stack dev")
    assert "--policy-pack policy" in asked


def test_a_violation_is_all_that_the_pack_alone_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert judged(tmp_path, monkeypatch, 1, VIOLATION) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "policy host-disks: w1 has no LUKS2" in said.err


def test_without_a_pack_there_is_nothing_to_judge_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert judged(tmp_path, monkeypatch, 0, pack=False) == 1
    assert capsys.readouterr().err == "policy/: holds no policy pack. Name one with --policy-pack.\n"
    assert not (tmp_path / "asked").exists()


def test_a_plan_that_only_the_whole_stack_shows_to_be_bad_makes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(tmp_path, PROGRAM)
    for name, value in engine.environment.items():
        monkeypatch.setenv(name, value)
    pack = engine.workdir / "policy"
    shutil.copytree(court.PACK, pack, ignore=shutil.ignore_patterns("__pycache__"))
    text = (pack / "PulumiPolicy.yaml").read_text()
    (pack / "PulumiPolicy.yaml").write_text(text.replace("../.venv", sys.prefix))

    def up() -> str:
        reporter = Reporter(stream=io.StringIO())
        execute(Run(verb="up", stack=engine.stack, project=engine.workdir), reporter)
        assert isinstance(reporter.stream, io.StringIO)
        return reporter.stream.getvalue()

    with pytest.raises(Failure, match="stateful-has-backup"):
        up()
    assert not (engine.workdir / "made.txt").exists()
    assert engine.resources() == {}
    entry = {"resource": "ceph", "rule": "stateful-has-backup", "reason": "only the data of a test", "expires": ""}
    exceptions = pack / f"exceptions.{engine.stack}.json"
    from judging.exceptions import today

    exceptions.write_text(json.dumps({"exceptions": {"list": [{**entry, "expires": today().isoformat()}]}}))
    assert "Policies: no violation in the plan" in up()
    assert (engine.workdir / "made.txt").read_text() == "made"

    before = engine.export()["manifest"]
    assert "Policies: no violation in the plan" in up()
    assert engine.export()["manifest"] == before, "a plan without a change ends the run"
    engine.write(f"{PROGRAM}\npulumi.export('answer', 42)\n")
    up()
    assert engine.outputs() == {"answer": 42}, "an output is a change too"
