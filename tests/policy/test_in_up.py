"""The pack as a part of `keystone up` and `preview`."""

import io
import json
import shutil
import sys
from pathlib import Path

import pytest

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
