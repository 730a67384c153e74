"""The command plugin's parts: globs, masks, lines, the guard, the launcher."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from keystone.errors import KeystoneError
from twin import plugins
from twin.plugins.base import ERROR_BYTES, clip
from twin.plugins.command.guard import end_groups
from twin.plugins.command.local import find_files, glob_pattern
from twin.plugins.command.output import Mask, Output


@pytest.mark.parametrize(
    ("glob", "matching", "other"),
    [
        ("*.txt", "a.txt", "d/a.txt"),
        ("**", "d/e/a.txt", None),
        ("d/**.txt", "d/e/a.txt", "a.txt"),
        ("a?c", "abc", "a/c"),
        ("[ab].txt", "a.txt", "c.txt"),
        ("[!ab].txt", "c.txt", "a.txt"),
        ("{one,two}.txt", "two.txt", "three.txt"),
        (r"\*.txt", "*.txt", "a.txt"),
        ("a.txt", "a.txt", "aXtxt"),
    ],
)
def test_a_glob_picks_what_it_should(glob: str, matching: str, other: str | None) -> None:
    assert glob_pattern(glob).fullmatch(matching)
    assert other is None or not glob_pattern(glob).fullmatch(other)


def test_a_later_exclusion_takes_a_file_out(tmp_path: Path) -> None:
    for name in ("a.js", "secret.js", "b.txt"):
        (tmp_path / name).touch()
    assert list(find_files(tmp_path, ["*.js", "!*secret*"])) == ["a.js"]
    assert list(find_files(tmp_path, ["!*secret*", "*.js"])) == ["a.js", "secret.js"]


def test_secrets_are_masked_whole_and_line_by_line() -> None:
    mask = Mask({"first line\nsecond line\n", "token-1", "token-1-longer", "no"})
    assert mask("x token-1-longer y token-1") == "x [secret] y [secret]"
    assert mask("a second line") == "a [secret]"
    assert mask("no harm") == "no harm"


def test_lines_are_shown_as_they_end_and_the_rest_at_the_end() -> None:
    shown: list[str] = []
    output = Output(frozenset({"stdout"}), shown.append, Mask(()))
    output.feed("stdout", b"one\r\ntw")
    assert shown == ["one"]
    output.feed("stdout", "o\nthré".encode()[:-1])
    output.feed("stderr", b"not shown\n")
    output.feed("stdout", "thré".encode()[-1:])
    output.close()
    assert shown == ["one", "two", "thré"]
    assert output.text("stderr") == "not shown"


def test_an_error_holds_both_streams_in_order_and_no_secret() -> None:
    output = Output(frozenset(), lambda _line: None, Mask({"hidden"}))
    output.feed("stdout", b"first ")
    output.feed("stderr", b"hidden")
    assert output.error("exit status 2", 'say "hidden"') == (
        'exit status 2: running "say \\"[secret]\\"":\nfirst [secret]'
    )


def test_a_long_error_keeps_its_first_line_and_its_end() -> None:
    text = clip("exit status 1: running\n" + "x" * ERROR_BYTES + "the end")
    assert text.startswith("exit status 1: running\n[")
    assert text.endswith("the end")
    assert len(text.encode()) <= ERROR_BYTES


def test_a_group_that_ignores_sigterm_is_killed() -> None:
    child = subprocess.Popen(
        ["/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    with child:
        assert child.stdout is not None
        child.stdout.readline()
        begin = time.monotonic()
        end_groups({child.pid, 2**22 - 1}, seconds=0.2)
        assert child.wait(30) == -signal.SIGKILL
        assert time.monotonic() - begin < 30


def test_the_guard_ends_only_the_groups_it_still_watches() -> None:
    program = """
import subprocess, sys
from twin.plugins.command.guard import Guard
guard = Guard()
kept, dropped = (subprocess.Popen(["sleep", "60"], stdout=-3, start_new_session=True) for _ in range(2))
guard.watch(kept.pid); guard.watch(dropped.pid); guard.forget(dropped.pid)
print(kept.pid, dropped.pid, flush=True)
import os, signal
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, timeout=20, check=False)
    kept, dropped = (int(word) for word in done.stdout.split())
    deadline = time.monotonic() + 5
    while psutil.pid_exists(kept) and psutil.Process(kept).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the watched group is still there"
        time.sleep(0.05)
    assert psutil.pid_exists(dropped)
    os.kill(dropped, signal.SIGKILL)


def test_the_launcher_lies_where_the_engine_looks_and_starts(tmp_path: Path) -> None:
    home = tmp_path / "a home with blanks" / ("long" * 40)
    [launcher] = plugins.install(home, ["command"])
    assert launcher == home / "plugins" / "resource-command-v1.2.1" / "pulumi-resource-command"
    assert launcher.stat().st_mode & 0o777 == 0o755
    assert [path.name for path in launcher.parent.iterdir()] == [launcher.name]
    done = subprocess.run([launcher], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert "the Pulumi engine starts it" in done.stderr


def test_installing_again_leaves_an_equal_launcher_alone(tmp_path: Path) -> None:
    [launcher] = plugins.install(tmp_path, ["command"])
    before = launcher.stat().st_ino
    plugins.install(tmp_path, ["command"])
    assert launcher.stat().st_ino == before
    launcher.write_text("something else")
    plugins.install(tmp_path, ["command"])
    assert "twin/plugins/command" in launcher.read_text()


def test_an_unknown_provider_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeystoneError, match="there is no stand-in for the provider 'azure'"):
        plugins.install(tmp_path, ["azure"])


def test_the_plugin_starts_fast_and_stops_when_asked(tmp_path: Path) -> None:
    [launcher] = plugins.install(tmp_path, ["command"])
    begin = time.monotonic()
    with subprocess.Popen([launcher, "127.0.0.1:1"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as plugin:
        assert plugin.stdout is not None
        assert 0 < int(plugin.stdout.readline()) < 65536
        assert time.monotonic() - begin < 60  # 0.25 s on an idle machine
        plugin.send_signal(signal.SIGINT)
        assert plugin.wait(30) == 0
