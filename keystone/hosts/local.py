"""Programs on this computer (`nix`, `nixos-anywhere`): found on PATH, no standard input, a time limit, shown output."""

import asyncio
import os
import shutil
import signal
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from keystone.errors import KeystoneError
from keystone.hosts.context import progress
from keystone.hosts.ssh import last_line

CURES = {
    "nix": 'Install Nix (https://nixos.org/download); on a twin run `make up`, or `eval "$(make -s env)"` first',
    "nixos-anywhere": "`nix profile install nixpkgs#nixos-anywhere`; on a twin run `make up`",
    "ssh": "Install an OpenSSH client",
}
KEPT_LINES = 40
STOP_SECONDS = 10.0


def find(program: str) -> str:
    """The path of a program on PATH. Raises KeystoneError with the cure when it is missing."""
    path = shutil.which(program)
    if path is None:
        raise KeystoneError(program, "not found on PATH", CURES.get(program, f"Install {program}"))
    return path


async def run(
    name: str,
    argv: Sequence[str],
    *,
    limit: float,
    environment: Mapping[str, str] | None = None,
    keep: Sequence[int] = (),
    cwd: Path | None = None,
    show_output: bool = False,
) -> str:
    """Runs a program and returns its standard output; its standard error is shown line by line as progress of `name`.

    With `show_output` the standard output is shown likewise, and nothing is returned.

    Standard input is closed, so nothing can ask. `keep` are descriptors that the program inherits.
    Raises KeystoneError on a status other than 0 and after `limit` seconds; the whole process group is ended then.
    """
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **(environment or {})},
        start_new_session=True,
        pass_fds=keep,
        cwd=cwd,
        limit=1 << 20,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    said: deque[str] = deque(maxlen=KEPT_LINES)

    async def show(stream: asyncio.StreamReader) -> None:
        async for raw in stream:
            line = raw.decode(errors="replace").rstrip()
            if line:
                said.append(line)
                progress(name, line)

    program = Path(argv[0]).name
    try:
        async with asyncio.timeout(limit):
            out = show(process.stdout) if show_output else process.stdout.read()
            stdout, _ = await asyncio.gather(out, show(process.stderr))
            status = await process.wait()
    except TimeoutError:
        raise KeystoneError(
            f"hosts.{name}",
            f"`{program}` did not end within {limit:.0f} s; it said last: {last_line(chr(10).join(said))}",
            "Look at the machine's console and try again",
        ) from None
    finally:
        await _end(process)
    text = (stdout or b"").decode(errors="replace")
    if status != 0:
        raise KeystoneError(
            f"hosts.{name}", f"`{program}` ended with status {status}: {last_line(chr(10).join(said) or text)}"
        )
    return text


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ends a process group that is still running: politely, then by force."""
    for sort in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            return
        try:
            os.killpg(process.pid, sort)
        except ProcessLookupError:
            return
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            continue
