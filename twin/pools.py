"""Watches the twin's AWS: an instance that runs there is a machine of this site, whoever started it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import httpx

from keystone.errors import KeystoneError
from twin import clouds
from twin.services.aws_calls import instances
from twin.services.kube import Kube
from twin.services.pool_machine import PARAMETERS, Instance, PoolMachine, image_of
from twin.site import Site
from twin.supervisor import Supervisor

log = logging.getLogger("twin.pools")
LOOK_SECONDS = 1.0
LEAVE_SECONDS = 30.0
LEAVING_AT_ONCE = 16
CLOUD_BIT = 1 << 23
"""The bit in which the cloud's addresses differ from the site's: 127.79.0.0/24 has its cloud in 127.207.0.0/24."""
FIRST = 10


def network_of(site: IPv4Network) -> IPv4Network:
    """Where the instances of a site's cloud have their loopback addresses."""
    return IPv4Network((int(site.network_address) ^ CLOUD_BIT, site.prefixlen))


class Pools:
    """All instances of one site as machines. `kube` gives an administrator's client, None while there is no API."""

    def __init__(self, site: Site, supervisor: Supervisor, kube: Callable[[], Kube | None]) -> None:
        self.site = site
        self.machines: dict[str, PoolMachine] = {}
        self.leaving: dict[str, PoolMachine] = {}
        self._supervisor = supervisor
        self._kube = kube
        self._watch: asyncio.Task[None] | None = None
        self._problem = ""

    def start(self) -> None:
        """Begin to watch, if the stack file points to the twin's AWS; does nothing when it watches already."""
        if clouds.aws_places(self.site.settings) and self._watch is None:
            self._watch = asyncio.create_task(self._look(), name="pools")

    async def stop(self) -> None:
        """Switch all off; they start again when the twin does."""
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
            self._watch = None
        machines = [*self.machines.values(), *self.leaving.values()]
        await asyncio.gather(*(one.stop() for one in machines), return_exceptions=True)
        self.machines, self.leaving = {}, {}

    def status(self) -> dict[str, Any]:
        """Every machine by its instance id."""
        return {
            name: {
                "address": one.address,
                "state": one.state,
                "zone": one.instance.zone,
                "problem": one.problem or one.kubelet.problem,
            }
            for name, one in sorted(self.machines.items())
        }

    async def run(self, name: str, argv: list[str]) -> tuple[int, str, str]:
        """Run `tailscale ARGV` on a machine, as its console would. Raises KeystoneError for an unknown one."""
        if name not in self.machines:
            raise KeystoneError(f"instance {name!r}", f"is none of {', '.join(sorted(self.machines)) or 'none'}")
        command, environment = self.machines[name].tailscale.client(argv)
        code, out, err = await self._supervisor.run(command, environment, limit=60.0)
        return code, out.decode(errors="replace"), err.decode(errors="replace")

    # --- the watch ---

    @property
    def _urls(self) -> dict[str, str]:
        aws = self.site.settings.aws
        found: dict[str, str] = {str(name): url for name, url in (aws.endpoints if aws else {}).items()}
        return {**found, "default": found.get("default") or next(iter(found.values()))}

    async def _look(self) -> None:
        while True:
            try:
                await self._compare(await instances(self._urls["default"]))
                self._problem = ""
            except (KeystoneError, httpx.HTTPError, OSError, ValueError) as error:
                # The cloud starts again, or its answer came while it ended: nothing is known, so nothing changes.
                said = str(error) or type(error).__name__
                if said != self._problem:
                    log.info("%s", said)
                self._problem = said
            except Exception:
                log.exception("the pools are not watched")
            await asyncio.sleep(LOOK_SECONDS)

    async def _compare(self, found: list[dict[str, Any]]) -> None:
        ours = {one["id"]: Instance.of(one) for one in found if one["state"] == "running"}
        running = {name: one for name, one in ours.items() if PARAMETERS in one.told}
        stopped = {one["id"] for one in found if one["state"] in ("stopped", "stopping")}
        for name in [name for name in self.machines if name not in running]:
            machine = self.machines.pop(name)
            if name in stopped:
                await machine.stop()
            else:
                self.leaving[name] = machine
        self._remember({*running, *stopped, *self.leaving})
        for name, one in running.items():
            if name not in self.machines:
                self._boot(one)
        await self._see_off()

    def _machine(self, instance: Instance) -> PoolMachine:
        return PoolMachine(
            instance,
            str(self._address()),
            self.site.root / "pools" / instance.id,
            image_of(self.site.project, self.site.stack),
            self._urls,
            self.site.socket(f"{instance.id}.ts"),
            self._supervisor,
        )

    def _boot(self, instance: Instance) -> None:
        machine = self.machines[instance.id] = self._machine(instance)
        machine.start()
        log.info("%s starts at %s in %s", instance.id, machine.address, instance.zone)

    def _address(self) -> IPv4Address:
        network = network_of(self.site.network)
        taken = {one.address for one in (*self.machines.values(), *self.leaving.values())}
        for number in range(FIRST, network.num_addresses - 1):
            if str(network[number]) not in taken:
                return network[number]
        raise KeystoneError(
            str(network), "has no address left for another instance", "Give twin:network a larger range"
        )

    async def _see_off(self) -> None:
        """Side by side: a group that ends may be large."""
        if not self.leaving:
            return
        kube = self._kube()
        try:
            await asyncio.gather(*(self._see_one_off(name, kube) for name in list(self.leaving)[:LEAVING_AT_ONCE]))
        finally:
            if kube is not None:
                await kube.close()

    async def _see_one_off(self, name: str, kube: Kube | None) -> None:
        machine = self.leaving[name]
        try:
            await asyncio.wait_for(machine.leave(kube), LEAVE_SECONDS)
        except (KeystoneError, httpx.HTTPError, TimeoutError) as error:
            machine.problem = str(error) or type(error).__name__
            return
        del self.leaving[name]
        log.info("%s is gone", name)

    def _remember(self, known: set[str]) -> None:
        """Instances that ended while the twin did not run left their disks, and perhaps their nodes."""
        folder = self.site.root / "pools"
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.name not in known:
                self.leaving[path.name] = self._machine(Instance(path.name))
