"""A cache of its own and a fake `go` for every test of the toolchain."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.toolchain.fake_go import FakeGo, install
from toolchain import golang


@pytest.fixture
def cache_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache's folder of this test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "keystone"


@pytest.fixture
def fake_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_root: Path) -> Iterator[FakeGo]:
    """The only `go` on PATH; none of the tools is there."""
    del cache_root
    go = install(tmp_path / "go-bin")
    monkeypatch.setenv("PATH", f"{go.folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
    golang.find.cache_clear()
    yield go
    golang.find.cache_clear()


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Puts a program on PATH, before all others, that prints the given text."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def put(name: str, text: str = "") -> Path:
        path = folder / name
        path.write_text(f"#!/bin/sh\necho '{text}'\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return put
