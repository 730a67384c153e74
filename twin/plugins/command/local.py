"""Runs a command on this machine, in a process group of its own."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import re
import signal
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from twin.plugins import wire
from twin.plugins.base import ProviderError
from twin.plugins.command.output import Output

INTERPRETER = ["/bin/sh", "-c"]
STOP_SECONDS = 2.0
"""Between SIGTERM and SIGKILL of a command that has to stop. The engine gives a plugin five seconds in all."""
_CHUNK = 65536


class GroupWatch(Protocol):
    """Who ends a group when the plugin is killed (see guard.py)."""

    def watch(self, group: int) -> None: ...
    def forget(self, group: int) -> None: ...


class LocalRunner:
    """Starts commands and can stop them all."""

    def __init__(self, environment: Mapping[str, str], guard: GroupWatch) -> None:
        self._environment = dict(environment)
        self._guard = guard

    async def run(
        self,
        command: str,
        output: Output,
        *,
        interpreter: list[str],
        folder: str | None,
        environment: Mapping[str, str],
        stdin: str | None,
    ) -> None:
        """Run `interpreter command` to its end; a cancelled call stops the whole process group first.

        Raises:
            ProviderError: it could not start, exited with another status than 0, was ended by a signal or stopped.
        """
        arguments = [*(interpreter or INTERPRETER), command]
        try:
            process = await asyncio.create_subprocess_exec(
                *arguments,
                stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd=folder,
                env={**self._environment, **environment},
                # Its own session too: nothing it starts can wait for an answer at the user's terminal.
                start_new_session=True,
            )
        except (OSError, ValueError) as fault:
            raise ProviderError(output.error(_start_fault(fault, arguments[0], folder), command)) from None
        self._guard.watch(process.pid)
        try:
            await _communicate(process, stdin, output)
        except asyncio.CancelledError:
            await _stop(process)
            # What it printed until then is what tells the user where it stood.
            raise ProviderError(output.error("stopped", command)) from None
        except BaseException:
            await _stop(process)
            raise
        finally:
            self._guard.forget(process.pid)
            output.close()
        code = process.returncode
        if code != 0:
            reason = f"exit status {code}" if code is not None and code > 0 else f"signal: {_signal_name(-(code or 0))}"
            raise ProviderError(output.error(reason, command))


async def _communicate(process: asyncio.subprocess.Process, stdin: str | None, output: Output) -> None:
    async def pump(stream: asyncio.StreamReader | None, name: str) -> None:
        assert stream is not None
        while data := await stream.read(_CHUNK):
            output.feed(name, data)

    async def write() -> None:
        if process.stdin is None:
            return
        # A command that does not read to the end has done nothing wrong.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.write((stdin or "").encode())
            await process.stdin.drain()
        process.stdin.close()

    async with asyncio.TaskGroup() as tasks:
        writing = tasks.create_task(write())
        pumps = [tasks.create_task(pump(process.stdout, "stdout")), tasks.create_task(pump(process.stderr, "stderr"))]
        await process.wait()
        await asyncio.wait(pumps)
        writing.cancel()


async def _stop(process: asyncio.subprocess.Process) -> None:
    """End the process group: SIGTERM, then SIGKILL. Returns when its first process is gone."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        deadline = asyncio.get_running_loop().time() + STOP_SECONDS
        while _group_alive(process.pid) and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.02)


def _group_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _signal_name(number: int) -> str:
    return signal.strsignal(number) or str(number)


def _start_fault(fault: OSError | ValueError, program: str, folder: str | None) -> str:
    """The start's failure in the words of the official provider, as far as those say where to look."""
    if not isinstance(fault, OSError) or fault.errno is None:
        return f"fork/exec {program}: invalid argument ({fault})"
    text = os.strerror(fault.errno).lower()
    if folder is not None and not Path(folder).is_dir():
        return f"chdir {folder}: {text}"
    if fault.errno == errno.E2BIG:
        return f"fork/exec {program}: {text} (one environment variable or argument may have 128 KiB)"
    if fault.errno == errno.ENOENT and "/" not in program:
        return f'exec: "{program}": executable file not found in $PATH'
    return f"fork/exec {program}: {text}"


def find_files(folder: Path, globs: Iterable[str]) -> dict[str, Path]:
    """Relative path -> file for each file below `folder` that the globs pick; a later `!glob` takes out again."""
    rules = [(pattern.startswith("!"), glob_pattern(pattern.removeprefix("!"))) for pattern in globs]
    found: dict[str, Path] = {}
    for parent, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = Path(parent, name)
            relative = path.relative_to(folder).as_posix()
            for exclude, pattern in rules:
                if not pattern.fullmatch(relative):
                    continue
                if exclude:
                    found.pop(relative, None)
                else:
                    found[relative] = path
    return found


def glob_pattern(glob: str) -> re.Pattern[str]:
    """`*` and `?` stop at `/`, `**` does not; `[abc]`, `[!abc]`, `{one,two}` and a backslash as usual."""
    out, index, depth = "", 0, 0
    while index < len(glob):
        char = glob[index]
        if glob.startswith("**", index):
            out, index = out + ".*", index + 1
        elif char == "*":
            out += "[^/]*"
        elif char == "?":
            out += "[^/]"
        elif char == "[" and (end := glob.find("]", index + 2)) > 0:
            out, index = out + "[" + glob[index + 1 : end].replace("!", "^", 1), end - 1
            index, out = index + 1, out + "]"
        elif char == "{":
            out, depth = out + "(?:", depth + 1
        elif char == "}" and depth:
            out, depth = out + ")", depth - 1
        elif char == "," and depth:
            out += "|"
        elif char == "\\" and index + 1 < len(glob):
            index += 1
            out += re.escape(glob[index])
        else:
            out += re.escape(char)
        index += 1
    return re.compile(out + ")" * depth, re.DOTALL)


def file_asset(path: Path) -> wire.Map:
    """The wire form of a file as an asset, with its hash, by which the engine sees changes."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {wire.SIGNATURE: wire.ASSET, "path": str(path), "hash": digest}


def archive(files: Mapping[str, Path]) -> wire.Map:
    """The wire form of files as one archive."""
    return {wire.SIGNATURE: wire.ARCHIVE, "assets": {name: file_asset(path) for name, path in files.items()}}
