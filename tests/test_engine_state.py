"""What `keystone.engine` does before and around a run: locks, silent machines, time limits, Ctrl-C."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

import keystone.engine
from keystone.engine import Run, execute, process, reach, state
from keystone.engine.events import Reporter
from keystone.errors import KeystoneError
from tests import networks

NETWORK = networks.fresh()
PROJECT = Path(__file__).resolve().parents[1]
LONG_AGO, LATER = "2020-01-01T00:00:00.000000000Z", "2999-01-01T00:00:00.000000000Z"
# A `pulumi` that begins to create a resource and goes on until it is interrupted; it notes each signal.
FAKE_PULUMI = """#!{python}
import json, os, signal, sys, time
from pathlib import Path

here = Path(__file__).parent
if sys.argv[1] == "stack":
    print(json.dumps({{"deployment": {{"resources": []}}}}))
    sys.exit()


def interrupted(number, frame):
    with (here / "signals").open("a") as log:
        log.write(f"{{number}}\\n")
    if not (here / "stubborn").exists():
        time.sleep(1.5)
        print(json.dumps({{"resOutputsEvent": {{"metadata": METADATA}}}}), flush=True)
        sys.exit(1)


METADATA = {{
    "op": "create",
    "urn": "urn:pulumi:dev::probe::command:local:Command::install-w1",
    "type": "command:local:Command",
    "new": {{"custom": True}},
}}
signal.signal(signal.SIGINT, interrupted)
print(json.dumps({{"resourcePreEvent": {{"metadata": METADATA}}}}), flush=True)
deadline = time.monotonic() + 60
while time.monotonic() < deadline:
    time.sleep(0.1)
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose `pulumi` is the fake one."""
    (tmp_path / "Pulumi.yaml").write_text("name: probe\n")
    (tmp_path / "Pulumi.dev.yaml").write_text("config: {}\n")
    (tmp_path / "pulumi").write_text(FAKE_PULUMI.format(python=sys.executable))
    (tmp_path / "pulumi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{tmp_path}/state")
    return tmp_path


def signals(project: Path) -> list[str]:
    log = project / "signals"
    return log.read_text().split() if log.exists() else []


def wait_for_start(reporter: Reporter) -> None:
    deadline = time.monotonic() + 30
    while not reporter.running:
        assert time.monotonic() < deadline, "the engine did not start"
        time.sleep(0.05)


def lock(project: Path, pid: int, host: str = "", since: str = LONG_AGO) -> Path:
    """Leave a lock as an update by that process would."""
    path = project / "state" / ".pulumi" / "locks" / "organization" / "probe" / "dev" / "a-b-c.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"pid": pid, "username": "sam", "hostname": host or socket.gethostname(), "timestamp": since}
    path.write_text(json.dumps(content))
    return path


def dead_pid() -> int:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_a_lock_of_a_dead_process_is_removed_and_said(project: Path) -> None:
    pid, said = dead_pid(), []
    path = lock(project, pid)
    state.release("dev", project, said.append)

    holder = f"process {pid} of sam on {socket.gethostname()}, since 2020-01-01T00:00:00"
    assert said == [f"Removed the state lock of a dead process ({holder})"]
    assert not path.exists()


@pytest.mark.parametrize(("text", "kept"), [("", False), ('{"user.content_type":"text/pl', False), ("{}", True)])
def test_what_a_kill_has_cut_short_beside_the_state_is_removed(project: Path, text: str, kept: bool) -> None:
    lock(project, dead_pid())
    written = project / "state/.pulumi/stacks/probe/dev.json.attrs"
    written.parent.mkdir(parents=True)
    written.write_text(text)
    state.release("dev", project, print)

    assert written.exists() is kept


def test_a_number_that_another_process_has_by_now_is_no_holder(project: Path) -> None:
    path = lock(project, os.getpid(), since=LONG_AGO)
    state.release("dev", project, print)

    assert not path.exists()


def test_a_lock_of_a_living_process_stays_and_its_holder_is_named(project: Path) -> None:
    path = lock(project, os.getpid(), since=LATER)
    with pytest.raises(KeystoneError, match=f"stack dev: an update is running: process {os.getpid()} of sam on"):
        state.release("dev", project, print)

    assert path.exists()


def test_a_lock_of_another_machine_stays(project: Path) -> None:
    path = lock(project, dead_pid(), host="elsewhere")
    with pytest.raises(KeystoneError, match=r"of sam on elsewhere, .* if it is dead, type `pulumi cancel`\.$"):
        state.release("dev", project, print)

    assert path.exists()


def test_a_lock_of_another_stack_is_left_alone(project: Path) -> None:
    path = lock(project, dead_pid())
    state.release("prod", project, print)

    assert path.exists()


def test_what_a_killed_engine_has_left_running_is_ended_before_its_lock_is_removed(project: Path) -> None:
    # The leader of a session dies and leaves a child, as a killed pulumi leaves its plugins.
    leader = subprocess.Popen(
        ["/bin/sh", "-c", "sleep 100 & echo $!"], start_new_session=True, stdout=subprocess.PIPE, text=True
    )
    assert leader.stdout
    child = psutil.Process(int(leader.stdout.readline()))
    leader.wait()
    lock(project, leader.pid)
    said: list[str] = []
    state.release("dev", project, said.append)

    assert not child.is_running()
    assert said[0].startswith(f"Ending 1 processes of an update that was killed (process {leader.pid} of sam")


def test_with_another_backend_pulumis_own_words_name_the_holder_and_the_command() -> None:
    said = (
        "error: the stack is currently locked by 1 lock(s). Either wait\n  s3://b/x.json: created by sam@host (pid 7)\n"
    )
    text = str(process.explained("pulumi up", said))

    assert "created by sam@host (pid 7)" in text
    assert "type `pulumi cancel`" in text
    assert "\n" not in text


def test_ctrl_c_is_passed_on_once_and_waited_for(project: Path) -> None:
    reporter = Reporter(stream=io.StringIO())

    def press() -> None:
        wait_for_start(reporter)
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(KeystoneError, match=r"^pulumi up: stopped by you\. Run it again: it goes on from here\.$"):
        execute(Run(verb="up", stack="dev", project=project), reporter)
    thread.join()

    assert signals(project) == [str(int(signal.SIGINT))]
    assert reporter.counts == {"create": 1}  # what ran was waited for


@pytest.fixture
def overdue(project: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run whose time is over as soon as the engine has begun with its resource."""
    later = 0.0

    def pass_time(_line: str) -> None:
        nonlocal later
        later = 1000.0

    monkeypatch.setattr(keystone.engine, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + later))
    return Run(verb="up", stack="dev", project=project, limit=900, heard=pass_time)


def test_a_run_that_takes_too_long_is_stopped_and_says_what_it_waited_for(project: Path, overdue: Run) -> None:
    message = r"^pulumi up: not done within 900 s; still running: install-w1\. Look at"
    with pytest.raises(KeystoneError, match=message):
        execute(overdue, Reporter(stream=io.StringIO()))

    assert signals(project) == [str(int(signal.SIGINT))]


def test_an_engine_that_does_not_stop_is_killed(project: Path, overdue: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keystone.engine, "CANCEL_SECONDS", 1)
    (project / "stubborn").touch()
    said = io.StringIO()
    with pytest.raises(KeystoneError, match="not done within 900 s"):
        execute(overdue, Reporter(stream=said))

    assert "It did not stop within 1 s: killing it" in said.getvalue()


def test_without_pulumi_on_path_there_is_one_line(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(KeystoneError, match=r"^pulumi: is not on PATH\. Run `eval"):
        execute(Run(verb="up", stack="dev", project=project), Reporter(stream=io.StringIO()))


def test_debug_events_which_hold_secrets_go_no_further() -> None:
    stream = io.StringIO()
    reporter = Reporter(stream=stream, verbose=True)
    reporter.take({"diagnosticEvent": {"severity": "debug", "message": "props canary-7f3a"}})

    assert stream.getvalue() == ""
    assert reporter.faults() == []


def test_a_line_that_asks_a_person_for_something_is_always_shown() -> None:
    stream = io.StringIO()
    reporter = Reporter(stream=stream)
    message = "w1: switched to /nix/store/x\nnote: w1: reboot it at a good time: kernel changed\n"
    reporter.take({"diagnosticEvent": {"severity": "info", "urn": "urn:a::b::c::system-w1", "message": message}})

    assert stream.getvalue() == "note: w1: reboot it at a good time: kernel changed\n"


def test_a_preview_names_the_properties_that_change() -> None:
    stream = io.StringIO()
    metadata = {
        "op": "update",
        "urn": "urn:pulumi:dev::keystone::command:local:Command::system-w1",
        "type": "command:local:Command",
        "new": {"custom": True},
        "detailedDiff": {"environment.KEYSTONE_HASH": {}, "update": {}},
    }
    reporter = Reporter(preview=True, stream=stream)
    reporter.take({"resourcePreEvent": {"metadata": metadata}})

    assert stream.getvalue().split() == [
        *("~", "system-w1", "command:local:Command", "would", "be", "updated"),
        *("(environment.KEYSTONE_HASH,", "update)"),
    ]


def elsewhere(tmp_path: Path) -> Path:
    """A copy of the dev stack on loopback addresses where nothing listens."""
    text = (PROJECT / "Pulumi.dev.yaml").read_text().replace("127.79.0.", f"{NETWORK.base}.")
    (tmp_path / "Pulumi.dev.yaml").write_text(text)
    return tmp_path


def test_silent_machines_are_named_at_once(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(KeystoneError) as caught:
        reach.require("dev", elsewhere(tmp_path), {"install-primer", "install-w1"})

    assert str(caught.value) == (
        f"stack dev: primer {NETWORK.at(10)}:2222 does not answer; w1 {NETWORK.at(11)}:2222 does not answer. "
        "Start the machines or mend the network; the state is untouched."
    )
    assert time.monotonic() - started < 10


def test_a_silent_worker_is_a_warning(tmp_path: Path) -> None:
    project = elsewhere(tmp_path)
    with socket.create_server((NETWORK.at(10), 2222)):
        lines = reach.require("dev", project, {"install-primer", "install-w1"})

    assert lines == {"w1": f"w1 {NETWORK.at(11)}:2222 does not answer"}


def test_machines_that_are_not_installed_yet_need_not_answer(tmp_path: Path) -> None:
    assert reach.require("dev", elsewhere(tmp_path), set()) == {}


def test_a_stack_is_never_made_in_the_backend_of_another_stacks_twin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{tmp_path}/.twin/dev/state")
    (tmp_path / "Pulumi.home.yaml").write_text("config: {}\n")
    monkeypatch.setattr(process, "quick", lambda *_, **__: pytest.fail("nothing may be asked of pulumi"))
    monkeypatch.setattr(state, "_export", lambda *_: None)
    with pytest.raises(KeystoneError, match=r"is another stack's twin's, .*Open a new shell"):
        state.load("home", tmp_path, create=True)
    state.refuse_other_twin("dev", tmp_path)
