"""keystone/hosts/observation.py: what the guard sees of machines over SSH."""

import json
import socket
import time
from typing import Any

import asyncssh
import pytest

from keystone.hosts import guard, observation, ssh
from keystone.hosts.context import Context
from keystone.hosts.guard import Seen, State
from keystone.settings import parse
from tests.hosts.machines import NETWORK, Fake, context, installed, play
from tests.recording import document

INSTALLER = asyncssh.generate_private_key("ssh-ed25519")
PUBLIC = " ".join(INSTALLER.export_public_key().decode().split()[:2])
LSBLK = "lsblk --json --bytes --output PATH,TYPE,SIZE,SERIAL,FSTYPE,PTTYPE,PTUUID,PARTLABEL /dev/disk/by-id/"


def lsblk(*rows: dict[str, Any]) -> str:
    return json.dumps({"blockdevices": list(rows)})


DISK = {
    "path": "/dev/vda",
    "type": "disk",
    "size": 1,
    "serial": "w1-disk",
    "fstype": None,
    "pttype": None,
    "ptuuid": None,
}
SCRIPT = {
    "cat /etc/os-release": 'ID=nixos\nVARIANT_ID="installer"\n',
    "cat /sys/class/dmi/id/product_serial": "serial-w1\n",
    f"cat {guard.SETUP_MODE}": "\6\0\0\0\1",
    LSBLK + "virtio-w1-system": lsblk(DISK),
}


def site(**w1: Any) -> Context:
    changed = document(base=NETWORK.base)
    changed["hosts"]["w1"] |= {"installerHostKey": PUBLIC} | w1
    given = context()
    return Context(given.stack, parse(changed), given.identities, given.project)


def live(script: dict[str, Any] | None = None) -> Fake:
    key = INSTALLER.export_private_key("openssh").decode()
    return Fake("w1", NETWORK.at(31), key, {**SCRIPT, **(script or {})})


def look(given: Context, *fakes: Fake, limit: float = 2) -> Seen:
    return play(lambda: observation.observe(given, observation.expected_of(given, "w1", None), limit=limit), *fakes)


def test_the_installer_and_its_empty_disk_are_seen() -> None:
    machine = live()
    seen = look(site(), machine)
    assert (seen.state, seen.variant, seen.machine_serial) == (State.INSTALLER, "installer", "serial-w1")
    assert seen.disk == guard.Disk("/dev/vda", "disk", "w1-disk", "", ())
    assert not [call for call in machine.calls if not call.startswith(("cat ", "lsblk "))]


@pytest.mark.parametrize(
    ("answer", "seen"), [("\6\0\0\0\1", True), ("\6\0\0\0\0", False), ((1, "cat: No such file or directory"), None)]
)
def test_whether_the_firmware_takes_keys_is_seen(answer: Any, seen: bool | None) -> None:
    assert look(site(), live({f"cat {guard.SETUP_MODE}": answer})).setup_mode is seen


def test_partitions_count_as_traces_in_the_flat_and_in_the_nested_form_of_lsblk() -> None:
    top = DISK | {"pttype": "gpt", "ptuuid": "ABCD"}
    part = {"path": "/dev/vda1", "type": "part", "fstype": "crypto_LUKS", "pttype": "gpt", "partlabel": "luks"}
    for rows in ((top, part), (top | {"children": [part]},)):
        seen = look(site(), live({LSBLK + "virtio-w1-system": lsblk(*rows)}))
        assert seen.disk is not None
        assert seen.disk.signatures == ("gpt", "part luks crypto_LUKS")
        assert seen.disk.guid == "abcd"


def test_a_missing_disk_is_seen_as_none_with_the_reason() -> None:
    seen = look(site(), live({LSBLK + "virtio-w1-system": (32, "lsblk: not a block device")}))
    assert seen.disk is None
    assert "not a block device" in seen.fault


def test_an_unintelligible_answer_is_no_disk() -> None:
    assert look(site(), live({LSBLK + "virtio-w1-system": "[]"})).disk is None


def test_an_installed_machine_shows_its_generation_and_marker() -> None:
    given = site()
    machine = installed(given, "w1", {"cat /etc/keystone/install.json": '{"host": "w1"}'}, generation=3)
    seen = look(given, machine)
    assert (seen.state, seen.generation, seen.marker) == (State.INSTALLED, 3, {"host": "w1"})


def test_another_host_key_is_seen_and_nothing_is_run_there() -> None:
    stranger = asyncssh.generate_private_key("ssh-ed25519")
    machine = Fake("w1", NETWORK.at(31), stranger.export_private_key("openssh").decode(), dict(SCRIPT))
    seen = look(site(), machine)
    assert seen.state is State.FOREIGN_KEY
    assert seen.key == " ".join(stranger.export_public_key().decode().split()[:2])
    assert machine.calls == []


def test_a_machine_in_its_initrd_is_seen_as_locked() -> None:
    given = site()
    key = given.identities.initrd_host_key("w1", 1).private
    assert look(given, Fake("w1", NETWORK.at(31), key, {}, port=2223)).state is State.LOCKED


def test_a_locked_machine_is_told_how_to_unlock() -> None:
    given = site()
    expected = observation.expected_of(given, "w1", None)
    with pytest.raises(
        guard.Refusal, match=rf"`ssh -t -p 2223 root@{NETWORK.at(31)}`, .*keystone\.hosts passphrase w1"
    ):
        guard.decide(expected, Seen(State.LOCKED))


def test_a_silent_machine_is_given_up_on_in_time() -> None:
    began = time.monotonic()
    seen = look(site(), limit=1.5)
    assert seen.state is State.SILENT
    assert "waited 2 s for an SSH server" in seen.fault
    assert time.monotonic() - began < 8


def test_a_machine_that_accepts_connections_and_says_nothing_is_given_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "CONNECT_SECONDS", 0.5)
    given = site()

    # The kernel accepts, and nobody ever answers.
    with socket.create_server((NETWORK.at(31), 2222)):
        seen = look(given, limit=1)
    assert seen.state is State.SILENT
    assert "no SSH session within 0.5 s" in seen.fault
