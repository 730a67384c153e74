"""Rules about the mesh and its policy."""

from collections.abc import Iterable, Iterator, Mapping

from keystone import addressing
from keystone.addressing import MESH_SPACE
from keystone.settings.cluster import Cluster
from keystone.settings.faults import Fault, did_you_mean
from keystone.settings.hosts import Host
from keystone.settings.mesh import MESH_TAGS, Mesh


def controller_lies_outside_the_mesh_domain(mesh: Mesh) -> Iterator[Fault]:
    if addressing.within_domain(mesh.server_host, mesh.domain):
        yield Fault(
            "mesh.serverUrl",
            f"{mesh.server_host} is in mesh.domain {mesh.domain}: whoever wants to join could not resolve it",
            "Take a name outside the mesh's domain, or the address",
        )


def mesh_domain_is_its_own(cluster: Cluster, mesh: Mesh) -> Iterator[Fault]:
    for place, domain in (("cluster.domain", cluster.domain), ("cluster.clusterDomain", cluster.cluster_domain)):
        if addressing.within_domain(domain, mesh.domain):
            yield Fault(
                "mesh.domain",
                f"{mesh.domain} holds {place} {domain}: the mesh would answer for names that are not its own",
                f"Take a domain of its own, such as mesh.{cluster.domain}",
            )


def controller_is_the_primer(mesh: Mesh, hosts: Mapping[str, Host]) -> Iterator[Fault]:
    primer = next((host for host in hosts.values() if host.role == "primer"), None)
    for name, host in hosts.items():
        if primer and host.role != "primer" and str(host.address) == mesh.server_host:
            yield Fault(
                "mesh.serverUrl",
                f"{mesh.server_host} is the address of {name}; the controller runs on the primer",
                "Give the primer's name or address",
            )


def remote_hosts_trust_the_api(cluster: Cluster, mesh: Mesh, hosts: Mapping[str, Host]) -> Iterator[Fault]:
    remote = sorted(name for name, host in hosts.items() if host.remote and host.role == "agent")
    for name, host in hosts.items():
        if remote and host.role == "primer" and mesh.name_of(name) not in cluster.api.sans:
            yield Fault(
                "cluster.api.sans",
                f"{mesh.name_of(name)}, by which {', '.join(remote)} reach the API, is not among them",
                f"Add {mesh.name_of(name)}",
            )


def controller_port_is_free(mesh: Mesh, hosts: Mapping[str, Host]) -> Iterator[Fault]:
    primer = next((host for host in hosts.values() if host.role == "primer"), None)
    if primer is not None and mesh.server_port in (primer.ssh.port, primer.ssh.initrd_port, 6443, 2379, 2380, 10250):
        yield Fault(
            "mesh.serverUrl",
            f"port {mesh.server_port} is taken on the primer by SSH, the API, etcd or the kubelet",
            "Take another port, such as 443",
        )


def group_members_are_users(mesh: Mesh) -> Iterator[Fault]:
    for group, members in mesh.groups.items():
        for member in members:
            if member not in mesh.users:
                yield Fault(f"mesh.groups.{group}", f"there is no user {member!r}", did_you_mean(member, mesh.users))


def rules_name_what_exists(mesh: Mesh) -> Iterator[Fault]:
    known = {*MESH_TAGS, *(f"group:{name}" for name in mesh.groups), *(f"{name}@" for name in mesh.users)}
    for section, rules in (("rules", mesh.rules), ("ssh", mesh.ssh)):
        for name, rule in rules.items():
            for key, words in (("from", rule.sources), ("to", rule.targets)):
                yield from _unknown(f"mesh.{section}.{name}.{key}", words, known)


def _unknown(place: str, words: Iterable[str], known: set[str]) -> Iterator[Fault]:
    for word in words:
        if word not in known:
            yield Fault(place, f"nothing in the mesh is called {word!r}", did_you_mean(word, known))


def rules_lead_somewhere(mesh: Mesh) -> Iterator[Fault]:
    for name, rule in mesh.rules.items():
        if not rule.targets and not rule.routes:
            yield Fault(f"mesh.rules.{name}", "has neither `to` nor `routes`", "Say whom it lets in")
        for route in rule.routes:
            if route not in mesh.routes:
                yield Fault(
                    f"mesh.rules.{name}.routes", f"there is no route {route!r}", did_you_mean(route, mesh.routes)
                )


def checks_need_a_person(mesh: Mesh) -> Iterator[Fault]:
    for name, rule in mesh.ssh.items():
        tagged = [word for word in rule.sources if word.startswith("tag:")]
        if rule.action == "check" and tagged:
            yield Fault(
                f"mesh.ssh.{name}.action",
                f"check asks for a login, which the machines of {', '.join(tagged)} cannot give",
                "Use accept, or leave out the tag",
            )


def routes_are_carried_by_hosts(mesh: Mesh, hosts: Mapping[str, Host]) -> Iterator[Fault]:
    for name, route in mesh.routes.items():
        for host in route.hosts:
            if host not in hosts:
                yield Fault(f"mesh.routes.{name}.hosts", f"there is no host {host!r}", did_you_mean(host, hosts))


def routes_lead_out_of_the_mesh(mesh: Mesh) -> Iterator[Fault]:
    for name, route in mesh.routes.items():
        if route.cidr.overlaps(MESH_SPACE):
            yield Fault(
                f"mesh.routes.{name}.cidr", f"{route.cidr} overlaps {MESH_SPACE}, the mesh itself", "Take another range"
            )
    for first, second in addressing.duplicates({name: route.cidr for name, route in mesh.routes.items()}):
        yield Fault(
            f"mesh.routes.{second}.cidr", f"{mesh.routes[second].cidr} is the range of {first} too", "Join them"
        )


RULES = (
    controller_lies_outside_the_mesh_domain,
    mesh_domain_is_its_own,
    controller_is_the_primer,
    remote_hosts_trust_the_api,
    controller_port_is_free,
    group_members_are_users,
    rules_name_what_exists,
    rules_lead_somewhere,
    checks_need_a_person,
    routes_are_carried_by_hosts,
    routes_lead_out_of_the_mesh,
)
