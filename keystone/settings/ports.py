"""The ports that nodes need from each other, by choice, as rules between settings and the mesh's policy take them.

What a machine's firewall opens is in nix/lib/ports.nix.

Sources: Cilium's and Calico's system requirements, k3s' networking requirements.
"""

from keystone.settings.cluster import API_PORT
from keystone.settings.network import Cni, Encryption

KUBELET_PORT = 10250
ETCD_PORTS = (2379, 2380)

API = (f"tcp:{API_PORT}",)
KUBELET = (f"tcp:{KUBELET_PORT}",)


def cni_ports(cni: Cni, encryption: Encryption) -> tuple[str, ...]:
    """What nodes open to each other for the network plugin, as protocol:port."""
    encrypted = encryption == "wireguard"
    match cni:
        case "cilium":
            return ("tcp:4240", "tcp:4244", "udp:8472", *(("udp:51871",) if encrypted else ()))
        case "flannel":
            return ("udp:51820",) if encrypted else ("udp:8472",)
        case "calico":
            return ("udp:4789", *(("udp:51820",) if encrypted else ()))
