"""Promises about the twin's control plane and its nodes, with the real API server and etcd."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import ssl
import stat
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import psutil
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests import networks
from tests.twin.sites import Trial, trial
from tests.twin.waiting import until
from twin.services.facts import Facts
from twin.services.join import check_hash, hash_password, node_password_secret
from twin.services.kubelet import Kubelet
from twin.services.layout import Layout
from twin.services.units import K3s

pytestmark = [pytest.mark.twin, pytest.mark.timeout(180)]
NETWORK = networks.fresh()
API = f"https://{NETWORK.at(10)}:6443"


@pytest.fixture(scope="module")
def site(runner: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """A primer with its control plane and two workers in the cluster."""
    one = trial(tmp_path_factory.mktemp("site"), NETWORK, workers=2)

    async def start() -> None:
        for name in ("primer", "w1", "w2"):
            await one.services(name)["k3s"].start()
        await until(lambda: all(one.services(name)["k3s"].active() for name in ("w1", "w2")))

    try:
        runner.run(start())
        yield one
    finally:
        runner.run(one.stop())
        one.site.run.rmdir()


async def get(site: Trial, *what: str, name: str = "primer") -> Any:
    return json.loads(await site.must(name, "k3s", "get", *what, "-o", "json"))


async def ready(site: Trial, node: str) -> str:
    conditions = (await get(site, "node", node))["status"]["conditions"]
    return next(one["status"] for one in conditions if one["type"] == "Ready")


def test_the_api_refuses_whoever_shows_no_certificate(runner: asyncio.Runner, site: Trial) -> None:
    context = ssl.create_default_context(cafile=str(Layout(site.system("primer").root).tls / "server-ca.crt"))

    async def scenario() -> None:
        async with httpx.AsyncClient(verify=context, trust_env=False) as client:
            for path in ("/api/v1/nodes", "/version", "/readyz"):
                assert (await client.get(API + path)).status_code == 401
            with pytest.raises(httpx.HTTPError):
                await client.get(f"http://{NETWORK.at(10)}:2379/health")

    runner.run(scenario())


def test_etcd_refuses_whoever_shows_no_certificate(runner: asyncio.Runner, site: Trial) -> None:
    context = ssl.create_default_context(cafile=str(Layout(site.system("primer").root).tls / "etcd/server-ca.crt"))

    async def scenario() -> None:
        async with httpx.AsyncClient(verify=context, trust_env=False) as client:
            with pytest.raises((httpx.TransportError, ssl.SSLError)):
                await client.get(f"https://{NETWORK.at(10)}:2379/health")

    runner.run(scenario())


def test_every_process_listens_on_the_primers_own_address_alone(site: Trial) -> None:
    seen = set()
    for child in site.supervisor.children.values():
        assert child.pid is not None
        for connection in psutil.Process(child.pid).net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN:
                seen.add(tuple(connection.laddr))
    assert {address for address, _ in seen} == {NETWORK.at(10)}
    assert {port for _, port in seen} == {6443, 2379, 2380, 10257, 10259}


def test_a_secret_lies_encrypted_in_etcd_and_a_config_map_does_not(runner: asyncio.Runner, site: Trial) -> None:
    async def scenario() -> None:
        await site.must("primer", "k3s", "create", "secret", "generic", "canary", "--from-literal=a=singing-in-secret")
        await site.must("primer", "k3s", "create", "configmap", "canary", "--from-literal=a=singing-in-public")
        assert (await get(site, "secret", "canary"))["data"]["a"] == base64.b64encode(b"singing-in-secret").decode()

    runner.run(scenario())
    database = Layout(site.system("primer").root).server / "db/etcd"
    content = b"".join(path.read_bytes() for path in database.rglob("*") if path.is_file())
    assert b"singing-in-public" in content
    assert b"singing-in-secret" not in content
    assert b"k8s:enc:secretbox:v1:key1" in content


def test_the_audit_log_tells_who_did_what_and_no_content(runner: asyncio.Runner, site: Trial) -> None:
    runner.run(site.must("primer", "k3s", "create", "secret", "generic", "audited", "--from-literal=a=unheard-of"))
    text = (Layout(site.system("primer").root).server / "logs/audit.log").read_text()
    entries = [json.loads(line) for line in text.splitlines()]
    assert any(
        entry["verb"] == "create"
        and entry["user"]["username"] == "system:admin"
        and entry["objectRef"].get("resource") == "secrets"
        for entry in entries
    )
    assert "unheard-of" not in text
    assert base64.b64encode(b"unheard-of").decode() not in text


def test_the_administrators_kubeconfig_is_private_and_names_the_primers_address(site: Trial) -> None:
    path = Layout(site.system("primer").root).admin_kubeconfig
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert API in path.read_text()


def test_nodes_are_ready_with_the_role_version_and_address_of_a_k3s_node(runner: asyncio.Runner, site: Trial) -> None:
    async def scenario() -> None:
        nodes = {one["metadata"]["name"]: one for one in (await get(site, "nodes"))["items"]}
        assert sorted(nodes) == ["primer", "w1", "w2"]
        for number, name in ((10, "primer"), (11, "w1"), (12, "w2")):
            node = nodes[name]
            assert await ready(site, name) == "True"
            assert node["status"]["nodeInfo"]["kubeletVersion"] == "v1.36.2+k3s1"
            assert {"type": "InternalIP", "address": NETWORK.at(number)} in node["status"]["addresses"]
            assert node["metadata"]["labels"]["kubernetes.io/hostname"] == name
            assert node["metadata"]["annotations"]["kwok.x-k8s.io/node"] == "fake"
            roles = {key for key in node["metadata"]["labels"] if key.startswith("node-role.kubernetes.io/")}
            servers = {"node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/etcd"}
            assert roles == (servers if name == "primer" else set())

    runner.run(scenario())


def test_a_kubelet_may_touch_its_own_node_alone(runner: asyncio.Runner, site: Trial) -> None:
    async def scenario() -> None:
        kubelet = site.services("w1")["k3s"]
        assert isinstance(kubelet, K3s)
        async with kubelet.kubelet._client() as kube:
            assert (await kube.get("/api/v1/nodes/w1"))["metadata"]["name"] == "w1"
            for path, body in (
                ("/api/v1/nodes/w2", {"metadata": {"labels": {"a": "b"}}}),
                ("/api/v1/nodes/w1", {"metadata": {"labels": {"node-role.kubernetes.io/control-plane": "true"}}}),
            ):
                with pytest.raises(Exception, match="HTTP 403"):
                    await kube.patch(path, body)
            with pytest.raises(Exception, match="HTTP 403"):
                await kube.get("/api/v1/namespaces/kube-system/secrets")

    runner.run(scenario())


def test_a_stopped_node_is_not_ready_at_once_stays_so_and_comes_back(runner: asyncio.Runner, site: Trial) -> None:
    async def scenario() -> None:
        k3s = site.services("w2")["k3s"]
        await k3s.stop()
        assert k3s.state() == "inactive"
        assert await ready(site, "w2") == "Unknown"
        await asyncio.sleep(8)
        assert await ready(site, "w2") == "Unknown"
        await k3s.start()
        await until(k3s.active)
        assert await ready(site, "w2") == "True"
        await until(lambda: no_taints(site, "w2"))

    runner.run(scenario())


async def no_taints(site: Trial, node: str) -> bool:
    return not (await get(site, "node", node))["spec"].get("taints")


def test_a_node_whose_kubelet_falls_silent_is_noticed_by_the_control_plane(runner: asyncio.Runner, site: Trial) -> None:
    async def scenario() -> None:
        k3s = site.services("w2")["k3s"]
        assert isinstance(k3s, K3s)
        task, kube = k3s.kubelet._task, k3s.kubelet._kube
        assert task is not None
        assert kube is not None
        task.cancel()

        async def unknown() -> bool:
            return await ready(site, "w2") == "Unknown"

        await until(unknown, limit=45)
        await k3s.stop()
        await k3s.start()
        await until(k3s.active)

    runner.run(scenario())


def test_a_deployment_runs_on_the_workers_and_ends_when_deleted(runner: asyncio.Runner, site: Trial) -> None:
    async def scenario() -> None:
        await site.must("primer", "k3s", "create", "deployment", "web", "--image=example.org/web", "--replicas=4")
        await site.must("primer", "k3s", "rollout", "status", "deployment/web", "--timeout=30s")
        pods = (await get(site, "pods", "-l", "app=web"))["items"]
        assert [pod["status"]["phase"] for pod in pods] == ["Running"] * 4
        assert {pod["spec"]["nodeName"] for pod in pods} <= {"primer", "w1", "w2"}
        assert all(pod["status"]["podIP"].startswith("10.42.") for pod in pods)
        await site.must("primer", "k3s", "delete", "deployment", "web", "--cascade=foreground", "--timeout=30s")
        assert (await get(site, "pods", "-l", "app=web"))["items"] == []

    runner.run(scenario())


def test_service_account_tokens_are_signed_with_the_derived_key(runner: asyncio.Runner, site: Trial) -> None:
    token = runner.run(
        site.must("primer", "k3s", "create", "token", "default", "--audience", "sts.amazonaws.com")
    ).strip()
    head, body, signature = token.split(".")

    def decoded(part: str) -> bytes:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))

    assert json.loads(decoded(head))["alg"] == "ES256"
    assert json.loads(decoded(body))["aud"] == ["sts.amazonaws.com"]
    key = load_pem_private_key(site.identities.service_account_key().encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    raw = decoded(signature)
    numbers = utils.encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    key.public_key().verify(numbers, f"{head}.{body}".encode(), ec.ECDSA(SHA256()))


def spoiled(site: Trial, change: Callable[[dict[str, bytes]], None]) -> Kubelet:
    """The k3s of a machine that joins as w1 with other secrets."""
    system = site.system("w1", change)

    async def no_mesh() -> str:
        return ""

    return Kubelet(system, Facts.of(system), site.supervisor.log_path("spoiled"), no_mesh)


async def attempt(site: Trial, change: Callable[[dict[str, bytes]], None]) -> str:
    """Why a machine with these secrets is refused for good."""
    kubelet = spoiled(site, change)
    kubelet.begin()
    await until(lambda: kubelet.state != "activating")
    state, problem = kubelet.state, kubelet.problem
    await kubelet.stop()
    assert state == "failed"
    return problem


def test_a_wrong_token_is_refused(runner: asyncio.Runner, site: Trial) -> None:
    def other_password(secrets: dict[str, bytes]) -> None:
        token = secrets["agent-token"].decode()
        secrets["agent-token"] = (token[:-4] + ("0000" if token[-4:] != "0000" else "1111")).encode()

    problem = runner.run(attempt(site, other_password))
    assert f"failed to validate connection to cluster at {API}: not authorized" in problem


def test_a_token_of_another_cluster_is_refused_before_anything_is_sent(runner: asyncio.Runner, site: Trial) -> None:
    def other_cluster(secrets: dict[str, bytes]) -> None:
        secrets["agent-token"] = b"K10" + b"0" * 64 + b"::node:" + b"1" * 64

    problem = runner.run(attempt(site, other_cluster))
    assert "token CA hash does not match the Cluster CA certificate hash: " + "0" * 64 in problem


def test_a_server_token_in_place_of_an_agents_is_refused(runner: asyncio.Runner, site: Trial) -> None:
    def servers(secrets: dict[str, bytes]) -> None:
        secrets["agent-token"] = site.identities.server_token().encode()

    assert "not a token of the form K10<hash>::node:<password>" in runner.run(attempt(site, servers))


def test_a_second_machine_of_the_same_name_waits_until_the_names_password_is_removed(
    runner: asyncio.Runner, site: Trial
) -> None:
    password = Layout(site.system("w1").root).node_password
    kept = password.read_text()

    async def scenario() -> None:
        secret = (node_password_secret("w1"), "-n", "kube-system")
        found = await get(site, "secret", *secret)
        assert check_hash(base64.b64decode(found["data"]["hash"]).decode(), kept)
        password.write_text("somebody else")
        kubelet = spoiled(site, lambda _: None)
        kubelet.begin()
        await until(lambda: "Node password rejected, duplicate hostname" in kubelet.problem)
        assert kubelet.state == "activating"
        await site.must("primer", "k3s", "delete", "secret", *secret)
        await until(lambda: kubelet.state == "active")
        await kubelet.stop()
        # Back to the first machine.
        password.write_text(kept)
        await site.must("primer", "k3s", "delete", "secret", *secret)
        await site.services("w1")["k3s"].stop()
        await site.services("w1")["k3s"].start()
        await until(site.services("w1")["k3s"].active)

    runner.run(scenario())


def test_an_agents_token_gives_no_administrator(runner: asyncio.Runner, site: Trial) -> None:
    credentials = base64.b64encode(f"node:{site.identities.agent_token().rpartition(':')[2]}".encode()).decode()
    context = ssl.create_default_context(cafile=str(Layout(site.system("primer").root).tls / "server-ca.crt"))

    async def scenario() -> tuple[int, str]:
        async with httpx.AsyncClient(verify=context, trust_env=False) as client:
            url = f"https://{NETWORK.at(10)}:9345/v1-k3s/client-admin.crt"
            answer = await client.post(url, content=b"x", headers={"Authorization": f"Basic {credentials}"})
            return answer.status_code, answer.text

    status, text = runner.run(scenario())
    assert status == 403
    assert "an agent's token gives no administrator" in text


def test_a_process_that_crashes_is_named_and_comes_back_with_its_data(runner: asyncio.Runner, site: Trial) -> None:
    async def scenario() -> None:
        await site.must("primer", "k3s", "create", "configmap", "before-the-crash")
        child = site.supervisor.children["primer-etcd"]
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        await until(lambda: any(crash.name == "primer-etcd" for crash in site.supervisor.crashes))

        async def back() -> bool:
            return (await site.run("primer", "k3s", "get", "configmap", "before-the-crash"))[0] == 0

        await until(back, limit=60)

    runner.run(scenario())


def test_a_restart_of_the_primer_keeps_the_data_and_the_nodes(runner: asyncio.Runner, site: Trial) -> None:
    async def scenario() -> float:
        await site.must("primer", "k3s", "create", "configmap", "kept")
        k3s = site.services("primer")["k3s"]
        await k3s.stop()
        assert not [name for name in site.supervisor.children if name.startswith("primer-")]
        began = time.monotonic()
        await k3s.start()
        took = time.monotonic() - began
        await site.must("primer", "k3s", "get", "configmap", "kept")
        for name in ("primer", "w1", "w2"):

            async def up(node: str = name) -> bool:
                return await ready(site, node) == "True"

            await until(up)
        return took

    assert runner.run(scenario()) < 60


def test_a_password_hash_fits_its_password_alone() -> None:
    kept = hash_password("secret")
    assert check_hash(kept, "secret")
    assert not check_hash(kept, "Secret")
    assert not check_hash("", "secret")
    assert kept.startswith("$1:")
