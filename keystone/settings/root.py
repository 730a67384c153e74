"""The whole of a stack file's `keystone:` keys, as one frozen value."""

from collections.abc import Mapping

from pydantic import Field

from keystone.settings import ports
from keystone.settings.aws import Aws
from keystone.settings.backup import Backup
from keystone.settings.clouds import Clouds
from keystone.settings.cluster import Cluster
from keystone.settings.gitops import Gitops
from keystone.settings.hosts import Host, HostName, Site
from keystone.settings.mesh import Mesh
from keystone.settings.model import Bool, Label, Model
from keystone.settings.network import Network
from keystone.settings.observability import Observability
from keystone.settings.operators import Operators
from keystone.settings.platform import Platform
from keystone.settings.storage import Storage
from keystone.settings.tunnel import Tunnel


class Settings(Model):
    """What a stack file says. Made by `parse`, `read` or `load`, which hold the cross rules too."""

    cluster: Cluster = Field(description="the Kubernetes cluster")
    sites: Mapping[Label, Site] = Field(description="local networks, by name")
    hosts: Mapping[HostName, Host] = Field(description="machines, by name")
    network: Network = Field(default=Network(), description="the cluster's network")
    mesh: Mesh = Field(description="the WireGuard mesh")
    gitops: Gitops = Field(default=Gitops(), description="what delivers charts and the user's own manifests")
    storage: Storage | None = Field(default=None, description="where volumes of pods come from")
    platform: Platform | None = Field(default=None, description="services that most clusters want")
    observability: Observability | None = Field(default=None, description="metrics, logs, alerts and dashboards")
    aws: Aws | None = Field(default=None, description="an AWS account that trusts the cluster, and pools of machines")
    tunnel: Tunnel | None = Field(default=None, description="public names behind a login, by a Cloudflare tunnel")
    clouds: Clouds | None = Field(default=None, description="pools of machines at other clouds than AWS")
    backup: Backup | None = Field(default=None, description="copies off the site, in a bucket at AWS")
    operators: Operators | None = Field(default=None, description="controllers that make things at clouds")
    protect_hosts: Bool = Field(
        default=True, description="whether an installed host refuses removal and reinstallation"
    )

    @property
    def primer(self) -> tuple[str, Host]:
        """Name and settings of the first server, which also holds the mesh's controller."""
        return next((name, host) for name, host in self.hosts.items() if host.role == "primer")

    @property
    def servers(self) -> dict[str, Host]:
        """The control plane, the Primer among them, by name."""
        return self._with_roles("primer", "server")

    @property
    def agents(self) -> dict[str, Host]:
        """The workers, by name."""
        return self._with_roles("agent")

    @property
    def edges(self) -> dict[str, Host]:
        """Hosts that only pass traffic into the mesh, by name; no nodes of Kubernetes."""
        return self._with_roles("edge")

    @property
    def nodes(self) -> dict[str, Host]:
        """Servers and agents: what Kubernetes shows as nodes, by name."""
        return self._with_roles("primer", "server", "agent")

    def site_of(self, host: str) -> Site:
        return self.sites[self.hosts[host].site]

    def tag_of(self, host: str) -> str:
        """The tag that the host has in the mesh: tag:ROLE."""
        return f"tag:{self.hosts[host].role}"

    def ports(self, service: str) -> tuple[str, ...]:
        """The ports behind an entry of a mesh rule: its words become numbers, tcp:443 stays as it is."""
        match service:
            case "api":
                return ports.API
            case "kubelet":
                return ports.KUBELET
            case "cni":
                return ports.cni_ports(self.network.cni, self.network.encryption)
            case "ssh":
                return tuple(f"tcp:{port}" for port in sorted({host.ssh.port for host in self.hosts.values()}))
        return (service,)

    def _with_roles(self, *roles: str) -> dict[str, Host]:
        return {name: host for name, host in sorted(self.hosts.items()) if host.role in roles}
