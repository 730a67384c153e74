"""Pure arithmetic on IPv4 ranges and names. Knows nothing of settings, files or machines."""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from itertools import combinations
from typing import TypeVar

MESH_SPACE = IPv4Network("100.64.0.0/10")
"""The only range that Headscale and its clients support (RFC 6598, shared address space)."""
DOCKER_RANGE = IPv4Network("172.17.0.0/16")
"""The bridge that docker makes on a machine where somebody installs it."""

K = TypeVar("K")
V = TypeVar("V")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, order=True)
class AddressRange:
    """The addresses from `first` to `last`, both included."""

    first: IPv4Address
    last: IPv4Address

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise ValueError(f"{self.first}-{self.last} ends before it starts")

    @classmethod
    def parse(cls, text: str) -> "AddressRange":
        """Read `first-last`, a CIDR block or one address. Raises ValueError in plain words."""
        if "/" in text:
            return cls.of(network(text))
        first, dash, last = text.partition("-")
        return cls(address(first.strip()), address(last.strip() if dash else first.strip()))

    @classmethod
    def of(cls, block: IPv4Network) -> "AddressRange":
        return cls(block[0], block[-1])

    def __contains__(self, item: IPv4Address) -> bool:
        return self.first <= item <= self.last

    def __len__(self) -> int:
        return int(self.last) - int(self.first) + 1

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"

    def overlaps(self, other: "AddressRange") -> bool:
        return self.first <= other.last and other.first <= self.last

    def inside(self, block: IPv4Network) -> bool:
        return self.first in block and self.last in block


def address(text: str) -> IPv4Address:
    """Read an IPv4 address. Raises ValueError in plain words."""
    try:
        return IPv4Address(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an IPv4 address such as 192.168.1.10") from None


def network(text: str) -> IPv4Network:
    """Read an IPv4 range in CIDR form. Raises ValueError that names the range probably meant."""
    if "/" not in text:
        raise ValueError(f"{text!r} is not a range in CIDR form such as 192.168.1.0/24")
    try:
        loose = IPv4Network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is not an IPv4 range in CIDR form such as 192.168.1.0/24") from None
    if str(loose.network_address) != text.split("/")[0]:
        raise ValueError(f"{text} is not the start of a range; did you mean {loose}")
    return loose


def usable(item: IPv4Address, block: IPv4Network) -> bool:
    """Whether a machine in `block` can have this address: inside, and neither network nor broadcast address."""
    if item not in block:
        return False
    return block.prefixlen >= 31 or item not in (block.network_address, block.broadcast_address)


def overlaps(ranges: Mapping[str, IPv4Network]) -> Iterator[tuple[str, str]]:
    """The pairs of names whose ranges share an address, in the order of the mapping."""
    for (one, first), (two, second) in combinations(ranges.items(), 2):
        if first.overlaps(second):
            yield one, two


def duplicates(items: Mapping[K, V]) -> Iterator[tuple[K, K]]:
    """Pairs of keys with equal values: each later one with the first that has the value."""
    seen: dict[V, K] = {}
    for key, value in items.items():
        if value in seen:
            yield seen[value], key
        else:
            seen[value] = key


def nth(block: IPv4Network, index: int) -> IPv4Address:
    """Address number `index` of the range; raises ValueError when the range is smaller."""
    if index >= block.num_addresses:
        raise ValueError(f"{block} has no address number {index}")
    return block[index]


def is_label(text: str) -> bool:
    """Whether the text is one DNS label (RFC 1123: lower case letters, digits, hyphens, at most 63)."""
    return _LABEL.fullmatch(text) is not None


def is_domain(text: str) -> bool:
    """Whether the text is a DNS name of labels, at most 253 characters, not an address."""
    return len(text) <= 253 and all(map(is_label, text.split("."))) and not text.split(".")[-1].isdigit()


def within_domain(name: str, domain: str) -> bool:
    """Whether `name` is `domain` or lies below it."""
    return name == domain or name.endswith(f".{domain}")


def is_address(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True
