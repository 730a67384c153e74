"""Every network of the tests is dealt once, whatever runs beside."""

import subprocess
import sys
from ipaddress import IPv4Network
from pathlib import Path

from tests import networks

PROJECT = Path(__file__).resolve().parents[1]
SAY = "from tests import networks; print(networks.fresh())"


def test_no_network_is_dealt_twice() -> None:
    dealt = [IPv4Network(str(networks.fresh())) for _ in range(3)]
    assert len({str(one) for one in dealt}) == 3
    assert all(one.prefixlen == 24 and one.is_loopback for one in dealt)


def test_a_process_beside_this_one_gets_other_networks() -> None:
    said = subprocess.run(
        [sys.executable, "-c", SAY], cwd=PROJECT, capture_output=True, text=True, check=True, timeout=30
    )
    other, ours = IPv4Network(said.stdout.strip()), networks.fresh()
    assert other.supernet(new_prefix=16) != IPv4Network(str(ours)).supernet(new_prefix=16)


def test_no_stack_of_the_project_lies_where_tests_listen() -> None:
    taken = tuple(f"127.{second}." for second in networks.SECONDS)
    for file in PROJECT.glob("Pulumi.*.yaml"):
        text = file.read_text()
        assert not [start for start in taken if start in text], file.name
