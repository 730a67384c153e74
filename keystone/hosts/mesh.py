"""What the mesh says, asked on the machines: the daemon of a host and the controller on the Primer."""

import json
from dataclasses import dataclass
from typing import Any

from keystone.errors import KeystoneError
from keystone.hosts import ssh


@dataclass(frozen=True)
class Daemon:
    """One host's tailscaled: its state, node key, tags and IPv4 address in the mesh."""

    state: str
    key: str
    tags: tuple[str, ...]
    address: str | None


@dataclass(frozen=True)
class Node:
    """One machine that the controller knows: its node key, and the mesh key it joined by if that was for it alone."""

    number: int
    name: str
    key: str
    tags: tuple[str, ...]
    addresses: tuple[str, ...]
    joined_by: int | None


def parsed(machine: ssh.Machine, what: str, text: str) -> Any:
    """JSON of a program on a machine. Raises KeystoneError when it is none."""
    try:
        return json.loads(text)
    except ValueError:
        raise KeystoneError(
            str(machine.target), f"`{what}` gave no JSON: {text[:80]!r}", "Look at the machine"
        ) from None


async def daemon(machine: ssh.Machine) -> Daemon:
    """The state of the host's daemon; tailscale's exit status tells states apart too, so only the text counts."""
    result = await machine.run("tailscale", "status", "--json", "--peers=false", check=False)
    if not result.stdout.strip():
        raise KeystoneError(
            str(machine.target), f"tailscaled does not answer: {ssh.last_line(result.stderr)}", "Look at its log there"
        )
    status = parsed(machine, "tailscale status", result.stdout)
    own = status.get("Self") or {}
    addresses = [
        address for address in own.get("TailscaleIPs") or status.get("TailscaleIPs") or [] if ":" not in address
    ]
    return Daemon(
        state=str(status.get("BackendState") or "unknown"),
        key=str(own.get("PublicKey") or ""),
        tags=tuple(own.get("Tags") or ()),
        address=addresses[0] if addresses else None,
    )


async def nodes(primer: ssh.Machine) -> list[Node]:
    """Every machine that the controller knows. Field names differ between releases: 0.30 has camelCase."""
    text = (await primer.run("headscale", "nodes", "list", "-o", "json")).stdout
    return [_node(entry) for entry in parsed(primer, "headscale nodes list", text) or []]


def _node(entry: dict[str, Any]) -> Node:
    def field(snake: str, camel: str) -> Any:
        return entry.get(snake, entry.get(camel))

    tags = field("tags", "tags") or [
        *(field("forced_tags", "forcedTags") or []),
        *(field("valid_tags", "validTags") or []),
    ]
    joined_by = field("pre_auth_key", "preAuthKey") or {}
    return Node(
        number=int(entry["id"]),
        name=str(field("given_name", "givenName") or entry.get("name")),
        key=str(field("node_key", "nodeKey") or ""),
        tags=tuple(tags),
        addresses=tuple(field("ip_addresses", "ipAddresses") or ()),
        joined_by=None if not joined_by or joined_by.get("reusable") else int(joined_by["id"]),
    )


async def delete_node(primer: ssh.Machine, node: Node) -> None:
    """Deletes a node and the used mesh key that it leaves behind, which the controller would keep for ever."""
    await primer.run("headscale", "nodes", "delete", "--identifier", str(node.number), "--force")
    if node.joined_by is not None:
        await primer.run("headscale", "preauthkeys", "delete", "--id", str(node.joined_by), "--force")


@dataclass(frozen=True)
class Key:
    """A minted mesh key. `secret` goes to standard inputs only."""

    number: int
    secret: str

    def __repr__(self) -> str:
        return f"Key(number={self.number})"


async def mint(primer: ssh.Machine, tag: str) -> Key:
    """A key for one machine of this tag: used once, for one hour."""
    argv = ("headscale", "preauthkeys", "create", "--tags", tag, "-e", "1h", "-o", "json")
    answer = await primer.run(*argv)
    try:
        made = json.loads(answer.stdout)
        return Key(int(made["id"]), str(made["key"]))
    except (ValueError, KeyError, TypeError):
        # The answer may hold the key: it is not shown.
        raise KeystoneError(
            str(primer.target), "`headscale preauthkeys create` gave no key", "Look at its log"
        ) from None


async def expire(primer: ssh.Machine, key: Key) -> None:
    await primer.run("headscale", "preauthkeys", "expire", "--id", str(key.number))
