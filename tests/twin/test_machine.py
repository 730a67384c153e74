"""Machines: what they start, what survives a cut of the power, and how they switch systems."""

import json

import pytest

from keystone.errors import KeystoneError
from tests.twin.lab import DISK, DISK_KEY, NETWORK, PORT, Lab, console
from twin import shell
from twin.machine import Machine

pytestmark = pytest.mark.asyncio
SWITCH = "bin/switch-to-configuration"


async def test_a_blank_machine_starts_the_installer_with_the_key_that_the_settings_name(lab: Lab):
    machine = lab.machine()
    await machine.power_on()
    release = await lab.ssh(machine, lab.host["installerHostKey"], "cat", "/etc/os-release")
    assert "VARIANT_ID=installer" in release.stdout.splitlines()
    serial = await lab.ssh(machine, lab.installer_key(), "cat", "/sys/class/dmi/id/product_serial")
    assert serial.stdout == "twin-w1\n"


async def test_an_installed_machine_shows_the_pinned_key_and_its_marker(lab: Lab):
    machine = await lab.installed()
    marker = await lab.ssh(machine, lab.pinned_key(), "cat", "/etc/keystone/install.json")
    host = json.loads((lab.project / "nix/facts/lab/w1.json").read_text())
    assert json.loads(marker.stdout) == {"host": "w1", "cluster": "lab", "generation": 1, "diskGuid": host["diskGuid"]}
    release = await lab.ssh(machine, lab.pinned_key(), "cat", "/etc/os-release")
    assert "installer" not in release.stdout
    assert (await lab.ssh(machine, lab.pinned_key(), "hostname")).stdout == "w1\n"


async def test_the_running_system_is_the_store_path_that_was_built(lab: Lab):
    machine = await lab.installed()
    running = await lab.ssh(machine, lab.pinned_key(), "readlink", "-f", "/run/current-system")
    assert running.stdout.strip() == await lab.build()


async def test_a_primer_starts_headscale_first_and_knows_its_secrets(lab: Lab):
    await lab.installed("primer")
    assert lab.log[0] == "start headscale"
    assert sorted(lab.log[1:]) == ["start k3s", "start tailscaled"]
    system = lab.made[-1]
    assert system.secrets["server-token"].decode() == lab.identities.server_token()
    assert system.mesh_ca.decode() == lab.identities.mesh_ca()[0]
    assert (system.name, system.cluster["cluster"]["name"], system.host["role"]) == ("primer", "lab", "primer")


async def test_a_worker_has_no_headscale(lab: Lab):
    machine = await lab.installed()
    done = await lab.ssh(machine, lab.pinned_key(), "systemctl", "is-active", "headscale")
    assert (done.status, done.stdout) == (4, "inactive\n")
    assert (await lab.ssh(machine, lab.pinned_key(), "headscale", "nodes", "list")).status == 127


async def test_an_installed_machine_comes_back_as_it_was_after_the_power_was_cut(lab: Lab):
    machine = await lab.installed()
    await machine.power_off()
    assert lab.log[-2:] == ["stop tailscaled", "stop k3s"]
    again = lab.machine()
    await again.power_on()
    await again.settled()
    assert again.state == "installed"
    assert (await lab.ssh(again, lab.pinned_key(), "systemctl", "is-active", "k3s")).stdout == "active\n"


async def test_a_machine_that_is_off_does_not_answer(lab: Lab):
    machine = lab.machine()
    await machine.power_on()
    await machine.power_off()
    with pytest.raises(OSError, match="Connect call failed"):
        await lab.ssh(machine, lab.installer_key(), "true")


async def test_switching_on_twice_and_off_twice_does_no_harm(lab: Lab):
    machine = lab.machine()
    await machine.power_on()
    await machine.power_on()
    assert (await lab.ssh(machine, lab.installer_key(), "true")).status == 0
    await machine.power_off()
    await machine.power_off()


async def test_a_taken_port_is_one_plain_error(lab: Lab):
    machine = lab.machine()
    await machine.power_on()
    second = Machine(machine.site, "w1", machine.host, machine.units.supervisor, shell.serve)
    with pytest.raises(KeystoneError, match=rf"{NETWORK.at(11)} port 2222: another program listens there\. Stop it"):
        await second.power_on()
    assert not second.powered


async def test_a_cut_in_mid_install_leaves_the_disk_marked_and_the_installer_running(lab: Lab):
    machine = lab.machine()
    await machine.power_on()
    done = await lab.anywhere(machine, "--phases", "disko")
    assert done.status == 0, done.stderr
    await machine.power_off()
    again = lab.machine()
    await again.power_on()
    assert again.state == "installer"
    disk = again.inventory.find(DISK.format("w1"))
    host = json.loads((lab.project / "nix/facts/lab/w1.json").read_text())
    assert disk is not None
    assert disk.ptuuid == host["diskGuid"]
    assert not (again.root / "etc/keystone/install.json").exists()
    assert (await lab.anywhere(again)).status == 0
    await lab.booted(again)


async def test_a_cut_between_install_and_reboot_starts_the_installed_system(lab: Lab):
    machine = lab.machine()
    await machine.power_on()
    assert (await lab.anywhere(machine, "--phases", "disko,install")).status == 0
    assert machine.state == "installer"
    await machine.power_off()
    await machine.power_on()
    await lab.booted(machine)


async def test_a_disk_that_was_zapped_starts_the_installer_again(lab: Lab):
    machine = await lab.installed()
    disk = machine.install_disk()
    disk.clear()
    machine.inventory.put(disk)
    await machine.power_off()
    await machine.power_on()
    assert machine.state == "installer"
    assert (await lab.ssh(machine, lab.installer_key(), "true")).status == 0


async def test_testing_a_system_is_undone_by_a_reboot_and_boot_makes_it_stay(lab: Lab):
    machine = await lab.installed()
    old = await lab.build()
    lab.host["labels"] = {"keystone.internal/ssd": "true"}
    lab.render()
    new = await lab.build()
    assert new != old
    await copied(lab, machine, new)
    assert (await lab.ssh(machine, lab.pinned_key(), f"{new}/{SWITCH}", "test")).status == 0
    assert machine.record.system == new
    assert lab.made[-1].host["labels"] == {"keystone.internal/ssd": "true"}
    await machine.power_off()
    await machine.power_on()
    assert machine.record.system == old
    assert (await lab.ssh(machine, lab.pinned_key(), f"{new}/{SWITCH}", "boot")).status == 0
    assert machine.record.system == old
    await machine.power_off()
    await machine.power_on()
    assert machine.record.system == new


async def test_a_switch_restarts_only_units_whose_inputs_changed(lab: Lab):
    machine = await lab.installed()
    lab.log.clear()
    lab.host["labels"] = {"keystone.internal/ssd": "true"}
    lab.render()
    await copied(lab, machine, await lab.build())
    done = await lab.ssh(machine, lab.pinned_key(), f"{await lab.build()}/{SWITCH}", "switch")
    assert done.status == 0, done.stderr
    assert lab.log == ["stop k3s", "start k3s"]


async def test_a_switch_whose_units_fail_ends_with_4_and_names_them(lab: Lab):
    machine = await lab.installed()
    lab.broken.add("k3s")
    lab.host["labels"] = {"keystone.internal/ssd": "true"}
    lab.render()
    await copied(lab, machine, await lab.build())
    done = await lab.ssh(machine, lab.pinned_key(), f"{await lab.build()}/{SWITCH}", "test")
    assert done.status == 4
    assert "the following units failed: k3s.service" in done.stderr
    assert "k3sd does not come up" in done.stderr


async def test_a_system_that_was_not_copied_cannot_be_activated(lab: Lab):
    machine = await lab.installed()
    path = "/nix/store/" + "0" * 32 + "-nixos-system-w1-26.05"
    done = await lab.ssh(machine, lab.pinned_key(), f"{path}/{SWITCH}", "test")
    assert (done.status, done.stderr) == (127, f"bash: {path}/{SWITCH}: No such file or directory\n")
    profile = "/nix/var/nix/profiles/system"
    done = await lab.ssh(machine, lab.pinned_key(), "nix-env", "--profile", profile, "--set", path)
    assert (done.status, done.stderr) == (1, f"error: path '{path}' is not valid\n")


async def test_the_profile_follows_what_was_set(lab: Lab):
    machine = await lab.installed()
    old = await lab.build()
    lab.host["labels"] = {"a": "b"}
    lab.render()
    new = await lab.build()
    await copied(lab, machine, new)
    profile = "/nix/var/nix/profiles/system"
    for path in (old, new):
        assert (await lab.ssh(machine, lab.pinned_key(), "nix-env", "--profile", profile, "--set", path)).status == 0
        seen = await lab.ssh(machine, lab.pinned_key(), "readlink", "-f", profile)
        assert seen.stdout.strip() == path
    assert machine.record.profiles == [old, new]
    assert (await lab.ssh(machine, lab.pinned_key(), "nix-env", "-p", profile, "--rollback")).status == 0
    assert (await lab.ssh(machine, lab.pinned_key(), "readlink", "-f", profile)).stdout.strip() == old


async def test_a_unit_that_fails_does_not_stop_the_boot(lab: Lab):
    lab.broken.add("headscale")
    machine = await lab.installed("primer")
    key = lab.pinned_key("primer")
    assert (await lab.ssh(machine, key, "systemctl", "is-active", "headscale")).stdout == "failed\n"
    assert (await lab.ssh(machine, key, "systemctl", "is-active", "k3s")).stdout == "active\n"
    status = await lab.ssh(machine, key, "systemctl", "status", "headscale")
    assert status.status == 3
    assert "headscaled does not come up" in status.stdout
    assert (await lab.ssh(machine, key, "systemctl", "is-system-running")).stdout == "degraded\n"


async def test_a_unit_whose_program_is_missing_is_failed_and_says_why(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    machine = await lab.installed()

    async def missing() -> None:
        raise FileNotFoundError(2, "No such file or directory", "kube-apiserver")

    await machine.units.halt("k3s")
    monkeypatch.setattr(machine.units.services["k3s"], "start", missing)
    done = await lab.ssh(machine, lab.pinned_key(), "systemctl", "start", "k3s")
    assert done.status == 1
    assert "kube-apiserver" in done.stderr
    assert (await lab.ssh(machine, lab.pinned_key(), "systemctl", "is-active", "k3s")).stdout == "failed\n"
    assert "kube-apiserver" in (await lab.ssh(machine, lab.pinned_key(), "systemctl", "status", "k3s")).stdout


async def test_units_start_stop_and_restart(lab: Lab):
    machine = await lab.installed()
    lab.log.clear()
    for verb in ("restart", "stop", "start"):
        assert (await lab.ssh(machine, lab.pinned_key(), "systemctl", verb, "k3s.service")).status == 0
    assert lab.log == ["stop k3s", "start k3s", "stop k3s", "start k3s"]
    done = await lab.ssh(machine, lab.pinned_key(), "systemctl", "start", "nginx")
    assert (done.status, done.stderr) == (5, "Failed to start nginx.service: Unit nginx.service not found.\n")
    assert (await lab.ssh(machine, lab.pinned_key(), "systemctl", "is-active", "sshd")).status == 0


async def test_secrets_for_another_host_key_leave_the_units_without_them(lab: Lab):
    machine = await lab.installed()
    other = lab.identities.ssh_host_key("other", 1).private
    (machine.root / "etc/ssh/ssh_host_ed25519_key").write_text(other)
    await machine.power_off()
    await machine.power_on()
    assert lab.made[-1].secrets == {}
    assert "agent-token.age is not encrypted to this machine's host key" in (machine.site.logs / "w1.log").read_text()


async def test_a_machine_without_a_host_key_makes_one_that_nobody_has_pinned(lab: Lab):
    machine = await lab.installed()
    (machine.root / "etc/ssh/ssh_host_ed25519_key").unlink()
    await machine.power_off()
    await machine.power_on()
    with pytest.raises(Exception, match="Host key is not trusted"):
        await lab.ssh(machine, lab.pinned_key(), "true")


async def test_a_locked_disk_waits_in_the_initrd_for_the_passphrase(lab: Lab):
    machine = await lab.installed()
    await machine.lock()
    initrd = lab.identities.initrd_host_key("w1", 1).public
    assert machine.state == "initrd"
    with pytest.raises(OSError, match="Connect call failed"):
        await lab.ssh(machine, lab.pinned_key(), "true")
    ask = "systemd-tty-ask-password-agent"
    wrong = await lab.ssh(machine, initrd, ask, stdin="not it\n", port=PORT + 1)
    assert (wrong.status, machine.state) == (1, "initrd")
    assert "Passphrase incorrect" in wrong.stderr
    right = lab.identities.recovery_passphrase("w1", 1)
    assert (await lab.ssh(machine, initrd, ask, stdin=f"{right}\n", port=PORT + 1)).status == 0
    await lab.booted(machine)
    assert (await lab.ssh(machine, lab.pinned_key(), "true")).status == 0
    await machine.power_off()
    await machine.power_on()
    assert machine.state == "initrd", "a passphrase opens the disk once"


async def test_a_host_that_is_unlocked_by_hand_waits_at_every_start(lab: Lab):
    lab.host["unlock"] = "remote"
    lab.render()
    machine = lab.machine()
    await machine.power_on()
    assert (await lab.anywhere(machine)).status == 0
    await lab.until(lambda: machine.state == "initrd")


async def test_kexec_starts_the_installer_with_the_host_key_kept_and_a_cut_brings_the_system_back(lab: Lab):
    machine = await lab.installed()
    assert (await lab.anywhere(machine, "--phases", "kexec")).status == 0
    assert machine.state == "installer"
    release = await lab.ssh(machine, lab.pinned_key(), "cat", "/etc/os-release")
    assert "VARIANT_ID=installer" in release.stdout
    await machine.power_off()
    await machine.power_on()
    await lab.booted(machine)


async def test_a_higher_generation_is_installed_over_the_running_system(lab: Lab):
    machine = await lab.installed()
    lab.host["installGeneration"] = 2
    lab.render()
    again = await lab.anywhere(machine, generation=2)
    assert again.status == 0, again.stderr
    await lab.booted(machine)
    marker = await lab.ssh(machine, lab.pinned_key(generation=2), "cat", "/etc/keystone/install.json")
    assert json.loads(marker.stdout)["generation"] == 2
    assert machine.record.profiles == [await lab.build()]


async def test_the_passphrase_is_nowhere_on_the_machine(lab: Lab):
    machine = await lab.installed()
    passphrase = lab.identities.recovery_passphrase("w1", 1).encode()
    files = [file for file in machine.folder.rglob("*") if file.is_file() and not file.is_symlink()]
    assert files
    assert not [file for file in files if passphrase in file.read_bytes()]
    assert DISK_KEY not in {f"/{file.relative_to(machine.root)}" for file in files if machine.root in file.parents}


async def test_poweroff_leaves_the_machine_off(lab: Lab):
    machine = await lab.installed()
    await lab.ssh(machine, lab.pinned_key(), "systemctl", "poweroff")
    await lab.until(lambda: not machine.powered)


async def test_a_broken_record_is_one_plain_error(lab: Lab):
    machine = lab.machine()
    machine.folder.mkdir(parents=True, exist_ok=True)
    (machine.folder / "machine.json").write_text("{")
    with pytest.raises(KeystoneError, match=r"machine\.json: is not the record of a machine: .* Run `make destroy`\."):
        lab.machine()


async def copied(lab: Lab, machine: Machine, path: str) -> None:
    """Copy a system to the machine with the stand-in for nix."""
    options = f"-p {PORT} -i operator_key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    done = await lab.program(
        *("nix", "--extra-experimental-features", "nix-command flakes", "copy"),
        *("--to", f"ssh-ng://root@{machine.address}", path),
        more={"NIX_SSHOPTS": options},
    )
    assert done.status == 0, done.stderr


async def test_a_machine_that_was_removed_keeps_its_services_down_until_it_is_taken_in_again(lab: Lab):
    machine = await lab.installed()
    assert (await console(machine, "install", "-D", "-m", "600", "/dev/stdin", "/var/lib/keystone/removed")).status == 0
    await machine.power_off()
    await machine.power_on()
    await machine.settled()
    assert (await console(machine, "systemctl", "is-active", "k3s", "tailscaled")).stdout.split() == [
        "inactive",
        "inactive",
    ]
    assert (await console(machine, "systemctl", "start", "k3s")).status == 0
    assert (await console(machine, "systemctl", "is-active", "k3s")).stdout == "inactive\n"
    assert (await console(machine, "rm", "-f", "/var/lib/keystone/removed")).status == 0
    await console(machine, "systemctl", "start", "k3s")
    assert (await console(machine, "systemctl", "is-active", "k3s")).stdout == "active\n"


async def test_a_login_in_the_initrd_is_the_prompt(lab: Lab):
    machine = await lab.installed()
    await machine.lock()
    initrd = lab.identities.initrd_host_key("w1", 1).public
    right = lab.identities.recovery_passphrase("w1", 1)
    async with await lab.connect(machine, initrd, port=PORT + 1) as connection:
        done = await connection.run(input=f"{right}\n")
        assert done.exit_status == 0
    await lab.until(lambda: machine.state == "installed")
