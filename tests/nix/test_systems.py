"""Every host of every stack evaluates to the system and to the script that formats its disk."""

import copy
import dataclasses
import resource
import shutil
from pathlib import Path

import pytest

from keystone import facts
from keystone.settings import parse, read
from tests.nix import stacks
from tests.nix.evaluator import PROJECT, Flake

BUILD = """c: let b = c.config.system.build; in {
  toplevel = builtins.unsafeDiscardStringContext b.toplevel.drvPath;
  disko = builtins.unsafeDiscardStringContext b.diskoScript.drvPath;
  inherit (c.config) warnings;
}"""
CHECKED_IN = [
    f"{stack}-{host}"
    for stack in sorted(path.name for path in (PROJECT / "nix" / "facts").iterdir() if path.is_dir())
    for host in sorted(read(stack, PROJECT).hosts)
]


@pytest.mark.parametrize("host", [*CHECKED_IN, *(host for host in stacks.hosts() if not host.startswith("ten-"))])
def test_a_host_evaluates_to_its_system_and_its_disk_script(flake: Flake, host: str):
    built = flake.host(host, BUILD)
    assert built["toplevel"].endswith(".drv")
    assert built["disko"].endswith(".drv")
    assert built["warnings"] == []


def test_a_stack_of_ten_hosts_evaluates_in_less_than_a_minute(flake: Flake):
    hosts = [f"ten-{name}" for name in stacks.DOCUMENTS["ten"]["hosts"]]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    systems = {flake.host(host, BUILD)["toplevel"] for host in hosts}
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert len(systems) == len(hosts) == 10
    # processor time: the machine may be busy with other things
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 60


def test_another_agent_changes_no_other_machines_system(flake: Flake, tmp_path: Path):
    """Facts, secrets and documents of others are no part of a machine: it is neither rebuilt nor switched for them."""
    stack = "calico"
    settings = copy.deepcopy(stacks.DOCUMENTS[stack])
    settings["hosts"]["w2"] = stacks.host(22)
    more = facts.render(parse(settings), stack)
    folder = tmp_path / "flake"
    shutil.copytree(flake.folder, folder)
    for path, content in more.items():
        (folder / path.removeprefix("nix/")).write_bytes(content)
    secret = folder / f"secrets/{stack}/w2/agent-token.age"
    secret.parent.mkdir()
    secret.write_bytes(b"age-encryption.org/v1\nanother\n")
    (folder / "README.md").write_text("changed")
    grown = dataclasses.replace(flake, folder=folder, overrides=[])
    assert "calico-w2" in grown.value("nixosConfigurations", "builtins.attrNames")
    for host in ("primer", "w1"):
        assert grown.host(f"{stack}-{host}", BUILD) == flake.host(f"{stack}-{host}", BUILD)
