"""Network rules about files beside the settings: manifests, k3s' configuration, Headscale policies, Nix, facts."""

import json
import re
from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import Any

from keystone import charts
from keystone.addressing import DOCKER_RANGE, MESH_SPACE, AddressRange
from keystone.checks.findings import Finding
from keystone.checks.network.plan import (
    LAN_MTU,
    MESH_MTU,
    Plan,
    addresses_in,
    chart_of,
    network_in,
    values_of,
)
from keystone.checks.ownership.conflicts import CNI_RELEASES
from keystone.checks.ownership.manifests import Manifest
from keystone.checks.ownership.objects import group_of, metadata_of

_DAEMONS = {"cilium": "cilium", "calico-node": "calico", "kube-flannel-ds": "flannel", "kube-flannel": "flannel"}
_DAEMONS |= {"canal": "canal", "antrea-agent": "antrea", "weave-net": "weave-net"}
_OVERHEAD = {"cilium": (50, 130), "flannel": (50, 80), "calico": (50, 80)}
"""Bytes that each plug-in puts around a packet: without and with WireGuard. As in nix/modules/cni.nix."""
_VIP_MARKS = (
    "metallb.io/loadBalancerIPs",
    "metallb.universe.tf/loadBalancerIPs",
    "lbipam.cilium.io/ips",
    "io.cilium/lb-ipam-ips",
)
_CALICO_GROUPS = ("crd.projectcalico.org", "projectcalico.org")
_HOST_LAYER = re.compile(r"server/manifests|k3s")


def _in_gitops(one: Manifest) -> str:
    """Who would install the network plug-in that a manifest is: a GitOps engine; empty when it is none."""
    chart, kind = chart_of(one), str(one.document.get("kind"))
    if chart in CNI_RELEASES and kind in ("HelmRelease", "Application"):
        return f"{kind} of the chart {chart}"
    name = str(metadata_of(one.document).get("name"))
    if kind == "DaemonSet" and name in _DAEMONS and not _HOST_LAYER.search(one.place):
        return f"DaemonSet {name}"
    return ""


def cni_in_gitops(plan: Plan) -> Iterator[Finding]:
    """A GitOps engine runs on the network: it can neither install it first nor repair it when it is broken."""
    cure = "Leave the network plugin to the host layer (network.cni)"
    for one in plan.manifests:
        if what := _in_gitops(one):
            yield Finding("cni-in-gitops", one.place, f"{what}: the network plugin would depend on itself", cure)
    for name, release in charts.releases(plan.settings).items():
        if release.chart.rpartition("/")[2] in CNI_RELEASES:
            problem = f"of the chart {release.chart}: the network plugin would depend on itself"
            yield Finding("cni-in-gitops", f"release {name}", problem, cure)


def two_cnis(plan: Plan) -> Iterator[Finding]:
    """Two network plug-ins write the same routes and the same folder of configuration."""
    chosen = plan.settings.network.cni
    for config in plan.configs:
        backend = config.text("flannel-backend")
        if config.server and chosen != "flannel" and backend and backend != "none":
            problem = f"flannel-backend {backend} beside network.cni {chosen}: two plugins would set up each node"
            yield Finding("two-cnis", config.place, problem, "Set flannel-backend to none")
    for one in plan.manifests:
        chart = chart_of(one) if one.document.get("kind") == "HelmChart" else ""
        name = (
            _DAEMONS.get(str(metadata_of(one.document).get("name")), "")
            if one.document.get("kind") == "DaemonSet"
            else ""
        )
        other = chart if chart in CNI_RELEASES else name
        if other and other.replace("tigera-operator", "calico") != chosen and not _in_gitops(one):
            problem = f"installs {other} beside network.cni {chosen}: two plugins would set up each node"
            yield Finding("two-cnis", one.place, problem, f"Remove it, or choose {other} as network.cni")


def etcd_on_mesh(plan: Plan) -> Iterator[Finding]:
    """etcd waits for its peers at every write; a mesh that needs the cluster must not carry it (k3s #14515, #8001)."""
    cure = "Give the server its address on the local network"
    for config in plan.configs:
        if not config.server:
            continue
        for key in ("node-ip", "advertise-address", "etcd-arg"):
            for address in addresses_in(config.text(key)):
                if address in MESH_SPACE:
                    problem = f"{key} {address} of a server is an address of the mesh: etcd would listen there"
                    yield Finding("etcd-on-mesh", config.place, problem, cure)
        if config.text("flannel-iface").startswith(("tailscale", "wg", "ts")):
            problem = (
                f"flannel-iface {config.text('flannel-iface')} of a server sends the servers' traffic through the mesh"
            )
            yield Finding("etcd-on-mesh", config.place, problem, cure)


def vpn_auth(plan: Plan) -> Iterator[Finding]:
    """k3s' own start of Tailscale: it needs the mesh before it has an address, and servers hold the mesh's controller
    (k3s #12830, #14142, #13659)."""
    for config in plan.configs:
        if not config.text("vpn-auth") and not config.text("vpn-auth-file"):
            continue
        if config.server:
            problem = "vpn-auth on a server: k3s waits for the mesh, whose controller the servers hold"
        else:
            problem = "vpn-auth: k3s joins the mesh itself, without the machine's key, tag and pinned policy"
        yield Finding("vpn-auth", config.place, problem, "Remove it: every machine joins before k3s starts")


def _approved(plan: Plan, block: IPv4Network, tag: str = "") -> bool:
    for policy in plan.policies.values():
        for cidr, tags in ((policy.get("autoApprovers") or {}).get("routes") or {}).items():
            range_ = network_in(cidr)
            if range_ is not None and block.subnet_of(range_) and (not tag or tag in tags):
                return True
    return False


def _advertised(plan: Plan) -> Iterator[tuple[str, IPv4Network, str]]:
    """Routes that somebody announces: place, range, and the tag of who does where that is known."""
    for place, facts in plan.facts.items():
        name, role = facts.get("name"), facts.get("role")
        if name in plan.settings.hosts:
            yield from (
                (place, block, f"tag:{role}") for text in facts.get("meshRoutes") or [] if (block := network_in(text))
            )
    for config in plan.configs:
        auth = config.text("vpn-auth")
        for text in re.findall(r"--advertise-routes[= ]([\d./,]+)", auth):
            yield from ((config.place, block, "") for part in text.split(",") if (block := network_in(part)))
        if auth:
            yield config.place, plan.settings.cluster.pod_cidr, ""
    for one in plan.of_kind("Connector"):
        router = (one.document.get("spec") or {}).get("subnetRouter") or {}
        yield from (
            (one.place, block, "") for text in router.get("advertiseRoutes") or [] if (block := network_in(text))
        )


def route_not_approved(plan: Plan) -> Iterator[Finding]:
    """An announced route carries nothing until the policy approves it (Headscale #2485, #2547, #2891)."""
    for place, block, tag in _advertised(plan):
        if not _approved(plan, block, tag):
            who = f" for {tag}" if tag else ""
            problem = f"the route {block} is announced, and no autoApprovers of the mesh's policy approve it{who}"
            yield Finding("route-not-approved", place, problem, "Add it to mesh.routes with the hosts that announce it")


def _blocks(one: Manifest) -> Iterator[tuple[str, AddressRange]]:
    """The addresses that a manifest wants announced: of a pool, or of one service."""
    document, spec = one.document, one.document.get("spec") or {}
    kind, group = document.get("kind"), group_of(document)
    texts: list[str] = []
    if (kind, group) == ("IPAddressPool", "metallb.io"):
        texts = [str(text) for text in spec.get("addresses") or []]
    elif (kind, group) == ("CiliumLoadBalancerIPPool", "cilium.io"):
        for block in spec.get("blocks") or []:
            stop = block.get("stop", block.get("start", ""))
            texts.append(str(block.get("cidr") or f"{block.get('start')}-{stop}"))
    elif kind == "Service" and not group:
        marks = metadata_of(document).get("annotations") or {}
        texts = [part for mark in _VIP_MARKS for part in str(marks.get(mark, "")).split(",") if part]
        texts += [str(spec["loadBalancerIP"])] if spec.get("loadBalancerIP") else []
    for text in texts:
        try:
            yield f"{kind} {metadata_of(document).get('name')}", AddressRange.parse(text.strip())
        except ValueError:
            continue  # IPv6, or a variable


def pool_outside_lan(plan: Plan) -> Iterator[Finding]:
    """Addresses for services are announced by ARP: they must lie in a site's network, and be nobody else's."""
    settings = plan.settings
    for one in plan.manifests:
        for what, pool in _blocks(one):
            site = next((site for site in settings.sites.values() if pool.inside(site.cidr)), None)
            if site is None:
                problem = f"{what} has {pool}, which lies in no site's network: nobody there would answer for it"
                yield Finding("pool-outside-lan", one.place, problem, "Take free addresses of a site")
                continue
            taken = [f"the host {name}" for name, host in settings.hosts.items() if host.address in pool]
            if site.dhcp_range is not None and pool.overlaps(site.dhcp_range):
                taken.append(f"the dhcpRange {site.dhcp_range}")
            if taken:
                problem = f"{what} has {pool}, which overlaps {', '.join(taken)}"
                yield Finding("pool-outside-lan", one.place, problem, "Take free addresses of a site")


def _pod_ranges(plan: Plan) -> Iterator[tuple[str, str, IPv4Network]]:
    for config in plan.configs:
        for key in ("cluster-cidr", "service-cidr"):
            if block := network_in(config.text(key)):
                yield config.place, key, block
    for one in plan.manifests:
        values = values_of(one) if chart_of(one) == "cilium" else {}
        operator = ((values.get("ipam") or {}).get("operator") or {}).get("clusterPoolIPv4PodCIDRList") or []
        for text in operator if isinstance(operator, list) else [operator]:
            if block := network_in(text):
                yield one.place, "clusterPoolIPv4PodCIDRList", block
        pool = one.document["kind"] == "IPPool" and group_of(one.document) in _CALICO_GROUPS
        if pool and (block := network_in((one.document.get("spec") or {}).get("cidr"))):
            yield one.place, "IPPool", block


def range_overlap(plan: Plan) -> Iterator[Finding]:
    """Ranges in files, against the local networks, the mesh and docker: the nodes would lose their way to them."""
    spaces: dict[str, Any] = {f"sites.{name}.cidr": site.cidr for name, site in plan.settings.sites.items()}
    spaces |= {"the mesh": MESH_SPACE, "docker's bridge": DOCKER_RANGE}
    for place, key, block in _pod_ranges(plan):
        for name, space in spaces.items():
            if block.overlaps(space):
                problem = f"{key} {block} overlaps {name} {space}"
                yield Finding("range-overlap", place, problem, "Use cluster.podCidr and cluster.serviceCidr")


def _underlay(plan: Plan) -> tuple[int, str]:
    """The largest packet between nodes, in bytes, and why."""
    if plan.mesh_nodes:
        return MESH_MTU, f"the mesh's, through which {', '.join(plan.mesh_nodes)} are reached"
    lan = min((one.value for one in plan.overrides if one.name == "lan.mtu"), default=LAN_MTU)
    return lan, "the local network's"


def _sizes(plan: Plan) -> Iterator[tuple[str, str, int, str]]:
    """Packet sizes that somebody sets: place, name, bytes, and the plug-in; empty where it subtracts by itself."""
    for override in plan.overrides:
        if override.name == "underlayMtu":
            yield override.place, "underlayMtu", override.value, ""
    for one in plan.manifests:
        chart = chart_of(one)
        if chart == "cilium" and isinstance(size := values_of(one).get("MTU"), int) and size:
            yield one.place, "Cilium's MTU", size, ""
        data = one.document.get("data") if one.document.get("kind") == "ConfigMap" else None
        for key, value in data.items() if isinstance(data, dict) else ():
            if key == "veth_mtu" and str(value).isdigit() and int(value):
                yield one.place, "Calico's veth_mtu", int(value), "calico"
            if key == "net-conf.json" and (size := _flannel(str(value))):
                yield one.place, "flannel's MTU", size, "flannel"


def _flannel(text: str) -> int:
    try:
        size = (json.loads(text).get("Backend") or {}).get("MTU")
    except (ValueError, AttributeError):
        return 0
    return size if isinstance(size, int) else 0


def mtu(plan: Plan) -> Iterator[Finding]:
    """Packets that do not fit are lost without a word: what a plug-in wraps must fit through the network below it."""
    underlay, why = _underlay(plan)
    for place, name, size, plugin in _sizes(plan):
        overhead = _OVERHEAD[plugin][plan.settings.network.encryption == "wireguard"] if plugin else 0
        if size > underlay - overhead:
            less = f" less {overhead} for headers" if overhead else ""
            problem = f"{name} {size} is more than {underlay - overhead} bytes: {underlay}, {why},{less}".rstrip(",")
            yield Finding("mtu", place, problem, f"Set it to {underlay - overhead} or less, or leave it out")


RULES = (
    cni_in_gitops,
    two_cnis,
    etcd_on_mesh,
    vpn_auth,
    route_not_approved,
    pool_outside_lan,
    range_overlap,
    mtu,
)
