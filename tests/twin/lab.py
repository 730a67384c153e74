"""A small site for the tests of the twin's machines: its own project folder, real SSH, pretended services."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh
import yaml

from keystone import agefiles, facts
from keystone.errors import KeystoneError
from keystone.identities import Identities
from tests import networks
from tests.processes import end_tree
from twin import nixbuild, shell
from twin.commands import Call
from twin.machine import Machine
from twin.services import InstalledSystem, units
from twin.site import Site
from twin.ssh_keys import installer_public_key

REPOSITORY = Path(__file__).parents[2]
ROOT = "22" * 32
NETWORK = networks.fresh()
PORT = 2222
FEATURES = ("--extra-experimental-features", "nix-command flakes")
DISK_KEY = "/run/keystone/disk.key"
DISK = "/dev/disk/by-id/virtio-{}-system"


@dataclass(frozen=True)
class Result:
    """How a program ended."""

    status: int
    stdout: str
    stderr: str


class _Bytes:
    """Standard input from memory."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    async def read(self, n: int = -1) -> bytes:
        taken, self.content = (self.content, b"") if n < 0 else (self.content[:n], self.content[n:])
        return taken


async def console(machine: Machine, *argv: str, stdin: bytes = b"") -> Result:
    """Run a command on a machine without SSH."""
    out, err = bytearray(), bytearray()
    status = await shell.run(Call(machine, list(argv), _Bytes(stdin), out.extend, err.extend))
    return Result(status, out.decode(errors="replace"), err.decode(errors="replace"))


class Pretended:
    """A unit that only remembers what happened to it."""

    def __init__(self, unit: str, system: InstalledSystem, log: list[str], broken: set[str]) -> None:
        self.unit = unit
        self.system = system
        self.log = log
        self.broken = broken
        self.running = False
        self.reason = ""

    async def start(self) -> None:
        self.log.append(f"start {self.unit}")
        if self.unit in self.broken:
            self.reason = f"{self.unit}d does not come up"
            raise KeystoneError(self.unit, self.reason)
        self.running = True

    async def stop(self) -> None:
        if self.running:
            self.log.append(f"stop {self.unit}")
        self.running = False

    def active(self) -> bool:
        return self.running

    def state(self) -> str:
        return "active" if self.running else "failed" if self.reason else "inactive"

    def problem(self) -> str:
        return self.reason

    def client(self, argv: list[str]) -> tuple[list[str], dict[str, str]]:
        """A real child: it tells its arguments and its standard input, and ends with the status after `--status`."""
        script = (
            "import sys; args = sys.argv[1:]; "
            "print('args', args); print('stdin', sys.stdin.read()); print('oops', file=sys.stderr); "
            "sys.exit(int(args[args.index('--status') + 1]) if '--status' in args else 0)"
        )
        return [sys.executable, "-c", script, *argv], {"PATH": os.environ["PATH"]}


@dataclass
class Lab:
    """One project folder with a stack `lab` of a Primer and one worker."""

    project: Path
    log: list[str] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    identities: Identities = field(default_factory=lambda: Identities(ROOT, "lab"))
    made: list[InstalledSystem] = field(default_factory=list)
    machines: dict[str, Machine] = field(default_factory=dict)
    programs: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.config: dict[str, Any] = document()
        self.write()
        (self.project / "nix").mkdir(exist_ok=True)
        (self.project / "nix/flake.nix").write_text("{ outputs = _: { }; }\n")
        self.render()

    def write(self) -> None:
        (self.project / "Pulumi.lab.yaml").write_text(yaml.safe_dump({"config": self.config}))

    def render(self) -> None:
        """What `keystone facts` does."""
        self.write()
        facts.write(self.site.settings, "lab", self.project)
        agefiles.render(self.site.settings, self.identities, "lab", self.project)
        (self.project / "operator_key").write_text(self.identities.operator_key().private)
        (self.project / "operator_key").chmod(0o600)

    @property
    def site(self) -> Site:
        site = Site.read("lab", self.project)
        assert site is not None
        site.make_folders()
        return site

    @property
    def host(self) -> dict[str, Any]:
        """The stack file's section of w1, to be changed before `render`."""
        return self.config["keystone:hosts"]["w1"]

    def units_of(self, system: InstalledSystem, *_: Any) -> dict[str, Pretended]:
        """Stands in for `twin.services.units.build`."""
        self.made.append(system)
        names = ("headscale", "k3s", "tailscaled") if system.host["role"] == "primer" else ("k3s", "tailscaled")
        return {unit: Pretended(unit, system, self.log, self.broken) for unit in names}

    def machine(self, name: str = "w1") -> Machine:
        """The machine of a host, as a freshly started twin has it."""
        site = self.site
        machine = Machine(site, name, site.settings.hosts[name], None, shell.serve)  # type: ignore[arg-type]
        self.machines[name] = machine
        return machine

    async def off(self) -> None:
        for pid in self.programs:
            await asyncio.to_thread(end_tree, pid)
        for machine in self.machines.values():
            await machine.power_off()

    # Clients

    def installer_key(self, name: str = "w1") -> str:
        return installer_public_key(str(NETWORK), name)

    def pinned_key(self, name: str = "w1", generation: int = 1) -> str:
        return self.identities.ssh_host_key(name, generation).public

    async def connect(
        self, machine: Machine, host_key: str, *, port: int = PORT, key: str | None = None, user: str = "root"
    ) -> asyncssh.SSHClientConnection:
        known = asyncssh.import_known_hosts(f"[{machine.address}]:{port} {host_key}\n")
        return await asyncssh.connect(
            machine.address,
            port,
            username=user,
            known_hosts=known,
            client_keys=[asyncssh.import_private_key(key or self.identities.operator_key().private)],
            agent_path=None,
            config=None,
        )

    async def ssh(self, machine: Machine, host_key: str, *argv: str, stdin: str = "", port: int = PORT) -> Result:
        """Run a command on the machine over SSH with a pinned host key."""
        connection = await self.connect(machine, host_key, port=port)
        try:
            # asyncssh sends no end of file after an empty input.
            given: dict[str, Any] = {"input": stdin} if stdin else {"stdin": asyncssh.DEVNULL}
            done = await connection.run(shlex.join(argv), check=False, **given)
        finally:
            connection.abort()
        assert done.exit_status is not None
        return Result(done.exit_status, str(done.stdout), str(done.stderr))

    def environment(self, **more: str) -> dict[str, str]:
        """What `python -m twin env` gives to the stand-ins."""
        path = f"{REPOSITORY / 'twin/bin'}{os.pathsep}{os.environ['PATH']}"
        kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
        return {**kept, "PATH": path, "KEYSTONE_TWIN": str(self.site.root), **more}

    async def program(
        self, *argv: str, stdin: bytes = b"", more: dict[str, str] | None = None, limit: float = 60.0
    ) -> Result:
        """Run a program on this computer, in the project's folder, with the twin's environment and `more`.

        After `limit` seconds, or when the test ends before it, the program and all that it has started are ended.
        """
        process = await asyncio.create_subprocess_exec(
            *argv,
            cwd=self.project,
            env=self.environment(**(more or {})),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        self.programs.append(process.pid)
        try:
            out, err = await asyncio.wait_for(process.communicate(stdin), limit)
        finally:
            if process.returncode is None:
                await asyncio.to_thread(end_tree, process.pid)
                await process.wait()
            self.programs.remove(process.pid)
        assert process.returncode is not None
        return Result(process.returncode, out.decode(), err.decode())

    async def build(self, output: str = "toplevel", name: str = "w1") -> str:
        """Build a host's system or disk script as the stand-in for nix does; returns the store path."""
        attribute = f"nixosConfigurations.lab-{name}.config.system.build.{output}"
        return nixbuild.build(self.site.root / "store", self.project / "nix", attribute)

    def extra_files(self, name: str = "w1", generation: int = 1) -> Path:
        """The folder for --extra-files with the two host keys."""
        folder = self.project / f"extra-{name}-{generation}" / "etc/ssh"
        folder.mkdir(parents=True, exist_ok=True)
        for file, key in (
            ("ssh_host_ed25519_key", self.identities.ssh_host_key(name, generation)),
            ("initrd_ssh_host_ed25519_key", self.identities.initrd_host_key(name, generation)),
        ):
            (folder / file).write_text(key.private)
            (folder / file).chmod(0o600)
            (folder / f"{file}.pub").write_text(f"{key.public}\n")
        return folder.parents[1]

    async def anywhere(
        self, machine: Machine, *more: str, generation: int = 1, environment: dict[str, str] | None = None
    ) -> Result:
        """Install a machine with the stand-in for nixos-anywhere, as Keystone calls it."""
        key = self.project / f"{machine.name}.key"
        key.write_text(self.identities.recovery_passphrase(machine.name, generation))
        disko, system = await self.build("diskoScript", machine.name), await self.build("toplevel", machine.name)
        argv = ["--store-paths", disko, system, "--target-host", f"root@{machine.address}", "--ssh-port", str(PORT)]
        argv += ["-i", str(self.project / "operator_key"), "--extra-files"]
        argv += [str(self.extra_files(machine.name, generation)), "--disk-encryption-keys", DISK_KEY, str(key)]
        return await self.program("nixos-anywhere", *argv, *more, more=environment)

    async def booted(self, machine: Machine) -> None:
        """Wait until the machine runs its installed system and has tried every unit."""
        await self.until(lambda: machine.reachable and machine.state == "installed")
        await machine.settled()

    async def installed(self, name: str = "w1") -> Machine:
        """A machine that was installed and has booted its system."""
        machine = self.machine(name)
        await machine.power_on()
        done = await self.anywhere(machine)
        assert done.status == 0, done.stderr
        await self.booted(machine)
        return machine

    async def until(self, condition: Any, limit: float = 30.0) -> None:
        async with asyncio.timeout(limit):
            while not condition():
                await asyncio.sleep(0.02)


def document() -> dict[str, Any]:
    """The stack file of the lab: a Primer and one worker on the test's own range."""

    def host(name: str, role: str, last: int) -> dict[str, Any]:
        return {
            "role": role,
            "site": "home",
            "address": NETWORK.at(last),
            "mac": f"02:00:00:78:{NETWORK.number:02x}:{last:02d}",
            "ssh": {"port": PORT, "kexecPort": PORT},
            "disk": DISK.format(name),
            "diskSerial": f"{name}-system",
            "osdDisks": [f"/dev/disk/by-id/virtio-{name}-osd0"],
            "machineSerial": f"twin-{name}",
            "installerHostKey": installer_public_key(str(NETWORK), name),
        }

    sans = [NETWORK.at(10), "primer.mesh.keystone.internal"]
    return {
        "twin:network": str(NETWORK),
        "twin:installSeconds": 0.3,
        "keystone:rootSecret": {"secure": "v1:AAAAAAAAAAAAAAAA:AAAA"},
        "keystone:cluster": {
            "name": "lab",
            "domain": "keystone.internal",
            "api": {"endpoint": f"https://{NETWORK.at(10)}:6443", "sans": sans},
        },
        "keystone:sites": {"home": {"cidr": str(NETWORK), "gateway": NETWORK.at(1), "nameservers": [NETWORK.at(1)]}},
        "keystone:hosts": {"primer": host("primer", "primer", 10), "w1": host("w1", "agent", 11)},
        "keystone:network": {"loadBalancer": {"pools": {"ingress": f"{NETWORK.at(200)}-{NETWORK.at(209)}"}}},
        "keystone:mesh": {"serverUrl": f"https://{NETWORK.at(10)}:8443", "domain": "mesh.keystone.internal"},
    }


def pretend_services(lab: Lab, monkeypatch: Any) -> None:
    """Let machines run the pretended services of this lab."""
    monkeypatch.setattr(units, "build", lab.units_of)
