"""What systemd and agenix do on an installed machine: decrypt the secrets, run the units, switch to another system."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pyrage import IdentityError  # pyright: ignore[reportAttributeAccessIssue]

from keystone.agefiles import decrypt
from keystone.errors import KeystoneError
from twin import store
from twin.files import make_link, write_file
from twin.services import BOOT_ORDER, InstalledSystem, units
from twin.services.pool_keys import UNIT

if TYPE_CHECKING:
    from twin.services import Service, UnitState
    from twin.site import Site
    from twin.supervisor import Supervisor

ALWAYS = frozenset({"sshd"})
"""Units that run on every installed machine, as the machine itself is made of them."""


REMOVED = "var/lib/keystone/removed"
CONDITIONAL = frozenset({"k3s", "tailscaled"})
"""Units with a condition on that file (nix/modules)."""


class Body(Protocol):
    """What the units want of the machine that they run on."""

    name: str
    site: Site
    root: Path

    @property
    def address(self) -> str: ...

    @property
    def store(self) -> Path: ...

    def journal(self, text: str) -> None: ...

    def save(self, **changes: Any) -> None: ...


class Units:
    """The units of one machine; empty until a system was loaded."""

    def __init__(self, machine: Body, supervisor: Supervisor) -> None:
        self.machine = machine
        self.supervisor = supervisor
        self.system: store.System | None = None
        self.services: dict[str, Service] = {}
        self.broken: dict[str, str] = {}
        """Units that could not even be made, with the reason."""
        self.faults: dict[str, str] = {}
        """Why the last start of a unit failed."""
        self._inputs: dict[str, str] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._boot: asyncio.Task[None] | None = None

    def authorized_keys(self) -> list[str]:
        return list(self.system.authorized_keys) if self.system else []

    def names(self) -> list[str]:
        """All units in the order in which they start."""
        known = {*self.services, *self.broken}
        ordered = [unit for unit in BOOT_ORDER if unit in known]
        return [*ordered, *sorted(known - set(ordered))]

    def state(self, unit: str) -> UnitState | None:
        """Return what `systemctl is-active` says; None for a unit that the system does not have."""
        if unit in ALWAYS:
            return "active"
        if unit not in self.services:
            return "failed" if unit in self.broken else None
        state = self.services[unit].state()
        return "failed" if unit in self.faults and state == "inactive" else state

    def problem(self, unit: str) -> str:
        """Return why a unit failed, in one line."""
        now = self.services[unit].problem() if unit in self.services else ""
        return self.broken.get(unit) or now or self.faults.get(unit, "")

    def load(self, path: str) -> list[str]:
        """Take the system of a store path as the running one, with nothing started; returns what is wrong with it.

        Raises KeystoneError when the path is no system.
        """
        system = store.read_system(self.machine.store, path)
        services_now, broken, problems = self._make(system)
        self.system, self.services, self.broken = system, services_now, broken
        self._inputs = {unit: self._digest(system, unit) for unit in self.names()}
        self._place(system)
        return problems

    def _make(self, system: store.System) -> tuple[dict[str, Service], dict[str, str], list[str]]:
        secrets, problems = self._decrypt(system)
        installed = InstalledSystem(
            name=system.name,
            address=self.machine.address,
            root=self.machine.root,
            cluster=system.cluster,
            host=system.host,
            secrets=secrets,
            mesh_ca=system.mesh_ca,
        )
        try:
            return self._services(installed), {}, problems
        except (KeystoneError, KeyError) as error:
            # A missing fact or secret: the machine still starts, as a real one does, and its units are failed.
            reason = str(error) if isinstance(error, KeystoneError) else f"the system has no {error}"
            broken: dict[str, str] = {"k3s": reason, "tailscaled": reason}
            return {}, broken, [*problems, f"units cannot be made: {reason}"]

    def _services(self, installed: InstalledSystem) -> dict[str, Service]:
        return units.build(installed, self.machine.site, self.supervisor)

    def _decrypt(self, system: store.System) -> tuple[dict[str, bytes], list[str]]:
        private = (self.machine.root / "etc/ssh/ssh_host_ed25519_key").read_text()
        secrets: dict[str, bytes] = {}
        problems: list[str] = []
        for name, content in system.secrets.items():
            try:
                secrets[name] = decrypt(content, private)
            except (KeystoneError, IdentityError):
                problems.append(f"[agenix] {name}.age is not encrypted to this machine's host key")
        return secrets, problems

    def _place(self, system: store.System) -> None:
        """Write what activation puts into /etc and /run."""
        root = self.machine.root
        write_file(root / "etc/os-release", store.OS_RELEASE.encode(), 0o644)
        write_file(root / "etc/hostname", f"{system.name}\n".encode(), 0o644)
        make_link(root / "run/current-system", system.path)

    def _digest(self, system: store.System, unit: str) -> str:
        """Return a hash of what a unit is made from; another hash means that a switch restarts it."""
        cluster, host = system.cluster, system.host
        names = {name for name in system.secrets if name.startswith(("headscale-", "mesh-tls"))}
        if unit == "headscale":
            facts = [cluster["mesh"], cluster["cluster"]["name"]]
        elif unit == UNIT:
            facts, names = [host["pools"], cluster["mesh"]], set()
        elif unit == "tailscaled":
            facts, names = [cluster["mesh"], host["meshName"], host["meshRoutes"]], set()
        else:
            # Keys of people are sshd's business, not the cluster's.
            facts = [{**cluster["cluster"], "authorizedKeys": None}, cluster["network"]]
            facts += [host[key] for key in ("role", "address", "meshName", "remote", "zone", "labels", "taints")]
            names = set(system.secrets) - names
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode() + system.mesh_ca)
        for name in sorted(names):
            digest.update(name.encode() + b"\0" + system.secrets[name])
        return digest.hexdigest()

    # Starting and stopping

    def start_all(self) -> None:
        """Begin to start every unit, as the boot does."""
        self._boot = asyncio.get_running_loop().create_task(self._start_all(), name=f"{self.machine.name} boot")

    async def _start_all(self) -> None:
        # The mesh controller first: the Primer's own tailscaled speaks to it. The others do not wait for each other.
        await self._try("headscale")
        await asyncio.gather(*(self._try(unit) for unit in self.names() if unit != "headscale"))

    def removed(self) -> bool:
        """Whether the machine was taken out of its cluster: its units' condition then keeps them down."""
        return (self.machine.root / REMOVED).exists()

    async def _try(self, unit: str) -> None:
        if unit in self.services:
            with contextlib.suppress(KeystoneError):
                await self.start(unit)

    async def settled(self) -> None:
        """Wait until the boot has tried every unit."""
        if self._boot is not None:
            await asyncio.wait({self._boot})

    async def stop(self) -> None:
        """Stop all units, the last one first, and forget the system."""
        if self._boot is not None:
            self._boot.cancel()
            await asyncio.wait({self._boot})
            self._boot = None
        for unit in reversed(self.names()):
            await self._stop(unit)
        self.system, self.services, self.broken, self.faults, self._inputs = None, {}, {}, {}, {}

    async def start(self, unit: str) -> None:
        """Start one unit and wait for it. Raises KeystoneError with the reason when it fails."""
        if unit in self.broken:
            raise KeystoneError(unit, self.broken[unit])
        if unit not in self.services:
            return
        if unit in CONDITIONAL and self.removed():
            self.machine.journal(f"{unit}.service was skipped because of an unmet condition check: /{REMOVED} exists")
            return
        async with self._locks.setdefault(unit, asyncio.Lock()):
            if self.services[unit].active():
                return
            try:
                await self.services[unit].start()
            except Exception as error:
                # A fault of the twin itself (no such program, a full disk) fails the unit as well, not the machine.
                said = f"{type(error).__name__}: {error}"
                fault = error if isinstance(error, KeystoneError) else KeystoneError(unit, said)
                self.faults[unit] = str(fault)
                self.machine.journal(f"{unit}.service failed: {fault}")
                raise fault from None
            self.faults.pop(unit, None)
            self.machine.journal(f"{unit}.service {self.services[unit].state()}")

    async def halt(self, unit: str) -> None:
        """Stop one unit."""
        self.faults.pop(unit, None)
        await self._stop(unit)

    async def _stop(self, unit: str) -> None:
        if unit not in self.services:
            return
        async with self._locks.setdefault(unit, asyncio.Lock()):
            try:
                await self.services[unit].stop()
            except KeystoneError as error:
                self.machine.journal(f"{unit}.service did not stop: {error}")

    async def switch(self, path: str) -> list[str]:
        """Make the system of a store path the running one: only units with other inputs restart.

        Returns what failed, one line each. Raises KeystoneError when the path is no system; nothing has changed then.
        """
        system = store.read_system(self.machine.store, path)
        fresh, broken, problems = self._make(system)
        inputs = {unit: self._digest(system, unit) for unit in [*fresh, *broken]}
        same = {
            unit for unit in self.services if unit in fresh and self._inputs.get(unit) == inputs[unit]
        }  # fmt: skip
        for unit in reversed(self.names()):
            if unit not in same:
                self.machine.journal(f"{unit}.service stops: its inputs changed")
                await self._stop(unit)
        self.services = {unit: self.services[unit] if unit in same else made for unit, made in fresh.items()}
        self.system, self.broken, self._inputs = system, broken, inputs
        self._place(system)
        self.machine.save(system=path)
        failed = [f"{unit}.service: {reason}" for unit, reason in broken.items()]
        for unit in self.names():
            try:
                if unit in self.services:
                    await self.start(unit)
            except KeystoneError as error:
                failed.append(f"{unit}.service: {error}")
        return [*problems, *failed]
