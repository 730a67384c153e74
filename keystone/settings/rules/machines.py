"""Rules about hosts, their roles and disks, and the API that the servers serve."""

from collections.abc import Iterator, Mapping

from keystone import addressing
from keystone.settings.cluster import API_PORT, Cluster
from keystone.settings.faults import Fault, did_you_mean
from keystone.settings.hosts import Host, Site


def there_is_one_primer(hosts: Mapping[str, Host]) -> Iterator[Fault]:
    primers = sorted(name for name, host in hosts.items() if host.role == "primer")
    if not primers:
        yield Fault("hosts", "no host has the role primer", "Give it to the host that is installed first")
    elif len(primers) > 1:
        yield Fault("hosts", f"{', '.join(primers)} all have the role primer", "Make all but one of them servers")


def servers_are_odd_in_number(hosts: Mapping[str, Host]) -> Iterator[Fault]:
    count = sum(host.control_plane for host in hosts.values())
    if count and count % 2 == 0:
        yield Fault(
            "hosts",
            f"{count} servers (the primer counts): etcd with an even number survives no more losses than with one less",
            f"Use {count - 1} or {count + 1}",
        )


def host_sites_exist(hosts: Mapping[str, Host], sites: Mapping[str, Site]) -> Iterator[Fault]:
    for name, host in hosts.items():
        if host.site not in sites:
            yield Fault(f"hosts.{name}.site", f"there is no site {host.site!r}", did_you_mean(host.site, sites))


def servers_share_a_site(hosts: Mapping[str, Host], sites: Mapping[str, Site]) -> Iterator[Fault]:
    primer = next((host for host in hosts.values() if host.role == "primer"), None)
    for name, host in hosts.items():
        if primer and host.role == "server" and host.site in sites and host.site != primer.site:
            yield Fault(
                f"hosts.{name}.site",
                f"a server at {host.site}, the primer at {primer.site}: etcd needs one local network",
                "Move it to the primer's site, or make it an agent",
            )


def servers_are_not_remote(hosts: Mapping[str, Host]) -> Iterator[Fault]:
    for name, host in hosts.items():
        if host.remote and host.control_plane:
            yield Fault(
                f"hosts.{name}.remote",
                f"a {host.role} cannot be remote: etcd stays on the local network",
                "Set remote to false, or make it an agent",
            )


def agents_elsewhere_are_remote(hosts: Mapping[str, Host], sites: Mapping[str, Site]) -> Iterator[Fault]:
    primer = next((host for host in hosts.values() if host.role == "primer"), None)
    for name, host in hosts.items():
        if primer and host.site in sites and host.site != primer.site and not host.control_plane and not host.remote:
            yield Fault(
                f"hosts.{name}.remote",
                f"false, but {host.site} is not the primer's site {primer.site}: it sees the servers by mesh only",
                "Set remote to true",
            )


def macs_are_unique(hosts: Mapping[str, Host]) -> Iterator[Fault]:
    for first, second in addressing.duplicates({name: host.mac for name, host in hosts.items()}):
        yield Fault(f"hosts.{second}.mac", f"{hosts[second].mac} is the card of {first} too", "Copy each host's own")


def serials_are_unique(hosts: Mapping[str, Host]) -> Iterator[Fault]:
    serials = {name: host.machine_serial for name, host in hosts.items() if host.machine_serial is not None}
    for first, second in addressing.duplicates(serials):
        yield Fault(
            f"hosts.{second}.machineSerial", f"{serials[second]!r} is the serial of {first} too", "Copy each host's own"
        )


def system_disk_is_no_osd(hosts: Mapping[str, Host]) -> Iterator[Fault]:
    for name, host in hosts.items():
        if host.disk in host.osd_disks:
            yield Fault(
                f"hosts.{name}.osdDisks", f"{host.disk} is the disk of the system", "Ceph needs whole disks of its own"
            )


def osd_disks_are_listed_once(hosts: Mapping[str, Host]) -> Iterator[Fault]:
    for name, host in hosts.items():
        for first, second in addressing.duplicates(dict(enumerate(host.osd_disks))):
            yield Fault(
                f"hosts.{name}.osdDisks[{second}]",
                f"{host.osd_disks[second]} is listed at place {first} already",
                "List each disk once",
            )


def initrd_ssh_has_its_own_port(hosts: Mapping[str, Host]) -> Iterator[Fault]:
    for name, host in hosts.items():
        if host.ssh.port == host.ssh.initrd_port:
            yield Fault(
                f"hosts.{name}.ssh.initrdPort",
                f"{host.ssh.port} is the port of the installed system too: which of the two answers could not be told",
                "Take another port",
            )


def endpoint_is_in_the_certificate(cluster: Cluster) -> Iterator[Fault]:
    if cluster.api.host not in cluster.api.sans:
        yield Fault(
            "cluster.api.sans",
            f"{cluster.api.host}, the host of cluster.api.endpoint, is not among them: no client would trust the API",
            f"Add {cluster.api.host}",
        )


def endpoint_port_is_served(cluster: Cluster, hosts: Mapping[str, Host]) -> Iterator[Fault]:
    for name, host in hosts.items():
        if host.control_plane and str(host.address) == cluster.api.host and cluster.api.port != API_PORT:
            yield Fault(
                "cluster.api.endpoint",
                f"port {cluster.api.port} of the host {name}, which serves the API on {API_PORT}",
                f"Write https://{host.address}:{API_PORT}",
            )


def endpoint_is_no_agent(cluster: Cluster, hosts: Mapping[str, Host]) -> Iterator[Fault]:
    for name, host in hosts.items():
        if not host.control_plane and str(host.address) == cluster.api.host:
            yield Fault(
                "cluster.api.endpoint",
                f"{host.address} is the address of {name}, which is no server",
                "Give the address of the primer or of a load balancer before the servers",
            )


RULES = (
    there_is_one_primer,
    servers_are_odd_in_number,
    host_sites_exist,
    servers_share_a_site,
    servers_are_not_remote,
    agents_elsewhere_are_remote,
    macs_are_unique,
    serials_are_unique,
    system_disk_is_no_osd,
    osd_disks_are_listed_once,
    initrd_ssh_has_its_own_port,
    endpoint_is_in_the_certificate,
    endpoint_port_is_served,
    endpoint_is_no_agent,
)
