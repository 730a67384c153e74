"""keystone/hosts/install.py: the whole order of an install, against a scripted machine and stand-in programs."""

import json
import stat
from pathlib import Path
from typing import Any

import asyncssh
import psutil
import pytest

from keystone.errors import KeystoneError
from keystone.hosts import guard, install, observation, ssh
from keystone.hosts.context import Context, Lock
from keystone.hosts.guard import Refusal
from keystone.settings import parse
from tests.hosts.machines import NETWORK, Fake, Script, context, installed, play
from tests.recording import document

INSTALLER = asyncssh.generate_private_key("ssh-ed25519")
PUBLIC = " ".join(INSTALLER.export_public_key().decode().split()[:2])
DISK = "/dev/disk/by-id/virtio-w1-system"
DISKO, SYSTEM = "/nix/store/aaaa-disko", "/nix/store/bbbb-nixos-system"
GUID = guard.disk_guid("site", "w1", 1)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `nix` that builds, and a `nixos-anywhere` that writes down its arguments, its files and which ssh it finds."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "nix").write_text(
        f'#!/bin/sh\ncase "$*" in *diskoScript) echo {DISKO};; *toplevel) echo {SYSTEM};; *) exit 9;; esac\n'
    )
    (folder / "nixos-anywhere").write_text(
        f"""#!/bin/sh
echo "$@" >> {tmp_path}/anywhere.log
cat > {tmp_path}/stdin
command -v ssh > {tmp_path}/ssh.path
cp "$(command -v ssh)" {tmp_path}/ssh.shim
cp "$(dirname "$(command -v ssh)")/../known_hosts" {tmp_path}/known_hosts
while [ $# -gt 0 ]; do
  case "$1" in
    --extra-files) cp -rp "$2/." {tmp_path}/extra; shift;;
    --disk-encryption-keys) cp "$3" {tmp_path}/disk.key; shift 2;;
    -i) cp -p "$2" {tmp_path}/operator; shift;;
    --phases) cat {tmp_path}/fail 2>/dev/null && exit 7;;
  esac
  shift
done
"""
    )
    for program in folder.iterdir():
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv(guard.CONFIRMATION, raising=False)
    return tmp_path


def site(project: Path, **w1: Any) -> Context:
    changed = document(base=NETWORK.base)
    changed["hosts"]["w1"] |= {"installerHostKey": PUBLIC} | w1
    given = context(project)
    return Context(given.stack, parse(changed), given.identities, given.project)


def row(**changes: Any) -> str:
    return json.dumps({"blockdevices": [{"path": "/dev/vda", "type": "disk", "serial": "w1-disk"} | changes]})


def live(given: Context, disk: str | None = None) -> Fake:
    key = INSTALLER.export_private_key("openssh").decode()
    host = given.settings.hosts["w1"]
    script: Script = {
        "cat /etc/os-release": "VARIANT_ID=installer\n",
        "cat /sys/class/dmi/id/product_serial": "serial-w1\n",
        f"cat {guard.SETUP_MODE}": "\6\0\0\0\1",
        "lsblk": disk or row(),
        "sgdisk": "",
    }
    return Fake("w1", str(host.address), key, script)


def ours(given: Context, **marker: Any) -> Fake:
    said = {"host": "w1", "cluster": "site", "generation": 1, "diskGuid": GUID} | marker
    script: Script = {
        "cat /etc/keystone/install.json": json.dumps(said),
        "cat /sys/class/dmi/id/product_serial": "serial-w1\n",
        f"cat {guard.SETUP_MODE}": "\6\0\0\0\1",
        "lsblk": row(),
        "readlink -f /run/current-system": f"{SYSTEM}\n",
    }
    return installed(given, "w1", script)


def phases(folder: Path) -> list[str]:
    log = folder / "anywhere.log"
    return [line.split("--phases ")[1] for line in log.read_text().splitlines()] if log.exists() else []


def test_our_own_machine_is_adopted_and_nothing_is_run(tools: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = site(tools)
    play(lambda: install.install(given, "w1"), ours(given))
    assert phases(tools) == []
    assert "w1: adopt: already installed, generation 1" in capsys.readouterr().err


def test_an_empty_machine_is_marked_installed_and_marked_again(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "BOOT_SECONDS", 1.0)
    given = site(tools)
    machine = live(given)
    # The scripted machine never becomes an installed one: the end of the wait is what this test sees.
    with pytest.raises(
        KeystoneError, match=r"waited 1 s for the installed system with its pinned host key; .*expected"
    ):
        play(lambda: install.install(given, "w1"), machine)
    assert phases(tools) == ["disko,install", "reboot"]
    marks = [call for call in machine.calls if call.startswith("sgdisk")]
    assert marks == [
        f"sgdisk --zap-all --clear --disk-guid={GUID} {DISK}",
        f"sgdisk --disk-guid={guard.finished(GUID)} {DISK}",
    ]


def test_what_kexec_has_started_is_spoken_to_on_its_own_port(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "BOOT_SECONDS", 1.0)
    monkeypatch.setenv(guard.CONFIRMATION, "w1:w1-disk:2")
    given = site(tools, installGeneration=2, ssh={"port": 2222, "kexecPort": 2322})
    old = ours(given)
    old.key = given.identities.ssh_host_key("w1", 1).private
    started = Fake("w1", old.address, old.key, {"sgdisk": ""}, port=2322)
    with pytest.raises(KeystoneError, match="waited 1 s for the installed system"):
        play(lambda: install.install(given, "w1"), old, started)
    first, *rest = (line.partition(" --ssh-port ")[2] for line in (tools / "anywhere.log").read_text().splitlines())
    assert first == "2222 --post-kexec-ssh-port 2322 --phases kexec"
    assert rest == ["2322 --phases disko,install", "2322 --phases reboot"]
    assert len(started.calls) == 2
    assert not old.called("sgdisk")
    assert f"[{NETWORK.at(31)}]:2322 ssh-ed25519" in (tools / "known_hosts").read_text()


def test_what_nixos_anywhere_gets(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "BOOT_SECONDS", 1.0)
    given = site(tools)
    with pytest.raises(KeystoneError, match="waited"):
        play(lambda: install.install(given, "w1"), live(given))
    line = (tools / "anywhere.log").read_text().splitlines()[0]
    assert line.startswith(f"--store-paths {DISKO} {SYSTEM} -i ")
    assert f" --target-host root@{NETWORK.at(31)} --ssh-port 2222 --phases disko,install" in line
    assert "--disk-encryption-keys /run/keystone/disk.key " in line
    assert (tools / "stdin").read_text() == ""
    passphrase = given.identities.recovery_passphrase("w1", 1)
    assert (tools / "disk.key").read_text() == passphrase
    assert passphrase not in line
    key = tools / "extra" / "etc" / "ssh" / "ssh_host_ed25519_key"
    assert key.read_text() == given.identities.ssh_host_key("w1", 1).private
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o755
    initrd = key.parent / "initrd_ssh_host_ed25519_key"
    assert initrd.read_text() == given.identities.initrd_host_key("w1", 1).private
    assert stat.S_IMODE((tools / "operator").stat().st_mode) == 0o600


def test_host_keys_are_checked_although_nixos_anywhere_turns_that_off(
    tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "BOOT_SECONDS", 1.0)
    given = site(tools)
    with pytest.raises(KeystoneError, match="waited"):
        play(lambda: install.install(given, "w1"), live(given))
    assert "keystone-hosts-" in (tools / "ssh.path").read_text()
    shim = (tools / "ssh.shim").read_text()
    assert shim.index("-o StrictHostKeyChecking=yes") < shim.index('"$@"')


def test_a_new_machine_that_opens_by_passphrase_alone_is_unlocked(
    tools: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(install, "BOOT_SECONDS", 1.0)
    given = site(tools, unlock="remote")
    address = str(given.settings.hosts["w1"].address)
    script: Script = {"": ""}
    initrd = Fake("w1", address, given.identities.initrd_host_key("w1", 1).private, script, port=2223)
    context_ = given

    async def scene() -> None:
        expected = observation.expected_of(context_, "w1", None)
        verdict = guard.Verdict(guard.Action.INSTALL, "")
        lock = Lock(0, tools)
        await install._Install(context_, expected, verdict, lock)._wait(SYSTEM)

    with pytest.raises(KeystoneError, match=r"last seen: .*its initrd waits for the disks to be unlocked"):
        play(scene, initrd)
    # A login without a command is the prompt; the passphrase comes with the end of its line, by standard input alone.
    passphrase = given.identities.recovery_passphrase("w1", 1)
    assert initrd.inputs[""] == f"{passphrase}\n"
    assert "w1: its initrd has the passphrase of the disks" in capsys.readouterr().err


def test_key_files_are_gone_after_a_failed_install(tools: Path) -> None:
    (tools / "fail").write_text("disko: no space")
    given = site(tools)
    with pytest.raises(KeystoneError, match=r"hosts\.w1: `nixos-anywhere` ended with status 7"):
        play(lambda: install.install(given, "w1"), live(given))
    assert not list(tools.glob("keystone-hosts-*"))


def test_an_interrupted_install_goes_on_by_itself(
    tools: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(install, "BOOT_SECONDS", 1.0)
    given = site(tools)
    with pytest.raises(KeystoneError, match="waited"):
        play(lambda: install.install(given, "w1"), live(given, row(pttype="gpt", ptuuid=GUID)))
    assert phases(tools) == ["disko,install", "reboot"]
    assert "go on with an interrupted install" in capsys.readouterr().err


def test_foreign_data_is_refused_and_nothing_is_written(tools: Path) -> None:
    given = site(tools)
    machine = live(given, row(fstype="ext4"))
    with pytest.raises(Refusal, match=r"foreign data \(ext4\).*KEYSTONE_CONFIRM_WIPE=w1:w1-disk:1"):
        play(lambda: install.install(given, "w1"), machine)
    assert phases(tools) == []
    assert not machine.called("sgdisk")


def test_the_confirmation_is_read_from_the_environment(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "BOOT_SECONDS", 1.0)
    monkeypatch.setenv(guard.CONFIRMATION, "w1:w1-disk:1")
    given = site(tools)
    with pytest.raises(KeystoneError, match="waited"):
        play(lambda: install.install(given, "w1"), live(given, row(fstype="ext4")))
    assert phases(tools) == ["disko,install", "reboot"]


def test_a_missing_nixos_anywhere_is_one_line_before_the_first_write(tools: Path) -> None:
    (tools / "bin" / "nixos-anywhere").unlink()
    given = site(tools)
    machine = live(given)
    with pytest.raises(KeystoneError, match=r"^nixos-anywhere: not found on PATH\. `nix profile install"):
        play(lambda: install.install(given, "w1"), machine)
    assert not machine.called("sgdisk")


def test_verify_only_never_writes(tools: Path) -> None:
    given = site(tools)
    play(lambda: install.install(given, "w1", verify_only=True), ours(given))
    with pytest.raises(KeystoneError, match=r"its marker says .*'generation': 7"):
        play(lambda: install.install(given, "w1", verify_only=True), ours(given, generation=7))
    with pytest.raises(ssh.WrongHostKey, match="expected SHA256"):
        play(lambda: install.install(given, "w1", verify_only=True), live(given))
    assert phases(tools) == []


def test_the_time_limit_ends_the_whole_process_group(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tools / "bin" / "nixos-anywhere").write_text(
        f"#!/bin/sh\nsleep 60 &\necho $! > {tools}/pid\necho waiting >&2\nwait\n"
    )
    monkeypatch.setattr(install, "INSTALL_SECONDS", 0.7)
    given = site(tools)
    with pytest.raises(KeystoneError, match=r"`nixos-anywhere` did not end within 1 s; it said last: waiting"):
        play(lambda: install.install(given, "w1"), live(given))
    child = int((tools / "pid").read_text())
    # Nobody may have reaped it yet; ended it has.
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE
