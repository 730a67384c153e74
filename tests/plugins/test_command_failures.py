"""How the command provider fails, through the real engine: what the message says, and what the state keeps.

All failures happen in one run: each failed update of a Python program costs five seconds, in which the engine waits for
the program.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import asyncssh
import pytest

from tests.engine import Run
from tests.plugins.ssh_server import ADDRESS, SshServer, entry
from tests.plugins.stage import Stage, command

CANARY = "canary-7f3a9c51"


def seed_scene() -> dict[str, Any]:
    """What the failing run finds in the state."""
    return {
        "update-fails": command("echo good", update="exit 4", environment={"N": "1"}),
        "past": command("head -c 200000 /dev/zero | tr '\\0' x", logging="none", delete="true"),
        "past-unwanted": command("head -c 200000 /dev/zero | tr '\\0' x", logging="none", delete="touch deleted",
                                 add_previous_output_in_env=False),
    }  # fmt: skip


def local_scene() -> dict[str, Any]:
    return {
        "fails": command("echo before; echo broken >&2; exit 3"),
        "killed": command("kill -9 $$"),
        "no-program": command("x", interpreter=["no-such-program"]),
        "no-folder": command("true", dir="missing"),
        "slow": command("echo so-far; sleep 30", opts={"custom_timeouts": {"create": "1s"}}),
        "loud": command("head -c 1000000 /dev/zero | tr '\\0' x >&2; echo; echo the-cause >&2; exit 1", logging="none"),
        "leaks": command(f"echo $TOKEN; exit 1 # {CANARY}", environment={"TOKEN": {"$secret": CANARY}}),
        "update-fails": command("echo good", update="exit 4", environment={"N": "2"}),
        "fine": command("echo fine"),
    }


def remote_scene(server: SshServer, free_port: int) -> dict[str, Any]:
    once = {"dial_error_limit": 0}
    other = server.public(asyncssh.generate_private_key("ssh-ed25519"))
    stranger = {"private_key": server.private(asyncssh.generate_private_key("ssh-ed25519"))}
    return {
        "far-fails": entry("remote", server, create="echo before; echo broken >&2; exit 3"),
        "wrong-host": entry("remote", server, create="touch wrong-host", endpoint={**once, "host_key": other}),
        "wrong-key": entry("remote", server, create="true", endpoint={**once, **stranger}),
        "nobody": entry("remote", server, create="true", endpoint={"dial_error_limit": 2, "port": free_port}),
        "not-a-key": entry("remote", server, create="true", endpoint={"private_key": "nonsense"}),
        "onto-folder": entry(
            "copy", server, source={"$asset": ["StringAsset", "x"]}, remote_path=str(server.folder / "in")
        ),
    }


@dataclass
class Failures:
    stage: Stage
    server: SshServer
    free_port: int
    run: Run
    seconds: float
    state: dict[str, Any]
    next: Run


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Failures]:
    far = tmp_path_factory.mktemp("far")
    (far / "in").mkdir()
    stage = Stage(tmp_path_factory.mktemp("failures"))
    stage.set(seed_scene())
    seeded = stage.up()
    assert seeded.ok, seeded.output
    with socket.create_server((ADDRESS, 0)) as probe:
        free_port = probe.getsockname()[1]
    with SshServer(far) as server:
        stage.set({**local_scene(), **remote_scene(server, free_port)})
        begin = time.monotonic()
        run = stage.up("--continue-on-error")
        seconds, state = time.monotonic() - begin, stage.resources()
        stage.set({"fails": command("echo mended"), "update-fails": local_scene()["update-fails"]})
        yield Failures(stage, server, free_port, run, seconds, state, stage.preview())


def message(failures: Failures, name: str) -> str:
    return "\n".join(failures.run.messages(name, passing=False))


@pytest.mark.parametrize(
    ("name", "reason"), [("fails", "exit status 3"), ("far-fails", "Process exited with status 3")]
)
def test_a_failure_tells_status_command_and_both_streams(failures: Failures, name: str, reason: str) -> None:
    assert not failures.run.ok
    told = message(failures, name)
    assert reason in told
    assert 'running "echo before; echo broken >&2; exit 3"' in told
    assert "before" in told
    assert "broken" in told


def test_failed_creates_leave_no_state_and_the_others_stay(failures: Failures) -> None:
    assert sorted(failures.state) == ["fine", "past", "update-fails"]


def test_the_run_after_a_failure_tries_again(failures: Failures) -> None:
    assert failures.next.ok, failures.next.output
    assert failures.next.steps["fails"] == ["create"]
    assert failures.next.steps["update-fails"] == ["update"]


def test_a_failed_update_keeps_the_old_state(failures: Failures) -> None:
    assert "exit status 4" in message(failures, "update-fails")
    assert failures.state["update-fails"]["outputs"]["environment"] == {"N": "1"}


def test_a_command_ended_by_a_signal_says_so(failures: Failures) -> None:
    assert "signal: killed" in message(failures, "killed").lower()


def test_a_missing_program_and_a_missing_folder_are_named(failures: Failures) -> None:
    assert "no-such-program" in message(failures, "no-program")
    assert "missing" in message(failures, "no-folder")
    assert "no such file or directory" in message(failures, "no-folder")


def test_a_time_limit_ends_the_command(failures: Failures) -> None:
    told = message(failures, "slow")
    assert failures.seconds < 25
    assert "deadline exceeded" in told or "signal: killed" in told
    assert "so-far" in told


def test_a_long_failure_keeps_its_end(failures: Failures) -> None:
    assert "the-cause" in message(failures, "loud")


def test_a_failure_does_not_tell_a_secret(failures: Failures) -> None:
    assert message(failures, "leaks")
    assert CANARY not in failures.run.output
    assert all(CANARY not in text for text in failures.run.messages())


def test_a_previous_output_too_long_for_the_environment_is_an_error(failures: Failures) -> None:
    assert "argument list too long" in message(failures, "past")


def test_a_long_previous_output_does_no_harm_when_it_is_unwanted(failures: Failures) -> None:
    assert "past-unwanted" not in failures.state
    assert (failures.stage.workdir / "deleted").exists()


def test_another_host_key_is_refused(failures: Failures) -> None:
    assert "host key mismatch" in message(failures, "wrong-host")
    assert not (failures.server.folder / "wrong-host").exists()


def test_a_stranger_is_refused(failures: Failures) -> None:
    assert "unable to authenticate" in message(failures, "wrong-key")


def test_dialing_ends_after_the_limit_and_says_how_often_it_tried(failures: Failures) -> None:
    told = message(failures, "nobody")
    assert "after 2 failed attempts" in told
    assert str(failures.free_port) in told
    assert [text.strip() for text in failures.run.messages("nobody", passing=True)] == [
        "Dial 1/2 failed: retrying",
        "Dial 2/2 failed: retrying",
    ]


def test_a_text_cannot_replace_a_folder(failures: Failures) -> None:
    assert "is a directory" in message(failures, "onto-folder")


def test_an_unusable_key_is_an_error_without_the_key(failures: Failures) -> None:
    assert message(failures, "not-a-key")
    assert "nonsense" not in message(failures, "not-a-key")
