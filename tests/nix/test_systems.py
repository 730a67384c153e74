"""Every host of every stack evaluates to the system and to the script that formats its disk."""

import resource

import pytest

from keystone.settings import read
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
