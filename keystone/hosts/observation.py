"""What the guard sees of a machine, and what the settings say about it. Nothing here writes to a machine."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from keystone.errors import KeystoneError
from keystone.hosts import ssh
from keystone.hosts.context import Context
from keystone.hosts.guard import MARKER, SETUP_MODE, Disk, Expected, Seen, State
from keystone.settings import Host

# Keys of a few generations above the settings' own tell a lowered generation from a foreign machine.
GENERATIONS_AHEAD = 8
CONNECT_TRIES_SECONDS = 30.0


def unlocking(name: str, host: Host) -> str:
    """The words that tell a person how to unlock a host's disks."""
    login = f"ssh -t -p {host.ssh.initrd_port} root@{host.address}"
    return f"Log in with `{login}`, type what `python -m keystone.hosts passphrase {name}` prints"


def expected_of(context: Context, name: str, confirmation: str | None) -> Expected:
    """What the settings say about a host."""
    host = context.host(name)
    return Expected(
        host=name,
        cluster=context.cluster,
        generation=host.install_generation,
        place=f"{host.address}:{host.ssh.port}",
        disk=host.disk,
        disk_serial=host.disk_serial,
        machine_serial=host.machine_serial,
        installer_host_key=ssh.public(host.installer_host_key) if host.installer_host_key else None,
        protect=context.settings.protect_hosts,
        unlock=unlocking(name, host),
        secure_boot=host.unlock != "remote",
        osd_disks=tuple(host.osd_disks),
        confirmation=confirmation or None,
    )


def known_keys(context: Context, expected: Expected) -> dict[str, str]:
    """Every key that the machine may show: its own of each generation, and the installer's."""
    keys = {
        context.identities.ssh_host_key(expected.host, generation).public: f"generation {generation}"
        for generation in range(1, expected.generation + GENERATIONS_AHEAD + 1)
    }
    if expected.installer_host_key:
        keys[expected.installer_host_key] = "installer"
    return keys


async def observe(context: Context, expected: Expected, *, limit: float | None = None) -> Seen:
    """Looks at the machine; writes nothing. A machine that is just booting gets `limit` seconds."""
    limit = CONNECT_TRIES_SECONDS if limit is None else limit
    target = context.target(expected.host)
    keys = known_keys(context, expected)
    operator = context.identities.operator_key().private

    async def attempt() -> Seen | None:
        try:
            async with ssh.dial(target, keys, operator) as machine:
                return await _look(machine, expected)
        except ssh.WrongHostKey as fault:
            return Seen(State.FOREIGN_KEY, key=fault.seen)
        except ssh.Unreachable:
            if await locked(context, expected):
                return Seen(State.LOCKED)
            raise

    try:
        return await ssh.until("an SSH server", attempt, place=expected.place, limit=limit)
    except KeystoneError as fault:
        return Seen(State.SILENT, fault=f"{fault.problem}")


async def locked(context: Context, expected: Expected) -> bool:
    """Whether the initrd's SSH server answers with a key of this host: installed, and its disks are locked."""
    host = context.host(expected.host)
    target = ssh.Target(expected.host, str(host.address), host.ssh.initrd_port, "root")
    keys = {
        context.identities.initrd_host_key(expected.host, generation).public: f"initrd, generation {generation}"
        for generation in range(1, expected.generation + GENERATIONS_AHEAD + 1)
    }
    try:
        async with ssh.dial(target, keys, context.identities.operator_key().private):
            return True
    except ssh.LoginRefused:
        return True
    except KeystoneError:
        return False


async def _look(machine: ssh.Machine, expected: Expected) -> Seen:
    faults: list[str] = []
    serial = await _read(machine, faults, "cat", "/sys/class/dmi/id/product_serial")
    disk = await _disk(machine, faults, expected.disk)
    osds = [found.path for path in expected.osd_disks if (found := await _disk(machine, [], path)) is not None]
    hardware: dict[str, Any] = {
        "machine_serial": serial.strip() if serial is not None else None,
        "disk": disk,
        "setup_mode": _is_set(await _read(machine, [], "cat", SETUP_MODE)),
        "osd_paths": tuple(osds),
        "key": machine.label,
    }
    if machine.label == "installer":
        release = await _read(machine, faults, "cat", "/etc/os-release") or ""
        return Seen(State.INSTALLER, variant=_variant(release), fault="; ".join(faults), **hardware)
    marker = _marker(await _read(machine, faults, "cat", MARKER), faults)
    generation = int(machine.label.removeprefix("generation "))
    return Seen(State.INSTALLED, generation=generation, marker=marker, fault="; ".join(faults), **hardware)


async def _read(machine: ssh.Machine, faults: list[str], *argv: str) -> str | None:
    try:
        return (await machine.run(*argv)).stdout
    except ssh.CommandFailed as fault:
        faults.append(fault.problem)
        return None


async def _disk(machine: ssh.Machine, faults: list[str], path: str) -> Disk | None:
    columns = "PATH,TYPE,SIZE,SERIAL,FSTYPE,PTTYPE,PTUUID,PARTLABEL"
    text = await _read(machine, faults, "lsblk", "--json", "--bytes", "--output", columns, path)
    if text is None:
        return None
    try:
        top, *inner = _flat(json.loads(text)["blockdevices"])
        return Disk(
            path=str(top["path"]),
            kind=str(top.get("type") or ""),
            serial=str(top.get("serial") or "").strip(),
            guid=str(top.get("ptuuid") or "").lower(),
            signatures=tuple(_signatures(top, inner)),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        faults.append(f"lsblk's answer about {path} is not understood ({fault})")
        return None


def _flat(nodes: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The disk first, then what lies in it: lsblk nests children only when the column NAME is asked for."""
    return [found for node in nodes for found in (node, *_flat(node.get("children") or []))]


def _signatures(top: Mapping[str, Any], inner: Sequence[Mapping[str, Any]]) -> list[str]:
    """Traces of data on a disk: its partition table and file system, and its partitions with theirs."""
    found = [str(top[key]) for key in ("pttype", "fstype") if top.get(key)]
    for node in inner:
        words = (node.get("type") or "part", node.get("partlabel") or node.get("path") or "unnamed", node.get("fstype"))
        found.append(" ".join(str(word) for word in words if word))
    return found


def _is_set(variable: str | None) -> bool | None:
    """A variable of one byte, after four of attributes."""
    return None if variable is None else variable.endswith("\x01")


def _variant(release: str) -> str:
    for line in release.splitlines():
        key, _, value = line.partition("=")
        if key == "VARIANT_ID":
            return value.strip().strip("\"'")
    return ""


def _marker(text: str | None, faults: list[str]) -> Mapping[str, Any] | None:
    if text is None:
        return None
    try:
        marker = json.loads(text)
    except ValueError:
        marker = None
    if not isinstance(marker, dict):
        faults.append(f"{MARKER} is not a JSON object")
        return None
    return marker
