"""keystone/hosts/context.py: the lock of one host."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from keystone.errors import KeystoneError
from keystone.hosts import context
from keystone.hosts.context import host_lock


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def test_a_second_command_on_one_host_waits_for_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    order: list[str] = []

    async def hold(word: str, seconds: float) -> None:
        async with host_lock("site", "w1"):
            order.append(f"{word} begins")
            await asyncio.sleep(seconds)
            order.append(f"{word} ends")

    async def scene() -> None:
        first = asyncio.create_task(hold("first", 0.5))
        await asyncio.sleep(0.1)
        await asyncio.gather(first, hold("second", 0))

    asyncio.run(scene())
    assert order == ["first begins", "first ends", "second begins", "second ends"]
    assert "w1: waiting: another command works on this host" in capsys.readouterr().err


def test_commands_on_different_hosts_do_not_wait() -> None:
    async def scene() -> None:
        async with host_lock("site", "w1"), host_lock("site", "w2", limit=0):
            pass

    asyncio.run(scene())


def test_many_commands_at_once_make_and_remove_the_folder_without_a_fault(tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import asyncio, os, sys, tempfile
        from keystone.hosts.context import host_lock
        tempfile.tempdir = os.environ["FOLDER"]
        async def main():
            for _ in range(300):
                async with host_lock("site", sys.argv[1]):
                    pass
        asyncio.run(main())
        """
    )
    environment = {**os.environ, "FOLDER": str(tmp_path)}
    running = [
        subprocess.Popen([sys.executable, "-c", program, name], env=environment, stderr=subprocess.PIPE, text=True)
        for name in ("w1", "w2", "w1")
    ]
    ended = [(each.communicate()[1], each.returncode) for each in running]
    assert [code for _, code in ended] == [0, 0, 0], ended
    assert list(tmp_path.iterdir()) == []


def test_the_wait_is_bounded() -> None:
    async def scene() -> None:
        async with host_lock("site", "w1"), host_lock("site", "w1", limit=0.3):
            pass

    with pytest.raises(KeystoneError, match=r"hosts\.w1: another command has been working on it for 0 s"):
        asyncio.run(scene())


def test_key_files_are_private_and_nothing_is_left(tmp_path: Path) -> None:
    async def scene() -> None:
        async with host_lock("site", "w1") as lock:
            assert lock.folder.stat().st_mode & 0o777 == 0o700
            (lock.folder / "key").write_text("secret")

    asyncio.run(scene())
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_command_left_is_cleaned_away_by_the_next() -> None:
    folder = context.runtime_folder("site")
    (folder / "w1.lock").touch()
    (folder / "w1.work").mkdir()
    (folder / "w1.work" / "disk.key").write_text("secret")

    async def scene() -> None:
        async with host_lock("site", "w1") as lock:
            assert list(lock.folder.iterdir()) == []

    asyncio.run(scene())


def test_a_child_that_outlives_a_killed_command_keeps_the_lock(tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import asyncio, os, signal, subprocess, tempfile
        from keystone.hosts.context import host_lock
        tempfile.tempdir = os.environ["FOLDER"]
        async def main():
            async with host_lock("site", "w1") as lock:
                quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
                child = subprocess.Popen(["sleep", "60"], pass_fds=[lock.descriptor], **quiet)
                print(child.pid, flush=True)
                os.kill(os.getpid(), signal.SIGKILL)
        asyncio.run(main())
        """
    )
    environment = {**os.environ, "FOLDER": str(tmp_path)}
    killed = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert killed.stdout.strip().isdigit(), killed.stderr

    async def scene(limit: float) -> None:
        async with host_lock("site", "w1", limit=limit):
            pass

    with pytest.raises(KeystoneError, match="another command"):
        asyncio.run(scene(0.2))
    os.kill(int(killed.stdout), signal.SIGKILL)
    asyncio.run(scene(10))


def test_a_sweep_removes_what_killed_commands_left_and_spares_what_is_in_use(tmp_path: Path) -> None:
    folder = context.runtime_folder("site")
    for name in ("w1", "w2"):
        (folder / f"{name}.lock").touch()
        (folder / f"{name}.work").mkdir(mode=0o700)
        (folder / f"{name}.work" / "operator_key").write_text("secret")

    async def scene() -> None:
        async with host_lock("site", "w1") as lock:
            (lock.folder / "disk.key").write_text("in use")
            context.sweep("site", Path.cwd())
            assert sorted(path.name for path in folder.iterdir()) == ["w1.lock", "w1.work"]
            assert (lock.folder / "disk.key").exists()

    asyncio.run(scene())
    context.sweep("site", Path.cwd())
    assert not folder.exists()
    assert tmp_path.exists()


def test_what_the_engine_runs_uses_the_folder_of_its_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "driver").mkdir()
    monkeypatch.setenv(context.RUNTIME, str(tmp_path / "driver"))
    assert context.runtime_folder("site").is_relative_to(tmp_path / "driver")


def test_another_users_folder_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"keystone-hosts-{os.getuid() + 1}").mkdir()
    other = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: other)
    with pytest.raises(KeystoneError, match=rf"is no folder of ours \(user {os.geteuid()}\)\. Remove it"):
        context.runtime_folder("site")
