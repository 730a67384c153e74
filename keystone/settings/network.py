"""Section `network`: the cluster's network. Left out, it holds its defaults: Cilium, encrypted, deny by default."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from keystone.settings.model import Bool, Label, Model, Range

Cni = Literal["cilium", "flannel", "calico"]
Encryption = Literal["wireguard", "none"]


class LoadBalancer(Model):
    """Who answers for the addresses of LoadBalancer services on the local network."""

    provider: Literal["metallb", "cilium"] = Field(default="cilium", description="what announces the addresses")
    pools: Mapping[Label, Range] = Field(
        default_factory=dict, description="addresses for services by name, first-last, inside a site's range"
    )


class Network(Model):
    """CNI, its encryption, load balancing and gateway."""

    cni: Cni = Field(default="cilium", description="network plugin")
    encryption: Encryption = Field(default="wireguard", description="encryption of traffic between nodes")
    load_balancer: LoadBalancer = Field(default=LoadBalancer(), description="{provider, pools}")
    gateway: Literal["traefik", "cilium", "nginx"] = Field(default="cilium", description="gateway for outside traffic")
    service_mesh: Literal["none", "cilium", "linkerd", "istio"] = Field(default="none", description="service mesh")
    default_deny: Bool = Field(default=True, description="whether namespaces refuse traffic that no policy allows")
