"""Builds what is missing: checks the disk, builds each tool into a scratch folder, renames it into place, links it."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from keystone.errors import KeystoneError
from toolchain import cache, golang
from toolchain.golang import Go
from toolchain.progress import Progress, guess, span
from toolchain.tools import BY_NAME, TOOLS, Tool

# A build of everything from nothing: 7 GB of module cache, 11 GB of build cache, 1 GB of binaries, and room to work.
GIGABYTES_FOR_ALL = 25.0
BUILD_SECONDS = 3600
ASK_SECONDS = 30


def chosen(names: Iterable[str] | None) -> list[Tool]:
    """The tools of these names, in the table's order; all that a twin needs for None or an empty list."""
    wanted = set(names or (tool.name for tool in TOOLS))
    unknown = sorted(wanted - set(BY_NAME))
    if unknown:
        raise KeystoneError(", ".join(unknown), "no such tool", f"There are: {', '.join(BY_NAME)}")
    return [tool for tool in BY_NAME.values() if tool.name in wanted]


def answer(path: Path, tool: Tool) -> str:
    """What a binary says about its version, as three numbers; empty when it says nothing of the kind."""
    try:
        done = subprocess.run(
            [str(path), *tool.ask],
            # Some tools would ask the network whether there is a newer version.
            env={**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=ASK_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = re.search(r"\d+\.\d+\.\d+", done.stdout)
    return match[0] if match else ""


def candidates(name: str) -> list[Path]:
    """Every binary of this name on PATH, save those that are ours (the cache's links, the twin's stand-ins)."""
    ours = (cache.root().resolve(), Path(__file__).resolve().parents[1])
    found = []
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        path = Path(folder or ".") / name
        real = path.parent.resolve()
        if any(real.is_relative_to(one) for one in ours):
            continue
        if path.is_file() and os.access(path, os.X_OK):
            found.append(path.absolute())
    return found


def from_path(tool: Tool) -> Path | None:
    """A binary on PATH that serves in place of a build: the right version and, for a pair, its partner beside it."""
    if tool.with_tool:
        partner = from_path(BY_NAME[tool.with_tool])
        return partner.resolve().parent / tool.name if partner else None
    if not tool.ask or not tool.on_path:
        return None
    for path in candidates(tool.name):
        # The engine looks for its language host beside itself, and the host for its script: all of them, or none.
        beside = [other.name for other in TOOLS if other.with_tool == tool.name]
        beside += [extra.name for other in TOOLS if other.with_tool == tool.name for extra in other.extras]
        if all((path.resolve().parent / name).is_file() for name in beside) and answer(path, tool) == tool.version:
            return path
    return None


def _present(tools: list[Tool], go: Go) -> tuple[dict[str, Path], list[Tool]]:
    """Where each tool's binary is, and which tools must be built."""
    found: dict[str, Path] = {}
    missing = []
    for tool in tools:
        built = cache.tool_dir(tool, go.minor) / tool.name
        path = built if built.exists() else from_path(tool)
        if path:
            found[tool.name] = path
        else:
            missing.append(tool)
    return found, missing


def _place(source: Path, link: Path, *, hard: bool) -> None:
    """Make `link` lead to `source`, by one rename.

    Hard links, because the engine resolves symbolic ones before it looks for its neighbours.
    """
    if hard and link.exists() and not link.is_symlink() and link.samefile(source):
        return
    if not hard and link.is_symlink() and link.readlink() == source:
        return
    scratch = link.with_name(f".tmp-{link.name}-{os.getpid()}")
    scratch.unlink(missing_ok=True)
    if hard:
        try:
            os.link(source, scratch)
        except OSError:  # a file system without hard links
            shutil.copy2(source, scratch)
    else:
        scratch.symlink_to(source)
    scratch.replace(link)


def _link(tools: list[Tool], found: dict[str, Path], folder: Path) -> dict[str, Path]:
    """Link every tool into the folder for PATH; returns the paths to use."""
    folder.mkdir(parents=True, exist_ok=True)
    paths: dict[str, Path] = {}
    for tool in tools:
        source = found[tool.name]
        if not tool.on_path:
            paths[tool.name] = source
            continue
        hard = source.is_relative_to(cache.root())
        _place(source, folder / tool.name, hard=hard)
        paths[tool.name] = folder / tool.name
        for extra in tool.extras:
            _place(source.parent / extra.name, folder / extra.name, hard=hard)
        for alias in tool.aliases:
            _place(Path(tool.name), folder / alias, hard=False)
            paths[alias] = folder / alias
    return paths


def needed_gigabytes(missing: list[Tool]) -> float:
    """Free space that the builds want: the whole for everything, in proportion to the work for a part, 2 at least."""
    share = sum(tool.seconds for tool in missing) / sum(tool.seconds for tool in TOOLS)
    return max(2.0, GIGABYTES_FOR_ALL * share)


def check_disk(missing: list[Tool], free: Callable[[Path], float] | None = None) -> None:
    """Raise KeystoneError when the cache's file system is too small. `free` tells the free gigabytes of a folder."""
    place = cache.root()
    while not place.exists():
        place = place.parent
    have = free(place) if free else shutil.disk_usage(place).free / 1e9
    need = needed_gigabytes(missing)
    if have < need:
        raise KeystoneError(
            str(cache.root()),
            f"building {len(missing)} tools needs {need:.0f} GB free, there are {have:.1f} GB",
            "Free some space, or set XDG_CACHE_HOME to a folder on a larger disk",
        )


def _sweep() -> None:
    """Remove what interrupted builds left. The caller holds the lock, so none of it is in use."""
    for folder in (cache.root() / "tools", cache.root() / "go"):
        if folder.is_dir():
            for path in folder.glob(".tmp-*"):
                shutil.rmtree(path, ignore_errors=True)


def _command(tool: Tool, output: Path) -> list[str]:
    flags = " ".join([*cache.LDFLAGS, *(f"-X {stamp}" for stamp in tool.stamps)])
    line = ["build", "-ldflags", flags, "-o", str(output)]
    if tool.tags:
        line += ["-tags", ",".join(tool.tags)]
    return [*line, tool.package]


def _run(tool: Tool, go: Go, scratch: Path, progress: Progress) -> None:
    """Run `go build`; its output goes to a log. On any way out the process is gone."""
    log = cache.root() / "logs" / f"{tool.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    temporary = scratch / "tmp"  # Go's own scratch files: so they go with ours when we are killed
    temporary.mkdir()
    with log.open("w") as output:
        process = subprocess.Popen(
            [str(go.path), *_command(tool, scratch / tool.name)],
            cwd=cache.MODULES / tool.module,
            env={**golang.environment(go), "GOTMPDIR": str(temporary)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        deadline = time.monotonic() + BUILD_SECONDS
        try:
            while True:
                try:
                    status = process.wait(timeout=1)
                    break
                except subprocess.TimeoutExpired:
                    progress.tick()
                if time.monotonic() > deadline:
                    raise KeystoneError(tool.name, f"not built within {BUILD_SECONDS} s", f"Its output is in {log}")
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
    shutil.rmtree(temporary, ignore_errors=True)
    if status:
        lines = [
            line for line in log.read_text(errors="replace").splitlines() if not line.startswith("go: downloading")
        ]
        raise KeystoneError(
            tool.name,
            f"go build ended with status {status}: {' | '.join(lines[-6:]) or 'it said nothing'}",
            f"The whole output is in {log}",
        )


def _build(tool: Tool, go: Go, progress: Progress) -> Path:
    """Build one tool; returns its binary. The folder appears whole, by one rename, or not at all."""
    final = cache.tool_dir(tool, go.minor)
    scratch = final.with_name(f".tmp-{final.name}")
    scratch.mkdir(parents=True)
    started = time.monotonic()
    try:
        _run(tool, go, scratch, progress)
        binary = scratch / tool.name
        for extra in tool.extras:
            source = golang.download(go, extra.module, extra.version, extra.pinned_by)
            shutil.copyfile(source / extra.path, scratch / extra.name)
            (scratch / extra.name).chmod(0o755)
        for alias in tool.aliases:
            (scratch / alias).symlink_to(tool.name)
        if tool.ask and (said := answer(binary, tool)) != tool.version:
            raise KeystoneError(
                tool.name, f"built, but it calls itself {said or 'nothing'}, not {tool.version}", "Correct versions.py"
            )
        about = {
            "name": tool.name,
            "version": tool.version,
            "go": go.version,
            "seconds": round(time.monotonic() - started, 1),
            "bytes": binary.stat().st_size,
        }
        (scratch / "manifest.json").write_text(json.dumps(about, indent=2) + "\n")
        scratch.rename(final)
    except OSError as error:
        raise KeystoneError(tool.name, f"not built: {error}", f"Look at the disk that holds {cache.root()}") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return final / tool.name


def ensure(names: Iterable[str] | None = None, progress: Progress | None = None) -> dict[str, Path]:
    """Have the tools of these names (default: all), building what is missing; returns name -> binary, aliases included.

    Raises KeystoneError when a name is unknown, the disk too small, or a build fails.
    """
    tools = chosen(names)
    progress = progress or Progress()
    go = golang.find()
    found, missing = _present(tools, go)
    if missing:
        with cache.lock(progress.say):
            found, missing = _present(tools, go)  # another process may have built them while we waited
            if missing:
                _sweep()
                check_disk(missing)
                golang.fetch(go, progress.say)
                progress.total = len(missing)
                _announce(tools, found, missing, go, progress)
                for tool in missing:
                    progress.begin(tool)
                    try:
                        found[tool.name] = _build(tool, go, progress)
                    except BaseException:
                        progress.end("not built: stopped")
                        raise
                    progress.end("built")
    return _link(tools, found, cache.bin_dir(go.minor))


def _announce(tools: list[Tool], found: dict[str, Path], missing: list[Tool], go: Go, progress: Progress) -> None:
    for tool in tools:
        if tool.name in found and not found[tool.name].is_relative_to(cache.root()):
            progress.say(f"toolchain: {tool.name} {tool.version} is taken from PATH: {found[tool.name]}")
    time_needed = span(sum(guess(tool) for tool in missing))
    progress.say(
        f"toolchain: building {len(missing)} of {len(tools)} tools from source with Go {go.version}, once: "
        f"about {time_needed}, up to {needed_gigabytes(missing):.0f} GB in {cache.root()}"
    )
