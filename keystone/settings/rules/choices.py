"""Rules about choices that exclude each other."""

from collections.abc import Iterator

from keystone.settings.cluster import Cluster
from keystone.settings.faults import Fault
from keystone.settings.network import Network


def cilium_parts_need_cilium(network: Network) -> Iterator[Fault]:
    if network.cni == "cilium":
        return
    parts = {
        "network.gateway": (network.gateway, "traefik or nginx"),
        "network.loadBalancer.provider": (network.load_balancer.provider, "metallb"),
        "network.serviceMesh": (network.service_mesh, "none, linkerd or istio"),
    }
    for place, (choice, instead) in parts.items():
        if choice == "cilium":
            yield Fault(
                place, f"cilium needs network.cni cilium, which is {network.cni}", f"Use {instead}, or cilium as cni"
            )


def default_deny_is_enforced(cluster: Cluster, network: Network) -> Iterator[Fault]:
    # k3s brings a policy controller for flannel; kubeadm does not.
    if network.default_deny and network.cni == "flannel" and cluster.distribution == "kubeadm":
        yield Fault(
            "network.defaultDeny",
            "with flannel on kubeadm nothing enforces network policies",
            "Use cilium or calico as cni, or set defaultDeny to false",
        )


RULES = (cilium_parts_need_cilium, default_deny_is_enforced)
