"""The guard before an install: it looks at the machine and refuses on any doubt.

`decide` is pure: observed facts in, a verdict out, so that each branch has its test. `observation` makes the facts.
State never decides: a failed create leaves none, and a lost state must not cost a disk.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from keystone.errors import KeystoneError
from keystone.hosts import ssh
from keystone.identities import disk_guid

MARKER = "/etc/keystone/install.json"
# UEFI 2.10, 3.3: whether the firmware takes new keys of Secure Boot.
SETUP_MODE = "/sys/firmware/efi/efivars/SetupMode-8be4df61-93ca-11d2-aa0d-00e098032b8c"
CONFIRMATION = "KEYSTONE_CONFIRM_WIPE"


class Refusal(KeystoneError):
    """The guard refuses: nothing was written to the machine."""


class Action(StrEnum):
    ADOPT = "adopt"
    INSTALL = "install"
    RESUME = "go on with an interrupted install"
    REINSTALL = "reinstall"


class State(StrEnum):
    INSTALLED = "installed"
    LOCKED = "locked"
    INSTALLER = "installer"
    FOREIGN_KEY = "foreign key"
    SILENT = "silent"


@dataclass(frozen=True)
class Expected:
    """What the settings say about the machine. `confirmation` is the value of KEYSTONE_CONFIRM_WIPE."""

    host: str
    cluster: str
    generation: int
    place: str
    disk: str
    disk_serial: str | None
    machine_serial: str | None
    installer_host_key: str | None
    protect: bool
    unlock: str
    """How a person unlocks the disks; see `unlocking`."""
    secure_boot: bool
    """Whether the installed system makes keys of Secure Boot and binds the TPM to them."""
    osd_disks: tuple[str, ...] = ()
    confirmation: str | None = None

    def guid(self, generation: int) -> str:
        """The GPT disk GUID of an install that has begun."""
        return disk_guid(self.cluster, self.host, generation)

    def finished_guid(self, generation: int) -> str:
        """The GPT disk GUID of an install that has ended: such a disk may hold data, so it is never wiped unasked."""
        return finished(self.guid(generation))


def finished(guid: str) -> str:
    """The GUID that replaces an install's own one when the install has ended."""
    return str(uuid.uuid5(uuid.UUID(guid), "installed"))


@dataclass(frozen=True)
class Disk:
    """The install disk as the machine sees it. `signatures` are all traces of data, of its partitions too."""

    path: str
    kind: str
    serial: str
    guid: str
    signatures: tuple[str, ...]


@dataclass(frozen=True)
class Seen:
    """What was observed, and nothing assumed: what is unknown stays None."""

    state: State
    key: str = ""
    generation: int | None = None
    marker: Mapping[str, Any] | None = None
    variant: str = ""
    machine_serial: str | None = None
    disk: Disk | None = None
    setup_mode: bool | None = None
    osd_paths: tuple[str, ...] = ()
    fault: str = ""


@dataclass(frozen=True)
class Verdict:
    action: Action
    reason: str
    # The generation whose pinned key the machine shows; None when it shows the installer's.
    running: int | None = None


@dataclass
class _Judge:
    expected: Expected
    seen: Seen
    place: str = field(init=False)

    def __post_init__(self) -> None:
        self.place = f"hosts.{self.expected.host} at {self.expected.place}"

    def refuse(self, problem: str, cure: str) -> Refusal:
        return Refusal(self.place, f"refused to install: {problem}", cure)


def decide(expected: Expected, seen: Seen) -> Verdict:
    """The verdict about a machine. Raises Refusal, with what was expected, what was seen and the cure."""
    judge = _Judge(expected, seen)
    match seen.state:
        case State.INSTALLED:
            return _installed(judge)
        case State.LOCKED:
            raise judge.refuse(
                "the machine is installed and waits in its initrd for its disks to be unlocked",
                f"{expected.unlock} and run `up` again",
            )
        case State.INSTALLER:
            return _installer(judge)
        case State.FOREIGN_KEY if expected.installer_host_key is None:
            raise judge.refuse(
                f"hosts.{expected.host}.installerHostKey is not set and the machine shows {ssh.fingerprint(seen.key)}",
                "Compare that with the installer's console, then add the line to the stack file: "
                f'installerHostKey: "{seen.key}"',
            )
        case State.FOREIGN_KEY:
            raise judge.refuse(
                f"the machine shows the host key {ssh.fingerprint(seen.key)}; expected the installer's "
                f"{ssh.fingerprint(expected.installer_host_key or '')} or this cluster's own",
                "Another machine or another cluster's system answers there. Boot the installer on the right machine, "
                f"or correct hosts.{expected.host}.address or .installerHostKey",
            )
        case State.SILENT:
            raise judge.refuse(
                f"the machine cannot be reached ({seen.fault})",
                f"Boot the installer on it, or correct hosts.{expected.host}.address and .ssh.port",
            )


def _installed(judge: _Judge) -> Verdict:
    expected, marker = judge.expected, judge.seen.marker
    if marker is None:
        raise judge.refuse(
            f"the machine shows a host key of this cluster and has no readable {MARKER} ({judge.seen.fault})",
            "Look at the machine: it may be half restored",
        )
    if marker.get("cluster") != expected.cluster:
        raise judge.refuse(
            f"the machine was installed by the cluster {marker.get('cluster')!r}, this one is {expected.cluster!r}",
            "Take another machine, or boot the installer on this one and confirm the wipe",
        )
    if marker.get("host") != expected.host:
        raise judge.refuse(
            f"the machine was installed as {marker.get('host')!r}",
            f"Correct hosts.{expected.host}.address",
        )
    generation = marker.get("generation")
    if not isinstance(generation, int) or generation != judge.seen.generation:
        raise judge.refuse(
            f"its marker says generation {generation!r} and its host key is of generation {judge.seen.generation}",
            "Look at the machine: marker and key belong together",
        )
    if generation > expected.generation:
        raise judge.refuse(
            f"the machine has install generation {generation}, the stack file's {expected.generation} is lower",
            f"Set hosts.{expected.host}.installGeneration to {generation} or to a higher one for a reinstall",
        )
    if generation == expected.generation:
        if marker.get("diskGuid") != expected.guid(generation):
            raise judge.refuse(
                f"its marker names the disk GUID {marker.get('diskGuid')!r}, expected {expected.guid(generation)!r}",
                "Look at the machine: marker and disk belong together",
            )
        return Verdict(Action.ADOPT, f"already installed, generation {generation}", generation)
    _right_hardware(judge)
    _confirmed(judge, f"it runs generation {generation} and the stack file says {expected.generation}", ours=True)
    return Verdict(Action.REINSTALL, f"generation {generation} becomes {expected.generation}", generation)


def _installer(judge: _Judge) -> Verdict:
    expected, seen = judge.expected, judge.seen
    if seen.variant != "installer":
        raise judge.refuse(
            f"it shows the installer's host key and runs VARIANT_ID={seen.variant or 'none'}, not installer",
            "Boot the NixOS installer on it",
        )
    disk = _right_hardware(judge)
    if not disk.signatures:
        return Verdict(Action.INSTALL, "its disk is empty")
    if disk.guid == expected.guid(expected.generation):
        return Verdict(Action.RESUME, "its disk carries the mark of this install, which did not end")
    traces = ", ".join(disk.signatures)
    if disk.guid == expected.finished_guid(expected.generation):
        _confirmed(judge, f"its disk holds this host's own finished system ({traces}), boot that instead", ours=True)
        return Verdict(Action.REINSTALL, f"generation {expected.generation} is installed anew")
    earlier = range(1, expected.generation)
    older = next((g for g in earlier if disk.guid in (expected.guid(g), expected.finished_guid(g))), None)
    if older is not None:
        _confirmed(judge, f"its disk holds this host's generation {older} ({traces})", ours=True)
        return Verdict(Action.REINSTALL, f"generation {older} becomes {expected.generation}")
    _confirmed(judge, f"its disk {expected.disk} holds foreign data ({traces})", ours=False)
    return Verdict(Action.INSTALL, f"wiping foreign data was confirmed ({traces})")


def _right_hardware(judge: _Judge) -> Disk:
    """The install disk, after the machine and the disk were compared with the settings."""
    expected, seen = judge.expected, judge.seen
    if expected.machine_serial is not None and seen.machine_serial != expected.machine_serial:
        raise judge.refuse(
            f"the machine's serial is {seen.machine_serial!r}, expected {expected.machine_serial!r}",
            f"Correct hosts.{expected.host}.machineSerial, or plug in the right machine",
        )
    disk = seen.disk
    if disk is None:
        raise judge.refuse(
            f"it has no readable disk {expected.disk} ({seen.fault or 'lsblk shows none'})",
            f"Correct hosts.{expected.host}.disk: `ls -l /dev/disk/by-id` on the machine",
        )
    if disk.kind != "disk":
        raise judge.refuse(f"{expected.disk} is a {disk.kind or 'thing of no type'}, not a whole disk", "Name the disk")
    if expected.disk_serial is not None and disk.serial != expected.disk_serial:
        raise judge.refuse(
            f"the disk {expected.disk} has the serial {disk.serial!r}, expected {expected.disk_serial!r}",
            f"Correct hosts.{expected.host}.diskSerial, or put the right disk in",
        )
    if disk.path in seen.osd_paths:
        raise judge.refuse(
            f"{expected.disk} is {disk.path}, which is an OSD disk of this host too",
            f"Correct hosts.{expected.host}.osdDisks",
        )
    _takes_keys(judge)
    return disk


def _takes_keys(judge: _Judge) -> None:
    """Else the TPM's slot stays bound to nothing, or firmware with an earlier install's keys refuses the system."""
    if not judge.expected.secure_boot or judge.seen.setup_mode:
        return
    unlock = f"hosts.{judge.expected.host}.unlock: remote"
    if judge.seen.setup_mode is None:
        raise judge.refuse("it shows no variable of UEFI's Secure Boot", f"Boot it in UEFI mode, or set {unlock}")
    raise judge.refuse(
        "its firmware is not in Setup Mode and takes no keys of Secure Boot",
        f'Erase the platform key in the firmware ("reset to Setup Mode") and boot the installer, or set {unlock}',
    )


def _confirmed(judge: _Judge, why: str, *, ours: bool) -> None:
    """Foreign data always needs the confirmation; our own older install only where hosts are protected."""
    expected, disk = judge.expected, judge.seen.disk
    if ours and not expected.protect:
        return
    wanted = f"{expected.host}:{disk.serial if disk else ''}:{expected.generation}"
    if expected.confirmation == wanted:
        return
    given = f" ({CONFIRMATION} is {expected.confirmation!r})" if expected.confirmation else ""
    raise judge.refuse(
        f"{why}, and the wipe is not confirmed{given}",
        f"If this disk may be erased, run `up` once with {CONFIRMATION}={wanted}",
    )
