"""`systemd-cryptenroll`: the slots of an encrypted disk, and the one that this machine's TPM2 opens.

It takes the command lines that nix/modules/boot/tpm2-unlock.nix and docs/operations/unlock.md give it. The machine's
TPM is a number in its record: clearing the TPM (`python -m twin lock`) makes another one, which opens no older slot.
"""

from __future__ import annotations

from twin.commands import Call, Failed, program
from twin.disks import Disk, Partition, opens

LABELS = "/dev/disk/by-partlabel/"
NO_TPM = "No suitable TPM2 devices found."
VALUED = ("--wipe-slot", "--tpm2-device", "--tpm2-pcrs", "--tpm2-pcrlock", "--unlock-key-file")


@program("systemd-cryptenroll")
async def cryptenroll(call: Call) -> int:
    options, device = _parse(call)
    if options.get("--tpm2-device") == "list":
        if call.machine.record.tpm:
            call.print("PATH        DEVICE      DRIVER\n/dev/tpmrm0 MSFT0101:00 tpm_crb")
        else:
            call.warn(NO_TPM)  # and it ends well, as the real one
        return 0
    disk, luks = _volume(call, device)
    if not options:
        call.print("SLOT TYPE\n   0 password" + ("\n   1 tpm2" if luks.tpm is not None else ""))
        return 0
    if options.get("--wipe-slot", "tpm2") != "tpm2":
        raise Failed(f"the twin wipes TPM2 slots alone, not {options['--wipe-slot']}")
    if "--tpm2-device" in options:
        if options["--tpm2-device"] != "auto":
            raise Failed(f"the twin has one TPM: --tpm2-device=auto, not {options['--tpm2-device']}")
        _need_tpm(call)
        enrol(call, disk, luks, options.get("--unlock-key-file"))
    elif luks.tpm is not None:
        luks.tpm = None
        call.machine.inventory.put(disk)
        call.warn("Wiped slot 1.")
    return 0


def enrol(call: Call, disk: Disk, luks: Partition, key_file: str | None) -> None:
    """Give the disk a slot for the machine's TPM. Raises Failed when the key file does not open the disk."""
    key = call.machine.resolve(key_file) if key_file else None
    if key is None or not key.exists():
        # The real one asks, and nobody is there to answer.
        raise Failed(f"Failed to read the key of the volume: {key_file or 'no --unlock-key-file was given'}")
    if not opens(disk, key.read_bytes()):
        raise Failed("Failed to unlock LUKS2 volume: Operation not permitted")
    again = luks.tpm is not None
    luks.tpm = call.machine.record.tpm
    call.machine.inventory.put(disk)
    call.warn("New TPM2 token enrolled as key slot 1." + (" Wiped the old one." if again else ""))


def _parse(call: Call) -> tuple[dict[str, str], str]:
    options: dict[str, str] = {}
    devices: list[str] = []
    for word in call.args:
        name, equals, value = word.partition("=")
        if name in VALUED and equals:
            options[name] = value
        elif word.startswith("-"):
            raise Failed(f"systemd-cryptenroll: unrecognized option '{word}'")
        else:
            devices.append(word)
    if len(devices) > 1:
        raise Failed("Too many arguments, refusing.")
    return options, devices[0] if devices else ""


def _need_tpm(call: Call) -> None:
    if not call.machine.record.tpm:
        raise Failed(NO_TPM)


def _volume(call: Call, device: str) -> tuple[Disk, Partition]:
    """The disk and the LUKS partition that a path names."""
    path = call.machine.canonical(device) if device else None
    for disk in call.machine.inventory.read():
        luks = disk.luks
        if luks is not None and (disk.part_path(luks) == path or f"{LABELS}{luks.partlabel}" == device):
            return disk, luks
    raise Failed(f"Failed to open device {device or '(none given)'}: No such file or directory")
