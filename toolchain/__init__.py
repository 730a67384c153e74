"""The engine, the control plane and the mesh, built from pinned Go modules into a per-user cache.

`ensure` builds what is missing and tells where it is; `bin_dir` is the folder for PATH; `inventory` tells what there
is; `module_dir` finds the source of a Go module (CRDs and the like lie there). Standard library only: it runs before
anything is installed. `python -m toolchain` is its command line.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from keystone.errors import KeystoneError
from toolchain import cache, golang
from toolchain.build import answer, candidates, chosen, ensure, from_path
from toolchain.progress import Progress
from toolchain.tools import TOOLS

__all__ = ["Entry", "bin_dir", "ensure", "inventory", "module_dir", "where"]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is known of one tool on this machine."""

    name: str
    version: str
    source: str  # built, PATH or missing
    path: Path | None
    megabytes: int
    note: str = ""  # a binary on PATH that is not used, and why


def bin_dir() -> Path:
    """The folder to put on PATH. `ensure` fills it."""
    return cache.bin_dir(golang.find().minor)


def inventory(names: Iterable[str] | None = None) -> list[Entry]:
    """Every tool, where it comes from, and what on PATH was passed over. Builds nothing."""
    go = golang.find()
    entries = []
    for tool in TOOLS:
        if names is not None and tool.name not in names:
            continue
        folder = cache.tool_dir(tool, go.minor)
        about = cache.manifest(folder)
        if folder.is_dir():
            source, path = "built", folder / tool.name
        else:
            path = from_path(tool)
            source = "PATH" if path else "missing"
        note = ""
        if source != "PATH" and tool.ask and (others := candidates(tool.name)):
            said = answer(others[0], tool) or "of unknown version"
            note = f"{others[0]} is {said}: not used" if said != tool.version else f"{others[0]} would serve too"
        size = int(about.get("bytes", 0)) // 1_000_000 if about else tool.megabytes
        entries.append(Entry(name=tool.name, version=tool.version, source=source, path=path, megabytes=size, note=note))
    return entries


def where(name: str) -> Path | None:
    """The binary of one tool, plugins too (those are not in `bin_dir`); None when it is not built. Builds nothing."""
    [tool] = chosen([name])
    built = cache.tool_dir(tool, golang.find().minor) / tool.name
    return built if built.exists() else from_path(tool)


def module_dir(module: str, version: str = "") -> Path:
    """The source folder of a Go module, downloaded if need be.

    Without a version it is the one that toolchain/modules requires, proven by its go.sum. Raises KeystoneError when
    nothing requires it or it cannot be had.
    """
    folder = ""
    if not version:
        folder, version = golang.required(module)
        if not folder:
            raise KeystoneError(module, "no go.mod below toolchain/modules requires it", "Give a version")
    go = golang.find()
    if not go.present:
        progress = Progress()
        with cache.lock(progress.say):
            golang.fetch(go, progress.say)
    return golang.download(go, module, version, folder)
