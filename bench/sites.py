"""Copies of the project to measure: the dev stack on another network, and stacks with many hosts."""

import re
import shutil
import subprocess
from collections.abc import Iterable
from ipaddress import IPv4Address
from pathlib import Path

import yaml

from twin.ssh_keys import installer_public_key

PROJECT = Path(__file__).resolve().parents[1]
STACK = "dev"
PLATFORM = ("storage", "platform", "observability")
"""The sections of what runs on a cluster."""


def copy(folder: Path) -> Path:
    """A copy of what is tracked (or new and not ignored), with the project's own venv."""
    line = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(line, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        source, target = PROJECT / name, folder / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    (folder / ".venv").symlink_to(PROJECT / ".venv")
    return folder


def move(folder: Path, base: str, workers: int, left_out: Iterable[str] = ()) -> None:
    """Put the copy's stack on the /24 that begins with `base`, with so many workers made after the first one.

    More than three workers need the /16 around it. The sections that are to be left out are removed.
    """
    path = folder / f"Pulumi.{STACK}.yaml"
    document = yaml.safe_load(re.sub(r"127\.\d+\.0\.", f"{base}.", path.read_text()))
    config = document["config"]
    for section in left_out:
        del config[f"keystone:{section}"]
    # 250 addresses do for a Primer and a hundred workers, above the range of the load balancers and of DHCP.
    above = IPv4Address(f"{base}.0") + 256
    cidr = f"{base}.0/24" if workers <= 3 else f"{base.rpartition('.')[0]}.0.0/16"
    config["twin:network"] = cidr
    config["keystone:sites"]["home"]["cidr"] = cidr
    hosts = config["keystone:hosts"]
    first = hosts["w1"]
    made = {"primer": hosts["primer"]}
    for number in range(1, workers + 1):
        name = f"w{number}"
        host = {
            **first,
            "address": f"{base}.{10 + number}" if workers <= 3 else str(above + number),
            "mac": f"02:00:00:00:{number // 256:02x}:{number % 256:02x}",
            "disk": f"/dev/disk/by-id/virtio-{name}-system",
            "diskSerial": f"{name}-system",
            "osdDisks": [f"/dev/disk/by-id/virtio-{name}-osd0"],
            "machineSerial": f"twin-{name}",
        }
        made[name] = host
    for name, host in made.items():
        host["installerHostKey"] = installer_public_key(cidr, name)
    config["keystone:hosts"] = made
    path.write_text(yaml.safe_dump(document, sort_keys=False))


FLOOR = """
import pulumi
import pulumi_command

for number in range({count}):
    pulumi_command.local.Command(f"trivial-{{number}}", create="true")
"""


def floor(folder: Path, count: int) -> Path:
    """A project with nothing of ours: `count` trivial resources of the command provider."""
    folder.mkdir(parents=True)
    options = {"name": "python", "options": {"virtualenv": str(PROJECT / ".venv")}}
    (folder / "Pulumi.yaml").write_text(yaml.safe_dump({"name": "floor", "runtime": options}))
    salt = yaml.safe_load((PROJECT / f"Pulumi.{STACK}.yaml").read_text())["encryptionsalt"]
    (folder / f"Pulumi.{STACK}.yaml").write_text(yaml.safe_dump({"encryptionsalt": salt, "config": {}}))
    (folder / "__main__.py").write_text(FLOOR.format(count=count) if count else "import pulumi\n")
    return folder
