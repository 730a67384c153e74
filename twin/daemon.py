"""The process that is the twin: machines and services in one event loop, told what to do over the control socket."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from keystone.errors import KeystoneError
from twin import clouds, ports, processes, shell
from twin.control import JOIN_SECONDS, UNITS_SECONDS, ControlServer, Say
from twin.machine import Machine
from twin.pools import Pools
from twin.services.kube import Kube
from twin.site import Site
from twin.supervisor import Supervisor

if TYPE_CHECKING:
    from keystone.settings import Host

log = logging.getLogger("twin.daemon")
DAEMON = "daemon"
STOP_SECONDS = 60.0
HARDWARE = ("address", "mac", "ssh", "disk", "disk_serial", "osd_disks", "machine_serial", "installer_host_key")
"""Settings that are the machine itself: another value means another machine, which has to be switched off and on."""


class Twin:
    """One running site."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.supervisor = Supervisor(site.logs, site.pids)
        self.machines: dict[str, Machine] = {}
        self.pools = Pools(site, self.supervisor, self._kube)
        self._control = ControlServer(site.control_socket, self.handle)
        self._changing = asyncio.Lock()

    async def start(self) -> None:
        """Switch every machine on; raises KeystoneError when the site cannot be there."""
        ports.check_free(self.site.settings)
        for name, host in self._hosts(self.site).items():
            self._make(name, host)
        try:
            await self._start_clouds()
            await asyncio.gather(*(machine.power_on() for machine in self.machines.values()))
            await self._control.start()
            self.pools.start()
        except BaseException:
            await self.stop()
            raise
        log.info("%s machines on %s", len(self.machines), self.site.network)

    async def stop(self) -> None:
        """Switch all machines off, the primer last, and end every process."""
        primer, _ = self.site.settings.primer
        await self._control.stop()
        await self.pools.stop()
        await _power_off([machine for name, machine in self.machines.items() if name != primer])
        await _power_off([machine for name, machine in self.machines.items() if name == primer])
        await self.supervisor.stop()

    async def _start_clouds(self) -> None:
        """Start the doubles that the stack file asks for and that do not run; stop those that it no longer asks for."""
        wanted = {spec.name: spec for spec in clouds.specs(self.site)}
        for name, child in list(self.supervisor.children.items()):
            if name in clouds.NAMES and (name not in wanted or child.spec.argv != wanted[name].argv):
                await child.stop()
        for name, spec in wanted.items():
            if name not in self.supervisor.children:
                await self.supervisor.start(spec)

    def _kube(self) -> Kube | None:
        """An administrator's client of the cluster, which the caller closes; None while the API does not run."""
        primer = self.machines.get(self.site.settings.primer[0])
        unit = primer.units.services.get("k3s") if primer is not None else None
        plane = getattr(unit, "control_plane", None)
        return plane.client() if plane is not None and plane.running else None

    # --- machines ---

    def _hosts(self, site: Site) -> dict[str, Host]:
        """The machines of the stack file, and those that left it but were not removed: hardware does not vanish."""
        from keystone.settings import Host

        hosts = dict(site.settings.hosts)
        for path in sorted(site.machines.glob("*/host.json")):
            if path.parent.name not in hosts:
                hosts[path.parent.name] = Host.model_validate_json(path.read_text())
        return hosts

    def _make(self, name: str, host: Host) -> Machine:
        folder = self.site.machines / name
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / "host.json").write_text(host.model_dump_json(by_alias=True))
        self.machines[name] = Machine(self.site, name, host, self.supervisor, shell.serve)
        return self.machines[name]

    def _machine(self, request: dict[str, Any]) -> Machine:
        name = str(request.get("host", ""))
        if name not in self.machines:
            raise KeystoneError(
                f"host {name!r}", "is no machine of this twin", f"Known: {', '.join(sorted(self.machines))}"
            )
        return self.machines[name]

    async def _reload(self, say: Say) -> None:
        """Read the stack file again: new hosts get machines, changed hardware is switched off and on."""
        site = Site.read(self.site.stack, self.site.project)
        if site is None or site.network != self.site.network:
            raise KeystoneError("twin:network", "was changed while the twin runs", "Run `twin stop` first")
        self.site = self.pools.site = site
        await self._start_clouds()
        self.pools.start()
        if not clouds.aws_places(site.settings):
            await self.pools.stop()
        for name, host in site.settings.hosts.items():
            old = self.machines.get(name)
            if old is None:
                self._refuse_taken(name, host)
                await say(f"new machine {name} at {host.address}")
                await self._make(name, host).power_on()
            elif any(getattr(old.host, key) != getattr(host, key) for key in HARDWARE):
                await say(f"{name} changed: switched off and on")
                await old.power_off()
                await self._make(name, host).power_on()
            else:
                old.site, old.host = site, host

    def _refuse_taken(self, name: str, host: Host) -> None:
        """Raise KeystoneError when a machine that left the stack file has a new one's address, as after a rename."""
        for other in self.machines.values():
            if other.address == str(host.address) and other.name not in self.site.settings.hosts:
                raise KeystoneError(
                    f"hosts.{name}.address",
                    f"{host.address} is that of the machine {other.name}, which is no longer in the stack file",
                    f"Take it away with `twin remove {other.name}`, or write another address",
                )

    async def _wait(self, say: Say) -> list[str]:
        """Wait until the units of all machines are up or have failed; what is not up, one line each.

        Workers can join only once the primer's API is there: without it they are not waited for.
        """
        primer = self.machines.get(self.site.settings.primer[0])
        if primer is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(primer.settled(), UNITS_SECONDS)
        if primer is not None and primer.units.state("k3s") == "active":
            await self._wait_for_workers(say)
        return [
            f"{name}: {unit} is {state}" + (f": {problem}" if problem else "")
            for name, unit, state, problem in self._units()
            if state in ("failed", "activating")
        ]

    async def _wait_for_workers(self, say: Say) -> None:
        deadline = asyncio.get_running_loop().time() + JOIN_SECONDS
        told: list[str] = []
        while asyncio.get_running_loop().time() < deadline:
            waiting = [f"{name} {unit}" for name, unit, state, _ in self._units() if state == "activating"]
            if not waiting:
                return
            if not told:
                await say(f"waiting for {', '.join(waiting)}")
                told = waiting
            await asyncio.sleep(0.2)

    def _units(self) -> Iterable[tuple[str, str, str, str]]:
        for name, machine in sorted(self.machines.items()):
            for unit in machine.units.names():
                yield name, unit, machine.units.state(unit) or "inactive", machine.units.problem(unit)

    async def _remove(self, machine: Machine) -> None:
        if machine.name in self.site.settings.hosts:
            raise KeystoneError(machine.name, "is in the stack file", "Take it out of the stack file first")
        await machine.power_off()
        del self.machines[machine.name]
        await asyncio.to_thread(shutil.rmtree, machine.folder, ignore_errors=True)

    # --- requests ---

    async def handle(self, request: dict[str, Any], say: Say) -> Any:
        """Answer one request of the control socket."""
        op = request.get("op")
        if op == "ping":
            return {"pid": os.getpid()}
        if op == "status":
            return self.status()
        if op == "wait":
            return await self._wait(say)
        if op == "tailscale":
            code, out, err = await self.pools.run(str(request.get("instance", "")), list(request.get("argv", [])))
            return {"status": code, "stdout": out, "stderr": err}
        async with self._changing:
            if op == "reload":
                await self._reload(say)
            elif op == "power-on":
                await self._machine(request).power_on()
            elif op == "power-off":
                await self._machine(request).power_off()
            elif op == "lock":
                await self._machine(request).lock()
            elif op == "remove":
                await self._remove(self._machine(request))
            elif op == "stop":
                asyncio.get_running_loop().call_soon(_ask_to_end)
            else:
                raise KeystoneError(f"request {op!r}", "is not known")
        return None

    def status(self) -> dict[str, Any]:
        """Everything that `twin status` prints."""
        listed = {
            name: {
                "address": machine.address,
                "powered": machine.powered,
                "state": machine.state if machine.powered else "off",
                "inStackFile": name in self.site.settings.hosts,
                "units": {
                    unit: {"state": state, "problem": problem}
                    for owner, unit, state, problem in self._units()
                    if owner == name
                },
            }
            for name, machine in sorted(self.machines.items())
        }
        running = [(DAEMON, os.getpid())]
        running += [(name, child.pid) for name, child in self.supervisor.children.items() if child.pid is not None]
        return {
            "stack": self.site.stack,
            "network": str(self.site.network),
            "pid": os.getpid(),
            "machines": listed,
            "instances": self.pools.status(),
            "processes": {name: {"pid": pid, "memory": _memory(pid)} for name, pid in running},
            "crashes": [
                {"name": crash.name, "when": crash.when, "how": crash.how, "lines": crash.lines}
                for crash in self.supervisor.crashes
            ],
        }


async def _power_off(machines: list[Machine]) -> None:
    """Switch machines off side by side, bounded; one that fails is logged and does not keep the others on."""
    stops = (asyncio.wait_for(machine.power_off(), STOP_SECONDS) for machine in machines)
    for machine, outcome in zip(machines, await asyncio.gather(*stops, return_exceptions=True), strict=True):
        if isinstance(outcome, BaseException):
            log.error("%s does not stop: %s", machine.name, str(outcome) or type(outcome).__name__)


def _memory(pid: int) -> int:
    """Resident memory of a process in bytes; 0 when it has just ended."""
    try:
        return psutil.Process(pid).memory_info().rss
    except psutil.Error:
        return 0


def _ask_to_end() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def clean(site: Site) -> None:
    """End what an earlier twin of this site left running (it was killed), and its sockets.

    Raises KeystoneError naming a process that does not end.
    """
    left = [entry for entry in processes.records(site.pids) if entry.pid != os.getpid()]
    survivors = processes.end(left)
    if survivors:
        names = ", ".join(f"{entry.name} (process {entry.pid})" for entry in survivors)
        raise KeystoneError("twin", f"processes of an earlier run do not end: {names}", "End them and try again")
    for entry in left:
        processes.forget(site.pids, entry.name)
    if site.run.is_dir() and not site.run.is_symlink():
        for path in site.run.iterdir():
            path.unlink(missing_ok=True)


async def serve(site: Site, tell: Any) -> None:
    """Run the twin until it is told to end; `tell` gets `ok` or one line with the fault."""
    loop = asyncio.get_running_loop()
    twin = Twin(site)
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    await twin.start()
    tell("ok")
    await ending.wait()
    log.info("stopping")
    await twin.stop()


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the detached process; `--tell FD` is where `up` waits for the outcome of the start."""
    parser = argparse.ArgumentParser(prog="twin.daemon")
    parser.add_argument("--stack", required=True)
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--tell", type=int, required=True)
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s", stream=sys.stderr)
    for noisy in ("httpx", "httpcore", "asyncssh"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # Written once and closed, so that `up` sees an end even when this process dies without a word.
    pipe = os.fdopen(given.tell, "w")

    def tell(text: str) -> None:
        if not pipe.closed:
            # A caller that gave up waiting has closed its end.
            with contextlib.suppress(OSError):
                pipe.write(text + "\n")
                pipe.close()

    try:
        site = Site.read(given.stack, given.project)
        if site is None:
            raise KeystoneError(f"stack {given.stack}", "has no twin:network")
        site.make_folders()
        with (site.root / "daemon.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                tell("busy")
                return 0
            site.make_run_folder()
            clean(site)
            processes.record(site.pids, DAEMON, os.getpid(), sys.executable)
            try:
                asyncio.run(serve(site, tell))
            finally:
                processes.forget(site.pids, DAEMON)
                shutil.rmtree(site.run, ignore_errors=True)
    except KeystoneError as error:
        log.error("%s", error)
        tell(json.dumps({"error": str(error)}))
        return 1
    except Exception as error:
        log.exception("the twin failed")
        tell(json.dumps({"error": f"twin: {type(error).__name__}: {error}. See `twin logs daemon`."}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
