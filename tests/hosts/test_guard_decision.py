"""keystone/hosts/guard.py: each branch of the decision, and each refusal with its message."""

from dataclasses import replace
from typing import Any

import pytest

from keystone.hosts.guard import Action, Disk, Expected, Refusal, Seen, State, decide

INSTALLER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGbKyEMyfnSVH8DBadvLEuD4i0L8sgvt2+80A+2q5gAg"
STRANGER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINCfWqsIOczLVDTxaUC1bYfp2sIaE/qkElipuvgO4xNU"
EXPECTED = Expected(
    host="w1",
    cluster="site",
    generation=2,
    place="192.0.2.11:22",
    disk="/dev/disk/by-id/ata-A",
    disk_serial="A-1",
    machine_serial="M-1",
    installer_host_key=INSTALLER,
    protect=True,
    unlock="Type the passphrase",
    secure_boot=True,
)
BLANK = Disk("/dev/sda", "disk", "A-1", "", ())
LIVE = Seen(State.INSTALLER, key=INSTALLER, variant="installer", machine_serial="M-1", disk=BLANK, setup_mode=True)
CONFIRMED = "w1:A-1:2"


def with_guid(guid: str, *signatures: str) -> Disk:
    return replace(BLANK, guid=guid, signatures=signatures or ("gpt", "part disk-main-luks crypto_LUKS"))


def marker(generation: int = 2, **changes: Any) -> dict[str, Any]:
    own = {"host": "w1", "cluster": "site", "generation": generation, "diskGuid": EXPECTED.guid(generation)}
    return own | changes


def running(generation: int = 2, **changes: Any) -> Seen:
    seen = replace(LIVE, state=State.INSTALLED, generation=generation, marker=marker(generation), disk=with_guid("x"))
    return replace(seen, **changes)


OURS = with_guid(EXPECTED.guid(2), "gpt")
FINISHED = with_guid(EXPECTED.finished_guid(2))
OLDER = with_guid(EXPECTED.finished_guid(1))
FOREIGN = with_guid("9b2c", "gpt", "part data ext4")


@pytest.mark.parametrize(
    ("seen", "expected", "action"),
    [
        pytest.param(running(), EXPECTED, Action.ADOPT, id="our own system is adopted"),
        pytest.param(LIVE, EXPECTED, Action.INSTALL, id="an empty disk is installed"),
        pytest.param(replace(LIVE, disk=OURS), EXPECTED, Action.RESUME, id="our interrupted install goes on"),
        pytest.param(
            running(1),
            replace(EXPECTED, confirmation=CONFIRMED),
            Action.REINSTALL,
            id="a raised generation reinstalls a running host when confirmed",
        ),
        pytest.param(
            running(1), replace(EXPECTED, protect=False), Action.REINSTALL, id="or where hosts are not protected"
        ),
        pytest.param(
            replace(LIVE, disk=OLDER),
            replace(EXPECTED, protect=False),
            Action.REINSTALL,
            id="an older generation's disk in the installer is reinstalled where hosts are not protected",
        ),
        pytest.param(
            replace(LIVE, disk=FINISHED),
            replace(EXPECTED, confirmation=CONFIRMED),
            Action.REINSTALL,
            id="a finished install in the installer is wiped when confirmed",
        ),
        pytest.param(
            replace(LIVE, disk=FOREIGN),
            replace(EXPECTED, confirmation=CONFIRMED),
            Action.INSTALL,
            id="foreign data is wiped when confirmed",
        ),
        pytest.param(
            replace(LIVE, machine_serial=None),
            replace(EXPECTED, machine_serial=None),
            Action.INSTALL,
            id="a machine serial that the stack file does not give is not compared",
        ),
        pytest.param(
            replace(LIVE, setup_mode=None),
            replace(EXPECTED, secure_boot=False),
            Action.INSTALL,
            id="a host without Secure Boot needs no firmware that takes keys",
        ),
        pytest.param(
            running(setup_mode=False), EXPECTED, Action.ADOPT, id="a system that has enrolled its keys is adopted"
        ),
    ],
)
def test_the_verdict(seen: Seen, expected: Expected, action: Action) -> None:
    assert decide(expected, seen).action is action


REFUSALS = [
    pytest.param(
        replace(LIVE, setup_mode=False),
        EXPECTED,
        r"its firmware is not in Setup Mode .*\. Erase the platform key .* or set hosts\.w1\.unlock: remote",
        id="firmware that takes no keys",
    ),
    pytest.param(
        replace(running(1), setup_mode=False),
        replace(EXPECTED, confirmation=CONFIRMED),
        r"its firmware is not in Setup Mode",
        id="firmware that would refuse the new system, which makes keys of its own",
    ),
    pytest.param(
        replace(LIVE, setup_mode=None),
        EXPECTED,
        r"shows no variable of UEFI's Secure Boot\. Boot it in UEFI mode, or set hosts\.w1\.unlock: remote",
        id="a machine that was not booted by UEFI",
    ),
    pytest.param(
        Seen(State.LOCKED),
        EXPECTED,
        r"waits in its initrd .* Type the passphrase and run `up` again",
        id="a locked machine is to be unlocked",
    ),
    pytest.param(
        Seen(State.SILENT, fault="no SSH session within 10 s"),
        EXPECTED,
        r"cannot be reached \(no SSH session within 10 s\)\. Boot the installer",
        id="an unreachable machine",
    ),
    pytest.param(
        Seen(State.FOREIGN_KEY, key=STRANGER),
        EXPECTED,
        r"shows the host key SHA256:\S+; expected the installer's SHA256:\S+ or this cluster's own",
        id="a wrong host key",
    ),
    pytest.param(
        Seen(State.FOREIGN_KEY, key=STRANGER),
        replace(EXPECTED, installer_host_key=None),
        rf'installerHostKey is not set .* SHA256:\S+\. .* installerHostKey: "{STRANGER.replace("+", chr(92) + "+")}"',
        id="a missing installer key, with the line to add",
    ),
    pytest.param(
        running(marker=marker(cluster="other")),
        EXPECTED,
        r"installed by the cluster 'other', this one is 'site'",
        id="another cluster's machine",
    ),
    pytest.param(running(marker=marker(host="w9")), EXPECTED, r"installed as 'w9'", id="another host of ours"),
    pytest.param(running(marker=None), EXPECTED, r"no readable /etc/keystone/install\.json", id="no marker"),
    pytest.param(
        running(marker=marker(3), generation=3),
        EXPECTED,
        r"has install generation 3, the stack file's 2 is lower\. Set hosts\.w1\.installGeneration to 3",
        id="a lowered generation",
    ),
    pytest.param(
        running(marker=marker(1)),
        EXPECTED,
        r"marker says generation 1 and its host key is of generation 2",
        id="marker and key of different generations",
    ),
    pytest.param(
        running(marker=marker(diskGuid="1234")), EXPECTED, r"names the disk GUID '1234'", id="a marker of another disk"
    ),
    pytest.param(
        running(1),
        EXPECTED,
        r"runs generation 1 .* not confirmed\. .*KEYSTONE_CONFIRM_WIPE=w1:A-1:2",
        id="a raised generation without confirmation",
    ),
    pytest.param(
        running(1),
        replace(EXPECTED, confirmation="w2:A-1:2"),
        r"not confirmed \(KEYSTONE_CONFIRM_WIPE is 'w2:A-1:2'\)",
        id="a confirmation for another host",
    ),
    pytest.param(
        running(1, machine_serial="M-2"),
        replace(EXPECTED, protect=False),
        r"serial is 'M-2', expected 'M-1'",
        id="a raised generation on another machine",
    ),
    pytest.param(
        replace(LIVE, variant="server"), EXPECTED, r"VARIANT_ID=server, not installer", id="not the installer"
    ),
    pytest.param(
        replace(LIVE, machine_serial="M-2"),
        EXPECTED,
        r"serial is 'M-2', expected 'M-1'\. Correct hosts\.w1\.machineSerial",
        id="the wrong machine",
    ),
    pytest.param(
        replace(LIVE, machine_serial=None),
        EXPECTED,
        r"serial is None, expected 'M-1'",
        id="an unreadable machine serial",
    ),
    pytest.param(
        replace(LIVE, disk=None, fault="not a block device"),
        EXPECTED,
        r"no readable disk /dev/disk/by-id/ata-A \(not a block device\)",
        id="a missing disk",
    ),
    pytest.param(
        replace(LIVE, disk=replace(BLANK, kind="part")), EXPECTED, r"is a part, not a whole disk", id="a partition"
    ),
    pytest.param(
        replace(LIVE, disk=replace(BLANK, serial="B-7")),
        EXPECTED,
        r"has the serial 'B-7', expected 'A-1'\. Correct hosts\.w1\.diskSerial",
        id="another disk than the stack file's",
    ),
    pytest.param(
        replace(LIVE, osd_paths=("/dev/sdb", "/dev/sda")),
        EXPECTED,
        r"is /dev/sda, which is an OSD disk of this host too",
        id="the install disk under another name among the OSD disks",
    ),
    pytest.param(
        replace(LIVE, disk=FOREIGN),
        EXPECTED,
        r"holds foreign data \(gpt, part data ext4\), and the wipe is not confirmed\. .*=w1:A-1:2",
        id="foreign data",
    ),
    pytest.param(
        replace(LIVE, disk=FOREIGN),
        replace(EXPECTED, protect=False),
        r"holds foreign data",
        id="foreign data where hosts are not protected",
    ),
    pytest.param(
        replace(LIVE, disk=with_guid("", "zfs_member")),
        EXPECTED,
        r"foreign data \(zfs_member\)",
        id="a whole-disk file system",
    ),
    pytest.param(
        replace(LIVE, disk=OLDER), EXPECTED, r"holds this host's generation 1", id="our older install, protected"
    ),
    pytest.param(
        replace(LIVE, disk=FINISHED),
        EXPECTED,
        r"this host's own finished system .* boot that instead",
        id="our finished install started in the installer",
    ),
]


@pytest.mark.parametrize(("seen", "expected", "message"), REFUSALS)
def test_the_guard_refuses(seen: Seen, expected: Expected, message: str) -> None:
    with pytest.raises(Refusal, match=message) as refused:
        decide(expected, seen)
    assert str(refused.value).startswith("hosts.w1 at 192.0.2.11:22: refused to install: ")
    assert "\n" not in str(refused.value)


def test_a_finished_install_and_one_that_has_begun_have_different_marks() -> None:
    assert len({EXPECTED.guid(1), EXPECTED.finished_guid(1), EXPECTED.guid(2), EXPECTED.finished_guid(2)}) == 4


def test_a_verdict_says_what_runs_now_so_that_kexec_comes_first() -> None:
    assert decide(replace(EXPECTED, protect=False), running(1)).running == 1
    assert decide(EXPECTED, LIVE).running is None
