"""Which ports a site needs, and whether somebody else has one of them."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

import psutil

from keystone.errors import KeystoneError
from twin import clouds
from twin.services import facts

if TYPE_CHECKING:
    from keystone.settings import Settings

PRIMER_TCP = (
    facts.ETCD_PORT,
    facts.ETCD_PEER_PORT,
    facts.JOIN_PORT,
    facts.CONTROLLER_MANAGER_PORT,
    facts.SCHEDULER_PORT,
    facts.HEADSCALE_METRICS_PORT,
    facts.HEADSCALE_GRPC_PORT,
)


def wanted(settings: Settings) -> Iterator[tuple[str, int, bool]]:
    """Every (address, port, is UDP) on which a site of these settings listens once all machines are installed."""
    for host in settings.hosts.values():
        for port in (host.ssh.port, host.ssh.initrd_port, facts.SOCKS_PORT):
            yield str(host.address), port, False
    _, primer = settings.primer
    for port in (settings.cluster.api.port, settings.mesh.server_port, *PRIMER_TCP):
        yield str(primer.address), port, False
    yield str(primer.address), facts.STUN_PORT, True
    for _, address, port in clouds.endpoints(settings):
        yield address, port, False


def check_free(settings: Settings) -> None:
    """Raise KeystoneError for the first port that is taken or an address that this computer does not have."""
    for address, port, udp in wanted(settings):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0 if udp else 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                kind = "udp" if udp else "tcp"
                if error.errno == errno.EADDRINUSE:
                    raise KeystoneError(
                        f"{kind} {address}:{port}",
                        f"is taken by {owner(address, port, udp)}",
                        "End that program, or give the stack another twin:network",
                    ) from None
                raise KeystoneError(f"{kind} {address}:{port}", f"cannot be used: {error.strerror}") from None


def owner(address: str, port: int, udp: bool = False) -> str:
    """The program that listens on a port, as far as this user may see it."""
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("udp4" if udp else "tcp4"):
            listening = udp or connection.status == psutil.CONN_LISTEN
            if listening and connection.laddr and tuple(connection.laddr) in ((address, port), ("0.0.0.0", port)):
                if connection.pid is None:
                    break
                with contextlib.suppress(psutil.Error):
                    return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
                break
    return "another user's program"


def listeners(network) -> list[str]:
    """What this computer listens on inside a range, as `tcp 127.79.0.10:6443 (kube-apiserver)`."""
    import ipaddress

    found = []
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("inet4"):
            udp = connection.type == socket.SOCK_DGRAM
            if not connection.laddr or not (udp or connection.status == psutil.CONN_LISTEN):
                continue
            address, port = tuple(connection.laddr)[:2]
            if ipaddress.ip_address(str(address)) in network:
                found.append(f"{'udp' if udp else 'tcp'} {address}:{port} ({owner(str(address), int(port), udp)})")
    return found
