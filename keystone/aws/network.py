"""The network of the pools, as values: which subnets, where NAT stands, what machines may send."""

from dataclasses import dataclass
from ipaddress import IPv4Network

from keystone.aws import names
from keystone.settings import AwsNetwork, Settings

SHARES = 4
"""Bits: sixteen subnets, eight private and eight public, one of each for every zone from a to h."""

NFS_PORT = 2049


@dataclass(frozen=True, kw_only=True)
class Exit:
    """Ports that machines may connect to, anywhere."""

    protocol: str
    first: int
    last: int
    reason: str


def zones(settings: Settings) -> tuple[str, ...]:
    """The zones that have subnets: those of the pools."""
    return names.chosen(settings).zones


def subnet(cidr: IPv4Network, zone: str, *, public: bool) -> IPv4Network:
    """The range of a zone's subnet. It follows from the zone's letter, so that a new zone moves no other."""
    index = ord(zone[-1]) - ord("a") + (8 if public else 0)
    return list(cidr.subnets(prefixlen_diff=SHARES))[index]


def nat_zones(settings: Settings, choice: AwsNetwork) -> tuple[str, ...]:
    """The zones with a NAT gateway."""
    return zones(settings) if choice.nat == "perZone" else zones(settings)[:1]


def exits(settings: Settings) -> list[Exit]:
    """What machines of pools may connect to; DNS and time of the VPC need no rule."""
    controller = settings.mesh.server_port
    found = [
        Exit(protocol="tcp", first=443, last=443, reason="AWS, images, relays of the mesh"),
        # Peers stand behind NAT of their own, which chooses the port.
        Exit(protocol="udp", first=1024, last=65535, reason="WireGuard to peers, and what tells their addresses"),
    ]
    if settings.storage and settings.storage.efs:
        found.append(Exit(protocol="tcp", first=NFS_PORT, last=NFS_PORT, reason="file systems of EFS"))
    if controller != 443:
        found.append(Exit(protocol="tcp", first=controller, last=controller, reason="the mesh's controller"))
    return found
