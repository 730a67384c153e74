"""The machines and what Keystone runs against them (`python -m keystone.hosts`), over real SSH and the stand-ins."""

import asyncio
import json
import sys
from contextlib import suppress

import psutil
import pytest

from tests.twin.lab import DISK, REPOSITORY, ROOT, Lab, Result
from twin.disks import plant

pytestmark = pytest.mark.asyncio
REFUSED = 3


async def hosts(lab: Lab, *argv: str, **more: str) -> Result:
    environment = {"KEYSTONE_STACK": "lab", "PYTHONPATH": str(REPOSITORY), **more}
    return await lab.program(sys.executable, "-m", "keystone.hosts", *argv, stdin=ROOT.encode(), more=environment)


def installers(lab: Lab) -> list[int]:
    """The running stand-ins for nixos-anywhere of this lab."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if "twin.installer" in (process.info["cmdline"] or []):
            with suppress(psutil.Error):
                if process.environ().get("KEYSTONE_TWIN") == str(lab.site.root):
                    found.append(process.pid)
    return found


async def test_a_blank_machine_is_installed_and_the_second_run_adopts_it(lab: Lab):
    machine = lab.machine()
    await machine.power_on()
    first = await hosts(lab, "install", "w1")
    assert first.status == 0, first.stderr
    await lab.booted(machine)
    before = (machine.folder / "machine.json").read_bytes()
    second = await hosts(lab, "install", "w1")
    assert (second.status, second.stderr) == (0, "w1: adopt: already installed, generation 1\n")
    assert (machine.folder / "machine.json").read_bytes() == before


async def test_a_system_is_switched_and_then_left_alone(lab: Lab):
    machine = await lab.installed()
    lab.host["labels"] = {"a": "b"}
    lab.render()
    first = await hosts(lab, "system", "w1")
    assert first.status == 0, first.stderr
    assert machine.record.system == machine.record.boot == await lab.build()
    assert "reboot it" not in first.stderr
    second = await hosts(lab, "system", "w1")
    assert "w1: runs the wanted system already" in second.stderr


async def test_a_system_whose_units_fail_is_rolled_back(lab: Lab):
    machine = await lab.installed()
    old = machine.record.system
    lab.broken.add("k3s")
    lab.host["labels"] = {"a": "b"}
    lab.render()
    done = await hosts(lab, "system", "w1")
    assert done.status == 1
    assert "some units failed" in done.stderr
    assert (machine.record.system, machine.record.boot) == (old, old)


async def test_an_install_that_was_killed_goes_on_by_itself(lab: Lab):
    lab.config["twin:installSeconds"] = 2
    lab.render()
    machine = lab.machine()
    await machine.power_on()
    run = asyncio.create_task(hosts(lab, "install", "w1"))
    await lab.until(lambda: machine.mounted, 30)
    await machine.power_off()
    done = await run
    assert done.status == 1
    await machine.power_on()
    again = await hosts(lab, "install", "w1")
    assert again.status == 0, again.stderr
    assert "w1: go on with an interrupted install" in again.stderr


async def test_an_install_that_is_ended_ends_the_installer_that_it_has_started(lab: Lab):
    lab.config["twin:installSeconds"] = 60
    lab.render()
    machine = lab.machine()
    await machine.power_on()
    run = asyncio.create_task(hosts(lab, "install", "w1"))
    await lab.until(lambda: len(installers(lab)) > 0, 30)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert installers(lab) == []


async def test_foreign_data_on_the_disk_is_refused_and_kept(lab: Lab):
    machine = lab.machine()
    await machine.power_on()
    plant(machine.folder, DISK.format("w1"), fstype="zfs_member")
    done = await hosts(lab, "install", "w1")
    assert done.status == REFUSED
    assert "zfs_member" in done.stderr
    assert machine.install_disk().fstype == "zfs_member"
    confirmed = await hosts(lab, "install", "w1", KEYSTONE_CONFIRM_WIPE="w1:w1-system:1")
    assert confirmed.status == 0, confirmed.stderr


async def test_a_raised_generation_reinstalls_a_running_host(lab: Lab):
    machine = await lab.installed()
    lab.host["installGeneration"] = 2
    lab.config["keystone:protectHosts"] = False
    lab.render()
    done = await hosts(lab, "install", "w1")
    assert done.status == 0, done.stderr
    await lab.booted(machine)
    marker = await lab.ssh(machine, lab.pinned_key(generation=2), "cat", "/etc/keystone/install.json")
    assert json.loads(marker.stdout)["generation"] == 2
