"""A copy of the project in a folder of its own, with a stack on a loopback network of its own, used as a user does.

Everything goes through the commands that `make` runs. Nothing is taken from the surrounding project but its files and
its virtual environment.
"""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
import yaml

from keystone.identities import Identities
from tests.networks import Network
from twin.ssh_keys import installer_public_key
from twin.tools import folder as tools

REPOSITORY = Path(__file__).resolve().parents[3]
PASSPHRASE = "a passphrase for trials only"
PYTHON = ".venv/bin/python"
ROW = re.compile(r"^ +([-+~*!]) (\S+) +(\S+) +(.+?)(?: {2}\d+ s)?$")
"""A line of `keystone up` about one resource: sign, name, type, what was done."""


def host(network: Network, name: str, number: int, role: str = "agent", **more: Any) -> dict[str, Any]:
    """A host of the settings, as the twin's machines are made."""
    return {
        "role": role,
        "site": "home",
        "address": network.at(number),
        "mac": f"02:00:00:78:{network.number:02x}:{number:02x}",
        "ssh": {"port": 2222, "kexecPort": 2222},
        "disk": f"/dev/disk/by-id/virtio-{name}-system",
        "diskSerial": f"{name}-system",
        "machineSerial": f"twin-{name}",
        "installerHostKey": installer_public_key(str(network), name),
        **more,
    }


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    status: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def ok(self) -> bool:
        return self.status == 0

    @property
    def text(self) -> str:
        """All that it said."""
        return self.stdout + self.stderr

    @cached_property
    def rows(self) -> dict[str, str]:
        """What an update says it has done, by resource; `created  3 s` is `created`."""
        found = (ROW.match(line) for line in self.stdout.splitlines())
        return {row[2]: row[4] for row in found if row}


def of_host(name: str) -> set[str]:
    """The resources of one worker."""
    commands = {f"Command {what}-{name}" for what in ("install", "system", "join")}
    return {f"Host {name}", *commands, f"NodePatch node-{name}"}


class Checkout:
    """One copy of the project with one stack on the twin."""

    def __init__(
        self, folder: Path, stack: str, network: Network, hosts: Mapping[str, dict[str, Any]], temporary: Path
    ) -> None:
        self.folder = folder
        self.stack = stack
        self.network = network
        self.said: list[str] = []
        self._copy()
        self.temporary = temporary
        self.environment = self._environment()
        self._initialise(hosts)

    # The files

    def _copy(self) -> None:
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listed, cwd=REPOSITORY, stdout=subprocess.PIPE, check=True).stdout.decode().split("\0")
        self.files = set(names)
        for name in filter(None, names):
            source, target = REPOSITORY / name, self.folder / name
            if source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
        (self.folder / ".venv").symlink_to(Path(sys.prefix))

    def _environment(self) -> dict[str, str]:
        kept = {key: os.environ[key] for key in ("HOME", "KEYSTONE_TOOLS", "XDG_CACHE_HOME") if key in os.environ}
        path = os.pathsep.join([str(Path(sys.prefix) / "bin"), "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"])
        twin = self.folder / ".twin" / self.stack
        return {
            **kept,
            "PATH": os.pathsep.join([str(tools()), str(self.folder / "twin/bin"), path]),
            "LANG": "C.UTF-8",
            "TMPDIR": str(self.temporary),
            "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
            "KEYSTONE_STACK": self.stack,
            "KEYSTONE_TWIN": str(twin),
            "PULUMI_HOME": str(twin / "pulumi"),
            "PULUMI_BACKEND_URL": f"file://{twin / 'state'}",
            "PULUMI_STACK": self.stack,
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_CREDENTIAL_STORE": "plaintext",
        }

    def _initialise(self, hosts: Mapping[str, dict[str, Any]]) -> None:
        """`keystone init`, then the hosts and the twin's network by hand, as a user edits the file."""
        net = self.network
        for folder in ("pulumi", "state"):
            (self.folder / ".twin" / self.stack / folder).mkdir(parents=True, exist_ok=True, mode=0o700)
        primer = next(one for one in hosts.values() if one["role"] == "primer")
        given = ",".join(f"{key}={primer[key]}" for key in ("role", "address", "mac", "disk", "diskSerial"))
        # A stack that is not on the twin yet is refused in a twin's backend.
        with tempfile.TemporaryDirectory() as elsewhere:
            made = self.run(
                *(PYTHON, "-m", "keystone", "init", self.stack, "--no-ask", "--no-protect-hosts"),
                *("--domain", f"{self.stack}.test", "--cidr", str(net), "--host", f"primer:{given}"),
                *("--dhcp-range", f"{net.at(100)}-{net.at(150)}", "--pool", f"{net.at(200)}-{net.at(209)}"),
                limit=60,
                environment={**self.environment, "PULUMI_BACKEND_URL": f"file://{elsewhere}"},
            )
        assert made.ok, made.text
        self.must("pulumi", "stack", "init", self.stack, "--no-select", limit=60)
        with self.editing() as config:
            config["twin:network"] = str(net)
            config["keystone:hosts"] = dict(copy.deepcopy(hosts))

    @property
    def stack_file(self) -> Path:
        return self.folder / f"Pulumi.{self.stack}.yaml"

    @contextmanager
    def editing(self) -> Iterator[dict[str, Any]]:
        """The `config` of the stack file, written back at the end."""
        document = yaml.safe_load(self.stack_file.read_text())
        yield document["config"]
        self.stack_file.write_text(yaml.safe_dump(document, sort_keys=False))

    def add(self, name: str, number: int, role: str = "agent", **more: Any) -> None:
        """Write one host more into the stack file."""
        with self.editing() as config:
            config["keystone:hosts"][name] = host(self.network, name, number, role, **more)

    def drop(self, *names: str) -> None:
        """Take hosts out of the stack file."""
        with self.editing() as config:
            for name in names:
                del config["keystone:hosts"][name]

    def put(self, name: str, settings: dict[str, Any]) -> None:
        """Write a host into the stack file as it is given."""
        with self.editing() as config:
            config["keystone:hosts"][name] = settings

    def hosts(self) -> dict[str, dict[str, Any]]:
        """The hosts of the stack file."""
        return yaml.safe_load(self.stack_file.read_text())["config"]["keystone:hosts"]

    def machine(self, name: str) -> Path:
        """The folder of a machine of the twin."""
        return self.folder / ".twin" / self.stack / "machines" / name

    @property
    def logs(self) -> Path:
        return self.folder / ".twin" / self.stack / "logs"

    def log(self, name: str) -> str:
        """A machine's log; empty before there is one."""
        path = self.logs / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def texts(self, folder: Path, without: tuple[str, ...] = ()) -> dict[str, str]:
        """Every file below a folder by its path; folders with the given names are left out, links not followed."""
        found = {}
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink() and not set(without) & set(path.relative_to(folder).parts):
                found[str(path)] = path.read_bytes().decode(errors="replace")
        return found

    def new_files(self) -> list[Path]:
        """The files that the project did not bring along."""
        found = (path for path in self.folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        return [
            path for path in found if ".venv" not in path.parts and str(path.relative_to(self.folder)) not in self.files
        ]

    # Commands

    def run(self, *argv: str, limit: float, given: str = "", environment: Mapping[str, str] | None = None) -> Done:
        """Run a command in the folder; it is killed, and the test fails, after `limit` seconds."""
        began = time.monotonic()
        done = subprocess.run(
            argv,
            cwd=self.folder,
            env=self.environment if environment is None else environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
        result = Done(done.returncode, done.stdout, done.stderr, time.monotonic() - began)
        if argv[0] == PYTHON:
            # What pulumi is asked with --show-secrets is no log.
            self.said.append(result.text)
        return result

    def must(self, *argv: str, limit: float, given: str = "") -> Done:
        """Run a command that has to succeed."""
        done = self.run(*argv, limit=limit, given=given)
        assert done.ok, f"{' '.join(argv)} ended with {done.status}:\n{done.text}"
        return done

    def keystone(self, *words: str, limit: float = 300, environment: Mapping[str, str] | None = None) -> Done:
        return self.run(PYTHON, "-m", "keystone", *words, limit=limit, environment=environment)

    def twin(self, *words: str, limit: float = 120, environment: Mapping[str, str] | None = None) -> Done:
        return self.run(PYTHON, "-m", "twin", *words, "--stack", self.stack, limit=limit, environment=environment)

    def ready(self) -> None:
        """What `make up` does before the engine's turn."""
        facts = self.keystone("facts")
        assert facts.ok, facts.text
        twin = self.twin("up")
        assert twin.ok, twin.text

    def try_up(self, *, limit: float = 300) -> Done:
        """`make up`, whatever its outcome."""
        self.ready()
        return self.keystone("up", limit=limit)

    def up(self, *, limit: float = 300) -> Done:
        """`make up`, which has to succeed."""
        done = self.try_up(limit=limit)
        assert done.ok, done.text
        return done

    def start_up(self) -> subprocess.Popen[str]:
        """`make up` in the background, for a test that interrupts it."""
        self.ready()
        return subprocess.Popen(
            [PYTHON, "-m", "keystone", "up", "--verbose"],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def end(self, started: subprocess.Popen[str], limit: float = 150) -> Done:
        """Wait for a command in the background."""
        began = time.monotonic()
        try:
            out, _ = started.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)
            started.communicate()
            raise
        self.said.append(out)
        return Done(started.returncode, out, "", time.monotonic() - began)

    def destroy(self) -> tuple[Done, Done]:
        """`make destroy`: what the engine and what the twin said."""
        return self.keystone("destroy", limit=300), self.twin("down", limit=180)

    # Looking

    def export(self) -> dict[str, Any]:
        """The state, as plain `pulumi stack export` gives it."""
        return json.loads(self.must("pulumi", "stack", "export", "--stack", self.stack, limit=60).stdout)

    def state(self) -> bytes:
        """The stack's state as it lies in the backend."""
        [path] = (self.folder / ".twin" / self.stack / "state/.pulumi/stacks").glob(f"*/{self.stack}.json")
        return path.read_bytes()

    def resources(self) -> dict[str, dict[str, Any]]:
        """The resources of the state by name; components, providers and the stack among them."""
        found = (self.export()["deployment"] or {}).get("resources", [])
        return {f"{one['type'].rsplit(':', 1)[-1]} {one['urn'].rsplit('::', 1)[-1]}": one for one in found}

    def status(self) -> dict[str, Any]:
        """`twin status --json`."""
        done = self.twin("status", "--json", limit=30)
        return json.loads(done.stdout)

    def hosts_command(self, *words: str, limit: float = 120) -> Done:
        """`python -m keystone.hosts`, as the program's commands run it."""
        return self.run(PYTHON, "-m", "keystone.hosts", *words, limit=limit, given=f"{self.root_secret}\n")

    def strays(self) -> list[str]:
        """Command lines of processes of this copy that do not belong to the running twin."""
        twin = {one["pid"] for one in self.status()["processes"].values()}
        return [" ".join(one.cmdline()) for one in self.processes() if one.pid not in twin]

    def on(self, name: str, *argv: str, limit: float = 60) -> str:
        """Run a program on a machine of the stack over pinned SSH, as its operator; it has to succeed."""
        done = self.run(PYTHON, "-c", ON_MACHINE, name, *argv, limit=limit, given=f"{self.root_secret}\n")
        assert done.ok, f"{' '.join(argv)} on {name}: {done.text}"
        self.said.pop()  # what a test asks for is no log
        return done.stdout

    @cached_property
    def root_secret(self) -> str:
        shown = self.must("pulumi", "config", "get", "keystone:rootSecret", "--stack", self.stack, limit=30)
        return shown.stdout.strip()

    def identities(self) -> Identities:
        return Identities(self.root_secret, self.stack)

    def nodes(self) -> set[str]:
        """The names of the cluster's nodes."""
        return set(self.on("primer", "kubectl", "get", "nodes", "--output", "name").replace("node/", "").split())

    def mesh_nodes(self) -> set[str]:
        """The names in the mesh."""
        listed = json.loads(self.on("primer", "headscale", "nodes", "list", "-o", "json")) or []
        return {str(one["given_name"]) for one in listed}

    def until(self, what: str, holds: Callable[[], bool], limit: float = 150) -> None:
        """Wait for something; the test fails after `limit` seconds."""
        deadline = time.monotonic() + limit
        while not holds():
            assert time.monotonic() < deadline, f"not within {limit:.0f} s: {what}"
            time.sleep(0.1)

    def processes(self) -> list[psutil.Process]:
        """All processes that belong to this copy: those that work in it or name it, dead ones left out."""
        return [one for one in psutil.process_iter() if one.pid != os.getpid() and self._ours(one)]

    def _ours(self, process: psutil.Process) -> bool:
        try:
            # In a container nobody may wait for an orphan: it stays in the table, dead.
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            line = " ".join(process.cmdline())
            return Path(process.cwd()).is_relative_to(self.folder) or str(self.folder) in line
        except (psutil.Error, OSError):
            return False


ON_MACHINE = """
import asyncio, sys
from pathlib import Path
from keystone.hosts.__main__ import context_of
import os
context = context_of(os.environ["KEYSTONE_STACK"])
async def main():
    async with context.dial(sys.argv[1]) as machine:
        done = await machine.run(*sys.argv[2:], check=False)
        sys.stdout.write(done.stdout)
        sys.stderr.write(done.stderr)
        return done.status
sys.exit(asyncio.run(main()))
"""
