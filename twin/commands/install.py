"""What the installer runs: the disko script of a store path, nixos-install, and switching to another system."""

from __future__ import annotations

import json

from keystone.errors import KeystoneError
from twin import store
from twin.commands import Call, Command, Failed, State, program
from twin.commands.tpm import enrol
from twin.disks import Disk, lay_out, opens
from twin.rootfs import link_disks

SWITCH = "/bin/switch-to-configuration"
# systemd's exit status of switch-to-configuration when units failed.
UNITS_FAILED = 4


def in_store(state: State, name: str) -> Command | None:
    """Return the program behind a path into the store; None when there is none for this state."""
    if (
        state == "installer"
        and store.is_store_path(name)
        and name.endswith(("-disko", "-disko-format", "-disko-mount"))
    ):
        return disko
    if name.startswith("/run/current-system/") and state == "installed" and name.endswith(SWITCH):
        return switch
    if state == "installed" and name.endswith(SWITCH) and store.is_store_path(name.removesuffix(SWITCH)):
        return switch
    return None


async def disko(call: Call) -> int:
    """Make, or only open, the layout that the script's store path describes."""
    machine = call.machine
    file = machine.ram / "nix/store" / call.argv[0].rpartition("/")[2] / "layout.json"
    if not file.exists():
        raise Failed(f"bash: {call.argv[0]}: No such file or directory", 127)
    layout = json.loads(file.read_text())
    disk = machine.inventory.find(layout["device"])
    if disk is None:
        raise Failed(f"sgdisk: Problem opening {layout['device']} for reading! Error is 2.", 2)
    key = machine.resolve(layout["passwordFile"])
    if key is None or not key.exists():
        raise Failed(f"cryptsetup: Failed to open key file {layout['passwordFile']}.")
    passphrase = key.read_bytes()
    mode = layout["mode"]
    if mode == "disko" or (mode == "format" and disk.luks is None):
        call.warn(f"wiping {disk.path} and writing its partitions")
        machine.forget_install()
        lay_out(disk, layout["guid"], passphrase, layout["filesystem"])
        machine.inventory.put(disk)
        _enrol(call, disk, layout)
        link_disks(machine.ram, machine.inventory.read())
    if not opens(disk, passphrase):
        raise Failed("cryptsetup: No key available with this passphrase.", 2)
    machine.root.mkdir(parents=True, exist_ok=True)
    machine.mounted = True
    machine.journal(f"disko ({mode}): {disk.path} has the GUID {disk.ptuuid} and is open at /mnt")
    return 0


def _enrol(call: Call, disk: Disk, layout: dict[str, str]) -> None:
    """What the layout runs once the encrypted partition exists: `enrolHook` of nix/modules/boot/tpm2-unlock.nix."""
    if layout["unlock"] == "remote":
        return
    if not call.machine.record.tpm:
        raise Failed(
            f"{layout['host']}: keystone.host.unlock is {layout['unlock']}, but this machine has no TPM2. "
            "Set unlock: remote."
        )
    assert disk.luks is not None
    enrol(call, disk, disk.luks, layout["passwordFile"])


@program("nixos-install", "installer")
async def nixos_install(call: Call) -> int:
    words = list(call.args)
    path, root = "", "/mnt"
    while words:
        word = words.pop(0)
        if word == "--system" and words:
            path = words.pop(0)
        elif word == "--root" and words:
            root = words.pop(0)
        elif word not in ("--no-root-passwd", "--no-channel-copy", "--no-bootloader"):
            raise Failed(f"nixos-install: unknown option '{word}'")
    if root != "/mnt" or not call.machine.mounted:
        raise Failed(f"mountpoint {root} doesn't exist")
    try:
        call.machine.finish_install(path)
    except KeystoneError as error:
        raise Failed(f"error: path '{path}' {error.problem}") from None
    call.warn("installation finished!")
    return 0


async def switch(call: Call) -> int:
    """`PATH/bin/switch-to-configuration switch|boot|test|dry-activate`."""
    machine = call.machine
    path = machine.canonical(call.argv[0].removesuffix(SWITCH)) or ""
    match call.args:
        case [("switch" | "boot" | "test" | "dry-activate") as action]:
            pass
        case _:
            raise Failed(f"Usage: {call.argv[0]} [check|switch|boot|test|dry-activate]")
    try:
        store.read_system(machine.store, path)
    except KeystoneError:
        raise Failed(f"bash: {call.argv[0]}: No such file or directory", 127) from None
    if action == "dry-activate":
        call.warn("would activate the configuration...")
        return 0
    if action in ("switch", "boot"):
        machine.save(boot=path)
        call.warn("updating the boot loader...")
    if action == "boot":
        return 0
    call.warn("activating the configuration...")
    failed = await machine.keep(machine.units.switch(path))
    if failed:
        call.warn("warning: the following units failed: " + ", ".join(line.partition(":")[0] for line in failed))
        for line in failed:
            call.warn(line)
        return UNITS_FAILED
    return 0
