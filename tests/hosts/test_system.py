"""keystone/hosts/system.py against scripted machines and a stand-in `nix` on PATH."""

from pathlib import Path
from typing import Any

import pytest

from keystone.errors import KeystoneError
from keystone.hosts import system
from keystone.hosts.context import Context
from tests.hosts.machines import NETWORK, Fake, Script, context, installed, play

OLD, NEW = "/nix/store/aaaa-nixos-old", "/nix/store/bbbb-nixos-new"


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `nix` that builds NEW and writes down its arguments and NIX_SSHOPTS."""
    said = tmp_path / "nix.log"
    program = tmp_path / "bin" / "nix"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$@" >> {said}\n[ -n "$NIX_SSHOPTS" ] && echo "$NIX_SSHOPTS" >> {said}\n'
        f'case "$*" in *" build "*) echo {NEW};; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return said


class Host:
    """What runs, what the profile says, and what each program does to them."""

    def __init__(self, running: str = OLD, profile: str = OLD, test: Any = "") -> None:
        self.running, self.profile, self.outcome = running, profile, test

    def script(self) -> Script:
        def activate(path: str) -> Any:
            def run(_given: str) -> Any:
                if path == OLD or self.outcome == "":
                    self.running = path
                    return ""
                return self.outcome

            return run

        def enter(_given: str) -> str:
            self.profile = NEW
            return ""

        return {
            "readlink -f /run/current-system": lambda _given: f"{self.running}\n",
            "readlink -f /nix/var/nix/profiles/system": lambda _given: f"{self.profile}\n",
            f"{NEW}/bin/switch-to-configuration test": activate(NEW),
            f"{OLD}/bin/switch-to-configuration test": activate(OLD),
            f"{NEW}/bin/switch-to-configuration boot": "",
            "nix-env": enter,
            "rm -f /var/lib/keystone/removed": "",
        }


def switched(host: Host, project: Path) -> tuple[Context, Fake]:
    given = context(project)
    return given, installed(given, "w1", host.script())


def changes(machine: Fake) -> list[str]:
    return [call for call in machine.calls if not call.startswith(("readlink", "rm -f /var/lib/keystone/removed"))]


def test_an_equal_system_is_left_alone(built: Path, tmp_path: Path) -> None:
    given, machine = switched(Host(running=NEW, profile=NEW), tmp_path)
    play(lambda: system.system(given, "w1"), machine)
    assert changes(machine) == []
    assert "copy" not in built.read_text()


def test_a_new_system_is_copied_tested_reached_and_only_then_booted(built: Path, tmp_path: Path) -> None:
    given, machine = switched(Host(), tmp_path)
    play(lambda: system.system(given, "w1"), machine)
    assert changes(machine) == [
        f"{NEW}/bin/switch-to-configuration test",
        f"nix-env --profile /nix/var/nix/profiles/system --set {NEW}",
        f"{NEW}/bin/switch-to-configuration boot",
    ]
    said = built.read_text()
    assert "path:./nix#nixosConfigurations.site-w1.config.system.build.toplevel" in said
    assert f"copy --to ssh-ng://root@{NETWORK.at(31)} {NEW}" in said
    assert "-o StrictHostKeyChecking=yes" in said


def test_a_new_kernel_asks_for_a_reboot_and_an_equal_one_for_nothing(
    built: Path,  # noqa: ARG001
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given, machine = switched(Host(), tmp_path)
    for part in ("kernel", "initrd", "kernel-modules"):
        machine.script[f"readlink -f /run/booted-system/{part}"] = f"/nix/store/old-{part}\n"
        machine.script[f"readlink -f /run/current-system/{part}"] = f"/nix/store/old-{part}\n"
    machine.script["readlink -f /run/current-system/kernel"] = "/nix/store/new-kernel\n"
    play(lambda: system.system(given, "w1"), machine)
    assert capsys.readouterr().err.splitlines()[-1] == "note: w1: reboot it at a good time: kernel changed"
    assert not machine.called("systemctl reboot")

    equal, same = switched(Host(), tmp_path)
    same.script |= {start: text for start, text in machine.script.items() if "booted-system" in start}
    same.script |= {
        start.replace("booted", "current"): text for start, text in same.script.items() if "booted" in start
    }
    play(lambda: system.system(equal, "w1"), same)
    assert "reboot" not in capsys.readouterr().err


def test_a_switch_that_was_cut_off_before_its_end_is_finished(built: Path, tmp_path: Path) -> None:
    given, machine = switched(Host(running=NEW, profile=OLD), tmp_path)
    play(lambda: system.system(given, "w1"), machine)
    assert [call.split()[-1] for call in changes(machine)] == [NEW, "boot"]
    assert "copy" not in built.read_text()


def test_failed_units_roll_back_and_are_named(built: Path, tmp_path: Path) -> None:  # noqa: ARG001
    host = Host(test=(4, "warning: the following units failed: k3s.service"))
    given, machine = switched(host, tmp_path)
    with pytest.raises(
        KeystoneError, match=rf"switching to {NEW}: some units failed: .*k3s\.service; rolled back to {OLD}\."
    ):
        play(lambda: system.system(given, "w1"), machine)
    assert host.running == OLD
    assert f"{NEW}/bin/switch-to-configuration boot" not in machine.calls


def test_a_host_that_does_not_come_back_is_rolled_back(
    built: Path,  # noqa: ARG001
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(system, "REACH_SECONDS", 1.0)
    given, machine = switched(Host(), tmp_path)
    machine.script[f"{NEW}/bin/switch-to-configuration test"] = ""  # says yes and changes nothing
    with pytest.raises(KeystoneError, match=rf"waited 1 s for the host after the switch; .* runs {OLD}, not {NEW}"):
        play(lambda: system.system(given, "w1"), machine)
    assert f"{OLD}/bin/switch-to-configuration test" in machine.calls


def test_a_failed_roll_back_says_that_a_reboot_helps(built: Path, tmp_path: Path) -> None:  # noqa: ARG001
    given, machine = switched(Host(test=(1, "no")), tmp_path)
    machine.script[f"{OLD}/bin/switch-to-configuration test"] = (1, "broken too")
    with pytest.raises(KeystoneError, match=r"rolling back failed too \(.*broken too\)\. Reboot the machine"):
        play(lambda: system.system(given, "w1"), machine)


def test_a_missing_nix_is_one_line_with_its_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    given = context(tmp_path)
    with pytest.raises(KeystoneError, match=r"^nix: not found on PATH\. Install Nix"):
        play(lambda: system.system(given, "w1"))
