"""The per-user cache: where everything lies, what keys it, and the lock that keeps two builds apart.

<cache>/tools/<name>-<key>/   one tool: binary, scripts beside it, manifest.json. Appears by one rename, never half-made
<cache>/bin/<key>/            links to the tools of one set of pins: what goes on PATH
<cache>/go/mod, go/build      Go's own caches (large; `python -m toolchain clean` removes them)
<cache>/go/dist-<version>/    the Go toolchain, when PATH has none
<cache>/logs/<name>.log       what the last build of a tool printed
"""

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from keystone.errors import KeystoneError
from toolchain.tools import TOOLS, Tool

MODULES = Path(__file__).parent / "modules"
# Raise it when the way of building changes: every tool is then built anew.
RECIPE = "1"
LDFLAGS = ("-s", "-w")
LOCK_SECONDS = 2 * 3600


def root() -> Path:
    """The cache's folder: $XDG_CACHE_HOME/keystone, by default ~/.cache/keystone."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG base directory specification says that a relative path is to be ignored.
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "keystone"


def go_mod() -> Path:
    """Go's module cache."""
    return root() / "go" / "mod"


def go_build() -> Path:
    """Go's build cache."""
    return root() / "go" / "build"


def key(tool: Tool, go_minor: str) -> str:
    """The hash of all that decides what a build of the tool yields, as 16 hex digits."""
    digest = hashlib.sha256()
    recipe = (RECIPE, go_minor, tool.name, tool.package, tool.tags, tool.stamps, LDFLAGS, tool.aliases, tool.extras)
    digest.update(repr(recipe).encode())
    for path in sorted((MODULES / tool.module).iterdir()):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def tool_dir(tool: Tool, go_minor: str) -> Path:
    """The folder of a built tool. It exists when, and only when, the build was completed."""
    return root() / "tools" / f"{tool.name}-{key(tool, go_minor)}"


def bin_dir(go_minor: str) -> Path:
    """The folder of links for the present set of pins."""
    keys = "\n".join(key(tool, go_minor) for tool in TOOLS)
    return root() / "bin" / hashlib.sha256(keys.encode()).hexdigest()[:16]


def manifest(folder: Path) -> dict[str, str | int | float]:
    """What the build wrote about itself; empty when there is none."""
    try:
        return json.loads((folder / "manifest.json").read_text())
    except (OSError, ValueError):
        return {}


@contextlib.contextmanager
def lock(say: Callable[[str], None], limit: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold the cache's lock; the kernel frees it when the process ends, however it ends.

    Raises KeystoneError when another process has held it for `limit` seconds, or when the cache cannot be written.
    """
    path = root() / "lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("a+")
    except OSError as error:
        raise KeystoneError(
            str(path.parent),
            f"the cache cannot be written: {error.strerror}",
            "Set XDG_CACHE_HOME to a folder of yours",
        ) from None
    with handle:
        deadline = time.monotonic() + limit
        told = False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                handle.seek(0)
                holder = handle.read().strip() or "unknown"
                if time.monotonic() > deadline:
                    raise KeystoneError(
                        str(path),
                        f"process {holder} has been building for more than {limit:.0f} s",
                        "End it, or wait for it, then try again",
                    ) from None
                if not told:
                    say(f"toolchain: process {holder} is building already; waiting for it")
                    told = True
                time.sleep(0.5)
        handle.seek(0)
        handle.truncate()
        handle.write(f"{os.getpid()}\n")
        handle.flush()
        yield
