"""Promises about the twin's child processes, tried with small programs."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from keystone.errors import KeystoneError
from tests.waiting import until
from twin import processes
from twin.supervisor import Spec, Supervisor

REPOSITORY = Path(__file__).parents[2]
SLEEP = "import time; time.sleep(60)"


def supervisor(folder: Path) -> Supervisor:
    for name in ("logs", "pids"):
        (folder / name).mkdir()
    return Supervisor(folder / "logs", folder / "pids")


def spec(folder: Path, code: str, **more) -> Spec:
    values = {"name": "worker", "environment": {}, "cwd": folder, "stop_limit": 1.0, **more}
    return Spec(argv=[sys.executable, "-u", "-c", code], **values)


def gone(pid: int, limit: float = 5.0) -> bool:
    deadline = time.monotonic() + limit
    while processes.start_time(pid) is not None and time.monotonic() < deadline:
        time.sleep(0.02)
    return processes.start_time(pid) is None


def test_a_child_runs_in_its_own_group_logs_to_a_file_and_leaves_nothing_when_stopped(tmp_path: Path) -> None:
    async def scenario() -> None:
        boss = supervisor(tmp_path)
        child = await boss.start(spec(tmp_path, f"print('hello'); {SLEEP}"))
        assert child.pid is not None
        assert os.getpgid(child.pid) == child.pid
        assert [entry.pid for entry in processes.records(tmp_path / "pids")] == [child.pid]
        async with asyncio.timeout(5):
            while not boss.last_lines("worker"):
                await asyncio.sleep(0.02)
        pid = child.pid
        await child.stop()
        assert boss.last_lines("worker") == ["hello"]
        assert gone(pid)
        assert processes.records(tmp_path / "pids") == []
        assert boss.crashes == []

    asyncio.run(scenario())


def test_a_child_that_ignores_sigterm_is_killed_after_its_limit(tmp_path: Path) -> None:
    async def scenario() -> None:
        boss = supervisor(tmp_path)
        code = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf'); {SLEEP}"

        async def deaf() -> bool:
            return boss.last_lines("worker") == ["deaf"]

        child = await boss.start(spec(tmp_path, code, ready=deaf))
        pid = child.pid
        assert pid is not None
        began = time.monotonic()
        await boss.stop()
        assert 0.9 < time.monotonic() - began < 30  # it has a second to end by itself
        assert gone(pid)

    asyncio.run(scenario())


def test_a_child_that_never_gets_ready_is_named_with_its_last_log_lines_and_ended(tmp_path: Path) -> None:
    async def scenario() -> None:
        boss = supervisor(tmp_path)

        async def never() -> bool:
            raise ConnectionRefusedError("nobody listens")

        with pytest.raises(KeystoneError) as caught:
            await boss.start(spec(tmp_path, f"print('still loading'); {SLEEP}", ready=never, ready_limit=1.0))
        assert "worker: not ready after 1 s (last: ConnectionRefusedError nobody listens)" in str(caught.value)
        assert "still loading" in str(caught.value)
        assert boss.children == {}
        assert processes.records(tmp_path / "pids") == []

    asyncio.run(scenario())


def test_a_child_that_ends_while_it_starts_is_named_with_its_exit_status(tmp_path: Path) -> None:
    async def scenario() -> None:
        boss = supervisor(tmp_path)

        async def never() -> bool:
            return False

        with pytest.raises(KeystoneError, match=r"worker: ended with exit status 7 while it started.*no such flag"):
            await boss.start(spec(tmp_path, "print('no such flag'); raise SystemExit(7)", ready=never))

    asyncio.run(scenario())


def test_a_crash_is_reported_by_name_with_its_last_lines_and_the_child_comes_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        boss = supervisor(tmp_path)
        child = await boss.start(spec(tmp_path, f"print('working'); {SLEEP}"))
        async with asyncio.timeout(5):
            while boss.last_lines("worker") != ["working"]:
                await asyncio.sleep(0.02)
        first = child.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(10):
            while child.pid in (None, first):
                await asyncio.sleep(0.05)
        assert [(crash.name, crash.how, crash.lines) for crash in boss.crashes] == [
            ("worker", "ended by SIGKILL", ["working"])
        ]
        assert "worker ended by itself" in str(boss.crashes[0])
        await boss.stop()

    asyncio.run(scenario())


def test_a_child_that_keeps_crashing_stays_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twin.supervisor.RESTARTS", 1)

    async def scenario() -> None:
        boss = supervisor(tmp_path)
        child = await boss.start(spec(tmp_path, "raise SystemExit(3)"))
        async with asyncio.timeout(10):
            while not child.failed:
                await asyncio.sleep(0.05)
        assert [crash.how for crash in boss.crashes] == ["ended with exit status 3"] * 2
        await boss.stop()

    asyncio.run(scenario())


def test_a_program_that_takes_too_long_is_killed_at_its_limit(tmp_path: Path) -> None:
    async def scenario() -> None:
        boss = supervisor(tmp_path)
        with pytest.raises(KeystoneError, match="did not end within 1 s"):
            await boss.run([sys.executable, "-c", SLEEP], {}, limit=1.0)
        code, output, errors = await boss.run(
            [sys.executable, "-c", "import sys; print(sys.stdin.read()[::-1]); sys.exit(4)"], {}, stdin=b"abc"
        )
        assert (code, output, errors) == (4, b"cba\n", b"")

    asyncio.run(scenario())


def test_no_child_outlives_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    program = f"""
import asyncio, sys
sys.path.insert(0, {str(REPOSITORY)!r})
from pathlib import Path
from twin.supervisor import Spec, Supervisor
async def main():
    folder = Path({str(tmp_path)!r})
    boss = Supervisor(folder, folder)
    child = await boss.start(Spec("worker", [sys.executable, "-c", "import time; time.sleep(60)"], {{}}, folder))
    print(child.pid, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        # The shim asks for the signal before it becomes the program; in between it has no words at all.
        until(lambda: "time.sleep" in "".join(psutil.Process(child).cmdline()[2:3]), "the program in place of the shim")
        parent.kill()
    assert gone(child)


def test_only_the_very_process_that_was_recorded_is_ended(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", SLEEP], start_new_session=True) as stranger:
        entry = processes.record(tmp_path, "old", stranger.pid, sys.executable)
        reused = processes.Record("old", entry.pid, entry.started - 1, entry.executable)
        other = processes.Record("old", entry.pid, entry.started, "/usr/bin/true")
        assert processes.end([reused, other], limit=0.2) == []
        assert stranger.poll() is None
        assert processes.end([entry], limit=5.0) == []
        assert stranger.wait(30) == -signal.SIGTERM


def test_a_half_written_record_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text('{"name": "x", "pid":')
    (tmp_path / "other.json").write_text('{"name": "x"}')
    assert processes.records(tmp_path) == []
