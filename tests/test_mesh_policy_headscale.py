"""The real Headscale takes the policy; its tests pass where every tag has a node, and fail when a rule is flipped."""

import copy
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from keystone import mesh_policy
from keystone.errors import KeystoneError
from keystone.settings import Settings, parse, stackfile
from keystone.settings.mesh import MESH_TAGS
from tests import networks

PROJECT = Path(__file__).parent.parent
NETWORK = networks.fresh()
ADDRESS = NETWORK.at(1)
START_SECONDS = 30
# Tags and groups that have a node in the fixture; group:empty has none and must be left out by `checked`.
PRESENT = {*MESH_TAGS, "group:admins", "group:devs"}


def full() -> Settings:
    """The dev stack with every role, people, a route and rules of its own."""
    document = stackfile.settings_of(stackfile.config_of("dev", PROJECT))
    hosts = document["hosts"]
    for number, (name, role) in enumerate([("s1", "server"), ("s2", "server"), ("e1", "edge")], start=20):
        host = copy.deepcopy(hosts["w1"]) | {"role": role, "address": f"127.79.0.{number}"}
        host |= {"mac": f"02:00:00:79:00:{number}", "machineSerial": f"twin-{name}", "diskSerial": f"{name}-system"}
        host |= {"disk": f"/dev/disk/by-id/virtio-{name}-system", "osdDisks": []}
        hosts[name] = host
    document["mesh"] |= {
        "users": ["alice", "bob", "carol"],
        "groups": {"admins": ["alice"], "devs": ["bob"], "empty": []},
        "rules": {"web": {"from": ["group:devs"], "to": ["tag:agent"], "routes": ["lab"], "ports": ["tcp:8000-8010"]}},
        "routes": {"lab": {"cidr": "10.9.0.0/24", "hosts": ["primer", "w1"]}},
        "ssh": {"devs": {"from": ["group:devs"], "to": ["tag:agent"], "users": ["dev"], "action": "check"}},
    }
    return parse(document)


FULL = full()


def binary() -> Path | None:
    """The pinned Headscale, if it is built already. This test builds nothing."""
    if given := os.environ.get("KEYSTONE_HEADSCALE"):
        return Path(given)
    with suppress(ImportError, KeystoneError):
        import toolchain

        return toolchain.inventory(["headscale"])[0].path
    return None


class Headscale:
    """One Headscale of the fixture, in its own folder."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.program, self.folder = program, folder
        self.config = folder / "config.json"
        http, stun = NETWORK.free_port(1), NETWORK.free_port(1, socket.SOCK_DGRAM)
        settings = {
            "server_url": f"http://{ADDRESS}:{http}",
            "listen_addr": f"{ADDRESS}:{http}",
            "metrics_listen_addr": "",
            "grpc_listen_addr": "",
            "unix_socket": str(folder / "s"),
            "unix_socket_permission": "0700",
            "noise": {"private_key_path": str(folder / "noise.key")},
            "prefixes": {"v4": "100.64.0.0/10", "allocation": "sequential"},
            "derp": {
                "urls": [],
                "paths": [],
                "auto_update_enabled": False,
                "server": {
                    "enabled": True,
                    "region_id": 900,
                    "region_code": "test",
                    "region_name": "test",
                    "verify_clients": True,
                    "stun_listen_addr": f"{ADDRESS}:{stun}",
                    "private_key_path": str(folder / "derp.key"),
                    "automatically_add_embedded_derp_region": True,
                },
            },
            "disable_check_updates": True,
            "database": {"type": "sqlite", "sqlite": {"path": str(folder / "db.sqlite")}},
            "dns": {"magic_dns": True, "base_domain": "mesh.example.internal", "override_local_dns": False},
            "policy": {"mode": "database"},
            "log": {"level": "warn"},
        }
        self.config.write_text(json.dumps(settings))
        self.log = (folder / "log").open("wb")
        self.process = subprocess.Popen([program, "-c", self.config, "serve"], stdout=self.log, stderr=self.log)

    def run(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        command = [self.program, "-c", self.config, "--force", *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, timeout=30, check=False)

    def must(self, *arguments: str) -> bytes:
        result = self.run(*arguments)
        assert result.returncode == 0, result.stderr.decode()
        return result.stdout

    def wait(self) -> None:
        until = time.monotonic() + START_SECONDS
        while (last := self.run("users", "list", "-o", "json")).returncode != 0:
            assert self.process.poll() is None, f"headscale ended: {(self.folder / 'log').read_text()[-1000:]}"
            assert time.monotonic() < until, f"headscale does not answer in {START_SECONDS} s: {last.stderr.decode()}"
            time.sleep(0.2)

    def add(self, name: str, user: str, tag: str = "") -> None:
        """Register a node; a tagged one belongs to nobody."""
        identifier = f"hskey-authreq-{name:x<24}"
        self.must("debug", "create-node", "--name", name, "--user", user, "--key", identifier)
        self.must("auth", "register", "--auth-id", identifier, "--user", user)
        if tag:
            nodes = json.loads(self.must("nodes", "list", "-o", "json"))
            [number] = [str(node["id"]) for node in nodes if node["name"] == name]
            self.must("nodes", "tag", "-i", number, "-t", tag)

    def check(self, document: bytes) -> tuple[int, str]:
        result = self.run("policy", "check", "--file", "/dev/stdin", stdin=document)
        return result.returncode, result.stderr.decode()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self.log.close()


@pytest.fixture(scope="module")
def headscale(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Headscale]:
    program = binary()
    if program is None:
        pytest.skip("no headscale: build it with `python -m toolchain` or name it in KEYSTONE_HEADSCALE")
    server = Headscale(program, tmp_path_factory.mktemp("hs"))
    try:
        server.wait()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def mesh(headscale: Headscale) -> Headscale:
    """A Headscale that holds the deployed policy, one node per tag (two agents) and the devices of two people."""
    result = headscale.run("policy", "set", "--file", "/dev/stdin", stdin=mesh_policy.deployed(FULL))
    assert result.returncode == 0, result.stderr.decode()
    for user in ("fixture", "alice", "bob"):
        headscale.must("users", "create", user)
    for tag in MESH_TAGS:
        headscale.add(tag.removeprefix("tag:"), "fixture", tag)
    headscale.add("agent-two", "fixture", "tag:agent")
    headscale.add("laptop", "alice")
    headscale.add("notebook", "bob")
    return headscale


def test_an_empty_mesh_takes_the_deployed_policy_but_not_its_tests(headscale):
    status, message = headscale.check(mesh_policy.deployed(FULL))
    assert (status, message) == (0, "")
    status, message = headscale.check(mesh_policy.checked(FULL, PRESENT))
    assert status != 0
    assert "resolved to no IP addresses" in message


def test_the_controller_gives_back_the_bytes_that_were_deployed(mesh):
    assert mesh.must("policy", "get").removesuffix(b"\n") == mesh_policy.deployed(FULL)


def test_keys_can_be_minted_for_every_tag_without_an_owner(mesh):
    for tag in MESH_TAGS:
        key = json.loads(mesh.must("preauthkeys", "create", "--tags", tag, "-e", "1h", "-o", "json"))
        assert key["acl_tags"] == [tag]


def test_all_tests_pass_where_every_tag_has_a_node(mesh):
    document = json.loads(mesh_policy.checked(FULL, PRESENT))
    assert {test["src"] for test in document["tests"]} == PRESENT
    assert mesh.check(mesh_policy.checked(FULL, PRESENT)) == (0, "")


def test_taking_out_any_rule_fails_a_test(mesh):
    document = json.loads(mesh_policy.checked(FULL, PRESENT))
    # Headscale's tests know no ICMP.
    rules = [n for n, acl in enumerate(document["acls"]) if acl["proto"] != "icmp"]
    assert len(rules) > 8
    for number in rules:
        flipped = {**document, "acls": [acl for n, acl in enumerate(document["acls"]) if n != number]}
        status, message = mesh.check(json.dumps(flipped).encode())
        assert status != 0
        assert "expected ALLOWED, got DENIED" in message


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("tag:agent", "tag:primer:2379"),
        ("tag:agent", "tag:server:2380"),
        ("tag:agent", "tag:agent:2222"),
        ("tag:agent", "tag:agent:10250"),
        ("tag:edge", "tag:primer:6443"),
        ("tag:ci", "tag:primer:2222"),
        ("tag:ci-up", "tag:agent:10250"),
        ("group:devs", "tag:primer:6443"),
        ("tag:primer", "tag:edge:9"),
        ("tag:agent", "tag:ci:6443"),
    ],
)
def test_opening_what_is_closed_fails_a_test(mesh, source, target):
    document = json.loads(mesh_policy.checked(FULL, PRESENT))
    document["acls"].append({"action": "accept", "proto": "tcp", "src": [source], "dst": [target]})
    status, message = mesh.check(json.dumps(document).encode())
    assert status != 0
    assert f"{source} -> {target} (tcp): expected DENIED, got ALLOWED" in message


def test_letting_machines_log_in_fails_an_ssh_test(mesh):
    document = json.loads(mesh_policy.checked(FULL, PRESENT))
    document["ssh"].append({"action": "accept", "src": ["tag:agent"], "dst": ["tag:primer"], "users": ["root"]})
    status, message = mesh.check(json.dumps(document).encode())
    assert status != 0
    assert "tag:agent/root -> primer: expected DENIED, got ALLOWED" in message


def test_the_dev_stack_is_checked_with_the_tags_that_it_has(mesh):
    dev = parse(stackfile.settings_of(stackfile.config_of("dev", PROJECT)))
    assert mesh.check(mesh_policy.checked(dev, {"tag:primer", "tag:agent"})) == (0, "")
