"""The stand-in for `nixos-anywhere`: its command line, its phases, and what it needs of the machine."""

import asyncio
import json
import stat

import pytest

from tests.twin.lab import DISK, DISK_KEY, PORT, Lab, console
from twin import installer
from twin.installer import Aborted, Usage, parse

STORE = ["--store-paths", "/nix/store/a", "/nix/store/b"]


def test_the_whole_option_list_is_known():
    options = parse(
        [
            *("--store-paths", "a", "b", "--target-host", "root@h", "-i", "key", "-p", "2222", "--ssh-option", "X=y"),
            *("--ssh-option", "Z=w", "-L", "--kexec", "k", "--kexec-extra-flags", "f", "--kexec-extract-path", "p"),
            *("--kexec-launch-path", "l", "--post-kexec-ssh-port", "22", "--copy-host-keys", "--extra-files", "d"),
            *("--chown", "/home/a", "1:1", "--disk-encryption-keys", "/r", "l", "--disk-encryption-keys", "/q", "m"),
            *("--no-substitute-on-destination", "--no-use-machine-substituters", "--debug", "--show-trace"),
            *(
                "--option",
                "k",
                "v",
                "--build-on",
                "local",
                "--no-disko-deps",
                "--ssh-store-setting",
                "compress",
                "true",
            ),
            *("--phases", "install,disko", "--force-kexec"),
        ]
    )
    assert options.host == "root@h"
    assert options.phases == ("disko", "install")
    assert options.one("--ssh-port") == "2222"
    assert options.all("--ssh-option") == [["X=y"], ["Z=w"]]
    assert options.all("--disk-encryption-keys") == [["/r", "l"], ["/q", "m"]]


def test_the_host_may_come_without_an_option():
    assert parse([*STORE, "root@h"]).host == "root@h"


@pytest.mark.parametrize("argv", [["--confirm"], ["--dry-run"], ["--timeout", "3"], ["h", "--frobnicate"], ["h", "i"]])
def test_unknown_options_and_a_second_host_are_refused(argv: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(Usage):
        parse([*STORE, *argv])
    assert installer.main([*STORE, *argv]) == 1
    assert "Usage: nixos-anywhere [options] [<ssh-host>]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([*STORE], "ssh-host must be set"),
        (["h"], "--flake or --store-paths must be set"),
        ([*STORE, "h", "--phases", "disko,sleep"], "Unknown phase: sleep"),
        ([*STORE, "h", "--disko-mode", "mount"], "--disko-mode cannot be used if --store-paths is used"),
        (["--flake", "x#y", "h", "--disko-mode", "erase"], "Unknown mode : erase"),
        ([*STORE, "h", "--build-on", "moon"], "Unknown mode : moon"),
        ([*STORE, "h", "--build-on", "local", "--build-on-remote"], "Conflicting flags"),
        ([*STORE, "h", "--disk-encryption-keys", "/r"], "Missing arguments for --disk-encryption-keys"),
        ([*STORE, "h", "--vm-test"], "--vm-test is not offered by the twin"),
        ([*STORE, "h", "--build-on", "remote"], "the twin's machines cannot build"),
    ],
)
def test_wrong_values_abort_with_the_reason(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(Aborted, match=message):
        parse(argv)
    assert installer.main(argv) == 1
    assert capsys.readouterr().err.startswith("aborted: ")


@pytest.mark.parametrize(
    ("flags", "phases"),
    [
        ([], ("kexec", "disko", "install", "reboot")),
        (["--no-reboot"], ("kexec", "disko", "install")),
        (["--stop-after-disko"], ("kexec", "disko")),
        (["--phases", "reboot"], ("reboot",)),
    ],
)
def test_phases_come_from_the_options(flags: list[str], phases: tuple[str, ...]):
    assert parse([*STORE, "h", *flags]).phases == phases


@pytest.mark.asyncio
async def test_an_install_goes_through_its_phases_and_ends_with_done(lab: Lab):
    machine = lab.machine()
    await machine.power_on()
    done = await lab.anywhere(machine)
    assert done.status == 0, done.stderr
    steps = [line for line in done.stdout.splitlines() if line.startswith("### ")]
    assert steps[0] == "### Uploading install SSH keys ###"
    assert steps.index("### Formatting hard drive with disko ###") < steps.index("### Installing NixOS ###")
    assert steps[-1] == "### Done! ###"
    await lab.booted(machine)


@pytest.mark.asyncio
async def test_the_disk_gets_the_layout_of_the_facts(lab: Lab):
    lab.host["layout"] = "ext4-luks"
    lab.render()
    machine = await lab.installed()
    facts = json.loads((lab.project / "nix/facts/lab/w1.json").read_text())
    disk = machine.install_disk()
    assert disk.ptuuid == facts["diskGuid"]
    assert [(part.partlabel, part.fstype, part.inside) for part in disk.partitions] == [
        ("disk-main-ESP", "vfat", None),
        ("disk-main-luks", "crypto_LUKS", "ext4"),
    ]
    osd = machine.inventory.find("/dev/disk/by-id/virtio-w1-osd0")
    assert osd is not None
    assert osd.pttype is None


@pytest.mark.asyncio
async def test_extra_files_keep_their_modes(lab: Lab):
    machine = await lab.installed()
    key = machine.root / "etc/ssh/ssh_host_ed25519_key"
    assert key.read_text() == lab.identities.ssh_host_key("w1", 1).private
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert (machine.root / "etc/ssh/initrd_ssh_host_ed25519_key.pub").is_file()


@pytest.mark.asyncio
async def test_host_keys_of_the_installer_are_copied_only_where_none_was_brought(lab: Lab):
    machine = lab.machine()
    await machine.power_on()
    disko, system = await lab.build("diskoScript"), await lab.build()
    key = lab.project / "key"
    key.write_text("passphrase")
    argv = ["nixos-anywhere", "-s", disko, system, "-p", str(PORT), "-i", "operator_key", "--copy-host-keys"]
    done = await lab.program(*argv, "--disk-encryption-keys", DISK_KEY, str(key), f"root@{machine.address}")
    assert done.status == 0, done.stderr
    await lab.booted(machine)
    assert (await lab.ssh(machine, lab.installer_key(), "hostname")).stdout == "w1\n"


@pytest.mark.asyncio
async def test_without_the_disks_key_the_disk_is_not_touched(lab: Lab):
    machine = lab.machine()
    await machine.power_on()
    disko, system = await lab.build("diskoScript"), await lab.build()
    argv = ["nixos-anywhere", "-s", disko, system, "-p", str(PORT), "-i", "operator_key", f"root@{machine.address}"]
    done = await lab.program(*argv)
    assert done.status == 1
    assert f"cryptsetup: Failed to open key file {DISK_KEY}." in done.stderr
    assert machine.install_disk().pttype is None


@pytest.mark.asyncio
async def test_a_strict_ssh_on_the_path_keeps_it_from_the_wrong_machine(lab: Lab):
    machine = lab.machine()
    await machine.power_on()
    shims = lab.project / "shims"
    shims.mkdir()
    (lab.project / "known_hosts").write_text(f"[{machine.address}]:{PORT} {lab.pinned_key()}\n")
    options = f"-o StrictHostKeyChecking=yes -o UserKnownHostsFile={lab.project / 'known_hosts'}"
    (shims / "ssh").write_text(f'#!/bin/sh\nexec /usr/bin/ssh {options} "$@"\n')
    (shims / "ssh").chmod(0o755)
    with pytest.raises(TimeoutError):
        # Like the real one it tries for ever: the caller sets the limit.
        async with asyncio.timeout(4):
            await lab.anywhere(machine, environment={"PATH": f"{shims}:{lab.environment()['PATH']}"})
    log = (machine.site.logs / "w1.log").read_text()
    assert "ssh: " not in log
    assert machine.install_disk().pttype is None


@pytest.mark.asyncio
async def test_store_paths_must_exist(lab: Lab):
    machine = lab.machine()
    await machine.power_on()
    absent = "/nix/store/" + "0" * 32 + "-disko"
    done = await lab.program("nixos-anywhere", "-s", absent, absent, f"root@{machine.address}", "-p", str(PORT))
    assert (done.status, done.stderr) == (1, f"aborted: {absent} and {absent} must be existing store-paths\n")


@pytest.mark.asyncio
async def test_a_flake_is_built_by_itself(lab: Lab):
    machine = lab.machine()
    await machine.power_on()
    key = lab.project / "key"
    key.write_text("passphrase")
    argv = ["nixos-anywhere", "--flake", "path:./nix#lab-w1", "-p", str(PORT), "-i", "operator_key"]
    argv += ["--extra-files", str(lab.extra_files()), "--disk-encryption-keys", DISK_KEY, str(key)]
    done = await lab.program(*argv, f"root@{machine.address}")
    assert done.status == 0, done.stderr
    await lab.booted(machine)


@pytest.mark.asyncio
async def test_an_installed_machine_is_not_installed_without_the_kexec_phase(lab: Lab):
    machine = await lab.installed()
    done = await lab.anywhere(machine, "--phases", "disko,install")
    assert done.status == 1
    assert "does not run the NixOS installer, and the kexec phase was left out" in done.stderr
    assert machine.install_disk().luks is not None


@pytest.mark.asyncio
async def test_install_without_disko_needs_the_disk_mounted(lab: Lab):
    machine = lab.machine()
    await machine.power_on()
    done = await lab.anywhere(machine, "--phases", "install")
    assert done.status == 1
    assert "the disk is not mounted at /mnt" in done.stderr


@pytest.mark.asyncio
async def test_phases_may_be_run_one_after_another_as_keystone_does(lab: Lab):
    machine = lab.machine()
    await machine.power_on()
    assert (await lab.anywhere(machine, "--phases", "disko,install")).status == 0
    guid = "0" * 8 + "-0000-4000-8000-" + "0" * 12
    assert (await console(machine, "sgdisk", f"--disk-guid={guid}", DISK.format("w1"))).status == 0
    assert (await lab.anywhere(machine, "--phases", "reboot")).status == 0
    await lab.booted(machine)
    assert machine.install_disk().ptuuid == guid


@pytest.mark.asyncio
async def test_a_machine_that_dies_in_mid_install_ends_the_run_with_an_error(lab: Lab):
    lab.config["twin:installSeconds"] = 6
    lab.render()
    machine = lab.machine()
    await machine.power_on()
    run = asyncio.create_task(lab.anywhere(machine))
    await lab.until(lambda: machine.mounted, 30)
    await machine.power_off()
    done = await run
    assert done.status == 1
    assert "aborted: " in done.stderr
    await machine.power_on()
    assert machine.state == "installer"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("moment", "left"),
    [
        ("before disko", "installer"),
        ("after disko", "installer"),
        ("after the copy", "installer"),
        ("after nixos-install", "installed"),
    ],
)
async def test_killed_at_any_point_it_leaves_a_machine_that_can_be_installed(lab: Lab, moment: str, left: str):
    lab.config["twin:installSeconds"] = 1
    lab.render()
    machine = lab.machine()
    await machine.power_on()
    reached = {
        "before disko": lambda: (machine.ram / "run/keystone/disk.key").exists(),
        "after disko": lambda: machine.mounted,
        "after the copy": lambda: any(machine.store.glob("*-nixos-system-*")),
        "after nixos-install": lambda: machine.record.boot is not None,
    }[moment]
    run = asyncio.create_task(lab.anywhere(machine))
    await lab.until(reached, 30)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    await machine.power_off()
    again = lab.machine()
    await again.power_on()
    assert again.state == left
    assert (await lab.anywhere(again)).status == 0
    await lab.booted(again)


@pytest.mark.asyncio
async def test_no_secret_is_in_its_output_or_in_the_machines_log(lab: Lab):
    machine = lab.machine()
    await machine.power_on()
    done = await lab.anywhere(machine)
    passphrase = lab.identities.recovery_passphrase("w1", 1)
    for text in (done.stdout, done.stderr, (machine.site.logs / "w1.log").read_text()):
        assert passphrase not in text
        assert "PRIVATE KEY" not in text
