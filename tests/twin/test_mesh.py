"""Promises about the twin's mesh: real Headscale, its relay, and one tailscaled per machine."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import re
import socket
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from keystone.identities import Identities
from tests import networks
from tests.twin.sites import Trial, trial
from tests.twin.waiting import until
from twin.services.layout import Layout
from twin.services.units import K3s, build

pytestmark = [pytest.mark.twin, pytest.mark.timeout(240)]
NETWORK = networks.fresh()
CONTROLLER = f"https://{NETWORK.at(10)}:8443"
MACHINES = ("primer", "w1", "w2", "w3")


@pytest.fixture(scope="module")
def site(runner: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """A primer and three workers, all in the mesh and in the cluster."""
    one = trial(tmp_path_factory.mktemp("site"), NETWORK, workers=3)

    async def start() -> None:
        await one.services("primer")["headscale"].start()
        await asyncio.gather(*(one.services(name)[unit].start() for name in MACHINES for unit in ("k3s", "tailscaled")))
        await until(lambda: all(one.services(name)["k3s"].active() for name in MACHINES))
        for name in MACHINES:
            await join(one, name)

    try:
        runner.run(start())
        yield one
    finally:
        runner.run(one.stop())
        one.site.run.rmdir()


async def join(site: Trial, name: str) -> None:
    """What Keystone does: one tagged key, by standard input."""
    made = await site.must(
        "primer", "headscale", "preauthkeys", "create", "--tags", "tag:agent", "-e", "1h", "-o", "json"
    )
    flags = (f"--login-server={CONTROLLER}", "--auth-key=file:/dev/stdin", f"--hostname={name}", "--timeout=30s")
    await site.must(name, "tailscaled", "up", *flags, stdin=json.loads(made)["key"].encode())


async def nodes(site: Trial) -> dict[str, Any]:
    listed = json.loads(await site.must("primer", "headscale", "nodes", "list", "-o", "json"))
    return {node["given_name"]: node for node in listed}


def test_all_twelve_pairs_answer_on_the_direct_path(runner: asyncio.Runner, site: Trial) -> None:
    async def answers(one: str, other: str) -> bool:
        """Whether a machine reaches another one, which takes a moment after both have joined.

        Its status lists a peer before the part that pings knows it, so that only a ping tells.
        """
        code, _, _ = await site.run(one, "tailscaled", "ping", "--c=1", "--until-direct=false", "--timeout=5s", other)
        return code == 0

    async def scenario() -> None:
        for one, other in itertools.permutations(MACHINES, 2):
            await until(lambda one=one, other=other: answers(one, other))
            # The first answer may take the relay while the direct path is found.
            output = await site.must(one, "tailscaled", "ping", "--c=10", "--timeout=5s", other)
            last = output.strip().splitlines()[-1]
            assert last.startswith(f"pong from {other} (100.64."), output
            # The address may be any of this computer's own: tailscaled finds them all.
            assert re.search(r" via \d+\.\d+\.\d+\.\d+:\d+ ", last), output

    runner.run(scenario())


def test_the_controller_lists_every_machine_with_its_tag_and_name(runner: asyncio.Runner, site: Trial) -> None:
    listed = runner.run(nodes(site))
    assert sorted(listed) == sorted(MACHINES)
    assert all(node["tags"] == ["tag:agent"] for node in listed.values())


def test_the_mesh_is_served_over_tls_by_the_private_ca_and_through_its_own_relay(
    runner: asyncio.Runner, site: Trial
) -> None:
    status = json.loads(runner.run(site.must("w1", "tailscaled", "status", "--json")))
    assert status["Self"]["Relay"] == "keystone"
    assert status["MagicDNSSuffix"] == "mesh.keystone.test"

    async def told() -> bool:
        """A machine hears of another one's relay some time after the other has chosen it."""
        status = json.loads(await site.must("w1", "tailscaled", "status", "--json"))
        return all(peer["Relay"] == "keystone" for peer in status["Peer"].values())

    runner.run(until(told))


def test_a_machine_that_trusts_another_ca_does_not_get_in(runner: asyncio.Runner, site: Trial) -> None:
    other = Identities("7b" * 32, "other").mesh_ca()[0].encode()

    async def scenario() -> str:
        system = dataclasses.replace(
            site.system("w1"),
            name="stranger",
            address=NETWORK.at(77),
            root=site.site.machines / "stranger",
            mesh_ca=other,
        )
        system.root.mkdir()
        unit = build(system, site.site, site.supervisor)["tailscaled"]
        await unit.start()
        try:
            command, environment = unit.client(
                ["up", f"--login-server={CONTROLLER}", "--auth-key=nonsense", "--timeout=4s"]
            )
            code, _, errors = await site.supervisor.run(command, environment, limit=30)
            assert code != 0
            return errors.decode() + "\n".join(site.supervisor.last_lines("stranger-tailscaled", 200))
        finally:
            await unit.stop()

    assert "certificate signed by unknown authority" in runner.run(scenario())
    assert "stranger" not in runner.run(nodes(site))


def test_a_persons_laptop_joins_by_the_link_that_it_is_given(runner: asyncio.Runner, site: Trial) -> None:
    """docs/operations/laptop.md, by a daemon that has nothing of a host's."""
    laptop = dataclasses.replace(
        site.system("w1"), name="laptop", address=NETWORK.at(78), root=site.site.machines / "laptop"
    )
    laptop.root.mkdir()

    async def scenario() -> None:
        unit = build(laptop, site.site, site.supervisor)["tailscaled"]

        async def said(*argv: str) -> str:
            command, environment = unit.client([*argv])
            _, output, _ = await site.supervisor.run(command, environment, limit=60)
            return output.decode()

        async def status() -> dict[str, Any]:
            return json.loads(await said("status", "--json"))

        async def asked() -> bool:
            return bool((await status())["AuthURL"])

        async def running() -> bool:
            return (await status())["BackendState"] == "Running"

        await unit.start()
        login = asyncio.create_task(said("up", f"--login-server={CONTROLLER}", "--hostname=laptop", "--timeout=50s"))
        try:
            await until(asked)
            link = (await status())["AuthURL"]
            assert link.startswith(f"{CONTROLLER}/register/")
            await site.must("primer", "headscale", "users", "create", "ann")
            identity = link.rpartition("/")[2]
            await site.must("primer", "headscale", "auth", "register", "--auth-id", identity, "--user", "ann")
            await until(running)
            node = (await nodes(site))["laptop"]
            assert (node["user"]["name"], node.get("tags")) == ("ann", None)
            await site.must("primer", "headscale", "nodes", "delete", "--identifier", str(node["id"]), "--force")
        finally:
            login.cancel()
            await unit.stop()

    runner.run(scenario())


def test_kubectl_on_a_worker_reaches_the_api_over_the_mesh_by_the_primers_name(
    runner: asyncio.Runner, site: Trial
) -> None:
    text = Layout(site.system("w1").root).kubelet_kubeconfig.read_text()
    assert "server: https://primer.mesh.keystone.test:6443" in text

    async def scenario() -> None:
        async def published() -> bool:
            return (await site.run("w1", "k3s", "get", "--raw", "/readyz"))[0] == 0

        await until(published)
        for name in ("w1", "w2", "w3"):
            assert await site.must(name, "k3s", "get", "--raw", "/readyz") == "ok"
            assert name in await site.must(name, "k3s", "get", "node", name)
            code, _, errors = await site.run(name, "k3s", "get", "secrets", "-A")
            assert code != 0
            assert "Forbidden" in errors

    runner.run(scenario())


def test_kubectl_on_a_worker_does_not_work_without_its_mesh_daemon(runner: asyncio.Runner, site: Trial) -> None:
    async def scenario() -> None:
        daemon = site.services("w3")["tailscaled"]
        await daemon.stop()
        code, _, errors = await site.run("w3", "k3s", "get", "--raw", "/readyz", "--request-timeout=5s")
        assert code != 0
        assert "primer.mesh.keystone.test:6443 was refused" in errors
        await daemon.start()

    runner.run(scenario())


def test_a_restarted_daemon_is_the_same_node_without_a_new_key(runner: asyncio.Runner, site: Trial) -> None:
    async def scenario() -> None:
        before = (await nodes(site))["w2"]
        daemon = site.services("w2")["tailscaled"]
        await daemon.stop()
        await daemon.start()

        async def back() -> bool:
            return json.loads(await site.must("w2", "tailscaled", "status", "--json"))["BackendState"] == "Running"

        await until(back)
        after = (await nodes(site))["w2"]
        assert (after["id"], after["ip_addresses"]) == (before["id"], before["ip_addresses"])

    runner.run(scenario())


def test_a_restarted_controller_keeps_its_nodes_and_identity(runner: asyncio.Runner, site: Trial) -> None:
    async def scenario() -> None:
        before = await nodes(site)
        unit = site.services("primer")["headscale"]
        await unit.stop()
        assert unit.state() == "inactive"
        began = time.monotonic()
        await unit.start()
        assert time.monotonic() - began < 100
        after = await nodes(site)
        assert {name: node["node_key"] for name, node in after.items()} == {
            name: node["node_key"] for name, node in before.items()
        }
        output = await site.must("w1", "tailscaled", "ping", "--c=10", "--timeout=5s", "w2")
        assert "pong from w2" in output

    runner.run(scenario())
    log = site.supervisor.log_path("primer-headscale").read_text()
    assert "private key does not exist" not in log.lower()


def test_a_remote_node_waits_for_its_mesh_address_and_registers_with_it(runner: asyncio.Runner, site: Trial) -> None:
    async def scenario() -> None:
        unit = site.services("w3")["k3s"]
        daemon = site.services("w3")["tailscaled"]
        assert isinstance(unit, K3s)
        await unit.stop()
        await daemon.stop()
        remote = dataclasses.replace(site.system("w3"), host={**site.system("w3").host, "remote": True})
        units = build(remote, site.site, site.supervisor)
        await units["k3s"].start()
        await asyncio.sleep(1.0)
        assert units["k3s"].state() == "activating"
        await units["tailscaled"].start()
        await until(units["k3s"].active)
        node = json.loads(await site.must("primer", "k3s", "get", "node", "w3", "-o", "json"))
        address = (await nodes(site))["w3"]["ip_addresses"][0]
        assert {"type": "InternalIP", "address": address} in node["status"]["addresses"]
        await units["k3s"].stop()
        await units["tailscaled"].stop()

    runner.run(scenario())


def test_nothing_but_the_udp_sockets_of_the_mesh_listens_beyond_loopback(site: Trial) -> None:
    beyond = []
    for name, child in site.supervisor.children.items():
        if child.pid is None:
            continue
        for connection in psutil.Process(child.pid).net_connections("inet"):
            listening = connection.status == psutil.CONN_LISTEN or (
                connection.type == socket.SOCK_DGRAM and not connection.raddr
            )
            if listening and not connection.laddr.ip.startswith(f"{NETWORK.base}."):
                beyond.append((name.rpartition("-")[2], "udp" if connection.type == socket.SOCK_DGRAM else "tcp"))
    assert set(beyond) == {("tailscaled", "udp")}


def test_no_secret_stands_in_the_arguments_or_the_logs_of_a_process(site: Trial) -> None:
    secrets = {name: text.strip() for name, text in site.system("primer").secrets.items() if b"CERTIFICATE" not in text}
    told = [
        b"\0".join(argument.encode() for argument in psutil.Process(child.pid).cmdline())
        for child in site.supervisor.children.values()
        if child.pid is not None
    ]
    told += [path.read_bytes() for path in site.site.logs.glob("*.log")]
    for name, secret in secrets.items():
        # PEM keys are looked for by their longest line, tokens by their password.
        needle = max(secret.rpartition(b":")[2].splitlines(), key=len)
        assert not [text for text in told if needle in text], name
