"""Rules about ranges and addresses."""

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network

from keystone import addressing
from keystone.addressing import DOCKER_RANGE, MESH_SPACE, AddressRange
from keystone.settings.cluster import Cluster
from keystone.settings.faults import Fault
from keystone.settings.hosts import Host, Site
from keystone.settings.mesh import Mesh
from keystone.settings.network import Network


def ranges_are_disjoint(cluster: Cluster, sites: Mapping[str, Site]) -> Iterator[Fault]:
    ranges = {f"sites.{name}.cidr": site.cidr for name, site in sites.items()}
    ranges |= {"cluster.podCidr": cluster.pod_cidr, "cluster.serviceCidr": cluster.service_cidr}
    for one, two in addressing.overlaps(ranges):
        yield Fault(two, f"{ranges[two]} overlaps {one} {ranges[one]}", "Move one of them")


def ranges_avoid_reserved(cluster: Cluster, sites: Mapping[str, Site]) -> Iterator[Fault]:
    ranges = {f"sites.{name}.cidr": site.cidr for name, site in sites.items()}
    ranges |= {"cluster.podCidr": cluster.pod_cidr, "cluster.serviceCidr": cluster.service_cidr}
    reserved = {MESH_SPACE: "is for the mesh alone", DOCKER_RANGE: "is docker's bridge"}
    for place, block in ranges.items():
        for space, why in reserved.items():
            if block.overlaps(space):
                yield Fault(place, f"{block} overlaps {space}, which {why}", "Take another private range")


def mesh_prefix_is_in_the_shared_space(mesh: Mesh) -> Iterator[Fault]:
    if not mesh.prefix.subnet_of(MESH_SPACE):
        yield Fault(
            "mesh.prefix",
            f"{mesh.prefix} is not within {MESH_SPACE}, the only range that the mesh's controller and clients support",
            f"Use {MESH_SPACE} or a part of it",
        )


def cluster_ranges_are_big_enough(cluster: Cluster) -> Iterator[Fault]:
    # Each node gets a /24 of the pod range; the tenth service address is the cluster's DNS.
    if cluster.pod_cidr.prefixlen > 22:
        yield Fault("cluster.podCidr", f"{cluster.pod_cidr} has room for fewer than 4 nodes (a /24 each)", "Use a /16")
    if cluster.service_cidr.prefixlen > 24 or cluster.service_cidr.prefixlen < 12:
        yield Fault("cluster.serviceCidr", f"{cluster.service_cidr} is not between /12 and /24", "Use a /16")


def sites_hold_their_addresses(sites: Mapping[str, Site]) -> Iterator[Fault]:
    for name, site in sites.items():
        if not addressing.usable(site.gateway, site.cidr):
            yield Fault(
                f"sites.{name}.gateway",
                f"{site.gateway} is not a machine's address in {site.cidr}",
                "Give the router's address in the site's range",
            )
        if site.dhcp_range is not None and not site.dhcp_range.inside(site.cidr):
            yield Fault(
                f"sites.{name}.dhcpRange",
                f"{site.dhcp_range} is not inside {site.cidr}",
                "Correct the range or the cidr",
            )


def host_addresses_fit_their_site(hosts: Mapping[str, Host], sites: Mapping[str, Site]) -> Iterator[Fault]:
    for name, host in hosts.items():
        site = sites.get(host.site)
        if site is None:
            continue
        place, cure = f"hosts.{name}.address", "Give the host a free address of its site"
        if host.address not in site.cidr:
            yield Fault(place, f"{host.address} is not in the range {site.cidr} of the site {host.site}", cure)
        elif not addressing.usable(host.address, site.cidr):
            yield Fault(place, f"{host.address} is the network or broadcast address of {site.cidr}", cure)
        elif host.address == site.gateway:
            yield Fault(place, f"{host.address} is the gateway of the site {host.site}", cure)


def static_addresses_avoid_dhcp(hosts: Mapping[str, Host], sites: Mapping[str, Site]) -> Iterator[Fault]:
    for name, host in hosts.items():
        site = sites.get(host.site)
        if site and site.addressing == "static" and site.dhcp_range and host.address in site.dhcp_range:
            yield Fault(
                f"hosts.{name}.address",
                f"{host.address} is in the dhcpRange {site.dhcp_range}, from which the router may give it to others",
                "Take an address outside, or set the site's addressing to dhcp-reservation",
            )


def host_addresses_are_unique(hosts: Mapping[str, Host]) -> Iterator[Fault]:
    for first, second in addressing.duplicates({name: host.address for name, host in hosts.items()}):
        yield Fault(
            f"hosts.{second}.address",
            f"{hosts[second].address} is the address of {first} too",
            "Give each host its own",
        )


def pools_fit_a_site(network: Network, sites: Mapping[str, Site]) -> Iterator[Fault]:
    for name, pool in network.load_balancer.pools.items():
        place = f"network.loadBalancer.pools.{name}"
        site = next((site for site in sites.values() if pool.inside(site.cidr)), None)
        if site is None:
            yield Fault(
                place,
                f"{pool} is not inside the cidr of a site",
                "Take free addresses of the network the servers are in",
            )
            continue
        if site.dhcp_range is not None and pool.overlaps(site.dhcp_range):
            yield Fault(place, f"{pool} overlaps the site's dhcpRange {site.dhcp_range}", "Take addresses outside")
        if _edge_of(site.cidr, pool) or site.gateway in pool:
            yield Fault(
                place,
                f"{pool} holds the gateway, network or broadcast address of {site.cidr}",
                "Take addresses between",
            )


def _edge_of(block: IPv4Network, pool: AddressRange) -> bool:
    return block.network_address in pool or block.broadcast_address in pool


def pools_hold_no_host(network: Network, hosts: Mapping[str, Host]) -> Iterator[Fault]:
    for pool_name, pool in network.load_balancer.pools.items():
        for name, host in hosts.items():
            if host.address in pool:
                yield Fault(
                    f"network.loadBalancer.pools.{pool_name}",
                    f"{pool} holds {host.address}, the address of the host {name}",
                    "Take addresses that no machine has",
                )


def pools_are_disjoint(network: Network) -> Iterator[Fault]:
    pools = list(network.load_balancer.pools.items())
    for index, (name, pool) in enumerate(pools):
        for other_name, other in pools[:index]:
            if pool.overlaps(other):
                yield Fault(
                    f"network.loadBalancer.pools.{name}", f"{pool} overlaps the pool {other_name} {other}", "Move one"
                )


RULES = (
    ranges_are_disjoint,
    ranges_avoid_reserved,
    mesh_prefix_is_in_the_shared_space,
    cluster_ranges_are_big_enough,
    sites_hold_their_addresses,
    host_addresses_fit_their_site,
    static_addresses_avoid_dhcp,
    host_addresses_are_unique,
    pools_fit_a_site,
    pools_hold_no_host,
    pools_are_disjoint,
)
