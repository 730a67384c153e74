"""Section `mesh`: the WireGuard mesh, who may reach what in it, and its controller on the Primer.

`rules` and `ssh` given in a stack file are added to the defaults below; one of the same name replaces the default.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, StrictInt, StrictStr

from keystone.addressing import MESH_SPACE
from keystone.settings.cluster import DEFAULT_HTTPS_PORT
from keystone.settings.hosts import HostName
from keystone.settings.model import Bool, Cidr, Domain, HttpsUrl, Label, Model, UserName, Wrong

MESH_TAGS = ("tag:primer", "tag:server", "tag:agent", "tag:edge", "tag:pool", "tag:ci", "tag:ci-up")
"""Tags of the mesh: one per role; `pool` for machines of clouds, `ci` for previews, `ci-up` for jobs that deploy."""
SERVICES = ("api", "ssh", "kubelet", "cni")
"""Words for ports that follow from other settings; `Settings.ports` gives the numbers."""
ADMINS = "admins"

_PORT = re.compile(r"(?P<protocol>tcp|udp):(?P<first>\d{1,5})(-(?P<last>\d{1,5}))?")
_ALIAS = re.compile(r"(group:[a-z0-9]([-a-z0-9]*[a-z0-9])?|tag:[a-z0-9]([-a-z0-9]*[a-z0-9])?|[a-z_][a-z0-9_-]*@)")


def _ports(value: str) -> str:
    if value in SERVICES:
        return value
    found = _PORT.fullmatch(value)
    if found is None:
        raise Wrong(
            f"{value!r} is not a port of the mesh",
            f"Write tcp:443, udp:60000-61000 or one of {', '.join(SERVICES)}",
        )
    first, last = int(found["first"]), int(found["last"] or found["first"])
    if not 1 <= first <= last <= 65535:
        raise Wrong(f"{value!r} is not within 1 to 65535, lower port first", "Correct the ports")
    return value


def _alias(value: str) -> str:
    if not _ALIAS.fullmatch(value):
        raise Wrong(f"{value!r} names nobody in the mesh", "Write group:NAME, tag:ROLE or USER@")
    return value


def _tag(value: str) -> str:
    if not value.startswith("tag:"):
        raise Wrong(f"{value!r} is not a tag", "The mesh's SSH leads to hosts: write tag:ROLE")
    return value


def _person(value: str) -> str:
    if len(value) < 2 or not value[0].isalpha():
        raise Wrong(f"{value!r} is no name that Headscale takes", "Begin with a letter and write two at least")
    return value


Person = Annotated[UserName, AfterValidator(_person)]
Ports = Annotated[StrictStr, AfterValidator(_ports)]
Who = Annotated[StrictStr, AfterValidator(_alias)]


class Rule(Model):
    """Who may open connections to whom, on which ports. What no rule allows is refused."""

    sources: tuple[Who, ...] = Field(alias="from", min_length=1, description="who: [group:NAME, tag:ROLE, USER@]")
    targets: tuple[Who, ...] = Field(default=(), alias="to", description="whom: [tag:ROLE, group:NAME, USER@]")
    routes: tuple[Label, ...] = Field(default=(), description="names of mesh.routes that may be reached")
    ports: tuple[Ports, ...] = Field(
        min_length=1, description="tcp:443, udp:60000-61000, or the words api, ssh, kubelet, cni"
    )


class SshRule(Model):
    """Who may log in by the mesh's own SSH, as which user."""

    sources: tuple[Who, ...] = Field(alias="from", min_length=1, description="who: [group:NAME, USER@]")
    targets: tuple[Annotated[Who, AfterValidator(_tag)], ...] = Field(
        alias="to", min_length=1, description="whom: [tag:ROLE]"
    )
    users: tuple[UserName, ...] = Field(min_length=1, description="user names on the machine, such as [root]")
    action: Literal["accept", "check"] = Field(default="accept", description="check asks for a fresh login first")


class Route(Model):
    """A range outside the mesh that some hosts carry traffic to; approved by the policy, not by hand."""

    cidr: Cidr = Field(description="the range behind the hosts, such as 192.168.1.0/24")
    hosts: tuple[HostName, ...] = Field(min_length=1, description="hosts that announce it")


class Derp(Model):
    """The relay on the Primer, for peers without a direct path."""

    region_id: Annotated[StrictInt, Field(ge=900, le=999)] = Field(
        default=900, description="number of the private region, 900 to 999"
    )
    public_map: Bool = Field(default=False, description="whether the public relays are used too")


def _rule(sources: str, targets: str, *ports: str) -> Rule:
    return Rule.model_validate({"from": tuple(sources.split()), "to": tuple(targets.split()), "ports": ports})


_HOSTS = "tag:primer tag:server tag:agent"
_NODES = f"{_HOSTS} tag:pool"
_SERVERS = "tag:primer tag:server"
DEFAULT_RULES: Mapping[str, Rule] = {
    "nodes-api": _rule(_NODES, _SERVERS, "api"),
    "nodes-cni": _rule(_NODES, _NODES, "cni"),
    "servers-kubelet": _rule(_SERVERS, _NODES, "kubelet"),
    "edge-web": _rule("tag:edge", _HOSTS, "tcp:80", "tcp:443"),
    "admins-api": _rule(f"group:{ADMINS}", _SERVERS, "api"),
    "admins-ssh": _rule(f"group:{ADMINS}", f"{_HOSTS} tag:edge", "ssh"),
    "ci-api": _rule("tag:ci tag:ci-up", _SERVERS, "api"),
    "ci-up-ssh": _rule("tag:ci-up", f"{_HOSTS} tag:edge", "ssh"),
}
DEFAULT_SSH_RULES: Mapping[str, SshRule] = {
    "admins": SshRule.model_validate(
        {"from": (f"group:{ADMINS}",), "to": (*_HOSTS.split(), "tag:edge"), "users": ("root",)}
    )
}


def _added_to(defaults: Mapping[str, Any]) -> BeforeValidator:
    return BeforeValidator(lambda given: {**defaults, **given} if isinstance(given, Mapping) else given)


class Mesh(Model):
    """The mesh."""

    server_url: HttpsUrl = Field(description="URL of the mesh's controller on the Primer; its host lies outside domain")
    domain: Domain = Field(description="DNS domain of the mesh; a host is NAME.domain")
    prefix: Cidr = Field(default=MESH_SPACE, description="range of the mesh's addresses, inside 100.64.0.0/10")
    tls: Literal["private", "acmeDns", "file"] = Field(
        default="private", description="where the controller's certificate comes from; private is a CA of this stack"
    )
    derp: Derp = Field(default=Derp(), description="the relay on the Primer: {regionId, publicMap}")
    users: tuple[Person, ...] = Field(default=(), description="people with devices in the mesh")
    groups: Annotated[Mapping[Label, tuple[UserName, ...]], _added_to({ADMINS: ()})] = Field(
        default={ADMINS: ()}, description="groups of these people; members of admins reach the API and SSH"
    )
    rules: Annotated[Mapping[Label, Rule], _added_to(DEFAULT_RULES)] = Field(
        default=DEFAULT_RULES, description="who reaches what; added to the rules that the cluster needs"
    )
    routes: Mapping[Label, Route] = Field(default_factory=dict, description="ranges behind hosts: {cidr, hosts}")
    ssh: Annotated[Mapping[Label, SshRule], _added_to(DEFAULT_SSH_RULES)] = Field(
        default=DEFAULT_SSH_RULES, description="who may use the mesh's own SSH"
    )

    @property
    def server_host(self) -> str:
        return urlsplit(self.server_url).hostname or ""

    @property
    def server_port(self) -> int:
        return urlsplit(self.server_url).port or DEFAULT_HTTPS_PORT

    def name_of(self, host: str) -> str:
        """The MagicDNS name of a host."""
        return f"{host}.{self.domain}"
