"""The pack with the real engine: a bad plan creates nothing; exceptions and their end; a state file alone."""

import json
import shutil
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.engine import Engine
from tests.policy import court

BAD = """
import pulumi
from pulumi_command import local


class Host(pulumi.ComponentResource):
    def __init__(self, name, protect):
        super().__init__("keystone:components:Host", name, {
            "disk": {"layout": "zfs-luks", "encryption": "luks2", "unlock": "tpm2"},
            "address": "127.79.0.11", "protect": protect,
        })
        first = local.Command(f"system-{name}", create="printf made > made.txt; echo done", logging="none")
        TAIL
        self.register_outputs({})


Host("w1", False)
"""
TOKEN = "ghp_" + "A1b2C3d4E5f6" * 3
# Known only once the first command has run.
LATE = 'local.Command("late", create=first.stdout.apply(lambda said: said + " GIVEN"), logging="none")'
NOW = 'local.Command("now", create="printf now > now.txt", environment={"API_TOKEN": "GIVEN"})'


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A copy of the pack whose virtual environment is the one that runs the tests."""
    folder = tmp_path / "pack"
    shutil.copytree(court.PACK, folder, ignore=shutil.ignore_patterns("__pycache__"))
    text = (folder / "PulumiPolicy.yaml").read_text()
    (folder / "PulumiPolicy.yaml").write_text(text.replace("../.venv", sys.prefix))
    return folder


def _engine(folder: Path, tail: str) -> Engine:
    return Engine(folder, BAD.replace("TAIL", tail.replace("GIVEN", TOKEN)))


def _config(folder: Path, *entries: dict[str, str]) -> str:
    path = folder / "exceptions.json"
    path.write_text(json.dumps({"exceptions": {"list": list(entries)}}))
    return str(path)


def _entry(days: int) -> dict[str, str]:
    expires = (datetime.now(UTC).date() + timedelta(days=days)).isoformat()
    return {
        "resource": "now",
        "rule": "command-no-credentials",
        "reason": "the token of a test, which opens nothing",
        "expires": expires,
    }


def test_a_bad_plan_is_refused_by_preview_and_update_before_it_is_made(tmp_path: Path, pack: Path) -> None:
    engine = _engine(tmp_path, NOW)
    for run in (engine.preview("--policy-pack", str(pack)), engine.up("--policy-pack", str(pack))):
        assert not run.ok
        assert "command-no-credentials" in run.output
        assert "now: environment.API_TOKEN is a credential" in run.output
        assert TOKEN not in run.output
    assert "now" not in engine.resources()
    assert not (engine.workdir / "now.txt").exists()


def test_what_a_preview_cannot_know_is_refused_at_the_update(tmp_path: Path, pack: Path) -> None:
    engine = _engine(tmp_path, LATE)
    preview = engine.preview("--policy-pack", str(pack))
    assert preview.ok, preview.output
    assert "late: create is not known yet; the update will judge it." in preview.output
    update = engine.up("--policy-pack", str(pack))
    assert not update.ok
    assert "late: create is with a credential" in update.output
    assert TOKEN not in update.output
    assert "late" not in engine.resources()


def test_an_exception_lets_it_pass_until_it_ends(tmp_path: Path, pack: Path) -> None:
    engine = _engine(tmp_path, NOW)
    ended = engine.up("--policy-pack", str(pack), "--policy-pack-config", _config(tmp_path, _entry(-1)))
    assert not ended.ok
    assert "command-no-credentials on now ended on" in ended.output
    assert engine.resources() == {}, "an expired exception ends the run before anything is made"
    passed = engine.up("--policy-pack", str(pack), "--policy-pack-config", _config(tmp_path, _entry(1)))
    assert passed.ok, passed.output
    assert set(engine.resources()) >= {"now", "system-w1"}


def test_the_engine_holds_exceptions_to_their_schema(tmp_path: Path, pack: Path) -> None:
    entry = {key: value for key, value in _entry(1).items() if key != "reason"}
    run = _engine(tmp_path, NOW).preview("--policy-pack", str(pack), "--policy-pack-config", _config(tmp_path, entry))
    assert not run.ok
    assert "reason is required" in run.output


def test_a_state_file_is_judged_without_program_and_backend(tmp_path: Path, pack: Path) -> None:
    engine = _engine(tmp_path, NOW)
    made = engine.up()
    assert made.ok, made.output
    state = tmp_path / "state.json"
    state.write_text(engine.pulumi_command("stack", "export", "--stack", engine.stack).output)
    analyzed = engine.pulumi_command("policy", "analyze", "--policy-pack", str(pack), "--file", str(state))
    assert not analyzed.ok
    assert "now: environment.API_TOKEN is a credential" in analyzed.output
    assert TOKEN not in analyzed.output
    engine.write(BAD.replace("TAIL", ""))
    assert engine.up().ok
    state.write_text(engine.pulumi_command("stack", "export", "--stack", engine.stack).output)
    again = engine.pulumi_command("policy", "analyze", "--policy-pack", str(pack), "--file", str(state))
    assert again.ok, again.output
