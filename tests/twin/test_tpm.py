"""The TPM2 of a twin machine: enrolled by the installation, refused when cleared, enrolled anew by a person."""

import re

import pytest

from tests.twin.lab import PORT, REPOSITORY, Lab
from twin.machine import Machine

pytestmark = pytest.mark.asyncio
DISK = "/dev/disk/by-partlabel/disk-main-luks"
KEY = "/run/key"
ENROL = ("systemd-cryptenroll", "--wipe-slot=tpm2", "--tpm2-device=auto", "--tpm2-pcrs=", f"--unlock-key-file={KEY}")


async def typed(lab: Lab, machine: Machine) -> None:
    """Type the passphrase over the initrd's SSH."""
    initrd = lab.identities.initrd_host_key(machine.name, 1).public
    passphrase = lab.identities.recovery_passphrase(machine.name, 1)
    ask = "systemd-tty-ask-password-agent"
    assert (await lab.ssh(machine, initrd, ask, stdin=f"{passphrase}\n", port=PORT + 1)).status == 0
    await lab.booted(machine)


async def slots(lab: Lab, machine: Machine) -> list[str]:
    listed = await lab.ssh(machine, lab.pinned_key(machine.name), "systemd-cryptenroll", DISK)
    assert listed.status == 0, listed.stderr
    return [line.split()[1] for line in listed.stdout.splitlines()[1:]]


async def test_an_installation_makes_a_slot_for_the_tpm_beside_the_passphrase(lab: Lab):
    machine = await lab.installed()
    assert await slots(lab, machine) == ["password", "tpm2"]


async def test_a_host_that_is_unlocked_by_hand_has_the_passphrase_alone(lab: Lab):
    lab.host["unlock"] = "remote"
    lab.render()
    machine = lab.machine()
    await machine.power_on()
    assert (await lab.anywhere(machine)).status == 0
    await lab.until(lambda: machine.reachable and machine.state == "initrd")
    await typed(lab, machine)
    assert await slots(lab, machine) == ["password"]


async def test_a_machine_without_a_tpm_is_not_installed_and_told_why(lab: Lab):
    machine = lab.machine()
    machine.save(tpm=0)
    await machine.power_on()
    done = await lab.anywhere(machine)
    assert done.status == 1
    told = "w1: keystone.host.unlock is tpm2, but this machine has no TPM2. Set unlock: remote."
    assert told in done.stderr
    hook = (REPOSITORY / "nix/modules/boot/tpm2-unlock.nix").read_text()
    assert re.sub(r"\$\{[^}]*\}", "*", hook).count("*: keystone.host.unlock is *, but this machine has no TPM2.") == 1


async def test_a_cleared_tpm_is_enrolled_anew_as_the_page_says(lab: Lab):
    machine = await lab.installed()
    await machine.lock()
    await typed(lab, machine)
    key = lab.pinned_key()
    passphrase = lab.identities.recovery_passphrase("w1", 1)
    assert (await lab.ssh(machine, key, "install", "-m", "600", "/dev/stdin", KEY, stdin="not it")).status == 0
    wrong = await lab.ssh(machine, key, *ENROL, DISK)
    assert (wrong.status, wrong.stderr) == (1, "Failed to unlock LUKS2 volume: Operation not permitted\n")
    assert (await lab.ssh(machine, key, "install", "-m", "600", "/dev/stdin", KEY, stdin=passphrase)).status == 0
    right = await lab.ssh(machine, key, *ENROL, DISK)
    assert right.status == 0, right.stderr
    await machine.power_off()
    await machine.power_on()
    await lab.booted(machine)
    page = (REPOSITORY / "docs/operations/unlock.md").read_text()
    named = set(re.findall(r"systemd-cryptenroll((?:[^`\n]|\\\n)*)", page))
    assert {word.partition("=")[0] for line in named for word in line.split() if word.startswith("--")} <= {
        *("--wipe-slot", "--tpm2-device", "--tpm2-pcrlock", "--unlock-key-file"),
    }


async def test_without_its_slot_the_disk_waits_for_the_passphrase(lab: Lab):
    machine = await lab.installed()
    key = lab.pinned_key()
    wiped = await lab.ssh(machine, key, "systemd-cryptenroll", "--wipe-slot=tpm2", DISK)
    assert (wiped.status, wiped.stderr) == (0, "Wiped slot 1.\n")
    refused = await lab.ssh(machine, key, "systemd-cryptenroll", "--wipe-slot=password", DISK)
    assert refused.status == 1
    await machine.power_off()
    await machine.power_on()
    assert machine.state == "initrd"
