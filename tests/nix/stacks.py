"""The stacks that the Nix tests evaluate, as settings: the deployment models, and every other choice of a machine.

Facts come from the program's own renderer, so no second copy of them can go stale.
"""

from typing import Any

from keystone import facts
from keystone.settings import Settings, parse, read
from tests.nix.evaluator import PROJECT

SITES: dict[str, Any] = {
    "home": {
        "cidr": "192.168.10.0/24",
        "gateway": "192.168.10.1",
        "nameservers": ["192.168.10.1"],
        "dhcpRange": "192.168.10.100-192.168.10.150",
    },
    "vps": {"cidr": "203.0.113.0/24", "gateway": "203.0.113.1", "nameservers": ["9.9.9.9"]},
    "cloud": {
        "cidr": "10.20.0.0/24",
        "gateway": "10.20.0.1",
        "nameservers": ["10.20.0.2"],
        "addressing": "dhcp-reservation",
    },
}
NETWORKS = {"home": "192.168.10", "vps": "203.0.113", "cloud": "10.20.0"}


def host(number: int, role: str = "agent", site: str = "home", **more: Any) -> dict[str, Any]:
    """A machine with the address, MAC and disk of its number."""
    return {
        "role": role,
        "site": site,
        "address": f"{NETWORKS[site]}.{number}",
        "mac": f"52:54:00:00:00:{number:02x}",
        "disk": f"/dev/disk/by-id/ata-SSD_{number}",
        "diskSerial": f"SSD-{number}",
        **more,
    }


def document(name: str, hosts: dict[str, Any], cluster: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """The settings of a stack with these machines; the API's endpoint is its Primer."""
    primer = next(entry for entry in hosts.values() if entry["role"] == "primer")
    return {
        "cluster": {
            "name": name,
            "domain": "example.org",
            "api": {
                "endpoint": f"https://{primer['address']}:6443",
                "sans": [primer["address"], "primer.mesh.internal"],
            },
            "authorizedKeys": [],
            **(cluster or {}),
        },
        "sites": {site: SITES[site] for site in sorted({entry["site"] for entry in hosts.values()})},
        "hosts": hosts,
        "mesh": {"serverUrl": "https://mesh.example.org", "domain": "mesh.internal"},
        **more,
    }


_METALLB = {"loadBalancer": {"provider": "metallb"}, "gateway": "traefik"}
_LAN = {"lan": {"cidr": SITES["home"]["cidr"], "hosts": ["primer"]}}

DOCUMENTS: dict[str, dict[str, Any]] = {
    # the control plane at home, workers in a cloud that reach it over the mesh
    "home-cloud": document(
        "home-cloud",
        {
            "primer": host(10, "primer", osdDisks=["/dev/disk/by-id/ata-HDD_1"], unlock="both"),
            "w1": host(11),
            "c1": host(21, site="cloud", remote=True),
            "c2": host(22, site="cloud", remote=True, unlock="remote", layout="ext4-luks"),
            "door": host(12, "edge", "vps", remote=True, unlock="remote", layout="ext4-luks"),
        },
        network={"loadBalancer": {"pools": {"ingress": "192.168.10.200-192.168.10.209"}}},
        mesh={"serverUrl": "https://mesh.example.org", "domain": "mesh.internal", "routes": _LAN},
    ),
    # the control plane on a rented machine, workers and an edge
    "vps": document(
        "vps",
        {
            "primer": host(10, "primer", "vps", unlock="remote", layout="ext4-luks"),
            "h1": host(11, remote=True),
            "door": host(12, "edge", "vps", unlock="remote", layout="ext4-luks", ssh={"port": 2222}),
        },
    ),
    # all at home: three servers and seven workers, ten machines
    "ten": document(
        "ten",
        {
            "primer": host(10, "primer"),
            "s1": host(11, "server"),
            "s2": host(12, "server"),
            **{
                f"w{n}": host(20 + n, labels={"disk": "ssd"}, osdDisks=[f"/dev/disk/by-id/ata-HDD_{n}"])
                for n in range(1, 8)
            },
        },
    ),
    "kubeadm": document(
        "kubeadm",
        {"primer": host(10, "primer"), "s1": host(11, "server"), "s2": host(12, "server"), "w1": host(21)},
        cluster={"distribution": "kubeadm"},
    ),
    "kubeadm-flannel": document(
        "kubeadm-flannel",
        {"primer": host(10, "primer"), "w1": host(21), "c1": host(22, site="cloud", remote=True)},
        cluster={"distribution": "kubeadm"},
        network={"cni": "flannel", "defaultDeny": False, **_METALLB},
    ),
    "calico": document("calico", {"primer": host(10, "primer"), "w1": host(21)}, network={"cni": "calico", **_METALLB}),
    "flannel": document(
        "flannel",
        {
            "primer": host(10, "primer", taints=[{"key": "dedicated", "value": "servers", "effect": "NoSchedule"}]),
            "w1": host(21),
            "c1": host(22, site="cloud", remote=True),
        },
        network={"cni": "flannel", **_METALLB},
    ),
    "flannel-plain": document(
        "flannel-plain",
        {"primer": host(10, "primer"), "w1": host(21)},
        network={"cni": "flannel", "encryption": "none", **_METALLB},
    ),
}

# What the settings do not say stands in host files.
HOST_FILES = {
    "vps-door": '{ keystone.edge.backends.home.address = "192.168.10.200"; }',
}


# The stack files that users begin with, examples/**/Pulumi.STACK.yaml; other programs' stack files have no cluster.
EXAMPLES = {
    file.name.split(".")[1]: file.parent
    for file in sorted(PROJECT.glob("examples/**/Pulumi.*.yaml"))
    if "keystone:cluster:" in file.read_text()
}
ALL = [*DOCUMENTS, *EXAMPLES]


def settings(stack: str) -> Settings:
    return read(stack, EXAMPLES[stack]) if stack in EXAMPLES else parse(DOCUMENTS[stack])


def rendered(stack: str) -> dict[str, bytes]:
    """The facts of a stack by their path below nix/."""
    return {path.removeprefix("nix/"): content for path, content in facts.render(settings(stack), stack).items()}


def hosts() -> list[str]:
    """Every host of every stack, STACK-HOST."""
    return [f"{stack}-{name}" for stack in ALL for name in sorted(settings(stack).hosts)]
