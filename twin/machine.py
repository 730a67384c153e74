"""One machine of the site: blank until nixos-anywhere has been there, then an installed system with its services.

The machine's disk is root/ and disks.json, its memory ram/ and what this object holds; machine.json says what the
firmware would find on the disk. Everything on disk is written in one step, so a cut of the power leaves a machine
that starts again: as the installer until an install has ended, as the installed system from then on.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import shutil
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import asyncssh

from keystone.errors import KeystoneError
from twin import disks, rootfs, store
from twin.activation import Units
from twin.files import make_link, write_file, write_json
from twin.record import State, read_record
from twin.ssh import Door, Keys
from twin.ssh_keys import installer_key, random_key

if TYPE_CHECKING:
    from keystone.settings import Host
    from twin.site import Site
    from twin.supervisor import Supervisor

T = TypeVar("T")
MARKER = "etc/keystone/install.json"
HOST_KEY = "etc/ssh/ssh_host_ed25519_key"
INITRD_KEY = "etc/ssh/initrd_ssh_host_ed25519_key"
LOGIN_SHELL = "systemd-tty-ask-password-agent"
"""The initrd's (nix/modules/boot/remote-unlock.nix): a login answers the passphrase prompt."""
# Long enough for a client to see the machine go, short enough not to be waited for.
DARK_SECONDS = 0.5
INSTALLER_RELEASE = store.OS_RELEASE + 'VARIANT="Installer"\nVARIANT_ID=installer\n'


Serve = Callable[["Machine", asyncssh.SSHServerProcess[bytes], str], Awaitable[int]]
"""Runs the command line of one SSH session on a machine; the exit status."""


class Machine:
    """One machine. `power_on` and `power_off` are its two switches; everything else happens over SSH."""

    def __init__(self, site: Site, name: str, host: Host, supervisor: Supervisor, serve: Serve) -> None:
        self.site = site
        self.name = name
        self.host = host
        self.folder = site.machines / name
        self.root = self.folder / "root"
        self.ram = self.folder / "ram"
        self.powered = False
        self.mounted = False
        """True while the installer has the new system's disk open at /mnt."""
        self.inventory = disks.inventory_of(self.folder / "disks.json", host)
        self.record = read_record(self.folder / "machine.json")
        self.units = Units(self, supervisor)
        self._serve = functools.partial(serve, self)
        self._door: Door | None = None
        self._kexec = False
        self._power = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()

    # What the machine is

    @property
    def state(self) -> State:
        return self.record.state

    @property
    def address(self) -> str:
        return str(self.host.address)

    @property
    def reachable(self) -> bool:
        """True while its SSH server listens."""
        return self._door is not None

    @property
    def opened(self) -> bool:
        """True while the encrypted partition is open."""
        return self.mounted or self.state == "installed"

    @property
    def store(self) -> Path:
        """The Nix store on the machine's disk."""
        return self.root / "nix/store"

    @property
    def fs(self) -> rootfs.RootFs:
        """The files as a program on the machine sees them now."""
        if self.state == "installed":
            return rootfs.RootFs(self.root)
        return rootfs.RootFs(self.ram, {"/mnt": self.root} if self.mounted else {})

    def resolve(self, name: str) -> Path | None:
        return self.fs.resolve(name)

    def canonical(self, name: str) -> str | None:
        return self.fs.canonical(name)

    def link(self, name: str) -> str | None:
        return self.fs.link(name)

    def place(self, name: str) -> Path:
        return self.fs.place(name)

    def install_disk(self) -> disks.Disk:
        """Return the install disk. Raises KeystoneError when disks.json no longer has it."""
        disk = self.inventory.find(str(self.host.disk))
        if disk is None:
            raise KeystoneError(str(self.inventory.path), f"has no disk {self.host.disk}", "Remove the file")
        return disk

    def journal(self, text: str) -> None:
        """Add one line to the machine's log (`python -m twin logs NAME`)."""
        # A full disk must not end a session: the command's own answer tells of it.
        with contextlib.suppress(OSError):
            self.site.logs.mkdir(parents=True, exist_ok=True)
            with (self.site.logs / f"{self.name}.log").open("a") as file:
                file.write(f"{datetime.now(UTC).strftime('%H:%M:%S.%f')[:-3]} {self.name}: {text}\n")

    # What lies on its disk

    def save(self, **changes: Any) -> None:
        """Change machine.json in one step."""
        for name, value in changes.items():
            setattr(self.record, name, value)
        write_json(self.folder / "machine.json", asdict(self.record))

    def finish_install(self, path: str) -> None:
        """Make the disk start the system `path`: profile, marker and boot loader, the boot loader last."""
        system = store.read_system(self.store, path)
        marker = {
            "host": system.name,
            "cluster": system.cluster["cluster"]["name"],
            "generation": system.host["installGeneration"],
            "diskGuid": system.host["diskGuid"],
        }
        self.set_profile(path)
        # The marker tells of the install, not of the system: a later switch leaves it alone.
        write_file(self.root / MARKER, (json.dumps(marker, sort_keys=True) + "\n").encode(), 0o644)
        self.save(boot=path, marker=marker, generation=marker["generation"])

    def forget_install(self) -> None:
        """The disk is about to be formatted: no boot loader, no marker, no files."""
        self.save(boot=None, system=None, profiles=[], marker=None, generation=None)
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True)

    def set_profile(self, path: str) -> None:
        """Make `path` the newest generation of the system profile, as `nix-env --profile ... --set` does."""
        profiles = self.record.profiles
        if not profiles or profiles[-1] != path:
            self.save(profiles=[*profiles, path])
        number = len(self.record.profiles)
        folder = self.root / store.PROFILE.lstrip("/")
        make_link(folder.with_name(f"system-{number}-link"), path)
        make_link(folder, f"system-{number}-link")

    def _bootable(self) -> bool:
        """True when the firmware finds a boot loader: an ESP and a system behind it."""
        if self.record.boot is None or self.install_disk().luks is None:
            return False
        return (self.store / self.record.boot.rpartition("/")[2]).exists()

    def _opened_by_tpm(self) -> bool:
        luks = self.install_disk().luks
        return luks is not None and luks.tpm is not None and luks.tpm == self.record.tpm

    # Its switches

    async def power_on(self) -> None:
        """Start what the disk holds; returns when SSH answers, while units may still be starting (see `settled`).

        Raises KeystoneError when its port is taken. Does nothing when the machine is on.
        """
        async with self._power:
            if not self.powered:
                await self._start()

    async def power_off(self) -> None:
        """Cut the power: sessions end, services stop, the disk keeps what it has."""
        for task in list(self._tasks):
            if task is not asyncio.current_task():
                task.cancel()
                await asyncio.wait({task})
        async with self._power:
            await self._stop()

    async def settled(self) -> None:
        """Wait until every unit that the boot starts is active or has failed."""
        await self.units.settled()

    def reboot(self, delay: float = 0.2, *, kexec: bool = False, on: bool = True) -> None:
        """Restart soon, so that the program that asked for it can end; with `kexec` into the installer, keys kept."""
        self._spawn(self._reboot(delay, kexec=kexec, on=on))

    async def lock(self) -> None:
        """Clear the TPM: the machine restarts, and waits in its initrd for the passphrase at this and every start.

        A new slot ends that: `systemd-cryptenroll` on the running system, as docs/operations/unlock.md says.
        """
        if not self._bootable():
            raise KeystoneError(self.name, "has no installed system whose disk could be locked")
        self.save(tpm=self.record.tpm + 1)
        if self.powered:
            await self.power_off()
            await self.power_on()

    def unlock(self) -> None:
        """The passphrase was right: go on with the boot."""
        self._spawn(self._continue())

    async def keep(self, work: Coroutine[Any, Any, T]) -> T:
        """Do what systemd goes on with when the session that asked for it ends; only a cut of the power ends it."""
        task = asyncio.get_running_loop().create_task(work, name=f"{self.name} job")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name=f"{self.name} power")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.journal(f"stays off: {task.exception()}")

    async def _reboot(self, delay: float, *, kexec: bool, on: bool) -> None:
        await asyncio.sleep(delay)
        async with self._power:
            carried = self._carried() if kexec else None
            await self._stop()
            await asyncio.sleep(DARK_SECONDS)
            if on:
                await self._start(carried)

    async def _continue(self) -> None:
        await asyncio.sleep(0.1)
        async with self._power:
            await self._close_door()
            await self._start_system()

    async def _start(self, carried: tuple[bytes, list[str]] | None = None) -> None:
        self.powered = True
        try:
            if carried is None and self._bootable():
                assert self.record.boot is not None
                system = store.read_system(self.store, self.record.boot)
                if system.host["unlock"] != "remote" and self._opened_by_tpm():
                    await self._start_system()
                else:
                    await self._start_initrd(system)
            else:
                await self._start_installer(carried)
        except BaseException:
            self.powered = False
            raise

    async def _stop(self) -> None:
        if not self.powered:
            return
        self.journal("power off")
        await self._close_door()
        await self.units.stop()
        shutil.rmtree(self.ram, ignore_errors=True)  # memory forgets: the disk's passphrase lay there
        self.powered = self.mounted = False

    async def _close_door(self) -> None:
        if self._door is not None:
            await self._door.close()
            self._door = None

    async def _open_door(self, port: int, key: bytes, keys: Keys) -> None:
        shell = LOGIN_SHELL if self.state == "initrd" else None
        door = Door({"root", self.host.ssh.user}, keys, self._serve, shell)
        await door.open(self.address, port, key)
        self._door = door
        self.journal(f"{self.state}: SSH on {self.address} port {port}")

    # The three states

    async def _start_installer(self, carried: tuple[bytes, list[str]] | None) -> None:
        self.save(state="installer", system=None)
        self.mounted = False
        shutil.rmtree(self.ram, ignore_errors=True)
        self._furnish(self.ram, "nixos-installer")
        write_file(self.ram / "etc/os-release", INSTALLER_RELEASE.encode(), 0o644)
        if carried is not None:
            key, known = carried
            keys: Keys = lambda: known  # noqa: E731
        else:
            key, keys = installer_key(str(self.site.network), self.name), self._operators
        write_file(self.ram / HOST_KEY, key)
        await self._open_door(self.host.ssh.port, key, keys)

    def _carried(self) -> tuple[bytes, list[str]]:
        """What kexec takes along into the installer: host key and authorised keys of the running system."""
        return self._host_key(HOST_KEY), [*self.units.authorized_keys(), *self._operators()]

    async def _start_initrd(self, system: store.System) -> None:
        self.save(state="initrd", system=None)
        # The initrd holds a copy of this key, made when the boot loader was installed.
        await self._open_door(self.host.ssh.initrd_port, self._host_key(INITRD_KEY), lambda: system.authorized_keys)

    async def _start_system(self) -> None:
        assert self.record.boot is not None
        self.save(state="installed", system=self.record.boot)
        shutil.rmtree(self.ram, ignore_errors=True)
        self._furnish(self.root, self.name)
        key = self._host_key(HOST_KEY)
        make_link(self.root / "run/booted-system", self.record.boot)
        failures = self.units.load(self.record.boot)
        for failure in failures:
            self.journal(failure)
        await self._open_door(self.host.ssh.port, key, self.units.authorized_keys)
        self.journal(f"runs {self.record.boot}")
        self.units.start_all()

    def _furnish(self, base: Path, hostname: str) -> None:
        serial = self.host.machine_serial or f"twin-{self.name}"
        rootfs.furnish(base, serial=serial, hostname=hostname, disks=self.inventory.read())

    def _host_key(self, name: str) -> bytes:
        path = self.root / name
        if not path.exists():
            # As sshd does: a machine that was given no key makes one, which nobody has pinned.
            write_file(path, random_key())
        return path.read_bytes()

    def _operators(self) -> list[str]:
        """The keys in the installer's image: the stack's operator and the people of the settings."""
        file = self.site.project / "nix/secrets" / self.site.stack / "operator.pub"
        operator = file.read_text().splitlines() if file.exists() else []
        return [*operator, *self.site.settings.cluster.authorized_keys]
