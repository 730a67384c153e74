"""What the services read from a cluster's and a host's facts: one place that knows the keys of these files."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from keystone.errors import KeystoneError

if TYPE_CHECKING:
    from twin.services import InstalledSystem

SOCKS_PORT = 1055
"""Where a machine's tailscaled takes SOCKS5 connections into the mesh, on the machine's address."""
ETCD_PORT = 2379
ETCD_PEER_PORT = 2380
CONTROLLER_MANAGER_PORT = 10257
SCHEDULER_PORT = 10259
JOIN_PORT = 9345
"""Where the primer's k3s takes new nodes. Real k3s shares the API's port, which kube-apiserver has to itself here."""
HEADSCALE_METRICS_PORT = 9090
HEADSCALE_GRPC_PORT = 50443
STUN_PORT = 3478


@dataclass(frozen=True)
class Facts:
    """The cluster's and one host's facts in the words of the services."""

    cluster: str
    pod_cidr: str
    service_cidr: str
    cluster_domain: str
    api_endpoint: str
    sans: tuple[str, ...]
    secrets_encryption: bool
    audit_log: bool
    issuer: str
    public_issuer: str
    """Who signs tokens that others than the cluster check too; empty without `cluster.issuerHost`."""
    primer: str
    primer_address: str
    mesh_url: str
    mesh_domain: str
    mesh_prefix: str
    derp_region: int
    role: str
    remote: bool

    @property
    def api_port(self) -> int:
        return urlsplit(self.api_endpoint).port or 443

    @property
    def mesh_port(self) -> int:
        return urlsplit(self.mesh_url).port or 443

    @property
    def service_address(self) -> str:
        """The API's address inside the cluster: the first of the service range."""
        return str(ipaddress.ip_network(self.service_cidr)[1])

    def mesh_name(self, host: str) -> str:
        return f"{host}.{self.mesh_domain}"

    @classmethod
    def of(cls, system: InstalledSystem) -> Facts:
        """Read the facts of an installed system; raises KeystoneError naming a fact that is missing."""
        facts, host = system.cluster, system.host
        primer = _primer(facts)
        domain = _get(facts, "cluster", "clusterDomain")
        host_name = facts["cluster"].get("issuerHost")
        return cls(
            cluster=_get(facts, "cluster", "name"),
            pod_cidr=_get(facts, "cluster", "podCidr"),
            service_cidr=_get(facts, "cluster", "serviceCidr"),
            cluster_domain=domain,
            api_endpoint=_get(facts, "cluster", "api", "endpoint"),
            sans=tuple(_get(facts, "cluster", "api", "sans")),
            secrets_encryption=_get(facts, "cluster", "secretsEncryption"),
            audit_log=_get(facts, "cluster", "auditLog"),
            issuer=f"https://kubernetes.default.svc.{domain}",
            public_issuer=f"https://{host_name}" if host_name else "",
            primer=_get(primer, "name"),
            primer_address=_get(primer, "address"),
            mesh_url=_get(facts, "mesh", "serverUrl"),
            mesh_domain=_get(facts, "mesh", "domain"),
            mesh_prefix=_get(facts, "mesh", "prefix"),
            derp_region=int(_get(facts, "mesh", "derp", "regionId")),
            role=_get(host, "role"),
            remote=bool(_get(host, "remote")),
        )


def _primer(facts: dict[str, Any]) -> dict[str, Any]:
    for server in _get(facts, "cluster", "servers"):
        if _get(server, "role") == "primer":
            return server
    raise KeystoneError("cluster.json", "names no primer", "Render the facts with `keystone facts`")


def _get(facts: dict[str, Any], *keys: str) -> Any:
    value: Any = facts
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            raise KeystoneError("facts", f"{'.'.join(keys)} is missing", "Render them with `keystone facts`")
        value = value[key]
    return value
