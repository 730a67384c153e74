"""Client programs of the services: real child processes that speak to this machine's own services."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable

from twin.commands import NOT_FOUND, Call, Failed, program
from twin.supervisor import LAUNCH

CHUNK = 65536


async def _client(call: Call, unit: str, args: list[str]) -> int:
    service = call.machine.units.services.get(unit)
    if service is None:
        if reason := call.machine.units.problem(unit):
            raise Failed(f"{call.argv[0]}: {unit}.service failed: {reason}")
        raise Failed(f"bash: {call.argv[0]}: command not found", NOT_FOUND)
    argv, environment = service.client(args)
    return await stream(call, argv, environment)


async def stream(call: Call, argv: list[str], environment: dict[str, str]) -> int:
    """Run a program with the streams of the call; it ends with the session and with this process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-I", "-S", str(LAUNCH), str(os.getpid())),
        *argv,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        cwd=call.machine.root,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    feeding = asyncio.ensure_future(_feed(call, process.stdin))
    try:
        await asyncio.gather(_pump(process.stdout, call.out), _pump(process.stderr, call.err))
        code = await process.wait()
    finally:
        feeding.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await feeding
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    # A shell's way to tell of a signal.
    return code if code >= 0 else 128 - code


async def _feed(call: Call, stdin: asyncio.StreamWriter) -> None:
    # A client that reads no input may end before all of it is written.
    with contextlib.suppress(ConnectionError):
        while chunk := await call.stdin.read(CHUNK):
            stdin.write(chunk)
            await stdin.drain()
        stdin.close()


async def _pump(source: asyncio.StreamReader, sink: Callable[[bytes], None]) -> None:
    while chunk := await source.read(CHUNK):
        sink(chunk)


@program("kubectl", "installed")
async def kubectl(call: Call) -> int:
    return await _client(call, "k3s", call.args)


@program("k3s", "installed")
async def k3s(call: Call) -> int:
    if call.args[:1] != ["kubectl"]:
        raise Failed(f"k3s: the twin knows k3s kubectl, not k3s {' '.join(call.args[:1])}")
    return await _client(call, "k3s", call.args[1:])


@program("headscale", "installed")
async def headscale(call: Call) -> int:
    return await _client(call, "headscale", call.args)


@program("tailscale", "installed")
async def tailscale(call: Call) -> int:
    return await _client(call, "tailscaled", call.args)
