"""A machine's own mesh daemon: a real tailscaled without a tunnel device (userspace networking), so without root."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import Any

import httpx

from keystone.errors import KeystoneError
from twin.files import write_private
from twin.services import InstalledSystem
from twin.services.facts import SOCKS_PORT, Facts
from twin.services.layout import environment
from twin.services.one_process import OneProcess
from twin.supervisor import Spec, Supervisor
from twin.tools import tool

log = logging.getLogger("twin.tailscale")
POLL_SECONDS = 0.5


class Tailscale(OneProcess):
    """The unit `tailscaled`."""

    unit = "tailscaled"

    def __init__(self, system: InstalledSystem, facts: Facts, socket: Path, supervisor: Supervisor) -> None:
        super().__init__(system, facts, socket, supervisor)
        self._publisher: asyncio.Task[None] | None = None

    async def start(self) -> None:
        if self._child is not None and self._child.running:
            return
        await self.stop()
        # The daemon trusts the mesh's private CA and nothing else: it has nobody else to talk to.
        write_private(self.layout.mesh_ca, self.system.mesh_ca)
        self.layout.tailscale.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._child = await self._supervisor.start(
                Spec(
                    name=f"{self.system.name}-tailscaled",
                    argv=[str(tool("tailscaled")), *self._arguments()],
                    environment=environment(
                        self.system.root,
                        SSL_CERT_FILE=str(self.layout.mesh_ca),
                        # Else root's tailscaled keeps its log's id in this computer's own /var/lib/tailscale.
                        TS_LOGS_DIR=str(self.layout.tailscale),
                        # On a computer without any network (a train) it would wait for one; loopback is all it needs.
                        TS_ASSUME_NETWORK_UP_FOR_TEST="1",
                    ),
                    cwd=self.system.root,
                    ready=self._answers,
                    ready_limit=30.0,
                )
            )
        except KeystoneError as error:
            self._problem = str(error)
            raise
        if self.facts.role == "primer":
            self._publisher = asyncio.create_task(self._publish_api(), name=f"publish {self.system.name}")

    async def stop(self) -> None:
        if self._publisher is not None:
            self._publisher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._publisher
            self._publisher = None
        await super().stop()

    def client(self, argv: list[str]) -> tuple[list[str], dict[str, str]]:
        # TS_BE_CLI makes the one binary the command line client, whatever it is called.
        command = [str(tool("tailscaled")), f"--socket={self._socket}", *argv]
        return command, environment(self.system.root, TS_BE_CLI="1")

    async def status(self) -> dict[str, Any]:
        """What the daemon says of itself (its LocalAPI): BackendState, TailscaleIPs, Self, Peer."""
        transport = httpx.AsyncHTTPTransport(uds=str(self._socket))
        async with httpx.AsyncClient(transport=transport, timeout=5.0, trust_env=False) as client:
            # The daemon refuses any other host name, so that no web page can reach it.
            answer = await client.get("http://local-tailscaled.sock/localapi/v0/status?peers=false")
        answer.raise_for_status()
        return answer.json()

    async def address(self) -> str:
        """The machine's IPv4 address in the mesh; raises KeystoneError while it has none."""
        try:
            status = await self.status()
        except (httpx.HTTPError, OSError) as error:
            raise KeystoneError(f"{self.system.name}-tailscaled", f"does not answer: {error}") from None
        found = [one for one in status.get("TailscaleIPs") or [] if ":" not in one]
        if status.get("BackendState") != "Running" or not found:
            raise KeystoneError(
                f"{self.system.name}-tailscaled", f"has no mesh address yet ({status.get('BackendState')})"
            )
        return found[0]

    def _arguments(self) -> list[str]:
        return [
            "--tun=userspace-networking",
            f"--socket={self._socket}",
            f"--statedir={self.layout.tailscale}",
            f"--socks5-server={self.system.address}:{SOCKS_PORT}",
            # All machines share this computer's interfaces, so the well-known port 41641 could serve only one of them.
            "--port=0",
            "--no-logs-no-support",
            "--encrypt-state=false",
        ]

    async def _answers(self) -> bool:
        return bool((await self.status()).get("BackendState"))

    async def _publish_api(self) -> None:
        """Publish the API on the primer's mesh address, once it has one: a kernel tunnel would do so by itself."""
        port, address = self.facts.api_port, self.system.address
        command, variables = self.client(["serve", "--bg", "--tcp", str(port), f"tcp://{address}:{port}"])
        while True:
            await asyncio.sleep(POLL_SECONDS)
            with contextlib.suppress(httpx.HTTPError, OSError, KeystoneError):
                if (await self.status()).get("BackendState") != "Running":
                    continue
                code, _, errors = await self._supervisor.run(command, variables, limit=20.0)
                if code == 0:
                    log.info("%s publishes the API in the mesh", self.system.name)
                    return
                self._problem = f"tailscale serve: {errors.decode(errors='replace').strip()[-300:]}"
                log.warning("%s: %s", self.system.name, self._problem)
                await asyncio.sleep(2.0)
