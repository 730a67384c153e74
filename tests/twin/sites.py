"""A small site for the tests of the twin's services: a primer and workers, without machines around them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from keystone import agefiles, facts
from keystone.identities import Identities
from keystone.settings import Settings, parse
from tests.networks import Network
from twin.services import InstalledSystem, Service
from twin.services.units import build
from twin.site import Site
from twin.supervisor import Supervisor

ROOT_SECRET = "5a" * 32
STACK = "trial"


def document(network: Network, workers: int = 1, **cluster: Any) -> dict[str, Any]:
    """The stack file of a site on the network, as `keystone.settings.parse` takes it."""

    primer = network.at(10)

    def host(name: str, number: int, role: str) -> dict[str, Any]:
        return {
            "role": role,
            "site": "home",
            "address": network.at(number),
            "mac": f"02:00:00:78:{network.number:02x}:{number:02x}",
            "ssh": {"port": 2222},
            "disk": f"/dev/disk/by-id/virtio-{name}-system",
            "diskSerial": f"{name}-system",
            "machineSerial": f"twin-{name}",
        }

    hosts = {"primer": host("primer", 10, "primer")}
    hosts |= {f"w{number}": host(f"w{number}", 10 + number, "agent") for number in range(1, workers + 1)}
    return {
        "protectHosts": False,
        "cluster": {
            "name": STACK,
            "domain": "keystone.test",
            "api": {
                "endpoint": f"https://{network.at(10)}:6443",
                "sans": [network.at(10), "primer.mesh.keystone.test"],
            },
            **cluster,
        },
        "sites": {"home": {"cidr": str(network), "gateway": network.at(1), "nameservers": [network.at(1)]}},
        "hosts": hosts,
        "mesh": {"serverUrl": f"https://{primer}:8443", "domain": "mesh.keystone.test"},
    }


@dataclass
class Trial:
    """A site whose services a test starts one by one."""

    site: Site
    supervisor: Supervisor
    identities: Identities
    units: dict[str, dict[str, Service]] = field(default_factory=dict)

    def system(self, name: str, change: Callable[[dict[str, bytes]], None] | None = None) -> InstalledSystem:
        """One installed machine; `change` may spoil its secrets."""
        settings = self.site.settings
        rendered = facts.render(settings, STACK)
        texts = agefiles.texts(settings, self.identities)
        secrets = {key: texts[key] for key in agefiles.SECRETS_BY_ROLE[settings.hosts[name].role]}
        if change is not None:
            change(secrets)
        root = self.site.machines / name / "root"
        root.mkdir(parents=True, exist_ok=True)
        return InstalledSystem(
            name=name,
            address=str(settings.hosts[name].address),
            root=root,
            cluster=json.loads(rendered[f"nix/facts/{STACK}/cluster.json"]),
            host=json.loads(rendered[f"nix/facts/{STACK}/{name}.json"]),
            secrets=secrets,
            mesh_ca=self.identities.mesh_ca()[0].encode(),
        )

    def services(self, name: str, change: Callable[[dict[str, bytes]], None] | None = None) -> dict[str, Service]:
        """The units of a machine, made once."""
        if name not in self.units:
            self.units[name] = build(self.system(name, change), self.site, self.supervisor)
        return self.units[name]

    async def run(
        self, name: str, unit: str, *argv: str, stdin: bytes = b"", limit: float = 60.0
    ) -> tuple[int, str, str]:
        """Run the client program of a unit: exit code, output, errors."""
        command, environment = self.services(name)[unit].client(list(argv))
        code, output, errors = await self.supervisor.run(command, environment, stdin=stdin, limit=limit)
        return code, output.decode(), errors.decode()

    async def must(self, name: str, unit: str, *argv: str, stdin: bytes = b"", limit: float = 60.0) -> str:
        """The output of a client program that has to succeed."""
        code, output, errors = await self.run(name, unit, *argv, stdin=stdin, limit=limit)
        assert code == 0, f"{unit} {' '.join(argv)} on {name}: {code} {errors}"
        return output

    async def stop(self) -> None:
        """Stop everything, agents first."""
        for units in reversed(list(self.units.values())):
            for unit in ("tailscaled", "k3s", "headscale"):
                if unit in units:
                    await units[unit].stop()
        await self.supervisor.stop()
        self.units.clear()


def trial(folder: Path, network: Network, workers: int = 1, **cluster: Any) -> Trial:
    """A trial site below a folder, on a network of the file's own."""
    settings: Settings = parse(document(network, workers, **cluster))
    site = Site(stack=STACK, project=folder, settings=settings, network=IPv4Network(str(network)))
    site.make_folders()
    site.make_run_folder()
    return Trial(site, Supervisor(site.logs, site.pids), Identities(ROOT_SECRET, STACK))
