"""Which units an installed system has, and the unit `k3s`, which is a control plane and a node or a node alone."""

from __future__ import annotations

from keystone.errors import KeystoneError
from twin.services import InstalledSystem, Service, UnitState
from twin.services.control_plane import ControlPlane
from twin.services.facts import Facts
from twin.services.headscale import Headscale
from twin.services.kubelet import Kubelet
from twin.services.layout import Layout, environment
from twin.services.pool_keys import UNIT, PoolKeys
from twin.services.tailscale import Tailscale
from twin.site import Site
from twin.supervisor import Supervisor
from twin.tools import tool

PRIMER_JOIN_SECONDS = 30.0


class K3s:
    """The unit `k3s`."""

    unit = "k3s"

    def __init__(
        self, system: InstalledSystem, facts: Facts, kubelet: Kubelet, control_plane: ControlPlane | None
    ) -> None:
        self.system = system
        self.facts = facts
        self.kubelet = kubelet
        self.control_plane = control_plane
        self._problem = ""

    async def start(self) -> None:
        """A primer is up once its API is ready and its own node registered; other nodes join in the background."""
        if self.state() in ("active", "activating"):
            return
        await self.stop()
        try:
            if self.control_plane is not None:
                await self.control_plane.start()
            self.kubelet.begin()
            if self.control_plane is not None:
                await self.kubelet.joined(PRIMER_JOIN_SECONDS)
        except KeystoneError as error:
            await self.stop()
            self._problem = str(error)
            raise

    async def stop(self) -> None:
        self._problem = ""
        await self.kubelet.stop()
        if self.control_plane is not None:
            await self.control_plane.stop()

    def active(self) -> bool:
        return self.state() == "active"

    def state(self) -> UnitState:
        if self._problem or (self.control_plane is not None and self.control_plane.failed):
            return "failed"
        if self.control_plane is not None and self.kubelet.state == "active" and not self.control_plane.running:
            return "activating"
        return self.kubelet.state

    def problem(self) -> str:
        if self.control_plane is not None and self.control_plane.failed:
            return f"{self.control_plane.failed} stays down"
        return self._problem or self.kubelet.problem

    def client(self, argv: list[str]) -> tuple[list[str], dict[str, str]]:
        """kubectl: with the administrator's kubeconfig on servers, with the kubelet's, over the mesh, on agents."""
        layout = Layout(self.system.root)
        path = layout.kubelet_kubeconfig if self.facts.role == "agent" else layout.admin_kubeconfig
        return [str(tool("kubectl")), *argv], environment(self.system.root, KUBECONFIG=str(path))


def build(system: InstalledSystem, site: Site, supervisor: Supervisor) -> dict[str, Service]:
    """The units of one installed system by name: k3s and tailscaled, headscale on the primer too; an edge has no k3s.

    A further `server` is a node with the control-plane role: the twin runs one control plane, on the primer.
    """
    facts = Facts.of(system)
    tailscale = Tailscale(system, facts, site.socket(f"{system.name}.ts"), supervisor)
    units: dict[str, Service] = {"tailscaled": tailscale}
    if facts.role != "edge":
        kubelet = Kubelet(system, facts, supervisor.log_path(f"{system.name}-k3s"), tailscale.address)
        control_plane = ControlPlane(system, facts, supervisor) if facts.role == "primer" else None
        units["k3s"] = K3s(system, facts, kubelet, control_plane)
        if control_plane is not None:
            headscale = units["headscale"] = Headscale(system, facts, site.socket("headscale"), supervisor)
            if system.host.get("pools") and site.settings.aws is not None:
                endpoints = {str(name): url for name, url in site.settings.aws.endpoints.items()}
                units[UNIT] = PoolKeys(system, endpoints, headscale, control_plane.client, supervisor)
    return units
