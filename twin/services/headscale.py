"""The primer's mesh controller: real Headscale with its embedded relay, over TLS by the mesh's private CA."""

from __future__ import annotations

import asyncio

import yaml

from keystone.errors import KeystoneError
from twin.files import write_private
from twin.services.facts import HEADSCALE_GRPC_PORT, HEADSCALE_METRICS_PORT, STUN_PORT
from twin.services.layout import environment
from twin.services.one_process import OneProcess
from twin.supervisor import Spec
from twin.tools import tool

SECRETS = ("headscale-noise-key", "headscale-derp-key", "mesh-tls-key", "mesh-tls.crt")


class Headscale(OneProcess):
    """The unit `headscale`."""

    unit = "headscale"

    async def start(self) -> None:
        if self._child is not None and self._child.running:
            return
        await self.stop()
        try:
            self._write_files()
            self._child = await self._supervisor.start(
                Spec(
                    name=f"{self.system.name}-headscale",
                    argv=[str(tool("headscale")), "--config", str(self.layout.headscale_config), "serve"],
                    environment=environment(self.system.root),
                    cwd=self.system.root,
                    ready=self._answers,
                )
            )
        except KeystoneError as error:
            self._problem = str(error)
            raise

    def client(self, argv: list[str]) -> tuple[list[str], dict[str, str]]:
        command = [str(tool("headscale")), "--config", str(self.layout.headscale_config), *argv]
        return command, environment(self.system.root)

    def _write_files(self) -> None:
        missing = [name for name in SECRETS if name not in self.system.secrets]
        if missing:
            raise KeystoneError(
                f"{self.system.name}: secret {missing[0]}",
                "is not among the machine's secrets",
                "Render the age files again; the twin's mesh needs mesh.tls private",
            )
        for name in SECRETS:
            write_private(self.layout.headscale / name, self.system.secrets[name])
        write_private(self.layout.headscale_config, yaml.safe_dump(self._config(), sort_keys=False).encode())

    def _config(self) -> dict:
        facts, address, folder = self.facts, self.system.address, self.layout.headscale
        return {
            "server_url": facts.mesh_url,
            "listen_addr": f"{address}:{facts.mesh_port}",
            "metrics_listen_addr": f"{address}:{HEADSCALE_METRICS_PORT}",
            "grpc_listen_addr": f"{address}:{HEADSCALE_GRPC_PORT}",
            "grpc_allow_insecure": False,
            "tls_cert_path": str(folder / "mesh-tls.crt"),
            "tls_key_path": str(folder / "mesh-tls-key"),
            "noise": {"private_key_path": str(folder / "headscale-noise-key")},
            # The second prefix is Headscale's and Tailscale's own; clients support no other.
            "prefixes": {"v4": facts.mesh_prefix, "v6": "fd7a:115c:a1e0::/48", "allocation": "sequential"},
            "derp": {
                "server": {
                    "enabled": True,
                    "region_id": facts.derp_region,
                    "region_code": "keystone",
                    "region_name": "Keystone Primer",
                    "verify_clients": True,
                    "stun_listen_addr": f"{address}:{STUN_PORT}",
                    "private_key_path": str(folder / "headscale-derp-key"),
                    "automatically_add_embedded_derp_region": True,
                    "ipv4": address,
                    # An empty value means "perhaps": clients then wait 3 s for an answer over IPv6 before they connect.
                    "ipv6": "none",
                },
                "urls": [],
                "paths": [],
                "auto_update_enabled": False,
            },
            "database": {"type": "sqlite", "sqlite": {"path": str(folder / "db.sqlite"), "write_ahead_log": True}},
            "policy": {"mode": "database"},
            "dns": {"magic_dns": True, "base_domain": facts.mesh_domain, "override_local_dns": False},
            "unix_socket": str(self._socket),
            "unix_socket_permission": "0700",
            "disable_check_updates": True,
            "logtail": {"enabled": False},
            "log": {"level": "info", "format": "text"},
        }

    async def _answers(self) -> bool:
        """`headscale health` asks over the socket, so the database and the policy are loaded too."""
        if not self._socket.exists():
            return False
        command, variables = self.client(["health"])
        code, _, _ = await self._supervisor.run(command, variables, limit=5.0)
        if code != 0:
            return False
        _, writer = await asyncio.open_connection(self.system.address, self.facts.mesh_port)
        writer.close()
        return True
