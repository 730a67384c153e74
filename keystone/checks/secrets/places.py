"""Where a stack's secrets could have leaked to: the places that `keystone check secrets` reads."""

import json
import os
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keystone.errors import KeystoneError
from keystone.wire import SIGNATURE, name_of

GIT_SECONDS = 30
PIECE = 16 * 1024 * 1024
"""Bytes. Larger files are read in pieces of this size; of a log that each update reads, the last piece."""
OVERLAP = 64 * 1024
"""Bytes that two pieces share, so that a secret on the border is in one of them as a whole."""
STATE = "state"
STORE = Path("/nix/store")


@dataclass(frozen=True)
class Place:
    """Something to search: what it is called, its bytes, and whether a list may allow what looks like a credential."""

    name: str
    data: bytes
    listed: bool = False
    """Files of the git tree: their look-alikes may be listed in `.secrets-allowed`."""


def of_file(path: Path, name: str = "", *, listed: bool = False) -> Place:
    """A file. Raises KeystoneError when it cannot be read: what was not searched must not count as clean."""
    return Place(name or str(path), _read(path), listed)


def _read(path: Path, start: int = 0, length: int = -1) -> bytes:
    try:
        with path.open("rb") as stream:
            stream.seek(start)
            return stream.read(length)
    except OSError as error:
        raise KeystoneError(
            str(path), f"cannot be read: {error.strerror}", "Mend its permissions or the path"
        ) from None


def _files(folder: Path) -> Iterator[Path]:
    """All files below a folder, in order of their names. Sockets and links are none."""
    return (file for file in sorted(folder.rglob("*")) if file.is_file() and not file.is_symlink())


def of_paths(paths: Iterable[Path]) -> Iterator[Place]:
    """Files, and all files below folders; large ones in pieces that overlap."""
    for path in paths:
        for file in _files(path) if path.is_dir() else [path]:
            size = file.stat().st_size if file.exists() else 0
            if size <= PIECE:
                yield of_file(file)
                continue
            for start in range(0, size, PIECE - OVERLAP):
                yield Place(f"{file} from byte {start}", _read(file, start, PIECE))


def _recent(files: Iterable[Path]) -> Iterator[Place]:
    """Files as they are now, of large ones the end: the rest was searched by the updates that wrote it."""
    for file in files:
        try:
            start = max(0, file.stat().st_size - PIECE)
        except FileNotFoundError:
            continue  # taken away by its service in this moment
        yield Place(f"{file} from byte {start}" if start else str(file), _read(file, start))


def _written(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except FileNotFoundError:
        return 0.0  # as in `_recent`


def git_tree(project: Path) -> Iterator[Place]:
    """What git tracks as it lies in the folder, and new files that are not ignored. Nothing outside of a repository."""
    line = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(line, cwd=project, capture_output=True, check=False, timeout=GIT_SECONDS)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise KeystoneError("git ls-files", f"failed: {error}", "Install git, or look at the repository") from None
    if done.returncode:
        return
    for name in sorted({os.fsdecode(one) for one in done.stdout.split(b"\0") if one}):
        file = project / name
        if file.is_file() and not file.is_symlink():
            yield of_file(file, name, listed=True)


def usual(stack: str, project: Path, since: float = 0.0) -> Iterator[Place]:
    """Rendered facts, the derivations of the hosts' systems, the logs of engine, plug-ins and twin.

    Of the logs those that were written to at the time `since` (seconds of the epoch) or later: the engine keeps 500 MB
    of earlier runs. The machines' own disks hold secrets rightly: not read.
    """
    facts, twin = project / "nix" / "facts" / stack, project / ".twin" / stack
    yield from _recent(_files(facts))
    homes = {home.resolve(): home / "logs" for home in (_engine_home(), twin / "pulumi")}
    for folder in (twin / "logs", *sorted(homes.values())):
        yield from _recent(file for file in _files(folder) if _written(file) >= since)
    hosts = sorted(file.stem for file in facts.glob("*.json"))
    yield from _recent(sorted({file for store in (STORE, twin / "store") for file in _systems(store, hosts)}))


def _engine_home() -> Path:
    """Where the engine keeps its logs; it goes by the same variable."""
    return Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi")


def _systems(store: Path, hosts: Iterable[str]) -> Iterator[Path]:
    """The derivations of hosts' systems, which every user of the computer may read. Earlier builds too."""
    for host in hosts:
        yield from store.glob(f"*-nixos-system-{host}-*.drv")


def leaves(document: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a JSON document with its path. Encrypted values are passed over: they are what they should be."""
    if isinstance(document, str):
        yield path, document
    elif isinstance(document, list):
        for index, item in enumerate(document):
            yield from leaves(item, f"{path}[{index}]")
    elif isinstance(document, dict) and SIGNATURE not in document:
        for key, item in document.items():
            yield from leaves(item, f"{path}.{key}" if path else str(key))


def resources(state: bytes) -> Iterator[tuple[str, str]]:
    """Every text of an exported state with a place such as `install-w1 inputs.stdin`."""
    try:
        deployment = json.loads(state).get("deployment") or {}
        listed = deployment.get("resources") or []
    except (ValueError, AttributeError):
        return
    for resource in listed:
        name = name_of(str(resource.get("urn", ""))) or "a resource"
        yield from ((f"{name} {path}", text) for path, text in leaves(resource))
