"""Runs a command on another machine, and copies files there, over SSH."""

from __future__ import annotations

import asyncio
import contextlib
import os
import posixpath
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import asyncssh

from twin.plugins import wire
from twin.plugins.base import ProviderError
from twin.plugins.command.fields import DEFAULT_DIAL_ERRORS, DEFAULT_DIAL_SECONDS, DEFAULT_PORT
from twin.plugins.command.output import Output

FIRST_DELAY = 0.1
DELAY_FACTOR = 1.5
LONGEST_DELAY = 5.0
"""Seconds between two attempts to connect, growing from the first to the longest."""
_CHUNK = 65536


@contextlib.asynccontextmanager
async def dial(connection: wire.Map, tell: Callable[[str], None]) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """Connect as `connection` says (plain values), through its proxy if it has one; closed at the end.

    Raises:
        ProviderError: no connection after as many failures as `dialErrorLimit` allows, or an unusable key.
    """
    async with contextlib.AsyncExitStack() as stack:
        tunnel = None
        if connection.get("proxy") is not None:
            try:
                tunnel = await _dial_one(connection["proxy"], "Dial proxy", None, tell)
            except ProviderError as fault:
                raise ProviderError(f"proxy: {fault}") from None
            stack.push_async_callback(_close, tunnel)
        client = await _dial_one(connection, "Dial", tunnel, tell)
        stack.push_async_callback(_close, client)
        yield client


async def _close(client: asyncssh.SSHClientConnection) -> None:
    client.close()
    with contextlib.suppress(TimeoutError, asyncssh.Error, OSError):
        await asyncio.wait_for(client.wait_closed(), 2.0)


async def _dial_one(
    endpoint: wire.Map, what: str, tunnel: asyncssh.SSHClientConnection | None, tell: Callable[[str], None]
) -> asyncssh.SSHClientConnection:
    host, port = endpoint["host"], int(endpoint.get("port") or DEFAULT_PORT)
    options = await _options(endpoint)
    limit = int(endpoint.get("dialErrorLimit", DEFAULT_DIAL_ERRORS))
    delay, failures = FIRST_DELAY, 0
    while True:
        try:
            return await asyncssh.connect(host, port, tunnel=tunnel or (), **options)
        except (OSError, TimeoutError, asyncssh.Error) as fault:
            failures += 1
            if -1 < limit < failures:
                reason = f"{host}:{port}: {_reason(fault)}"
                raise ProviderError(f"after {failures - 1} failed attempts: {reason}") from None
        tell(f"{what} {failures}/{'inf' if limit == -1 else limit} failed: retrying")
        await asyncio.sleep(delay)
        delay = min(delay * DELAY_FACTOR, LONGEST_DELAY)


def _reason(fault: Exception) -> str:
    if isinstance(fault, asyncssh.HostKeyNotVerifiable):
        return "ssh: host key mismatch: the server's key is not the one given as hostKey"
    if isinstance(fault, asyncssh.PermissionDenied):
        return f"ssh: unable to authenticate ({fault.reason})"
    if isinstance(fault, TimeoutError):
        return "no answer within perDialTimeout"
    return str(fault) or type(fault).__name__


async def _options(endpoint: wire.Map) -> dict[str, Any]:
    """asyncssh's options; nothing is taken from the user's own ssh settings, keys or known hosts."""
    seconds = endpoint.get("perDialTimeout", DEFAULT_DIAL_SECONDS) or None
    options: dict[str, Any] = {
        "username": endpoint.get("user") or "root",
        "password": endpoint.get("password"),
        "client_keys": await _client_keys(endpoint),
        "agent_path": None,
        "known_hosts": None,
        "config": [],
        "connect_timeout": seconds,
        "login_timeout": seconds or 0,
        "gss_host": None,
    }
    if endpoint.get("hostKey") is not None:
        try:
            key = asyncssh.import_public_key(endpoint["hostKey"])
        except (asyncssh.KeyImportError, ValueError) as fault:
            raise ProviderError(f"failed to parse host key: {fault}") from None
        options["known_hosts"] = ([key], [], [])
    return options


async def _client_keys(endpoint: wire.Map) -> Any:
    keys: list[Any] = []
    if endpoint.get("privateKey") is not None:
        try:
            keys.append(asyncssh.import_private_key(endpoint["privateKey"], endpoint.get("privateKeyPassword")))
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, ValueError) as fault:
            raise ProviderError(f"ssh: cannot use the private key: {fault}") from None
    agent_path = endpoint.get("agentSocketPath") or os.environ.get("SSH_AUTH_SOCK")
    if agent_path:
        try:
            # Left open: a key of the agent signs through this connection.
            keys += await (await asyncssh.connect_agent(agent_path)).get_keys()
        except (OSError, asyncssh.Error, ValueError) as fault:
            raise ProviderError(f"ssh agent {agent_path}: {fault}") from None
    return keys or None


async def run(
    connection: asyncssh.SSHClientConnection,
    command: str,
    output: Output,
    *,
    environment: Mapping[str, str],
    stdin: str | None,
) -> None:
    """Run the command to its end.

    Raises:
        ProviderError: it exited with another status than 0, was ended by a signal, or the connection was lost.
    """
    try:
        process = await connection.create_process(command, encoding=None, env=dict(environment))
    except (OSError, asyncssh.Error) as fault:
        raise ProviderError(output.error(str(fault), command)) from None
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_write(process, stdin))
            for name, stream in (("stdout", process.stdout), ("stderr", process.stderr)):
                tasks.create_task(_pump(stream, name, output))
        done = await process.wait()
    except BaseException as fault:
        # Most servers end the command when its channel closes; those that know signals, properly.
        with contextlib.suppress(OSError, asyncssh.Error):
            process.terminate()
            process.close()
        first = fault.exceptions[0] if isinstance(fault, BaseExceptionGroup) else fault
        if isinstance(first, OSError | asyncssh.Error):
            raise ProviderError(output.error(f"the connection was lost: {first}", command)) from None
        if isinstance(first, asyncio.CancelledError):
            raise ProviderError(output.error("stopped", command)) from None
        raise
    finally:
        output.close()
    if done.exit_signal is not None:
        raise ProviderError(output.error(f"Process exited with signal {done.exit_signal[0]}", command))
    if done.exit_status is None:
        raise ProviderError(output.error("wait: remote command exited without exit status or exit signal", command))
    if done.exit_status != 0:
        raise ProviderError(output.error(f"Process exited with status {done.exit_status}", command))


async def _pump(stream: asyncssh.SSHReader[bytes], name: str, output: Output) -> None:
    while data := await stream.read(_CHUNK):
        output.feed(name, data)


async def _write(process: asyncssh.SSHClientProcess[bytes], stdin: str | None) -> None:
    # A command that does not read to the end has done nothing wrong.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        if stdin:
            process.stdin.write(stdin.encode())
            await process.stdin.drain()
        process.stdin.write_eof()


async def copy(connection: asyncssh.SSHClientConnection, source: wire.Map, destination: str) -> None:
    """Copy a text asset, a file or a folder to `destination`, making the folders above it.

    A file goes into a folder that is there already; so does a folder without a slash at its end, else its content does.
    """
    try:
        async with connection.start_sftp_client() as sftp:
            if "text" in source:
                await _copy_text(sftp, source["text"], destination)
            else:
                await _copy_path(sftp, source["path"], destination)
    except (OSError, asyncssh.Error) as fault:
        raise ProviderError(f"failed to copy to remote path {destination}: {fault}") from None


async def _copy_text(sftp: asyncssh.SFTPClient, text: str, destination: str) -> None:
    if await sftp.isdir(destination):
        raise ProviderError(
            f"remote path {destination} is a directory; when using a text asset, remotePath must be a file path"
        )
    await _put(sftp, text.encode(), destination)


async def _copy_path(sftp: asyncssh.SFTPClient, source: str, destination: str) -> None:
    path = Path(source)
    if not path.is_dir():
        target = posixpath.join(destination, path.name) if await sftp.isdir(destination) else destination
        await _put(sftp, await asyncio.to_thread(path.read_bytes), target)
        return
    root = destination if source.endswith("/") else posixpath.join(destination, path.name)
    for folder in (destination, root):
        if await sftp.exists(folder) and not await sftp.isdir(folder):
            raise ProviderError(f"remote path {folder} exists but is not a directory")
    await sftp.makedirs(root, exist_ok=True)
    for parent, folders, files in os.walk(path):
        folders.sort()
        below = posixpath.join(root, Path(parent).relative_to(path).as_posix())
        for name in folders:
            await sftp.makedirs(posixpath.join(below, name), exist_ok=True)
        for name in sorted(files):
            await _put(sftp, await asyncio.to_thread(Path(parent, name).read_bytes), posixpath.join(below, name))


async def _put(sftp: asyncssh.SFTPClient, content: bytes, target: str) -> None:
    parent = posixpath.dirname(target)
    if parent and not await sftp.isdir(parent):
        await sftp.makedirs(parent, exist_ok=True)
    async with sftp.open(target, "wb") as file:
        await file.write(content)
