"""A new stack file from a few answers. Everything else keeps its default."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from keystone import addressing
from keystone.errors import KeystoneError
from keystone.settings.cluster import API_PORT
from keystone.settings.schema import MODELINE
from keystone.settings.stackfile import NAMESPACE

# Keys of `--host NAME:key=value,...` beside those of a host's own section.
_NESTED = {"sshPort": ("ssh", "port"), "sshUser": ("ssh", "user"), "initrdPort": ("ssh", "initrdPort")}
_NUMBERS = {"sshPort", "initrdPort", "installGeneration"}
_PLAIN = ("role", "site", "address", "mac", "disk", "diskSerial", "machineSerial", "installerHostKey", "zone")
_MORE = ("layout", "unlock", "installGeneration", "remote")
HOST_KEYS = (*_PLAIN, *_MORE, *_NESTED)


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What only the user can know. Texts as typed: the settings' model judges them."""

    name: str
    domain: str
    site: str = "home"
    cidr: str
    gateway: str
    nameservers: Sequence[str] = ()
    dhcp_range: str = ""
    mesh_url: str = ""
    mesh_domain: str = ""
    pool: str = ""
    authorized_keys: Sequence[str] = ()
    protect_hosts: bool = True
    hosts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def host_of(text: str) -> tuple[str, dict[str, Any]]:
    """Read `NAME:key=value,key=value`. Raises KeystoneError that says what is wrong with it."""
    name, colon, rest = text.partition(":")
    if not colon or not name:
        raise KeystoneError(
            "--host", f"{text!r} is not NAME:key=value,...", "Write w1:role=agent,address=192.168.1.21,..."
        )
    host: dict[str, Any] = {}
    for pair in filter(None, rest.split(",")):
        key, equals, value = pair.partition("=")
        if not equals or key not in HOST_KEYS:
            raise KeystoneError(f"--host {name}", f"{pair!r} is not understood", f"Known keys: {', '.join(HOST_KEYS)}")
        _put(host, key, value)
    return name, host


def _put(host: dict[str, Any], key: str, value: str) -> None:
    typed: Any = int(value) if key in _NUMBERS and value.isdigit() else value
    if key == "remote":
        typed = {"true": True, "false": False}.get(value, value)
    if key in _NESTED:
        section, inner = _NESTED[key]
        host.setdefault(section, {})[inner] = typed
    else:
        host[key] = typed


def document(answers: Answers) -> dict[str, Any]:
    """The settings below `keystone:` that the answers make."""
    hosts = {name: {"site": answers.site, **host} for name, host in answers.hosts.items()}
    primer_name, primer = next(((n, h) for n, h in hosts.items() if h.get("role") == "primer"), ("primer", {}))
    address = str(primer.get("address", ""))
    mesh_domain = answers.mesh_domain or f"mesh.{answers.domain}"
    site: dict[str, Any] = {
        "cidr": answers.cidr,
        "gateway": answers.gateway,
        "nameservers": list(answers.nameservers) or [answers.gateway],
    }
    if answers.dhcp_range:
        site["dhcpRange"] = answers.dhcp_range
    cluster: dict[str, Any] = {
        "name": answers.name,
        "domain": answers.domain,
        "api": {"endpoint": f"https://{address}:{API_PORT}", "sans": [address, f"{primer_name}.{mesh_domain}"]},
    }
    if answers.authorized_keys:
        cluster["authorizedKeys"] = list(answers.authorized_keys)
    made: dict[str, Any] = {
        "cluster": cluster,
        "sites": {answers.site: site},
        "hosts": hosts,
        "mesh": {"serverUrl": answers.mesh_url or f"https://{address}:8443", "domain": mesh_domain},
    }
    if answers.pool:
        made["network"] = {"loadBalancer": {"pools": {"ingress": answers.pool}}}
    if not answers.protect_hosts:
        made["protectHosts"] = False
    return made


def text(settings: Mapping[str, Any], made_by_pulumi: Mapping[str, Any]) -> str:
    """The whole stack file: the settings, and what Pulumi itself wrote into it (salt, encrypted secrets)."""
    own = made_by_pulumi.get("config") or {}
    config = {
        "pulumi:disable-default-providers": ["kubernetes", "aws", "cloudflare"],
        **own,
        **{f"{NAMESPACE}:{key}": value for key, value in settings.items()},
    }
    whole = {**{key: value for key, value in made_by_pulumi.items() if key != "config"}, "config": config}
    return f"{MODELINE}\n{yaml.safe_dump(whole, sort_keys=False, width=4096)}"


def first_address(cidr: str) -> str:
    """The usual address of a router: the first of the range; empty when the text is no range."""
    try:
        return str(addressing.nth(addressing.network(cidr), 1))
    except ValueError:
        return ""
