"""Rules about AWS: the issuer, the network of the pools, the pools."""

from collections.abc import Iterator, Mapping
from ipaddress import ip_address

from keystone import addressing
from keystone.addressing import DOCKER_RANGE, MESH_SPACE
from keystone.settings.aws import MAX_SUBNET_PREFIX, MIN_SUBNET_PREFIX, Aws, covers
from keystone.settings.cluster import Cluster
from keystone.settings.faults import Fault
from keystone.settings.hosts import Host, Site
from keystone.settings.mesh import Mesh
from keystone.settings.platform import Platform
from keystone.settings.tunnel import Tunnel

KUBELETS_OWN = ("node.kubernetes.io", "kubelet.kubernetes.io")
"""The reserved prefixes that a kubelet may set on its own node (admission plugin NodeRestriction)."""


def aws_needs_an_issuer(aws: Aws | None, cluster: Cluster) -> Iterator[Fault]:
    if aws and cluster.issuer_host is None:
        yield Fault(
            "cluster.issuerHost",
            "is missing, and AWS trusts the cluster's tokens by it",
            "Give a name of a zone of yours, such as oidc.example.org; it cannot be changed later",
        )


def issuer_is_public(cluster: Cluster, mesh: Mesh) -> Iterator[Fault]:
    host = cluster.issuer_host
    for zone in (mesh.domain, cluster.cluster_domain) if host else ():
        if host and covers(zone, host):
            yield Fault(
                "cluster.issuerHost",
                f"{host} lies in {zone}, which nobody outside can look up",
                "Take a name of a public zone",
            )
    if host and host == mesh.server_host:
        yield Fault(
            "cluster.issuerHost", f"{host} is the mesh's controller, and the issuer is served elsewhere", "Take another"
        )


def issuer_is_no_public_name(cluster: Cluster, tunnel: Tunnel | None) -> Iterator[Fault]:
    for key in tunnel.hostnames if tunnel else ():
        if tunnel and tunnel.name_of(key) == cluster.issuer_host:
            yield Fault(
                f"tunnel.hostnames.{key}",
                f"{cluster.issuer_host} is cluster.issuerHost, which leads to the issuer's documents",
                "Take another name",
            )


def published_key_is_a_neighbour(aws: Aws | None) -> Iterator[Fault]:
    if aws and aws.published_key_generation:
        signing, other = aws.signing_key_generation, aws.published_key_generation
        if abs(signing - other) != 1:
            yield Fault(
                "aws.publishedKeyGeneration",
                f"{other} is neither the generation before signingKeyGeneration {signing} nor the one after it",
                f"Write {signing + 1} before a rotation, {max(signing - 1, 1)} after it, or leave it out",
            )


def one_network_is_chosen(aws: Aws | None) -> Iterator[Fault]:
    if aws is None:
        return
    network, place = aws.network, "aws.network"
    if network is None:
        if aws.node_pools:
            yield Fault(place, "is missing, and aws.nodePools need it", "Add {cidr: ...}, or {vpcId, subnetIds}")
    elif network.cidr is not None and (network.vpc_id or network.subnet_ids):
        yield Fault(place, "names both a new range and a network that is there", "Keep cidr, or vpcId and subnetIds")
    elif network.cidr is None and not (network.vpc_id and network.subnet_ids):
        yield Fault(place, "names neither a new range nor vpcId with subnetIds", "Add {cidr: ...}, or both others")
    elif network.cidr and not MIN_SUBNET_PREFIX <= network.cidr.prefixlen <= MAX_SUBNET_PREFIX:
        yield Fault(f"{place}.cidr", f"{network.cidr} is not between /16 and /24", "Use a /16")


def aws_range_is_free(aws: Aws | None, cluster: Cluster, sites: Mapping[str, Site]) -> Iterator[Fault]:
    cidr = aws.network.cidr if aws and aws.network else None
    if cidr is None:
        return
    taken = {f"sites.{name}.cidr": site.cidr for name, site in sites.items()}
    taken |= {"cluster.podCidr": cluster.pod_cidr, "cluster.serviceCidr": cluster.service_cidr}
    taken |= {"the range of the mesh": MESH_SPACE, "docker's bridge": DOCKER_RANGE}
    for place, block in taken.items():
        if cidr.overlaps(block):
            yield Fault("aws.network.cidr", f"{cidr} overlaps {place} {block}", "Take another private range")


def pools_stand_in_their_region(aws: Aws | None) -> Iterator[Fault]:
    for name, pool in aws.node_pools.items() if aws else ():
        for zone in pool.zones:
            place = f"aws.nodePools.{name}.zones"
            if aws and zone[:-1] != aws.region:
                yield Fault(place, f"{zone} is not in the region {aws.region}", "Name zones of the region")
            elif aws and aws.network and aws.network.subnet_ids and zone not in aws.network.subnet_ids:
                known = ", ".join(sorted(aws.network.subnet_ids))
                yield Fault(place, f"aws.network.subnetIds has no subnet in {zone}", f"Add one, or take {known}")


def pool_sizes_fit(aws: Aws | None) -> Iterator[Fault]:
    for name, pool in aws.node_pools.items() if aws else ():
        place = f"aws.nodePools.{name}"
        if pool.min > pool.max:
            yield Fault(f"{place}.min", f"{pool.min} is above max {pool.max}", "Correct one of them")
        elif pool.desired is not None and not pool.min <= pool.desired <= pool.max:
            yield Fault(
                f"{place}.desired", f"{pool.desired} is not between min {pool.min} and max {pool.max}", "Correct it"
            )
        elif pool.scaler == "karpenter" and (pool.min or pool.desired is not None):
            yield Fault(
                f"{place}.{'min' if pool.min else 'desired'}",
                "Karpenter starts machines for waiting pods alone and keeps no number of them",
                "Remove it, or take cluster-autoscaler",
            )


def pools_reach_the_mesh(aws: Aws | None, mesh: Mesh) -> Iterator[Fault]:
    host = mesh.server_host
    address = ip_address(host) if addressing.is_address(host) else None
    if aws and aws.node_pools and address and address.is_private and not address.is_loopback:
        yield Fault(
            "mesh.serverUrl",
            f"{host} is a private address, which machines at AWS cannot reach",
            "Give the controller a public name that leads to the Primer",
        )


def pools_trust_the_api(aws: Aws | None, cluster: Cluster, mesh: Mesh, hosts: Mapping[str, Host]) -> Iterator[Fault]:
    primer = next((name for name, host in hosts.items() if host.role == "primer"), None)
    if aws and aws.node_pools and primer and mesh.name_of(primer) not in cluster.api.sans:
        yield Fault(
            "cluster.api.sans",
            f"lacks {mesh.name_of(primer)}, by which the machines of aws.nodePools reach the API",
            f"Add {mesh.name_of(primer)}",
        )


def pools_join_k3s(aws: Aws | None, cluster: Cluster) -> Iterator[Fault]:
    if aws and aws.node_pools and cluster.distribution != "k3s":
        yield Fault(
            "aws.nodePools",
            f"the pool image joins k3s, and the cluster is made by {cluster.distribution}",
            "Set cluster.distribution to k3s, or leave the pools out",
        )


def tokens_are_handed_out_over_tls(aws: Aws | None, platform: Platform | None) -> Iterator[Fault]:
    if aws and not (platform and platform.cert_manager):
        yield Fault(
            "platform.certManager",
            "is missing, and the webhook that hands out roles to pods takes its certificate from it",
            "Add platform: {certManager: {}}",
        )


def pool_labels_may_be_set_by_kubelets(aws: Aws | None) -> Iterator[Fault]:
    for name, pool in aws.node_pools.items() if aws else ():
        for key in pool.labels:
            prefix = key.rpartition("/")[0]
            if any(covers(domain, prefix) for domain in ("kubernetes.io", "k8s.io")) and prefix not in KUBELETS_OWN:
                yield Fault(
                    f"aws.nodePools.{name}.labels",
                    f"{key} is reserved, and the API refuses nodes that register with it",
                    "Take a prefix of your own, such as example.org/tier",
                )


RULES = (
    aws_needs_an_issuer,
    issuer_is_public,
    issuer_is_no_public_name,
    published_key_is_a_neighbour,
    one_network_is_chosen,
    aws_range_is_free,
    pools_stand_in_their_region,
    pool_sizes_fit,
    pools_reach_the_mesh,
    pools_trust_the_api,
    pools_join_k3s,
    pool_labels_may_be_set_by_kubelets,
    tokens_are_handed_out_over_tls,
)
