"""A quick look at whether the machines of a stack answer, so that a run against dead ones fails at once and clearly."""

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from keystone.errors import KeystoneError
from keystone.settings import read

CONNECT_SECONDS = 5
HOST_COMMAND = "command:local:Command"


def answers(address: str, port: int, limit: float = CONNECT_SECONDS) -> bool:
    """Whether something accepts connections there within `limit` seconds."""
    try:
        with socket.create_connection((address, port), timeout=limit):
            return True
    except OSError:
        return False


def silent(stack: str, project: Path, made: set[str]) -> tuple[dict[str, str], bool]:
    """The installed hosts that do not answer on their SSH port; `made` holds the names of the state's commands.

    Returns one line for each, by its name, and whether the Primer is among them.
    """
    if not any(name.startswith("install-") for name in made):
        return {}, False
    settings = read(stack, project)
    hosts = {name: host for name, host in settings.hosts.items() if f"install-{name}" in made}
    with ThreadPoolExecutor(max_workers=32) as pool:
        found = pool.map(lambda host: answers(str(host.address), host.ssh.port), hosts.values())
        dead = [name for name, up in zip(hosts, found, strict=True) if not up]
    lines = {name: f"{name} {hosts[name].address}:{hosts[name].ssh.port} does not answer" for name in dead}
    return lines, settings.primer[0] in dead


def require(stack: str, project: Path, made: set[str]) -> dict[str, str]:
    """Raise KeystoneError when the Primer is silent; else return a line for each other silent host, by its name."""
    lines, primer = silent(stack, project, made)
    if primer:
        raise KeystoneError(
            f"stack {stack}",
            "; ".join(lines.values()),
            "Start the machines or mend the network; the state is untouched",
        )
    return lines
