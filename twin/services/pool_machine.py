"""A machine at EC2: what the pool image (nix/images/pool-node.nix) does once an instance has started.

It knows its metadata and nothing else: tags say where its secrets lie, its instance profile lets it read them, and with
them it joins mesh and cluster under its instance id. The image has no SSH; nobody logs in.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from keystone.errors import KeystoneError
from twin.services import InstalledSystem
from twin.services.aws_calls import instance_credentials, parameter
from twin.services.facts import Facts
from twin.services.join import node_password_secret
from twin.services.kube import Kube
from twin.services.kubelet import Kubelet
from twin.services.tailscale import Tailscale
from twin.supervisor import Supervisor

log = logging.getLogger("twin.pool_machine")
PARAMETERS, LABELS, TAINTS = "keystone-parameters", "keystone-labels", "keystone-taints"
REGION_LABEL, ZONE_LABEL = "topology.kubernetes.io/region", "topology.kubernetes.io/zone"
AGAIN_SECONDS = 2.0
JOIN_SECONDS = 60.0
LEAVE_SECONDS = 10.0


@dataclass(frozen=True)
class Instance:
    """What EC2 tells of a machine. `told` has its tags, and over them its user data: lines of WORD=VALUE."""

    id: str
    region: str = ""
    zone: str = ""
    told: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, found: dict[str, Any]) -> Instance:
        lines = (line.partition("=") for line in found["userData"].splitlines() if line and not line.startswith("#"))
        told = {**found["tags"], **{word.strip(): value.strip() for word, sep, value in lines if sep}}
        return cls(found["id"], found["region"], found["zone"], told)

    @property
    def provider_id(self) -> str:
        return f"aws:///{self.zone}/{self.id}"

    @property
    def labels(self) -> dict[str, str]:
        pairs = (one.partition("=") for one in self.told.get(LABELS, "").split(",") if one)
        return {**{key: value for key, _, value in pairs}, REGION_LABEL: self.region, ZONE_LABEL: self.zone}

    @property
    def taints(self) -> list[dict[str, str]]:
        """Of KEY=VALUE:EFFECT or KEY:EFFECT, separated by commas."""
        found = []
        for one in filter(None, self.told.get(TAINTS, "").split(",")):
            head, _, effect = one.rpartition(":")
            key, _, value = head.partition("=")
            found.append({"key": key, "effect": effect, **({"value": value} if value else {})})
        return found


class PoolKubelet(Kubelet):
    """A kubelet that registers its node with labels, taints and provider id, as its configuration says.

    The image's startup taint of the network plugin is left out: on the twin no plugin would take it away.
    """

    instance: Instance

    def _node(self) -> dict[str, Any]:
        node = super()._node()
        node["metadata"]["labels"] |= self.instance.labels
        node["spec"] = {"providerID": self.instance.provider_id, "taints": self.instance.taints}
        return node


class PoolMachine:
    """One instance; `start` returns at once, and the boot goes on until the machine has joined."""

    def __init__(
        self,
        instance: Instance,
        address: str,
        folder: Path,
        image: tuple[dict[str, Any], bytes],
        urls: dict[str, str],
        socket: Path,
        supervisor: Supervisor,
    ) -> None:
        """`image` is the cluster's facts and the mesh's CA; `urls` are AWS's endpoints, `default` for the others."""
        self.instance = instance
        self.address = address
        self.folder = folder
        self.problem = ""
        self._urls = urls
        self._supervisor = supervisor
        cluster, mesh_ca = image
        self._secrets: dict[str, bytes] = {}
        self._system = InstalledSystem(
            name=instance.id,
            address=address,
            root=folder / "root",
            cluster=cluster,
            host={"role": "agent", "remote": True},
            secrets=self._secrets,
            mesh_ca=mesh_ca,
        )
        self._facts = Facts.of(self._system)
        self.tailscale = Tailscale(self._system, self._facts, socket, supervisor)
        self.kubelet = PoolKubelet(self._system, self._facts, supervisor.log_path(instance.id), self.tailscale.address)
        self.kubelet.instance = instance
        self._boot: asyncio.Task[None] | None = None

    @property
    def state(self) -> str:
        """`booting`, `joined`, or `failed` with `problem` saying why."""
        if self.kubelet.state == "failed":
            return "failed"
        return "joined" if self.kubelet.state == "active" else "booting"

    def start(self) -> None:
        """Switch it on."""
        self._system.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._boot = asyncio.create_task(self._start(), name=f"boot {self.instance.id}")

    async def stop(self) -> None:
        """Switch it off; its disk stays."""
        if self._boot is not None:
            self._boot.cancel()
            await asyncio.wait({self._boot})
            self._boot = None
        await self.kubelet.stop()
        await self.tailscale.stop()

    async def leave(self, kube: Kube | None) -> None:
        """The instance is terminated: out of the mesh as its unit does at the end, off, and its node is taken away.

        The node is removed on behalf of whoever does that in a cluster with a cloud (autoscaler, lifecycle controller).
        Raises KeystoneError or httpx.HTTPError when the cluster cannot be asked; it can be tried again.
        """
        if self.tailscale.active():
            argv, environment = self.tailscale.client(["logout"])
            with contextlib.suppress(KeystoneError):
                await self._supervisor.run(argv, environment, limit=LEAVE_SECONDS)
        await self.stop()
        if kube is None:
            raise KeystoneError(self.instance.id, "the cluster's API is not there")
        await kube.delete(f"/api/v1/nodes/{self.instance.id}")
        await kube.delete(f"/api/v1/namespaces/kube-system/secrets/{node_password_secret(self.instance.id)}")
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)

    # --- the boot ---

    async def _start(self) -> None:
        for step in (self._read_token, self.tailscale.start, self._join_mesh):
            await self._insist(step)
        self.kubelet.begin()
        self.problem = ""
        log.info("%s is in the mesh", self.instance.id)

    async def _insist(self, step: Callable[[], Awaitable[None]]) -> None:
        """Do a step until it succeeds, as a unit that restarts on failure."""
        while True:
            try:
                await step()
                return
            except (KeystoneError, httpx.HTTPError, OSError, ValueError) as error:
                said = str(error) or type(error).__name__
                if said != self.problem:
                    log.info("%s: %s", self.instance.id, said)
                self.problem = said
                await asyncio.sleep(AGAIN_SECONDS)

    async def _parameter(self, name: str) -> str:
        prefix = self.instance.told[PARAMETERS]
        credentials = await instance_credentials(self._url("ec2"), self.instance.id)
        return await parameter(self._url("ssm"), self.instance.region, credentials, f"{prefix}/{name}")

    async def _read_token(self) -> None:
        self._secrets["agent-token"] = (await self._parameter("agent-token")).encode()

    async def _join_mesh(self) -> None:
        status = await self.tailscale.status()
        if status.get("BackendState") == "Running":
            return
        key = await self._parameter("mesh-key")
        words = ["up", "--reset", f"--timeout={JOIN_SECONDS:.0f}s", "--auth-key=file:/dev/stdin"]
        words += [f"--login-server={self._facts.mesh_url}", f"--hostname={self.instance.id}", "--accept-routes"]
        argv, environment = self.tailscale.client(words)
        limit = JOIN_SECONDS + 10
        code, _, errors = await self._supervisor.run(argv, environment, stdin=key.encode(), limit=limit)
        if code != 0:
            raise KeystoneError("tailscale up", errors.decode(errors="replace").strip()[-300:])

    def _url(self, service: str) -> str:
        return self._urls.get(service) or self._urls["default"]


def image_of(project: Path, stack: str) -> tuple[dict[str, Any], bytes]:
    """What the pool image of a stack has inside. Raises KeystoneError when it could not be built yet."""
    facts = project / "nix/facts" / stack / "cluster.json"
    authority = project / "nix/secrets" / stack / "mesh-ca.crt"
    try:
        return json.loads(facts.read_text()), authority.read_bytes()
    except (OSError, ValueError) as error:
        raise KeystoneError(
            "pool image", f"cannot be built: {error}", "Run `make up`, which renders facts and secrets"
        ) from None
