"""The services of an installed system: what systemd would run on a machine of the site.

`twin.activation` starts and stops them; the commands `systemctl`, `kubectl`, `headscale` and `tailscale` of a machine
are led to them. What runs is real (etcd, the Kubernetes control plane, Headscale,
tailscaled); only the kubelet and its pods are stand-ins (kwok).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

BOOT_ORDER = ("headscale", "k3s", "tailscaled")
"""The units in the order in which a machine starts them; it stops them in the opposite order."""

UnitState = Literal["inactive", "activating", "active", "failed"]


@dataclass(frozen=True)
class InstalledSystem:
    """One installed machine as its services see it."""

    name: str
    address: str
    root: Path
    """The machine's root folder; /var and /etc of the machine lie below it."""
    cluster: dict[str, Any]
    """The cluster's facts (nix/facts/<stack>/cluster.json)."""
    host: dict[str, Any]
    """The host's own facts (nix/facts/<stack>/<host>.json)."""
    secrets: dict[str, bytes]
    """The decrypted age files by name."""
    mesh_ca: bytes
    """The public certificate of the mesh's private CA, PEM."""

    def path(self, *parts: str) -> Path:
        """A path of the machine's own file system, as a path of this computer."""
        return self.root.joinpath(*(part.lstrip("/") for part in parts))


class Service(Protocol):
    """One systemd unit of an installed system."""

    unit: str

    async def start(self) -> None:
        """Start and wait, bounded, until the service answers. An agent's k3s only begins to join (see `state`).

        Raises KeystoneError naming the process with its last log lines when it does not come up.
        """

    async def stop(self) -> None:
        """Stop in order, bounded; does nothing when stopped."""

    def active(self) -> bool:
        """True when `state` is `active`."""
        ...

    def state(self) -> UnitState:
        """What `systemctl is-active` prints."""
        ...

    def problem(self) -> str:
        """Why the unit failed or what it waits for, in one line; empty when all is well."""
        ...

    def client(self, argv: list[str]) -> tuple[list[str], dict[str, str]]:
        """The command line and the *whole* environment that run this unit's client program with the arguments `argv`.

        The programs are `kubectl` for k3s, `headscale` and `tailscale`; `argv` starts after the program's name.
        """
        ...
