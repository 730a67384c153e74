"""Where an installed system keeps what its services own: the paths of a real k3s, Headscale and Tailscale machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """Paths below one machine's root folder."""

    root: Path

    @property
    def server(self) -> Path:
        return self.root / "var/lib/rancher/k3s/server"

    @property
    def tls(self) -> Path:
        return self.server / "tls"

    @property
    def agent(self) -> Path:
        return self.root / "var/lib/rancher/k3s/agent"

    @property
    def admin_kubeconfig(self) -> Path:
        return self.root / "etc/rancher/k3s/k3s.yaml"

    @property
    def kubelet_kubeconfig(self) -> Path:
        return self.agent / "kubelet.kubeconfig"

    @property
    def node_password(self) -> Path:
        return self.root / "etc/rancher/node/password"

    @property
    def chart_orders(self) -> Path:
        """What the twin's chart controller is told to do wrong; no file of k3s."""
        return self.root / "var/lib/keystone-twin/charts.json"

    @property
    def headscale(self) -> Path:
        return self.root / "var/lib/headscale"

    @property
    def headscale_config(self) -> Path:
        return self.root / "etc/headscale/config.yaml"

    @property
    def tailscale(self) -> Path:
        return self.root / "var/lib/tailscale"

    @property
    def mesh_ca(self) -> Path:
        return self.root / "etc/ssl/certs/mesh-ca.crt"


def environment(root: Path, **more: str) -> dict[str, str]:
    """The whole environment of a machine's process: nothing of the user's own (proxies, kubeconfigs) leaks in."""
    home = root / "root"
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    return {"PATH": "/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8", "NO_PROXY": "*", **more}
