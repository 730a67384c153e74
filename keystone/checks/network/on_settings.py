"""Network rules about the settings alone: each value is sound, and their combination still does not work."""

from collections.abc import Iterator
from ipaddress import IPv4Address

from keystone import mesh_policy
from keystone.addressing import DOCKER_RANGE, MESH_SPACE, is_address
from keystone.checks.findings import Finding
from keystone.checks.network.plan import Plan
from keystone.settings import Host, Settings

NODE_PORTS = range(30000, 32768)
_NODE = {6444: "k3s' own proxy", 10248: "the kubelet", 10249: "kube-proxy", 10250: "the kubelet", 10256: "kube-proxy"}
_NODE |= {9100: "a node exporter in the cluster", 12346: "Alloy in the cluster"}
_HOST = {9101: "the node exporter", 12345: "Alloy"}
_SERVER = {6443: "the API", 2379: "etcd", 2380: "etcd", 2381: "etcd", 10257: "the controller manager"}
_SERVER |= {10259: "the scheduler"}
_PRIMER = {9090: "Headscale's metrics", 50443: "Headscale's own API"}
_CILIUM = {
    4240: "Cilium",
    4244: "Hubble",
    9878: "Cilium",
    9879: "Cilium",
    9890: "Cilium",
    9962: "Cilium",
    9963: "Cilium",
}
_CALICO = {9099: "Calico", 9091: "Calico"}
_METALLB = {7946: "MetalLB", 9120: "MetalLB", 17472: "MetalLB"}


def route_overlap(plan: Plan) -> Iterator[Finding]:
    """A range that the mesh carries must not be one that every node has for itself."""
    cluster = plan.settings.cluster
    own = {"cluster.podCidr": cluster.pod_cidr, "cluster.serviceCidr": cluster.service_cidr}
    for name, route in plan.settings.mesh.routes.items():
        place = f"mesh.routes.{name}.cidr"
        for other, block in {**own, "docker's bridge": DOCKER_RANGE}.items():
            if route.cidr.overlaps(block):
                problem = f"{route.cidr} overlaps {other} {block}: nodes would send that traffic into the mesh"
                yield Finding("route-overlap", place, problem, "Take the range out of the route")
        for site_name, site in plan.settings.sites.items():
            strangers = [host for host in route.hosts if plan.settings.hosts[host].site != site_name]
            if route.cidr.overlaps(site.cidr) and len(strangers) == len(route.hosts):
                problem = f"{route.cidr} is at the site {site_name}, where none of {', '.join(route.hosts)} stands"
                yield Finding("route-overlap", place, problem, f"Name hosts of {site_name}")


def mesh_address(plan: Plan) -> Iterator[Finding]:
    """Mesh addresses are given by the controller and change with a reinstallation: nothing fixed may name one."""
    cluster, mesh = plan.settings.cluster, plan.settings.mesh
    named = {"cluster.api.endpoint": cluster.api.host, "mesh.serverUrl": mesh.server_host}
    named |= {f"cluster.api.sans[{index}]": name for index, name in enumerate(cluster.api.sans)}
    for place, name in named.items():
        if is_address(name) and IPv4Address(name) in MESH_SPACE:
            problem = f"{name} is an address of the mesh, which the controller assigns and may change"
            cure = (
                "Use the address on the local network"
                if "mesh" in place
                else f"Use a name such as {_primer_name(plan)}"
            )
            yield Finding("mesh-address", place, problem, cure)


def _primer_name(plan: Plan) -> str:
    return plan.settings.mesh.name_of(plan.settings.primer[0])


def vip_outside_lan(plan: Plan) -> Iterator[Finding]:
    """An address that no machine has must be announced by ARP, which does not leave a local network."""
    settings = plan.settings
    host, site = settings.cluster.api.host, settings.site_of(settings.primer[0])
    if not is_address(host):
        return
    address = IPv4Address(host)
    hosts = {one.address for one in settings.hosts.values()}
    place = "cluster.api.endpoint"
    if address in MESH_SPACE or address in hosts or not address.is_private:
        return
    if address not in site.cidr:
        problem = (
            f"{address} is neither a host's address nor in the servers' network {site.cidr}: no server can hold it"
        )
        yield Finding("vip-outside-lan", place, problem, f"Take a free address of {site.cidr}")
    elif site.dhcp_range is not None and address in site.dhcp_range:
        problem = f"{address} is in the site's dhcpRange {site.dhcp_range}, from which the router gives it to others"
        yield Finding("vip-outside-lan", place, problem, "Take an address outside of it")
    for name, pool in settings.network.load_balancer.pools.items():
        if address in pool:
            problem = f"{address} is in the pool {name} {pool}, from which a service may get it"
            yield Finding("vip-outside-lan", place, problem, "Take an address outside of the pools")


def pool_without_node(plan: Plan) -> Iterator[Finding]:
    """A pool's addresses are announced by nodes in its network; a remote node is not in it."""
    settings = plan.settings
    for name, pool in settings.network.load_balancer.pools.items():
        for site_name, site in settings.sites.items():
            near = [one for one in settings.nodes.values() if one.site == site_name and not one.remote]
            if pool.inside(site.cidr) and not near:
                problem = f"{pool} is at the site {site_name}, where no node announces addresses"
                yield Finding(
                    "pool-without-node",
                    f"network.loadBalancer.pools.{name}",
                    problem,
                    "Move the pool to a site of nodes",
                )


def derp_unreachable(plan: Plan) -> Iterator[Finding]:
    """Whoever joins from elsewhere needs the controller and the relay before there is a mesh."""
    settings = plan.settings
    host, home = settings.mesh.server_host, settings.hosts[settings.primer[0]].site
    away = sorted(name for name, one in settings.hosts.items() if one.site != home)
    away += [name for name in plan.mesh_nodes if name not in settings.hosts]
    if not is_address(host) or not away:
        return
    address = IPv4Address(host)
    # Loopback: all machines are one computer, and each reaches the others.
    if address.is_private and not address.is_loopback:
        yield Finding(
            "derp-unreachable",
            "mesh.serverUrl",
            f"{address} is a private address, but {', '.join(away)} must reach controller and relay from elsewhere",
            "Give a public name or address that leads to the Primer, TCP as in serverUrl and UDP 3478",
        )


def controller_in_tunnel(plan: Plan) -> Iterator[Finding]:
    """The mesh's protocol does not pass Cloudflare's proxy, and the tunnel needs the cluster that needs the mesh."""
    tunnel = plan.settings.tunnel
    for key in tunnel.hostnames if tunnel else ():
        assert tunnel
        if (name := tunnel.name_of(key)) == plan.settings.mesh.server_host:
            problem = f"publishes {name}, the host of mesh.serverUrl: the mesh's controller must be reached directly"
            yield Finding("controller-in-tunnel", f"tunnel.hostnames.{key}", problem, "Take another hostname")


def listeners(settings: Settings, host: Host) -> dict[int, str]:
    """The TCP ports that are taken on a host, with who has them; SSH and the mesh's controller excepted."""
    network = settings.network
    taken = dict(_HOST)
    if host.role != "edge":
        taken |= _NODE | {"cilium": _CILIUM, "calico": _CALICO}.get(network.cni, {})
        taken |= _METALLB if network.load_balancer.provider == "metallb" else {}
    if host.control_plane:
        taken |= _SERVER
    return taken | (_PRIMER if host.role == "primer" else {})


def port_taken(plan: Plan) -> Iterator[Finding]:
    """Ports that the stack file chooses, against those of everything else on the same host."""
    settings = plan.settings
    for name, host in sorted(settings.hosts.items()):
        chosen = {f"hosts.{name}.ssh.port": host.ssh.port}
        if host.role == "primer":
            chosen["mesh.serverUrl"] = settings.mesh.server_port
        taken = listeners(settings, host)
        for place, port in chosen.items():
            owner = taken.get(port, "")
            if not owner and host.role != "edge" and port in NODE_PORTS:
                owner = f"services (node ports {NODE_PORTS[0]}-{NODE_PORTS[-1]})"
            if owner:
                problem = f"port {port} belongs to {owner} on the {host.role} {name}"
                yield Finding("port-taken", place, problem, "Take another port")


def mesh_rule_closed(plan: Plan) -> Iterator[Finding]:
    """Rules of the stack file replace default rules of the same name; nodes behind the mesh need these."""
    if not plan.mesh_nodes:
        return
    settings = plan.settings
    needed = [
        ("tag:agent", "tag:primer", settings.ports("api")),
        ("tag:primer", "tag:agent", settings.ports("kubelet")),
    ]
    needed += [
        (one, two, settings.ports("cni")) for one, two in (("tag:agent", "tag:primer"), ("tag:primer", "tag:agent"))
    ]
    for source, target, ports in needed:
        closed = [port for port in ports if not mesh_policy.allows(settings, source, target, port)]
        if closed:
            problem = (
                f"no rule lets {source} reach {', '.join(closed)} on {target}, which {', '.join(plan.mesh_nodes)} need"
            )
            yield Finding("mesh-rule-closed", "mesh.rules", problem, "Give the replaced default rule its ports back")


RULES = (
    route_overlap,
    mesh_address,
    vip_outside_lan,
    pool_without_node,
    derp_unreachable,
    controller_in_tunnel,
    port_taken,
    mesh_rule_closed,
)
