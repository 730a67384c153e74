"""The SSH server of a twin machine: public keys only, one program per session, no shell, no terminal, no forwarding."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
from collections.abc import Awaitable, Callable, Iterable

import asyncssh

from keystone.errors import KeystoneError

log = logging.getLogger(__name__)
LOGIN_SECONDS = 30
KEEPALIVE_SECONDS = 30
SOFTWARE_FAULT = 70  # sysexits.h

Keys = Callable[[], Iterable[str]]
Handler = Callable[["asyncssh.SSHServerProcess[bytes]", str], Awaitable[int]]


class _Login(asyncssh.SSHServer):
    """One connection. The authorised keys are asked for anew each time: they may change while the machine runs."""

    def __init__(self, door: Door) -> None:
        self.door = door

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.connection = conn
        self.door.connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.door.connections.discard(self.connection)

    def begin_auth(self, username: str) -> bool:  # noqa: ARG002
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        if username not in self.door.users:
            return False
        wanted = key.public_data
        return any(_public_data(line) == wanted for line in self.door.authorized())


def _status(process: asyncssh.SSHServerProcess[bytes], work: asyncio.Future[int]) -> int:
    error = None if work.cancelled() else work.exception()
    if error is not None:
        # A fault of the twin: the client gets a status, the log the traceback.
        log.error("a command failed", exc_info=error)
        process.stderr.write(f"the twin failed: {error!r}\n".encode())
        return SOFTWARE_FAULT
    return work.result()


def _public_data(line: str) -> bytes | None:
    try:
        return asyncssh.import_public_key(line).public_data
    except (asyncssh.KeyImportError, ValueError):
        return None


class Door:
    """One listening SSH server; `open` and `close` once each."""

    def __init__(self, users: Iterable[str], keys: Keys, handler: Handler, shell: str | None = None) -> None:
        """`shell` is what runs for a login without a command; such logins are refused when it is None."""
        self.users = frozenset(users)
        self.authorized = keys
        self.handler = handler
        self.shell = shell
        self.connections: set[asyncssh.SSHServerConnection] = set()
        self._acceptor: asyncssh.SSHAcceptor | None = None

    async def open(self, address: str, port: int, host_key: bytes) -> None:
        """Listen. Raises KeystoneError when the port is taken or the address is not ours."""
        try:
            key = asyncssh.import_private_key(host_key)
        except asyncssh.KeyImportError as error:
            raise KeystoneError(f"{address} port {port}", f"the host key cannot be read ({error})") from None
        try:
            self._acceptor = await asyncssh.create_server(
                lambda: _Login(self),
                address,
                port,
                server_host_keys=[key],
                process_factory=self._session,
                encoding=None,
                allow_pty=False,
                line_editor=False,
                allow_scp=False,
                agent_forwarding=False,
                x11_forwarding=False,
                password_auth=False,
                kbdint_auth=False,
                host_based_auth=False,
                gss_host=None,
                login_timeout=LOGIN_SECONDS,
                keepalive_interval=KEEPALIVE_SECONDS,
                compression_algs=None,
            )
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            raise KeystoneError(
                f"{address} port {port}",
                "another program listens there" if taken else f"cannot listen ({error.strerror})",
                "Stop it (`ss -tlnp` names it), or choose another twin:network",
            ) from None

    async def close(self) -> None:
        """Stop listening and cut every session, as a machine does whose power goes."""
        if self._acceptor is None:
            return
        self._acceptor.close()
        for connection in list(self.connections):
            connection.abort()
        await self._acceptor.wait_closed()
        self._acceptor = None

    async def _session(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        command = process.command or self.shell
        if command is None:
            process.stderr.write(b"The twin's machines have no login shell: give a command.\n")
            process.exit(1)
            return
        work = asyncio.ensure_future(self.handler(process, command))
        gone = asyncio.ensure_future(process.wait_closed())
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                process.exit(_status(process, work))
        finally:
            # A client that hangs up ends its command, as SIGHUP would.
            for task in (work, gone):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await task
