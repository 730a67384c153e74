"""A project folder with a stack on the twin, and `python -m twin` run in it as a user does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests import networks
from tests.networks import Network
from tests.twin import sites
from twin.services.layout import Layout
from twin.site import Site
from twin.ssh_keys import installer_public_key
from twin.tools import tool

REPOSITORY = Path(__file__).parents[2]
STACK = "trial"


@dataclass
class Project:
    """A project folder with one stack, and the command run in it."""

    folder: Path
    network: Network
    document: dict[str, Any]

    def write(self) -> None:
        config = {f"keystone:{key}": value for key, value in self.document.items()}
        config |= {"twin:network": str(self.network), "twin:installSeconds": 0.3}
        config["keystone:rootSecret"] = {"secure": "v1:AAAAAAAAAAAAAAAA:AAAA"}
        (self.folder / f"Pulumi.{STACK}.yaml").write_text(yaml.safe_dump({"config": config}))

    @property
    def site(self) -> Site:
        site = Site.read(STACK, self.folder)
        assert site is not None
        return site

    def run(self, *argv: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "twin", argv[0], "--stack", STACK, "--project", str(self.folder), *argv[1:]],
            cwd=REPOSITORY,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def status(self) -> dict[str, Any]:
        return json.loads(self.run("status", "--json").stdout)

    def units(self) -> set[str]:
        """The states of all units of all machines; `none` for a machine without units."""
        machines = self.status()["machines"].values()
        return {unit["state"] for one in machines for unit in one["units"].values() or [{"state": "none"}]}

    def install(self, name: str) -> None:
        """Run what the program's install command runs."""
        lines = self.run("env").stdout
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "KEYSTONE_STACK": STACK}
        script = f"{lines}\nexec {sys.executable} -m keystone.hosts install {name}"
        done = subprocess.run(
            ["/bin/sh", "-c", script], cwd=self.folder, env=environment, input=sites.ROOT_SECRET + "\n",
            capture_output=True, text=True, timeout=90, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def kubectl(self, *argv: str) -> subprocess.CompletedProcess[str]:
        kubeconfig = Layout(self.site.machines / "primer/root").admin_kubeconfig
        command = [str(tool("kubectl")), f"--kubeconfig={kubeconfig}", *argv]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    def ready(self, node: str) -> str:
        path = '{.status.conditions[?(@.type=="Ready")].status}'
        return self.kubectl("get", "node", node, "-o", f"jsonpath={path}").stdout

    def states(self) -> dict[str, str]:
        return {name: machine["state"] for name, machine in self.status()["machines"].items()}


def make(folder: Path, workers: int = 2) -> Project:
    """A project on a network of its own: a listener of the test before may still be on its way out."""
    network = networks.fresh()
    project = Project(folder, network, sites.document(network, workers))
    for name, host in project.document["hosts"].items():
        host["installerHostKey"] = installer_public_key(str(network), name)
    project.write()
    return project


def eventually(true: Callable[[], bool], limit: float = 60.0) -> bool:
    deadline = time.monotonic() + limit
    while not true() and time.monotonic() < deadline:
        time.sleep(0.1)
    return true()
