"""The flake's inputs, its lock, its images, and the tests that boot machines (evaluated here, booted in CI)."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.nix.evaluator import NIX, Flake

LOCK = json.loads((NIX / "flake.lock").read_bytes())
SCRIPTS = sorted((NIX / "tests").glob("*.py"))
# What the driver gives a script, for the type checker.
DRIVER = """
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

class Machine:
    name: str
    def succeed(self, *commands: str, timeout: int | None = None) -> str: ...
    def fail(self, *commands: str, timeout: int | None = None) -> str: ...
    def execute(self, command: str, check_return: bool = True, timeout: int | None = 900) -> tuple[int, str]: ...
    def wait_until_succeeds(self, command: str, timeout: int = 900) -> str: ...
    def wait_for_unit(self, unit: str, user: str | None = None, timeout: int = 900) -> None: ...
    def wait_for_open_port(self, port: int, addr: str = "localhost", timeout: int = 900) -> None: ...
    def log(self, message: str) -> None: ...
    def crash(self) -> None: ...
    def start(self, allow_reboot: bool = False) -> None: ...

def start_all() -> None: ...
@contextmanager
def subtest(name: str) -> Iterator[None]:
    yield
"""


def test_the_lock_is_complete_without_the_network(nix: object, tmp_path: Path):
    """Nix takes a lock only if it covers every input; with a gap it would look for the input and find no network."""
    del nix
    folder = tmp_path / "flake"
    folder.mkdir()
    for name in ("flake.nix", "flake.lock"):
        shutil.copy(NIX / name, folder)
    alone = ["unshare", "--net", "--"] if Path("/proc/self/ns/net").exists() and is_root() else []
    command = ["nix", "--extra-experimental-features", "nix-command flakes", "flake", "metadata", "--json"]
    done = subprocess.run(
        [*alone, *command, "--offline", "--no-update-lock-file", f"path:{folder}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["locks"] == LOCK


def is_root() -> bool:
    import os

    return os.geteuid() == 0


def test_every_input_follows_our_nixpkgs_and_is_locked_by_hash():
    for name, node in LOCK["nodes"].items():
        if name != "root":
            assert re.fullmatch(r"sha256-[A-Za-z0-9+/]{43}=", node["locked"]["narHash"]), name
    for name in ("agenix", "disko", "lanzaboote", "microvm"):
        assert LOCK["nodes"][name]["inputs"]["nixpkgs"] == ["nixpkgs"], name
    assert LOCK["nodes"]["nixpkgs"]["original"]["ref"] == "nixos-26.05"


def test_outputs_are_named_after_stack_and_host(flake: Flake):
    names = flake.value("nixosConfigurations", "builtins.attrNames")
    assert {"dev-primer", "dev-w1", "home-cloud-c1", "vps-door"} <= set(names)
    assert flake.value("checks.x86_64-linux", "builtins.attrNames") == names


@pytest.mark.parametrize("name", ["mesh", "ha", "tpm", "install"])
def test_a_test_with_machines_evaluates(flake: Flake, name: str):
    assert flake.value(f"legacyPackages.x86_64-linux.tests.{name}.drvPath").endswith(f"keystone-{name}.drv")


def test_the_guards_test_needs_the_program_beside_the_flake(flake: Flake):
    with pytest.raises(Exception, match=r"build it from the repository with '\.\?dir=nix#tests\.guard'"):
        flake.value("legacyPackages.x86_64-linux.tests.guard.drvPath")


def test_the_guards_test_evaluates_from_the_repository(flake: Flake, tmp_path: Path):
    shutil.copytree(flake.folder, tmp_path / "nix")
    shutil.copytree(NIX.parent / "keystone", tmp_path / "keystone")
    for command in (["init", "--quiet"], ["add", "--all"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    command = ["nix", "eval", "--offline", "--no-write-lock-file", "--json", *flake.overrides]
    found = flake.call([*command, f"git+file://{tmp_path}?dir=nix#legacyPackages.x86_64-linux.tests.guard.drvPath"])
    assert "keystone-guard" in found


@pytest.mark.parametrize("image", ["iso", "ec2", "qcow2"])
def test_an_image_evaluates(flake: Flake, image: str):
    assert flake.value(f"legacyPackages.x86_64-linux.images.dev.{image}.drvPath").endswith(".drv")


def test_the_cluster_of_small_machines_forwards_its_two_ports(flake: Flake):
    program = flake.value("apps.x86_64-linux.cluster.program")
    assert program.endswith("/bin/keystone-cluster")
    text = (NIX / "microvm/cluster.nix").read_text()
    assert "apiPort = 16443;" in text
    assert "meshPort = 18080;" in text


def machines_of(script: Path) -> set[str]:
    source = script.with_suffix(".nix").read_text()
    return set(re.findall(r"(?m)^    (\w+) = ", source[source.index("nodes") :])) | set(
        re.findall(r"nodes\.(\w+) = ", source)
    )


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_the_scripts_of_the_machines_are_typed(script: Path, tmp_path: Path):
    declared = "".join(f"{name}: Machine = Machine()\n" for name in sorted(machines_of(script)))
    (tmp_path / "script.py").write_text(f"{DRIVER}\n{declared}\n{script.read_text()}")
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "standard", "reportReturnType": false}')
    pyright = shutil.which("pyright") or str(NIX.parent / ".venv/bin/pyright")
    done = subprocess.run([pyright, "--project", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_all_twelve_ordered_pairs_are_pinged():
    """The script loops over machines; run its loop on recorders and count."""
    script = (NIX / "tests/mesh.py").read_text()
    loop = script[script.index('with subtest("all twelve') : script.index('with subtest("machines have names")')]
    pinged: list[tuple[str, str]] = []

    class Recorder:
        def __init__(self, name: str) -> None:
            self.name = name

        def succeed(self, command: str) -> None:
            pinged.append((self.name, command.split()[-1]))

    class Nothing:
        def __enter__(self) -> None: ...
        def __exit__(self, *_: object) -> None: ...

    names = ["primer", "w1", "w2", "w3"]
    exec(
        loop,
        {"machines": [Recorder(n) for n in names], "addresses": {n: n for n in names}, "subtest": lambda _: Nothing()},
    )
    assert len(pinged) == len(set(pinged)) == 12


SCRIPT_HOSTS = ["dev-primer", "dev-w1", "home-cloud-c1", "kubeadm-primer", "kubeadm-s1", "kubeadm-flannel-c1"]


@pytest.mark.parametrize("host", SCRIPT_HOSTS)
def test_our_units_shell_text_is_sound(flake: Flake, host: str, tmp_path: Path):
    ours = """c: builtins.mapAttrs (_: s: s.script) (builtins.removeAttrs c.config.systemd.services (
      builtins.filter (n: builtins.match "(keystone|headscale-backup|k3s-certificate).*" n == null)
        (builtins.attrNames c.config.systemd.services)))"""
    checker = shutil.which("shellcheck") or str(NIX.parent / ".venv/bin/shellcheck")
    scripts = flake.host(host, ours)
    assert "keystone-mesh-settings" in scripts
    for name, text in scripts.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\nset -e\n{text}")
    # 2016: jq's own variables stand in single quotes
    command = [checker, "--shell", "bash", "--exclude", "SC2016", *(str(tmp_path / name) for name in scripts)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
