"""Default-deny network policies: one per namespace that we make, with the openings that its charts need."""

from collections.abc import Sequence
from typing import Any

from keystone.charts.objects import Thing
from keystone.charts.release import Opening
from keystone.settings import Settings
from keystone.settings.cluster import API_PORT

MONITORING = "monitoring"
"""Prometheus' namespace: its pods may reach the pods of every namespace that we make."""
NAME = "default-deny"


def policy(settings: Settings, namespace: str, openings: Sequence[Opening]) -> Thing | None:
    """One policy that denies what it does not list. Cilium's own kind knows the API server and the nodes by name."""
    if not settings.network.default_deny:
        return None
    if settings.network.cni == "cilium":
        spec = _cilium_policy(openings)
        return Thing(api="cilium.io/v2", kind="CiliumNetworkPolicy", name=NAME, namespace=namespace, spec=spec)
    spec = _plain_policy(settings, openings)
    return Thing(api="networking.k8s.io/v1", kind="NetworkPolicy", name=NAME, namespace=namespace, spec=spec)


def _cilium_policy(openings: Sequence[Opening]) -> dict[str, Any]:
    space = "k8s:io.kubernetes.pod.namespace"
    dns = {"matchLabels": {space: "kube-system", "k8s:k8s-app": "kube-dns"}}
    ingress: list[dict[str, Any]] = [{"fromEndpoints": [{}, {"matchLabels": {space: MONITORING}}]}]
    egress: list[dict[str, Any]] = [
        {"toEndpoints": [{}]},
        {"toEndpoints": [dns], "toPorts": [{"ports": [{"port": "53", "protocol": "ANY"}]}]},
    ]
    nodes = ["host", "remote-node"]
    incoming = {"webhooks": ["kube-apiserver"], "nodes": nodes, "cluster": ["cluster"], "outside": ["world"]}
    world = {"internet": ["world"], "lan": ["world"]}
    outgoing = {"api": ["kube-apiserver"], "nodes": nodes, "cluster": ["cluster"], **world}
    # One rule each: what it lists is let through, whichever of it.
    if sources := [entity for opening in incoming if opening in openings for entity in incoming[opening]]:
        ingress.append({"fromEntities": sources})
    if targets := [entity for opening in outgoing if opening in openings for entity in outgoing[opening]]:
        egress.append({"toEntities": list(dict.fromkeys(targets))})
    return {"endpointSelector": {}, "ingress": ingress, "egress": egress}


def _plain_policy(settings: Settings, openings: Sequence[Opening]) -> dict[str, Any]:
    def named(namespace: str) -> dict[str, Any]:
        return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}

    dns = {**named("kube-system"), "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}
    own, nodes = [{"podSelector": {}}], _nodes(settings)
    servers = [{"ipBlock": {"cidr": f"{host.address}/32"}} for _, host in settings.servers.items()]
    ingress: list[dict[str, Any]] = [{"from": own}, {"from": [named(MONITORING)]}]
    egress: list[dict[str, Any]] = [
        {"to": own},
        {"to": [dns], "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]},
    ]
    # A server's packets to a pod of another node come from the tunnel's own address, which is one of the pods' range.
    tunnels = [{"ipBlock": {"cidr": str(settings.cluster.pod_cidr)}}]
    incoming = {
        "webhooks": [*servers, *tunnels],
        "nodes": [*nodes, *tunnels],
        "cluster": [{"namespaceSelector": {}}],
        "outside": [{"ipBlock": {"cidr": "0.0.0.0/0"}}],
    }
    outgoing = {
        "nodes": nodes,
        "cluster": [{"namespaceSelector": {}}],
        "internet": [_internet(settings)],
        "lan": [{"ipBlock": {"cidr": str(site.cidr)}} for _, site in sorted(settings.sites.items())],
    }
    ingress += [{"from": peers} for opening, peers in incoming.items() if opening in openings]
    if "api" in openings:
        egress.append({"to": servers, "ports": [{"port": API_PORT, "protocol": "TCP"}]})
    egress += [{"to": peers} for opening, peers in outgoing.items() if opening in openings]
    return {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": ingress, "egress": egress}


def _nodes(settings: Settings) -> list[dict[str, Any]]:
    addresses = sorted(f"{host.address}/32" for host in settings.nodes.values())
    # Remote nodes are reached over the mesh, whose addresses the controller gives out.
    mesh = [str(settings.mesh.prefix)] if any(host.remote for host in settings.nodes.values()) else []
    return [{"ipBlock": {"cidr": cidr}} for cidr in [*addresses, *mesh]]


def _internet(settings: Settings) -> dict[str, Any]:
    inside = [
        settings.cluster.pod_cidr,
        settings.cluster.service_cidr,
        *(site.cidr for site in settings.sites.values()),
    ]
    return {"ipBlock": {"cidr": "0.0.0.0/0", "except": sorted({*map(str, inside), str(settings.mesh.prefix)})}}
