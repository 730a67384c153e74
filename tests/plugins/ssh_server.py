"""An SSH server in a thread of the test process: runs what it is asked with /bin/sh, in a folder of its own."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import asyncssh

from tests import networks

ADDRESS = networks.fresh().at(1)
PASSWORD = "correct horse"


class _Login(asyncssh.SSHServer):
    def __init__(self, owner: SshServer) -> None:
        self._owner = owner

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._owner.connections += 1
        self._owner.ports.append(conn.get_extra_info("peername")[1])

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return username == "root" and password == PASSWORD

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:  # noqa: ARG002
        self._owner.forwarded.append((dest_host, dest_port))
        return True


class SshServer:
    """`with SshServer(folder) as server`: listens on ADDRESS at `server.port`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self.user_key = asyncssh.generate_private_key("ssh-ed25519")
        # Once: each export of a key has other check bytes, and another text is another input.
        self.user_key_text = self.private(self.user_key)
        self.connections = 0
        self.ports: list[int] = []
        self.forwarded: list[tuple[str, int]] = []
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> SshServer:
        self._thread.start()
        self._acceptor = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        self.port = self._acceptor.get_port()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self) -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            ADDRESS,
            0,
            server_factory=lambda: _Login(self),
            server_host_keys=[self.host_key],
            authorized_client_keys=asyncssh.import_authorized_keys(self.public(self.user_key)),
            process_factory=self._run,
            sftp_factory=True,
            encoding=None,
        )

    async def _close(self) -> None:
        self._acceptor.close()
        await self._acceptor.wait_closed()

    async def _run(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        environment = {str(name): str(value) for name, value in process.env.items()}
        child = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            process.command or "",
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin", **environment},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await child.communicate(await process.stdin.read())
        process.stdout.write(out)
        process.stderr.write(err)
        process.exit(child.returncode or 0)

    @staticmethod
    def public(key: asyncssh.SSHKey) -> str:
        """A key's public line."""
        return key.export_public_key().decode().strip()

    @staticmethod
    def private(key: asyncssh.SSHKey) -> str:
        """A key's private text."""
        return key.export_private_key().decode()


def entry(kind: str, server: SshServer, *, endpoint: dict[str, Any] | None = None, **args: Any) -> dict[str, Any]:
    """A scene's entry with a connection by key; `endpoint` replaces or adds fields (None takes one out)."""
    connection: dict[str, Any] = {
        "host": ADDRESS,
        "port": server.port,
        "private_key": {"$secret": server.user_key_text},
        **(endpoint or {}),
    }
    kept = {name: value for name, value in connection.items() if value is not None}
    return {"kind": kind, "args": {"connection": kept, **args}}
