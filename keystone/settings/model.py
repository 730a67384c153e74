"""What every section's model builds on: the strict base class and the types of the values.

A type refuses a wrong value by raising `Wrong`, which carries the cure beside the problem.
"""

import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    PlainSerializer,
    StrictBool,
    StrictInt,
    StrictStr,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel

from keystone import addressing
from keystone.addressing import AddressRange


class Wrong(ValueError):
    """A refused value: the problem (with value and limit) and the cure."""

    def __init__(self, problem: str, cure: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.cure = cure


class Model(BaseModel):
    """Base of every section: unknown keys refused, values frozen, keys camelCase in YAML."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        alias_generator=to_camel,
        validate_by_name=False,
        validate_by_alias=True,
    )


def _read(parse: Callable[[str], Any], example: str) -> BeforeValidator:
    def validate(value: Any) -> Any:
        if not isinstance(value, str):
            raise Wrong("must be text", f"Write it in quotes, such as {example!r}")
        try:
            return parse(value)
        except Wrong:
            raise
        except ValueError as error:
            raise Wrong(str(error), f"Write it like {example}") from None

    return BeforeValidator(validate)


def _matching(pattern: str, what: str, cure: str) -> AfterValidator:
    compiled = re.compile(pattern)

    def validate(value: str) -> str:
        if compiled.fullmatch(value) is None:
            raise Wrong(f"{value!r} is not {what}", cure)
        return value

    return AfterValidator(validate)


def _text(pattern: str, description: str, example: str) -> WithJsonSchema:
    return WithJsonSchema(
        {"type": "string", "pattern": f"^{pattern}$", "description": description, "examples": [example]}
    )


def _shape(pattern: str) -> Any:
    """A pattern for editors only; the type's own check gives the better words."""
    return Field(json_schema_extra={"pattern": f"^{pattern}$"})


def _label(value: str) -> str:
    if not addressing.is_label(value):
        raise Wrong(
            f"{value!r} is not a DNS label", "Use at most 63 lower case letters, digits and inner hyphens, such as 'w1'"
        )
    return value


def _domain(value: str) -> str:
    if not addressing.is_domain(value):
        raise Wrong(f"{value!r} is not a DNS name", "Use lower case labels joined by dots, such as 'home.example.org'")
    return value


def _host_or_address(value: str) -> str:
    if not addressing.is_address(value) and not addressing.is_domain(value):
        raise Wrong(f"{value!r} is neither a DNS name nor an IPv4 address", "Give one name or address, without port")
    return value


def _https(value: str) -> str:
    parts = urlsplit(value)
    try:
        sound = parts.scheme == "https" and parts.hostname is not None and (parts.port is None or parts.port > 0)
    except ValueError:  # urlsplit checks the port only when it is read
        sound = False
    if not sound or parts.username is not None or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise Wrong(f"{value!r} is not an https URL of a host and a port", "Write it like https://192.168.1.10:6443")
    return _plain_url(value, parts.hostname or "")


def _plain_url(value: str, host: str) -> str:
    if host != value.removeprefix("https://").rstrip("/").rsplit(":", 1)[0]:
        raise Wrong(f"{value!r} has upper case or odd characters in its host", "Write the host in lower case")
    _host_or_address(host)
    return value.rstrip("/")


def _ssh_public_key(value: str) -> str:
    try:
        load_ssh_public_key(value.encode())
    except Exception:  # the library raises several kinds for a broken key; all mean the same here
        raise Wrong(
            "is not an SSH public key", "Paste one line of a .pub file, such as 'ssh-ed25519 AAAA... name'"
        ) from None
    return value


def _ed25519(value: str) -> str:
    if not value.startswith("ssh-ed25519 "):
        raise Wrong(f"is of the type {value.split()[0]!r}, not ssh-ed25519", "Give the installer an Ed25519 host key")
    return value


def _disk(value: str) -> str:
    if not re.fullmatch(r"/dev/disk/by-id/[A-Za-z0-9._:+@=-]+", value):
        raise Wrong(
            f"{value!r} does not name a disk by its id",
            "Take a link below /dev/disk/by-id (names like /dev/sda change from boot to boot)",
        )
    return value


Bool = StrictBool
Port = Annotated[StrictInt, Field(ge=1, le=65535)]
Generation = Annotated[StrictInt, Field(ge=1, le=1_000_000)]
Label = Annotated[StrictStr, AfterValidator(_label), _shape(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")]
Domain = Annotated[StrictStr, AfterValidator(_domain), _shape(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")]
NameOrAddress = Annotated[StrictStr, AfterValidator(_host_or_address)]
HttpsUrl = Annotated[StrictStr, AfterValidator(_https), _shape(r"https://[a-z0-9.-]+(:\d+)?/?")]
SshPublicKey = Annotated[StrictStr, AfterValidator(_ssh_public_key)]
Ed25519PublicKey = Annotated[StrictStr, AfterValidator(_ssh_public_key), AfterValidator(_ed25519)]
DiskPath = Annotated[StrictStr, AfterValidator(_disk), _shape(r"/dev/disk/by-id/[A-Za-z0-9._:+@=-]+")]
Serial = Annotated[
    StrictStr,
    _matching(
        r"[\x21-\x7e]([\x20-\x7e]{0,62}[\x21-\x7e])?", "a serial number", "Copy it from `lsblk -o SERIAL` or dmidecode"
    ),
]
UserName = Annotated[
    StrictStr, _matching(r"[a-z_][a-z0-9_-]{0,30}", "a user name", "Use lower case letters, digits, _ and -")
]

_IP = r"(\d{1,3}\.){3}\d{1,3}"
Address = Annotated[
    IPv4Address,
    _read(addressing.address, "192.168.1.10"),
    PlainSerializer(str),
    _text(_IP, "an IPv4 address", "192.168.1.10"),
]
Cidr = Annotated[
    IPv4Network,
    _read(addressing.network, "192.168.1.0/24"),
    PlainSerializer(str),
    _text(_IP + r"/\d{1,2}", "an IPv4 range in CIDR form", "192.168.1.0/24"),
]
Range = Annotated[
    InstanceOf[AddressRange],
    _read(AddressRange.parse, "192.168.1.200-192.168.1.220"),
    PlainSerializer(str),
    _text(f"{_IP}(-{_IP}|/\\d{{1,2}})?", "addresses: first-last, or a CIDR range", "192.168.1.200-192.168.1.220"),
]


def _mac(text: str) -> str:
    lower = text.lower()
    if not re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", lower):
        raise ValueError(f"{text!r} is not a MAC address")
    if int(lower[:2], 16) & 1 or lower == "00:00:00:00:00:00":
        raise ValueError(f"{text!r} is not the MAC address of one machine (its group bit is set or it is empty)")
    return lower


Mac = Annotated[
    StrictStr,
    _read(_mac, "52:54:00:12:34:56"),
    _text("([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}", "a MAC address", "52:54:00:12:34:56"),
]
