"""Bad input on a site that is not there yet; then that site, with three servers and an edge, beside the first one."""

import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import networks
from tests.twin.acceptance.checkout import PYTHON, Checkout, Done, host
from tests.twin.acceptance.watching import Argv

pytestmark = [pytest.mark.twin, pytest.mark.timeout(900)]
NETWORK = networks.fresh()


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory, short_folder: Path, argv: Argv) -> Iterator[Checkout]:  # noqa: ARG001
    """Three servers, a worker and an edge; nothing of it is made yet."""
    hosts = {
        "primer": host(NETWORK, "primer", 10, "primer"),
        "s1": host(NETWORK, "s1", 11, "server"),
        "s2": host(NETWORK, "s2", 12, "server", unlock="remote"),
        "w1": host(NETWORK, "w1", 13, layout="ext4-luks", unlock="both"),
        "e1": host(NETWORK, "e1", 14, "edge"),
    }
    temporary = short_folder / "o"
    temporary.mkdir()
    made = Checkout(tmp_path_factory.mktemp("other") / "keystone", "ha", NETWORK, hosts, temporary)
    yield made
    made.twin("down", limit=180)


def one_line(done: Done, *texts: str) -> None:
    """The command failed with one line, which holds these texts."""
    assert done.status == 1, done.text
    assert done.stderr.count("\n") == 1, done.stderr
    assert [text for text in texts if text not in done.stderr] == [], done.stderr


def nothing_made(site: Checkout) -> None:
    """There is no machine, no process and no resource of the site."""
    # What has just failed may still be on its way out.
    site.until("the end of every process", lambda: site.processes() == [], limit=20)
    assert list(site.temporary.iterdir()) == []
    assert (site.export()["deployment"] or {}).get("resources", []) == []


def test_a_busy_port_is_one_line_and_nothing_is_started(other: Checkout):
    facts = other.keystone("facts")
    assert facts.ok, facts.text
    with socket.socket() as taken:
        taken.bind((NETWORK.at(12), 2222))
        taken.listen()
        done = other.twin("up")
    one_line(
        done, f"tcp {NETWORK.at(12)}:2222: is taken by", "End that program, or give the stack another twin:network."
    )
    nothing_made(other)


def test_missing_tools_are_one_line(other: Checkout, tmp_path: Path):
    done = other.twin("up", environment={**other.environment, "KEYSTONE_TOOLS": str(tmp_path)})
    one_line(done, "etcd, ", "headscale, tailscaled: not in", "Build the tools with `python -m toolchain`.")
    no_engine = other.keystone("up", environment={**other.environment, "PATH": "/usr/bin:/bin"})
    one_line(no_engine, "pulumi: is not on PATH.")
    nothing_made(other)


def test_a_missing_or_wrong_passphrase_is_one_line(other: Checkout):
    without = {key: value for key, value in other.environment.items() if key != "PULUMI_CONFIG_PASSPHRASE"}
    for verb in ("preview", "up", "facts"):
        done = other.keystone(verb, environment=without)
        one_line(done, "PULUMI_CONFIG_PASSPHRASE: is not set")
        wrong = other.keystone(verb, environment={**without, "PULUMI_CONFIG_PASSPHRASE": "wrong"})
        one_line(wrong, "PULUMI_CONFIG_PASSPHRASE: does not decrypt the ")
    nothing_made(other)


# `keystone facts` in a tmpfs that is full: what the folder holds is brought along, and compared in the end.
FULL = f"""
cp -r nix/facts "$1/facts" && mount -t tmpfs -o size=256k tmpfs nix/facts && cp -r "$1/facts/." nix/facts/ || exit 9
cat /dev/zero > nix/facts/filler 2> "$1/said"
grep -q "No space left" "$1/said" || exit 9
{PYTHON} -m keystone facts --stack ha
status=$?
rm nix/facts/filler
diff -r "$1/facts" nix/facts >&2 || exit 9
exit $status
"""


def may_mount() -> bool:
    """Whether a user namespace may be made, in which one mounts."""
    done = subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True)
    return done.returncode == 0


def test_too_little_room_for_a_twin_is_one_line(other: Checkout):
    if not may_mount():
        pytest.skip("no user namespaces here")
    small = f'mount -t tmpfs -o size=64m tmpfs "{other.folder / ".twin"}" && exec {PYTHON} -m twin up --stack ha'
    done = other.run("unshare", "-rm", "sh", "-c", small, limit=60)
    one_line(done, "MiB free, the twin needs 2048. Make room.")
    nothing_made(other)


@pytest.mark.parametrize("stand_in", ["a full tmpfs", "a limit on files' size"])
def test_a_full_disk_is_one_line_and_keeps_the_old_facts(other: Checkout, tmp_path: Path, stand_in: str):
    if stand_in == "a full tmpfs" and not may_mount():
        pytest.skip("no user namespaces here")
    assert other.keystone("facts").ok
    before, stack_file = other.texts(other.folder / "nix/facts"), other.stack_file.read_text()
    with other.editing() as config:
        config["keystone:hosts"]["w1"]["labels"] = {"trial": "changed"}
    if stand_in == "a full tmpfs":
        done = other.run("unshare", "-rm", "sh", "-c", FULL, "sh", str(tmp_path), limit=60)
        one_line(done, "cannot be written: No space left on device. Free the disk or its permissions.")
    else:
        limited = f"ulimit -f 0; trap '' XFSZ; exec {PYTHON} -m keystone facts --stack ha"
        done = other.run("sh", "-c", limited, limit=60)
        one_line(done, "cannot be written: File too large. Free the disk or its permissions.")
    assert other.texts(other.folder / "nix/facts") == before
    assert "nix/facts/ha/w1.json" in other.keystone("facts", "--check").stderr
    other.stack_file.write_text(stack_file)
    nothing_made(other)


def test_three_servers_and_an_edge_come_up_beside_the_first_site(site: Checkout, other: Checkout):
    if not site.status()["running"]:
        site.up()
    done = other.up()
    assert "created" in done.stdout
    verified = other.keystone("verify", "--json", limit=120)
    assert verified.ok, verified.text
    checks = json.loads(verified.stdout)["checks"]
    held = {group: sum(check["group"] == group for check in checks) for group in ("mesh ping", "node ready")}
    assert held == {"mesh ping": 20, "node ready": 4}
    assert other.mesh_nodes() == {"primer", "s1", "s2", "w1", "e1"}
    # Its disks open by passphrase alone, which the installation has typed.
    assert "initrd: SSH on" in other.log("s2")
    assert site.status()["running"]
    assert "no changes" in site.keystone("preview").stdout


def test_the_end_of_one_site_leaves_the_other_alone(site: Checkout, other: Checkout):
    nodes = site.nodes()
    engine, twin = other.destroy()
    assert engine.ok, engine.text
    assert twin.ok, twin.text
    assert other.processes() == []
    assert list(other.temporary.iterdir()) == []
    assert site.nodes() == site.mesh_nodes() == nodes
