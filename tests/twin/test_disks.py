"""Disks of a machine: what lsblk, blkid, sgdisk and wipefs say and do."""

import json
from typing import Any

import pytest

from keystone.errors import KeystoneError
from tests.twin.lab import DISK, Lab, console
from twin.disks import blank_disks, lay_out, opens, plant
from twin.machine import Machine

pytestmark = pytest.mark.asyncio
W1 = DISK.format("w1")
OSD = "/dev/disk/by-id/virtio-w1-osd0"
GUID = "7f8afe5a-2b9b-5c98-a8b7-9ef895852622"
COLUMNS = "PATH,TYPE,SIZE,SERIAL,FSTYPE,PTTYPE,PTUUID,PARTLABEL"


async def on(lab: Lab) -> Machine:
    machine = lab.machine()
    await machine.power_on()
    return machine


async def lsblk(machine: Machine, *args: str) -> list[dict[str, Any]]:
    done = await console(machine, "lsblk", "--json", *args)
    assert done.status == 0, done.stderr
    return json.loads(done.stdout)["blockdevices"]


async def test_a_blank_disk_has_its_serial_and_no_signature(lab: Lab):
    [disk] = await lsblk(await on(lab), "--bytes", "--output", COLUMNS, W1)
    assert disk == {
        "path": "/dev/vda",
        "type": "disk",
        "size": 64 * 1024**3,
        "serial": "w1-system",
        "fstype": None,
        "pttype": None,
        "ptuuid": None,
        "partlabel": None,
    }


async def test_without_a_device_all_disks_are_shown(lab: Lab):
    machine = await on(lab)
    assert [disk["path"] for disk in await lsblk(machine, "--output", "PATH,SIZE")] == ["/dev/vda", "/dev/vdb"]
    assert [disk["size"] for disk in await lsblk(machine, "--output", "PATH,SIZE")] == ["64G", "100G"]


async def test_by_id_names_lead_to_the_kernels_names(lab: Lab):
    machine = await on(lab)
    assert (await console(machine, "readlink", "-f", W1)).stdout == "/dev/vda\n"
    assert (await console(machine, "readlink", "-f", OSD)).stdout == "/dev/vdb\n"
    assert (await console(machine, "test", "-b", W1)).status == 0
    assert (await console(machine, "test", "-e", "/dev/disk/by-id/virtio-other")).status == 1
    listed = (await console(machine, "ls", "/dev/disk/by-id")).stdout.split()
    assert listed == ["virtio-w1-osd0", "virtio-w1-system"]


async def test_an_unknown_device_is_refused_in_the_real_words(lab: Lab):
    machine = await on(lab)
    done = await console(machine, "lsblk", "--json", "/dev/nope")
    assert (done.status, done.stderr) == (32, "lsblk: /dev/nope: not a block device\n")
    assert (await console(machine, "blkid", "/dev/nope")).status == 2
    assert (await console(machine, "sgdisk", "--zap-all", "/dev/nope")).status == 2
    assert (await console(machine, "lsblk", "--output", "NONSENSE")).stderr == "lsblk: unknown column: NONSENSE\n"
    assert (await console(machine, "lsblk", "--nonsense")).stderr.startswith("lsblk: unrecognized option '--nonsense'")


async def test_the_guards_first_write_marks_the_disk_and_nothing_else(lab: Lab):
    machine = await on(lab)
    done = await console(machine, "sgdisk", "--zap-all", "--clear", f"--disk-guid={GUID.upper()}", W1)
    assert done.status == 0
    install, osd = await lsblk(machine, "--output", COLUMNS)
    assert (install["pttype"], install["ptuuid"]) == ("gpt", GUID)
    assert osd["pttype"] is None


async def test_another_disk_guid_keeps_the_partitions(lab: Lab):
    machine = await on(lab)
    disk = machine.install_disk()
    lay_out(disk, GUID, b"secret", "ext4")
    machine.inventory.put(disk)
    other = GUID.replace("7f8a", "0000")
    assert (await console(machine, "sgdisk", f"--disk-guid={other}", W1)).status == 0
    after = machine.install_disk()
    assert (after.ptuuid, after.partitions) == (other, disk.partitions)


async def test_a_guid_of_another_form_is_refused_before_anything_is_written(lab: Lab):
    machine = await on(lab)
    plant(machine.folder, W1, fstype="xfs")
    done = await console(machine, "sgdisk", "--zap-all", "--disk-guid=mine", W1)
    assert (done.status, done.stderr) == (1, "sgdisk: 'mine' is no GUID\n")
    assert machine.install_disk().fstype == "xfs"


async def test_partitions_are_rows_of_a_flat_list_or_children_of_a_tree(lab: Lab):
    machine = await on(lab)
    disk = machine.install_disk()
    lay_out(disk, GUID, b"secret", "zfs_member")
    machine.inventory.put(disk)
    flat = await lsblk(machine, "--output", COLUMNS, W1)
    assert [(row["path"], row["fstype"], row["partlabel"]) for row in flat] == [
        ("/dev/vda", None, None),
        ("/dev/vda1", "vfat", "disk-main-ESP"),
        ("/dev/vda2", "crypto_LUKS", "disk-main-luks"),
    ]
    assert {row["ptuuid"] for row in flat} == {GUID}
    assert [row["serial"] for row in flat] == ["w1-system", None, None]
    [tree] = await lsblk(machine, "--output", "NAME,TYPE", W1)
    assert tree == {
        "name": "vda",
        "type": "disk",
        "children": [{"name": "vda1", "type": "part"}, {"name": "vda2", "type": "part"}],
    }
    assert [row["path"] for row in await lsblk(machine, "--nodeps", "--output", "PATH", W1)] == ["/dev/vda"]


async def test_an_installed_system_shows_what_lies_inside_the_encryption(lab: Lab):
    machine = await lab.installed()
    rows = await lsblk(machine, "--output", "PATH,TYPE,FSTYPE", W1)
    assert rows[-1] == {"path": "/dev/mapper/crypted", "type": "crypt", "fstype": "zfs_member"}


async def test_the_disk_of_the_running_system_cannot_be_wiped(lab: Lab):
    machine = await lab.installed()
    assert (await console(machine, "sgdisk", "--zap-all", W1)).status == 4
    assert (await console(machine, "wipefs", "--all", W1)).status == 1
    assert machine.install_disk().luks is not None


async def test_planted_data_is_seen_by_every_program(lab: Lab):
    machine = await on(lab)
    plant(machine.folder, W1, fstype="zfs_member", ptuuid=GUID, serial="other")
    [disk] = await lsblk(machine, "--output", COLUMNS, W1)
    assert (disk["fstype"], disk["ptuuid"], disk["serial"]) == ("zfs_member", GUID, "other")
    assert f'TYPE="zfs_member" PTUUID="{GUID}" PTTYPE="gpt"' in (await console(machine, "blkid", W1)).stdout
    assert (await console(machine, "blkid", "-s", "TYPE", "-o", "value", W1)).stdout == "zfs_member\n"
    assert "zfs_member" in (await console(machine, "wipefs", W1)).stdout
    assert (await console(machine, "wipefs", "--all", W1)).status == 0
    assert (await console(machine, "blkid", W1)).status == 2


async def test_the_inventory_outlives_the_power_and_a_change_of_the_settings(lab: Lab):
    machine = await on(lab)
    plant(machine.folder, OSD, fstype="ceph_bluestore")
    await machine.power_off()
    lab.host["diskSerial"] = "another"
    lab.render()
    again = lab.machine()
    assert [(disk.serial, disk.fstype) for disk in again.inventory.read()] == [
        ("w1-system", None),
        ("w1-osd0", "ceph_bluestore"),
    ]


async def test_planting_on_an_unknown_disk_names_the_known_ones(lab: Lab):
    machine = await on(lab)
    with pytest.raises(KeystoneError, match=rf"/dev/sdz: is no disk of w1\. Known: {W1}, {OSD}\."):
        plant(machine.folder, "/dev/sdz", fstype="ext4")


async def test_an_inventory_edited_into_nonsense_is_one_plain_error(lab: Lab):
    machine = await on(lab)
    (machine.folder / "disks.json").write_text('{"disks": [{"path": "/dev/vda"}]}')
    done = await console(machine, "lsblk")
    assert done.status == 1
    assert "disks.json: is not a disk inventory" in done.stderr


@pytest.mark.parametrize(
    ("by_id", "serial"), [("virtio-w1-osd0", "w1-osd0"), ("ata-WDC_X-1", "WDC_X-1"), ("nvme-Samsung_S1", "Samsung_S1")]
)
async def test_serials_without_a_setting_come_from_the_by_id_name(by_id: str, serial: str):
    [disk, osd] = blank_disks("/dev/disk/by-id/virtio-x", None, [f"/dev/disk/by-id/{by_id}"])
    assert (disk.serial, osd.serial, osd.path) == ("x", serial, "/dev/vdb")


async def test_only_the_right_passphrase_opens_the_disk_and_the_file_does_not_hold_it():
    [disk] = blank_disks(W1, "s", [])
    assert not opens(disk, b"right")
    lay_out(disk, GUID, b"right", "ext4")
    assert opens(disk, b"right")
    assert not opens(disk, b"right\n")
    assert disk.luks is not None
    assert "right" not in str(disk.luks.key)
