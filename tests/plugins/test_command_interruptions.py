"""What happens to running commands when the update is cancelled, and when the plugin or the engine is killed."""

from __future__ import annotations

import os
import time

import psutil
import pytest

from tests.engine import Background
from tests.plugins.stage import Stage, command, official_plugin
from tests.waiting import gone, until

# A command with a child of its own; it tells both process ids, and notes an orderly end.
RUNS_LONG = """
trap 'echo asked-to-stop >> {name}.end; exit 1' TERM
sleep 300 & echo $! > {name}.child
echo $$ > {name}.pid
wait
"""

pytestmark = pytest.mark.skipif(
    bool(official_plugin()), reason="the official plugin makes no promise about the children of its commands"
)


def started(stage: Stage, name: str, *, stubborn: bool = False) -> tuple[Background, list[int], int]:
    """An update that is in the middle of command `name`, the command's processes, and the plugin.

    `stubborn` adds a second command, which does not stop when it is asked to.
    """
    scene = {name: command(RUNS_LONG.format(name=name))}
    files = [stage.workdir / f"{name}.{part}" for part in ("child", "pid")]
    if stubborn:
        scene["stubborn"] = command("trap '' TERM; echo $$ > stubborn.pid; while :; do sleep 1; done")
        files.append(stage.workdir / "stubborn.pid")
    stage.set(scene)
    running = stage.start()
    until(lambda: all(path.exists() and path.read_text().endswith("\n") for path in files), f"{name} runs")
    return running, [int(path.read_text()) for path in files], running.plugin("command")


def guards_of(plugin: int) -> list[int]:
    return [child.pid for child in psutil.Process(plugin).children() if os.getsid(child.pid) == child.pid]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(tmp_path_factory.mktemp("interrupted"))


def test_a_cancelled_update_ends_the_commands_and_their_children(stage: Stage) -> None:
    running, pids, plugin = started(stage, "cancelled", stubborn=True)
    helpers = guards_of(plugin)
    begin = time.monotonic()
    running.interrupt()
    run = running.wait()
    assert not run.ok
    assert time.monotonic() - begin < 100, "a stubborn command sleeps for ever"
    assert "cancelled: the engine stopped the operation" in "\n".join(run.messages("cancelled", passing=False))
    until(lambda: all(map(gone, [*pids, plugin, *helpers])), "all processes are gone", 60)
    assert stage.text("cancelled.end") == "asked-to-stop\n"
    assert stage.resources() == {}


def test_a_killed_plugin_takes_its_commands_along_and_fails_the_update(stage: Stage) -> None:
    running, pids, plugin = started(stage, "orphaned")
    psutil.Process(plugin).kill()
    until(lambda: all(map(gone, pids)), "the command is gone", 60)
    run = running.wait()
    assert not run.ok
    assert stage.text("orphaned.end") == "asked-to-stop\n"
    stage.set({"orphaned": command("echo second try")})
    again = stage.up()
    assert again.ok, again.output
    assert stage.resources()["orphaned"]["outputs"]["stdout"] == "second try"


def test_a_killed_engine_takes_plugin_and_commands_along(stage: Stage) -> None:
    running, pids, plugin = started(stage, "lost")
    running.kill()
    until(lambda: all(map(gone, [*pids, plugin])), "plugin and command are gone", 10)
    assert not running.wait().ok
    assert stage.text("lost.end") == "asked-to-stop\n"
