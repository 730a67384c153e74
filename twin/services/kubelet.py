"""The stand-in for a kubelet: joins with the token as k3s does and keeps its Node object Ready; pods go to kwok.

It acts with its own certificate (system:node:NAME), so the API's node authorizer and NodeRestriction hold for it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import logging
import os
import platform
import secrets
import ssl
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from keystone.errors import KeystoneError
from twin.files import write_private
from twin.services import InstalledSystem, UnitState
from twin.services.certificates import request
from twin.services.facts import JOIN_PORT, SOCKS_PORT, Facts
from twin.services.join import token_secret
from twin.services.kube import STRATEGIC, ApiError, Kube, write_kubeconfig
from twin.services.layout import Layout

log = logging.getLogger("twin.kubelet")
VERSION = "v1.36.2+k3s1"
KWOK = "kwok.x-k8s.io/node"
BEAT_SECONDS = 5.0
LEASE_SECONDS = 20
RETRY_SECONDS = 2.0
CAPACITY = {"cpu": "8", "memory": "32Gi", "ephemeral-storage": "200Gi", "pods": "110"}
PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure")
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


class Rejected(KeystoneError):
    """The server refuses this machine; trying again would not help."""


class Kubelet:
    """One node; `begin` returns at once and the join goes on until it succeeds or is rejected."""

    def __init__(
        self,
        system: InstalledSystem,
        facts: Facts,
        log_file: Path,
        mesh_address: Callable[[], Awaitable[str]],
    ) -> None:
        self.system = system
        self.facts = facts
        self.layout = Layout(system.root)
        self.state: UnitState = "inactive"
        self.problem = ""
        self._mesh_address = mesh_address
        self._log_file = log_file
        self._task: asyncio.Task[None] | None = None
        self._kube: Kube | None = None
        self._address = system.address

    def begin(self) -> None:
        """Start joining in the background."""
        self.state, self.problem = "activating", "joining"
        self._task = asyncio.create_task(self._live(), name=f"kubelet {self.system.name}")

    async def joined(self, limit: float) -> None:
        """Wait until the node is registered; raises KeystoneError when rejected or after `limit` seconds."""
        deadline = asyncio.get_running_loop().time() + limit
        while self.state == "activating":
            if asyncio.get_running_loop().time() > deadline:
                raise KeystoneError(f"{self.system.name}-k3s", f"not joined after {limit:.0f} s (last: {self.problem})")
            await asyncio.sleep(0.1)
        if self.state == "failed":
            raise KeystoneError(f"{self.system.name}-k3s", self.problem)

    async def stop(self) -> None:
        """Stop the heartbeat and, if the API is there, say at once that the kubelet is gone (its lease would later)."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        if self._kube is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self._say_gone(self._kube), 3.0)
            await self._kube.close()
            self._kube = None
        self.state, self.problem = "inactive", ""

    # --- life ---

    async def _live(self) -> None:
        try:
            await self._join_and_beat()
        except Exception as error:
            # A fault of this program: without this the node would fall silent and nobody would know why.
            log.exception("the kubelet of %s ended", self.system.name)
            self.state, self.problem = "failed", f"{type(error).__name__}: {error}"

    async def _join_and_beat(self) -> None:
        try:
            await self._join()
        except Rejected as error:
            self.state, self.problem = "failed", str(error)
            self._write_log(f"level=fatal msg={str(error)!r}")
            return
        self.state, self.problem = "active", ""
        self._write_log(f"level=info msg='node {self.system.name} registered with {self._address}'")
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            try:
                await self._beat()
                self.problem = ""
            except (httpx.HTTPError, OSError, KeystoneError) as error:
                self._say(f"heartbeat: {_text(error)}")

    async def _join(self) -> None:
        while True:
            try:
                if self.facts.remote:
                    # A remote node is reached over the mesh alone, so it has no address before it is in the mesh.
                    self._address = await self._mesh_address()
                certificate, key, ca = await self._enrol(
                    "client-kubelet", f"system:node:{self.system.name}", "system:nodes"
                )
                self._write_files(certificate, key, ca)
                self._kube = self._client()
                await self._register(self._kube)
                await self._beat()
                await self._label_role()
                return
            except Rejected:
                raise
            except (httpx.HTTPError, OSError, KeystoneError) as error:
                self._say(_text(error))
            await asyncio.sleep(RETRY_SECONDS)

    def _say(self, problem: str) -> None:
        if problem != self.problem:
            self.problem = problem
            self._write_log(f"level=error msg={problem!r}")

    def _write_log(self, line: str) -> None:
        with self._log_file.open("a") as stream:
            stream.write(f'time="{_now()}" {line}\n')

    # --- joining ---

    def _token(self) -> tuple[str, str]:
        """The user and the full token with which this machine joins."""
        name, user = ("agent-token", "node") if self.facts.role == "agent" else ("server-token", "server")
        token = self.system.secrets.get(name, b"").decode().strip()
        if not token.startswith("K10") or f"::{user}:" not in token:
            raise Rejected(
                f"{self.system.name}-k3s",
                f"the secret {name} is missing or not a token of the form K10<hash>::{user}:<password>",
            )
        return user, token

    async def _enrol(self, kind: str, common_name: str, organization: str) -> tuple[bytes, bytes, bytes]:
        """Prove the token and get a client certificate: (certificate, key, the server CA)."""
        user, token = self._token()
        url = f"https://{self.facts.primer_address}:{JOIN_PORT}"
        ca = await self._server_ca(url, token)
        csr, key = request(common_name, organization)
        credentials = base64.b64encode(f"{user}:{token_secret(token)}".encode()).decode()
        headers = {
            "Authorization": f"Basic {credentials}",
            "k3s-Node-Name": self.system.name,
            "k3s-Node-Password": self._node_password(),
        }
        context = ssl.create_default_context(cadata=ca.decode())
        async with httpx.AsyncClient(verify=context, timeout=20.0, trust_env=False) as client:
            answer = await client.post(f"{url}/v1-k3s/{kind}.crt", content=csr, headers=headers)
        if answer.status_code == 401:
            raise Rejected(
                f"{self.system.name}-k3s",
                f"failed to validate connection to cluster at {self.facts.api_endpoint}: {_message(answer)}",
                "Check the token",
            )
        if not answer.is_success:
            # Also a node password that differs: k3s goes on trying, until somebody deletes the one that was kept.
            raise KeystoneError(f"{url}/v1-k3s/{kind}.crt", f"{answer.status_code} {_message(answer)}")
        return answer.content, key, ca

    async def _server_ca(self, url: str, token: str) -> bytes:
        """The CA that the server shows, trusted only because the token carries its hash."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        async with httpx.AsyncClient(verify=context, timeout=10.0, trust_env=False) as client:
            answer = await client.get(f"{url}/cacerts")
        answer.raise_for_status()
        seen, wanted = hashlib.sha256(answer.content).hexdigest(), token[3:].partition("::")[0]
        if seen != wanted:
            raise Rejected(
                f"{self.system.name}-k3s",
                f"token CA hash does not match the Cluster CA certificate hash: {wanted} != {seen}",
            )
        return answer.content

    def _node_password(self) -> str:
        path = self.layout.node_password
        if not path.exists():
            write_private(path, secrets.token_hex(16).encode())
        return path.read_text().strip()

    def _write_files(self, certificate: bytes, key: bytes, ca: bytes) -> None:
        folder, facts = self.layout.agent, self.facts
        write_private(folder / "server-ca.crt", ca)
        write_private(folder / "client-kubelet.crt", certificate)
        write_private(folder / "client-kubelet.key", key)
        # For people on the machine: the API by its name in the mesh, through the machine's own tailscaled.
        write_kubeconfig(
            self.layout.kubelet_kubeconfig,
            server=f"https://{facts.mesh_name(facts.primer)}:{facts.api_port}",
            ca=ca,
            certificate=certificate,
            key=key,
            proxy=f"socks5://{self.system.address}:{SOCKS_PORT}",
        )

    def _client(self, name: str = "client-kubelet") -> Kube:
        folder = self.layout.agent
        server = f"https://{self.facts.primer_address}:{self.facts.api_port}"
        return Kube(server, folder / "server-ca.crt", folder / f"{name}.crt", folder / f"{name}.key")

    # --- the Node object ---

    async def _register(self, kube: Kube) -> None:
        node = self._node()
        path = f"/api/v1/nodes/{self.system.name}"
        try:
            await kube.create("/api/v1/nodes", node)
        except ApiError as error:
            if error.status != 409:
                raise
            await kube.patch(path, {"metadata": node["metadata"]}, STRATEGIC)
            await kube.patch(f"{path}/status", {"status": node["status"]}, STRATEGIC)

    def _node(self) -> dict[str, Any]:
        name, machine = self.system.name, _architecture()
        identity = hashlib.sha256(f"{self.facts.cluster}/{name}".encode()).hexdigest()
        uuid = f"{identity[:8]}-{identity[8:12]}-4{identity[13:16]}-8{identity[17:20]}-{identity[20:32]}"
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "labels": {
                    **{f"{prefix}kubernetes.io/arch": machine for prefix in ("", "beta.")},
                    **{f"{prefix}kubernetes.io/os": "linux" for prefix in ("", "beta.")},
                    "kubernetes.io/hostname": name,
                    "node.kubernetes.io/instance-type": "k3s",
                    KWOK: "fake",
                },
                "annotations": {
                    KWOK: "fake",
                    "k3s.io/hostname": name,
                    "k3s.io/internal-ip": self._address,
                    **_flannel(self.system.cluster["network"]),
                },
            },
            "spec": {"providerID": f"k3s://{name}"},
            "status": {
                "addresses": [
                    {"type": "InternalIP", "address": self._address},
                    {"type": "Hostname", "address": name},
                ],
                "capacity": CAPACITY,
                "allocatable": CAPACITY,
                "conditions": _conditions(),
                "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
                "nodeInfo": {
                    "architecture": machine,
                    "bootID": uuid,
                    "containerRuntimeVersion": "kwok://0.8.0",
                    "kernelVersion": platform.release(),
                    "kubeProxyVersion": "",
                    "kubeletVersion": VERSION,
                    "machineID": identity[:32],
                    "operatingSystem": "linux",
                    "osImage": "NixOS (Keystone twin)",
                    "systemUUID": uuid,
                },
            },
        }

    async def _label_role(self) -> None:
        """Servers label their own node with an administrator's rights: NodeRestriction forbids it to a kubelet."""
        if self.facts.role not in ("primer", "server"):
            return
        certificate, key, _ = await self._enrol("client-admin", "system:admin", "system:masters")
        write_private(self.layout.agent / "client-admin.crt", certificate)
        write_private(self.layout.agent / "client-admin.key", key)
        labels = {"node-role.kubernetes.io/control-plane": "true"}
        if self.facts.role == "primer":
            labels["node-role.kubernetes.io/etcd"] = "true"
        else:
            server = f"https://{self.facts.primer_address}:{self.facts.api_port}"
            ca = (self.layout.agent / "server-ca.crt").read_bytes()
            write_kubeconfig(self.layout.admin_kubeconfig, server=server, ca=ca, certificate=certificate, key=key)
        async with self._client("client-admin") as kube:
            await kube.patch(f"/api/v1/nodes/{self.system.name}", {"metadata": {"labels": labels}})

    async def _beat(self) -> None:
        kube, name = self._kube, self.system.name
        assert kube is not None
        try:
            node = await kube.get(f"/api/v1/nodes/{name}")
        except ApiError as error:
            # A node that was removed from the cluster does not come back before its k3s starts again, as a real one.
            if error.status == 404:
                return
            raise
        await self._renew_lease(kube, node["metadata"]["uid"])
        conditions = {one["type"]: one["status"] for one in node.get("status", {}).get("conditions", [])}
        if conditions.get("Ready") != "True":
            await kube.patch(f"/api/v1/nodes/{name}/status", {"status": {"conditions": _conditions()}}, STRATEGIC)
        if node["metadata"].get("labels", {}).get(KWOK) != "fake":
            await kube.patch(f"/api/v1/nodes/{name}", {"metadata": {"labels": {KWOK: "fake"}}})

    async def _renew_lease(self, kube: Kube, uid: str) -> None:
        spec = {
            "holderIdentity": self.system.name,
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        try:
            await kube.patch(f"{LEASES}/{self.system.name}", {"spec": spec})
        except ApiError as error:
            if error.status != 404:
                raise
            owner = {"apiVersion": "v1", "kind": "Node", "name": self.system.name, "uid": uid}
            metadata = {"name": self.system.name, "ownerReferences": [owner]}
            await kube.create(
                LEASES, {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
            )

    async def _say_gone(self, kube: Kube) -> None:
        """What the node controller would write once the lease has run out, and no more pods from kwok."""
        path = f"/api/v1/nodes/{self.system.name}"
        gone = {
            "type": "Ready",
            "status": "Unknown",
            "reason": "NodeStatusUnknown",
            "message": "Kubelet stopped posting node status.",
            "lastTransitionTime": _now(),
        }
        await kube.patch(path, {"metadata": {"labels": {KWOK: None}}})
        await kube.patch(f"{path}/status", {"status": {"conditions": [gone]}}, STRATEGIC)


def _conditions() -> list[dict[str, str]]:
    now = _now()
    times = {"lastHeartbeatTime": now, "lastTransitionTime": now}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status"}
    calm = [
        {"type": kind, "status": "False", "reason": f"KubeletHasNo{kind}", "message": f"kubelet has no {kind}", **times}
        for kind in PRESSURES
    ]
    return [*calm, {**ready, **times}]


def _architecture() -> str:
    machine = os.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json().get("message", ""))
    except ValueError:
        return answer.text[:200]


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__


def _flannel(network: Mapping[str, Any]) -> dict[str, str]:
    """What the flannel within k3s writes on its node."""
    if network["cni"] != "flannel":
        return {}
    return {"flannel.alpha.coreos.com/backend-type": "wireguard" if network["encryption"] == "wireguard" else "vxlan"}
