"""Tools that the user has: the right version is taken instead of a build, the wrong one is not, and both are said."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest

import toolchain
from tests.toolchain.fake_go import FakeGo
from toolchain import build
from toolchain.progress import Progress

Put = Callable[..., Path]


def test_a_binary_of_the_right_version_is_used_instead_of_a_build(fake_go: FakeGo, on_path: Put) -> None:
    mine = on_path("etcd", "etcd Version: 3.7.1")
    paths = build.ensure(["etcd"])
    [entry] = toolchain.inventory(["etcd"])

    assert paths["etcd"].resolve() == mine
    assert (entry.source, entry.path) == ("PATH", mine)
    assert fake_go.built == []


def test_it_is_said_which_binary_is_taken_from_path(fake_go: FakeGo, on_path: Put) -> None:
    mine = on_path("etcd", "etcd Version: 3.7.1")
    fake_go.set("says", "0.8.0")
    stream = io.StringIO()
    build.ensure(["etcd", "kwok"], Progress(stream=stream))

    assert f"toolchain: etcd 3.7.1 is taken from PATH: {mine}\n" in stream.getvalue()
    assert fake_go.built == ["kwok"]


def test_a_binary_of_another_version_is_passed_over_and_named(fake_go: FakeGo, on_path: Put) -> None:
    other = on_path("etcd", "etcd Version: 3.4.23")
    build.ensure(["etcd"], Progress(stream=io.StringIO()))
    [entry] = toolchain.inventory(["etcd"])

    assert entry.source == "built"
    assert entry.note == f"{other} is 3.4.23: not used"
    assert fake_go.built == ["etcd"]


def test_pulumi_is_taken_only_with_its_language_host_beside_it(fake_go: FakeGo, on_path: Put) -> None:
    del fake_go
    mine = on_path("pulumi", "v3.259.0")
    names = ["pulumi", "pulumi-language-python"]
    assert [entry.source for entry in toolchain.inventory(names)] == ["missing", "missing"]

    for name in ("pulumi-language-python", "pulumi-language-python-exec", "pulumi-resource-pulumi-python"):
        on_path(name)
    assert [entry.source for entry in toolchain.inventory(names)] == ["PATH", "PATH"]
    paths = build.ensure(names)
    assert paths["pulumi"].resolve() == mine
    assert paths["pulumi-language-python"].resolve().parent == mine.parent


def test_our_own_links_on_path_are_not_taken_for_the_users(fake_go: FakeGo, monkeypatch: pytest.MonkeyPatch) -> None:
    build.ensure(["etcd"], Progress(stream=io.StringIO()))
    monkeypatch.setenv("PATH", str(toolchain.bin_dir()), prepend=":")

    assert build.candidates("etcd") == []
    assert fake_go.built == ["etcd"]


def test_what_is_missing_is_listed_without_being_built(fake_go: FakeGo) -> None:
    entries = {entry.name: entry for entry in toolchain.inventory()}

    assert entries["headscale"].source == "missing"
    assert entries["headscale"].path is None
    assert fake_go.built == []
