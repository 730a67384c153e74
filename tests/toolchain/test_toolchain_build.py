"""What `ensure` promises, held with a fake `go`: whole folders or none, one build at a time, plain messages."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import toolchain
from keystone.errors import KeystoneError
from tests.toolchain.fake_go import FakeGo
from toolchain import build, cache
from toolchain.progress import Progress
from toolchain.tools import BY_NAME, TOOLS

PROJECT = Path(__file__).resolve().parents[2]


def quiet() -> Progress:
    return Progress(stream=io.StringIO())


def spawn(*names: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "toolchain", "ensure", *names],
        cwd=PROJECT,
        stderr=subprocess.PIPE,
        text=True,
        # Tests in a shell's background inherit that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for(what: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def leftovers(root: Path) -> list[Path]:
    return [path for path in (root / "tools").glob("*") if path.name.startswith(".tmp-")]


def test_a_missing_tool_is_built_once_and_linked_for_path(fake_go: FakeGo) -> None:
    paths = build.ensure(["etcd"], quiet())
    again = build.ensure(["etcd"], quiet())

    assert paths == again
    assert paths["etcd"] == toolchain.bin_dir() / "etcd"
    assert subprocess.run([paths["etcd"]], capture_output=True, text=True, check=True).stdout == "version v3.7.1\n"
    assert fake_go.built == ["etcd"]


def test_builds_are_reproducible_and_use_the_caches_own_go_folders(
    fake_go: FakeGo, cache_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOFLAGS", "-mod=mod")
    monkeypatch.setenv("GOOS", "plan9")
    monkeypatch.setenv("GOPROXY", "https://mirror.invalid")
    build.ensure(["etcd"], quiet())

    environment = json.loads((fake_go.folder / "environment").read_text())
    assert environment["GOFLAGS"] == "-mod=readonly -trimpath"
    assert environment["CGO_ENABLED"] == "0"
    assert environment["GOTOOLCHAIN"] == "local"
    assert environment["GOCACHE"] == str(cache_root / "go" / "build")
    assert environment["GOMODCACHE"] == str(cache_root / "go" / "mod")
    assert environment["GOPROXY"] == "https://mirror.invalid"
    assert "GOOS" not in environment


def test_the_language_host_gets_its_scripts_beside_it(fake_go: FakeGo) -> None:
    fake_go.set("says", "3.187.0")
    path = build.ensure(["pulumi-language-python"], quiet())["pulumi-language-python"]

    script = path.parent / "pulumi-language-python-exec"
    assert os.access(script, os.X_OK)
    # The engine resolves symbolic links before it looks beside itself: a link would lead it out of this folder.
    assert not path.is_symlink()
    assert not script.is_symlink()


def test_a_second_name_leads_to_the_same_binary(fake_go: FakeGo) -> None:
    del fake_go
    paths = build.ensure(["tailscaled"], quiet())

    assert paths["tailscale"].resolve() == paths["tailscaled"]


def test_a_plugin_is_never_put_on_path(fake_go: FakeGo) -> None:
    fake_go.set("says", "4.25.0")
    path = build.ensure(["pulumi-resource-kubernetes"], quiet())["pulumi-resource-kubernetes"]

    assert path.exists()
    assert toolchain.where(path.name) == path
    assert not (toolchain.bin_dir() / path.name).exists()


def test_a_failed_build_says_why_and_leaves_nothing(fake_go: FakeGo, cache_root: Path) -> None:
    fake_go.set("fail", "")
    with pytest.raises(
        KeystoneError, match=r"etcd: go build ended with status 1: package x: it does not compile\."
    ) as e:
        build.ensure(["etcd"], quiet())

    assert str(cache_root / "logs" / "etcd.log") in str(e.value)
    assert list((cache_root / "tools").iterdir()) == []


def test_a_binary_of_another_version_than_the_pinned_one_is_refused(fake_go: FakeGo, cache_root: Path) -> None:
    fake_go.set("says", "3.6.0")
    with pytest.raises(KeystoneError, match=r"etcd: built, but it calls itself 3\.6\.0, not 3\.7\.1"):
        build.ensure(["etcd"], quiet())

    assert list((cache_root / "tools").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_build_leaves_nothing_half_made(
    fake_go: FakeGo, cache_root: Path, number: signal.Signals
) -> None:
    fake_go.set("seconds", "10")  # a killed builder leaves its `go` to end by itself
    process = spawn("etcd")
    wait_for(lambda: fake_go.built == ["etcd"])
    process.send_signal(number)
    process.communicate(timeout=20)

    tool = cache.tool_dir(BY_NAME["etcd"], "1.26")
    assert not tool.exists()
    if number != signal.SIGKILL:
        assert leftovers(cache_root) == []

    fake_go.set("seconds", "0")
    build.ensure(["etcd"], quiet())
    assert tool.is_dir()
    assert leftovers(cache_root) == []


def test_two_builds_at_once_build_each_tool_once(fake_go: FakeGo) -> None:
    fake_go.set("seconds", "1.5")
    first = spawn("etcd")
    wait_for(lambda: fake_go.built == ["etcd"])
    second = spawn("etcd")
    _, said = second.communicate(timeout=30)
    first.communicate(timeout=30)

    assert (first.returncode, second.returncode) == (0, 0)
    assert f"process {first.pid} is building already; waiting for it" in said
    assert fake_go.built == ["etcd"]


def test_waiting_for_another_build_has_an_end(fake_go: FakeGo) -> None:
    fake_go.set("seconds", "600")
    process = spawn("etcd")
    wait_for(lambda: fake_go.built == ["etcd"])
    try:
        with (
            pytest.raises(KeystoneError, match=f"process {process.pid} has been building for more than 1 s"),
            cache.lock(quiet().say, limit=1),
        ):
            pass
    finally:
        process.terminate()
        process.communicate(timeout=20)


def test_a_small_disk_is_found_before_the_build(fake_go: FakeGo, monkeypatch: pytest.MonkeyPatch) -> None:
    real = build.check_disk
    monkeypatch.setattr(build, "check_disk", lambda missing: real(missing, free=lambda _: 1.5))
    message = r"keystone: building 1 tools needs 2 GB free, there are 1\.5 GB\. Free some space, or set XDG_CACHE_HOME"
    with pytest.raises(KeystoneError, match=message):
        build.ensure(["etcd"], quiet())

    assert fake_go.built == []


def test_the_space_asked_for_goes_with_what_is_missing() -> None:
    assert build.needed_gigabytes(list(TOOLS)) == build.GIGABYTES_FOR_ALL
    assert build.needed_gigabytes([BY_NAME["etcd"]]) == 2.0
    assert 5 < build.needed_gigabytes([BY_NAME["pulumi-resource-kubernetes"]]) < 15


def test_a_cache_that_cannot_be_written_is_one_line(fake_go: FakeGo, tmp_path: Path) -> None:
    del fake_go
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(
        KeystoneError, match=r"the cache cannot be written: .*\. Set XDG_CACHE_HOME to a folder of yours\."
    ):
        build.ensure(["etcd"], quiet())


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(KeystoneError, match=r"etcdd: no such tool\. There are: pulumi, .*etcd"):
        build.ensure(["etcdd"], quiet())


def test_the_command_prints_one_line_and_no_traceback(fake_go: FakeGo) -> None:
    fake_go.set("fail", "")
    done = subprocess.run(
        [sys.executable, "-m", "toolchain", "ensure", "etcd"], cwd=PROJECT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("etcd: go build ended with status 1")


def test_without_a_terminal_each_tool_has_a_line_when_it_begins_and_one_when_it_ends(fake_go: FakeGo) -> None:
    del fake_go
    progress = quiet()
    build.ensure(["etcd"], progress)
    assert isinstance(progress.stream, io.StringIO)
    lines = progress.stream.getvalue().splitlines()

    assert re.match(
        r"toolchain: building 1 of 1 tools from source with Go 1\.26\.8, once: about \d+ s, up to 2 GB", lines[0]
    )
    assert re.match(r"\[1/1\] etcd 3\.7\.1: building, about \d+ s", lines[1])
    assert re.match(r"\[1/1\] etcd 3\.7\.1: built in \d+ s", lines[2])
