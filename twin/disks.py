"""The disks of a twin machine: an inventory with partition tables and signatures, but no sectors.

disks.json is plain and may be edited while the machine runs: every command reads it anew. Names, sizes and answers are
those of a virtio machine under util-linux 2.38 and gptfdisk 1.0.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keystone.errors import KeystoneError
from twin.files import write_json

if TYPE_CHECKING:
    from keystone.settings import Host

GIB = 1024**3
INSTALL_DISK_SIZE = 64 * GIB
OSD_DISK_SIZE = 100 * GIB
ESP_SIZE = GIB
# sgdisk starts and ends at the first MiB: one for the table in front, one for its copy behind.
TABLE_SIZE = 2 * 1024**2
BY_ID = "/dev/disk/by-id/"
# Bus prefixes of udev's by-id names; what follows is the model and serial, on virtio the serial alone.
BUSES = ("virtio-", "ata-", "scsi-", "nvme-", "usb-", "wwn-")
PASSWORD_FILE = "/run/keystone/disk.key"


@dataclass
class Partition:
    """One partition; `key` is a salted hash of the LUKS passphrase, `inside` the signature of the opened device.

    `tpm` says with which key of the machine's TPM2 (see twin/record.py) its second slot was made; None without one.
    """

    number: int
    size: int
    partlabel: str
    partuuid: str
    fstype: str | None = None
    uuid: str | None = None
    inside: str | None = None
    key: str | None = None
    tpm: int | None = None


@dataclass
class Disk:
    """One whole disk: `fstype` is a signature on the disk itself, `pttype` and `ptuuid` those of its table."""

    by_id: str
    path: str
    serial: str
    size: int
    fstype: str | None = None
    uuid: str | None = None
    pttype: str | None = None
    ptuuid: str | None = None
    partitions: list[Partition] = field(default_factory=list)

    def part_path(self, partition: Partition) -> str:
        return f"{self.path}{partition.number}"

    def clear(self) -> None:
        """Remove every signature and the partition table."""
        self.fstype = self.uuid = self.pttype = self.ptuuid = None
        self.partitions = []

    @property
    def luks(self) -> Partition | None:
        return next((part for part in self.partitions if part.fstype == "crypto_LUKS"), None)


class Inventory:
    """The disks of one machine as disks.json holds them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Disk]:
        """Return all disks. Raises KeystoneError when the file was edited into something else."""
        try:
            return [
                Disk(**{**entry, "partitions": [Partition(**part) for part in entry["partitions"]]})
                for entry in json.loads(self.path.read_text())["disks"]
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise KeystoneError(str(self.path), f"is not a disk inventory: {error}", "Remove the file") from None

    def write(self, disks: Iterable[Disk]) -> None:
        write_json(self.path, {"disks": [asdict(disk) for disk in disks]})

    def find(self, device: str) -> Disk | None:
        """Return the disk with this path or by-id path; None for anything else, partitions too."""
        return next((disk for disk in self.read() if device in (disk.path, disk.by_id)), None)

    def put(self, changed: Disk) -> None:
        """Write one disk back."""
        self.write(changed if disk.path == changed.path else disk for disk in self.read())


def inventory_of(path: Path, host: Host) -> Inventory:
    """Return the machine's inventory, made from the settings at the machine's first start and kept from then on."""
    inventory = Inventory(path)
    if not path.exists():
        inventory.write(blank_disks(str(host.disk), host.disk_serial, [str(disk) for disk in host.osd_disks]))
    return inventory


def blank_disks(install: str, serial: str | None, osds: Iterable[str]) -> list[Disk]:
    """Return the blank disks of a machine: the install disk is /dev/vda, then the OSD disks in their order."""
    disks = [Disk(install, "/dev/vda", serial or _serial(install), INSTALL_DISK_SIZE)]
    for letter, osd in zip("bcdefghijklmnopqrstuvwxyz", osds, strict=False):
        disks.append(Disk(osd, f"/dev/vd{letter}", _serial(osd), OSD_DISK_SIZE))
    return disks


def _serial(by_id: str) -> str:
    name = by_id.removeprefix(BY_ID)
    for bus in BUSES:
        name = name.removeprefix(bus)
    return name


def plant(
    machine: Path, device: str, *, fstype: str | None = None, ptuuid: str | None = None, serial: str | None = None
) -> None:
    """Put foreign data on a disk of the machine whose folder is given: a signature, a partition table, a new serial.

    `device` is a path or by-id path. For tests of what the guard says.
    """
    inventory = Inventory(machine / "disks.json")
    disk = inventory.find(device)
    if disk is None:
        known = ", ".join(known.by_id for known in inventory.read())
        raise KeystoneError(device, f"is no disk of {machine.name}", f"Known: {known}")
    if fstype is not None:
        disk.fstype, disk.uuid = fstype, str(uuid.uuid4())
    if ptuuid is not None:
        disk.pttype, disk.ptuuid = "gpt", ptuuid
    if serial is not None:
        disk.serial = serial
    inventory.put(disk)


def lay_out(disk: Disk, guid: str, passphrase: bytes, filesystem: str) -> None:
    """Make the layout of an installed system: a GPT with this GUID, an ESP, and LUKS2 around zfs or ext4."""
    disk.clear()
    disk.pttype, disk.ptuuid = "gpt", guid.lower()
    esp = Partition(1, ESP_SIZE, "disk-main-ESP", str(uuid.uuid4()), "vfat", secrets.token_hex(2).upper() + "-2605")
    luks = Partition(2, disk.size - ESP_SIZE - TABLE_SIZE, "disk-main-luks", str(uuid.uuid4()), "crypto_LUKS")
    luks.uuid, luks.inside, luks.key = str(uuid.uuid4()), filesystem, _seal(passphrase, secrets.token_bytes(16))
    disk.partitions = [esp, luks]


def opens(disk: Disk, passphrase: bytes) -> bool:
    """True when the passphrase opens the disk's LUKS partition."""
    if disk.luks is None or disk.luks.key is None:
        return False
    salt = bytes.fromhex(disk.luks.key.partition(":")[0])
    return hmac.compare_digest(disk.luks.key, _seal(passphrase, salt))


def _seal(passphrase: bytes, salt: bytes) -> str:
    return f"{salt.hex()}:{hashlib.scrypt(passphrase, salt=salt, n=2**12, r=8, p=1).hex()}"


def rows(disk: Disk, *, opened: bool) -> list[dict[str, Any]]:
    """Return lsblk's columns (lower case) of the disk, its partitions and, when opened, the device inside LUKS.

    Partitions repeat the table's type and identifier, as udev hands them on; only whole disks have a serial.
    """
    found = [
        _row(disk.path, "disk", disk.size, None)
        | {"serial": disk.serial, "fstype": disk.fstype, "uuid": disk.uuid, "pttype": disk.pttype}
        | {"ptuuid": disk.ptuuid}
    ]
    for part in disk.partitions:
        path = disk.part_path(part)
        found.append(
            _row(path, "part", part.size, disk.path)
            | {"fstype": part.fstype, "uuid": part.uuid, "pttype": disk.pttype, "ptuuid": disk.ptuuid}
            | {"partlabel": part.partlabel, "partuuid": part.partuuid}
        )
        if opened and part.inside is not None:
            found.append(_row("/dev/mapper/crypted", "crypt", part.size - 16 * 1024**2, path) | {"fstype": part.inside})
    return found


def _row(path: str, kind: str, size: int, parent: str | None) -> dict[str, Any]:
    name = path.rsplit("/", 1)[-1]
    blank = ("serial", "fstype", "uuid", "pttype", "ptuuid", "partlabel", "partuuid", "label", "model", "mountpoint")
    return {
        "name": name,
        "kname": name if kind != "crypt" else "dm-0",
        "path": path,
        "type": kind,
        "size": size,
        "pkname": parent and parent.rsplit("/", 1)[-1],
        "ro": False,
        "rm": False,
        **dict.fromkeys(blank),
        "mountpoints": [None],
    }
