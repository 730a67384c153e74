"""Fixtures of the Nix tests: plain Nix where it is on PATH, whole systems where NIXOS_EVAL_TREE names a module tree."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keystone import agefiles
from tests.nix import stacks
from tests.nix.evaluator import VARIABLE, Flake, instantiate, lay_out, unusable


@pytest.fixture(scope="session")
def nix() -> Callable[[str], Any]:
    """`nix(expression)` -> its value, by plain Nix without inputs."""
    if reason := unusable():
        pytest.skip(reason)
    return instantiate


@pytest.fixture(scope="session")
def flake(nix: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> Flake:
    """The flake with the facts of the checked-in stacks and of tests/nix/stacks.py."""
    del nix
    tree = os.environ.get(VARIABLE)
    if not tree:
        pytest.skip(f"{VARIABLE} names no module tree, so no system is evaluated")
    if not (Path(tree) / "nixpkgs" / "flake.nix").is_file():
        pytest.fail(f"{VARIABLE}={tree}: there is no nixpkgs/flake.nix in it. Assemble the tree again")
    scratch = tmp_path_factory.mktemp("nix")
    files: dict[str, bytes] = {}
    secrets = []
    for stack in stacks.ALL:
        files |= stacks.rendered(stack)
        settings = stacks.settings(stack)
        if settings.backup:
            secrets.append(f"secrets/{stack}/{agefiles.BACKUP_KEY}")
        for name, entry in settings.hosts.items():
            secrets += [f"secrets/{stack}/{name}/{secret}.age" for secret in agefiles.SECRETS_BY_ROLE[entry.role]]
    folder = lay_out(scratch / "flake", files, stacks.HOST_FILES, secrets)
    return Flake(folder=folder, tree=Path(tree), scratch=scratch)
