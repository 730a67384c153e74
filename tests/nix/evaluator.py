"""Runs Nix for the tests: plain expressions with what is on PATH, whole systems with an assembled module tree.

The tree is a folder with `nixpkgs/` (real nixos/ and lib/, stand-ins for packages) and `inputs/` (disko, lanzaboote,
agenix, microvm and empty stand-ins); its path comes in NIXOS_EVAL_TREE. Nothing is built and nothing is fetched.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
NIX = PROJECT / "nix"
VARIABLE = "NIXOS_EVAL_TREE"
SECONDS = 300

# Our inputs, and theirs: which folder of the tree stands in for each.
INPUTS = {
    "nixpkgs": "nixpkgs",
    "disko": "disko",
    "disko/nixpkgs": "nixpkgs",
    "lanzaboote": "lanzaboote",
    "lanzaboote/nixpkgs": "nixpkgs",
    "lanzaboote/crane": "stub-crane",
    "lanzaboote/pre-commit": "stub-empty",
    "lanzaboote/rust-overlay": "stub-empty",
    "agenix": "agenix",
    "agenix/nixpkgs": "nixpkgs",
    "agenix/systems": "stub-empty",
    "microvm": "microvm",
    "microvm/nixpkgs": "nixpkgs",
    "microvm/spectrum": "stub-empty",
}

# Packages of the release that the tree does not know. A name that is in neither is a misspelling.
PACKAGES = {
    "awscli2",
    "calicoctl",
    "cilium-cli",
    "conntrack-tools",
    "cri-tools",
    "ethtool",
    "gvisor",
    "k9s",
    "kubernetes",
    "kubernetes-helm",
    "kustomize",
    "libossp_uuid",
    "nixfmt-tree",
    "nixos-anywhere",
    "yq-go",
}
BUILDERS = {
    "writeShellScriptBin",
    "runCommand",
    "fetchurl",
    "fetchzip",
    "callPackage",
    "lib",
    "formats",
    "writeText",
    "writeTextDir",
    "linkFarm",
}


class NixError(Exception):
    """What Nix said."""


@cache
def unusable() -> str:
    """Why Nix cannot be used here; empty when it can. One that is installed may still serve other users alone."""
    if shutil.which("nix-instantiate") is None:
        return "Nix is not on PATH (Debian: apt-get install nix-bin; else https://nixos.org/download)"
    try:
        instantiate("1")
    except NixError as fault:
        return f"Nix is on PATH and refuses to work for this user: {' '.join(str(fault).split())}"
    return ""


def _run(command: list[str], env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, env=env, check=False)
    if done.returncode:
        at = re.search(r"(?m)^\s*error:", done.stderr)
        raise NixError(done.stderr[at.start() :] if at else done.stderr)
    return done.stdout


def instantiate(expression: str) -> Any:
    """The value of an expression, by plain Nix without any input."""
    return json.loads(_run(["nix-instantiate", "--eval", "--strict", "--json", "-E", expression]))


def mentioned_packages() -> set[str]:
    """Every name that our files look up in the package set."""
    found = set()
    for file in NIX.rglob("*.nix"):
        text = re.sub(r"(?m)#.*$", "", file.read_text())
        found |= set(re.findall(r"(?<![\w.])pkgs\.([A-Za-z_][\w'-]*)", text))
    return found


@dataclass
class Flake:
    """A copy of nix/ with the facts of the test's stacks, evaluated over the tree."""

    folder: Path
    tree: Path
    scratch: Path
    overrides: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        home = self.scratch / "home"
        home.mkdir(parents=True, exist_ok=True)
        registry = self.scratch / "registry.json"
        registry.write_text('{"version": 2, "flakes": []}')
        self.env = {
            **{name: value for name, value in os.environ.items() if name not in ("NIX_PATH",)},
            "HOME": str(home),
            "XDG_CACHE_HOME": str(home / "cache"),
            "NIX_CONFIG": "experimental-features = nix-command flakes\neval-cache = false\nwarn-dirty = false\n"
            f"substituters =\nflake-registry = {registry}\n",
        }
        stored: dict[str, str] = {}
        for name, folder in INPUTS.items():
            if folder not in stored:
                stored[folder] = self._add(self._nixpkgs() if folder == "nixpkgs" else self.tree / "inputs" / folder)
            self.overrides += ["--override-input", name, f"path:{stored[folder]}"]

    def _nixpkgs(self) -> Path:
        """The tree's nixpkgs with the packages that only our release has."""
        copy = self.scratch / "nixpkgs"
        if not copy.exists():
            shutil.copytree(self.tree / "nixpkgs", copy, copy_function=os.link if self._same_disk() else shutil.copy2)
            (copy / "harness" / "extra-names.json").write_text(json.dumps({name: [] for name in sorted(PACKAGES)}))
        return copy

    def _same_disk(self) -> bool:
        return self.tree.stat().st_dev == self.scratch.stat().st_dev

    def known_packages(self) -> set[str]:
        return set(json.loads((self.tree / "nixpkgs" / "harness" / "names.json").read_text()))

    def _add(self, folder: Path) -> str:
        return self.call(["nix", "store", "add-path", "--name", "source", str(folder)]).strip()

    def call(self, command: list[str]) -> str:
        # An evaluation that reached for the network would pass here and fail for a user behind a firewall.
        alone = ["unshare", "--net", "--"] if os.geteuid() == 0 and shutil.which("unshare") else []
        return _run([*alone, *command], self.env)

    def value(self, attribute: str, apply: str | None = None) -> Any:
        """The JSON value of an output; `apply` is a function that makes one of it."""
        more = ["--apply", apply] if apply else []
        command = ["nix", "eval", "--offline", "--no-write-lock-file", "--json", *self.overrides]
        return json.loads(self.call([*command, f"path:{self.folder}#{attribute}", *more]))

    def host(self, name: str, apply: str) -> Any:
        """A value of one machine; `apply` is a function of its configuration's module system."""
        return self.value(f'nixosConfigurations."{name}"', apply)

    def changed(self, name: str, module: str, apply: str) -> Any:
        """The same for a machine with one module more."""
        return self.host(name, f"c: ({apply}) (c.extendModules {{ modules = [ ({module}) ]; }})")

    def faults(self, name: str, module: str) -> list[str]:
        """The messages of all assertions that fail for a machine with one module more."""
        return self.changed(
            name, module, "c: map (a: a.message) (builtins.filter (a: !a.assertion) c.config.assertions)"
        )


def lay_out(folder: Path, files: dict[str, bytes], host_files: dict[str, str], secrets: Iterable[str]) -> Path:
    """A copy of nix/ in `folder` with these facts; each secret file says that it is one of a test."""
    shutil.copytree(NIX, folder, ignore=shutil.ignore_patterns("result*", ".*"))
    for path, content in files.items():
        _write(folder / path, content)
    for path in secrets:
        _write(folder / path, b"age-encryption.org/v1\nnot a real one\n")
    for stack in {Path(path).parts[1] for path in files}:
        _write(folder / "secrets" / stack / "operator.pub", b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAITEST operator\n")
        _write(folder / "secrets" / stack / "mesh-ca.crt", b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")
    for name, text in host_files.items():
        _write(folder / "hosts" / f"{name}.nix", text.encode())
    return folder


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
