"""The table of resource types: where each lives in the API, what is always sent, what replaces it, what is secret."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from twin.plugins import wire
from twin.plugins.base import Failures
from twin.plugins.cloudflare.extract import FIELDS

Fields = Mapping[str, Mapping[str, Any]]
OWNERS = {"accountId": "accounts", "zoneId": "zones"}
"""Properties that say whose an object is, and their part of a path; they are sent in no body."""
AUTOMATIC_TTL = 1.0


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One resource type.

    `always` is sent when the program says nothing; `again` are properties that an update sends as the last answer had
    them.
    """

    name: str
    path: str
    owner: Literal["accountId", "zoneId"] = "accountId"
    update: Literal["PUT", "PATCH"] = "PUT"
    replace_on: frozenset[str] = frozenset({"accountId", "zoneId"})
    always: Mapping[str, Any] = field(default_factory=dict)
    again: tuple[str, ...] = ()
    secret: frozenset[str] = frozenset()
    hidden: tuple[tuple[str, ...], ...] = ()
    """Paths of inputs that answers hide: the state keeps what was given."""
    import_prefix: str = ""
    """What stands before OWNER/ID in the id for an import."""

    @property
    def token(self) -> str:
        return f"cloudflare:index/{self.name[0].lower()}{self.name[1:]}:{self.name}"

    @property
    def inputs(self) -> Fields:
        return _fields()[self.name]["inputs"]

    @property
    def outputs(self) -> Fields:
        return _fields()[self.name]["outputs"]


TUNNEL = Kind(
    name="ZeroTrustTunnelCloudflared",
    path="cfd_tunnel",
    update="PATCH",
    replace_on=frozenset({"accountId", "configSrc"}),
    always={"configSrc": "local"},
    secret=frozenset({"tunnelSecret"}),
    hidden=(("tunnelSecret",),),
)
CONFIG = Kind(
    name="ZeroTrustTunnelCloudflaredConfig",
    path="cfd_tunnel/{tunnelId}/configurations",
    replace_on=frozenset({"accountId", "tunnelId"}),
)
RECORD = Kind(
    name="DnsRecord",
    path="dns_records",
    owner="zoneId",
    replace_on=frozenset({"type", "zoneId"}),
    always={"proxied": False},
    again=("settings", "tags"),
)
SERVICE_TOKEN = Kind(
    name="ZeroTrustAccessServiceToken",
    path="access/service_tokens",
    always={"clientSecretVersion": 1.0, "duration": "8760h"},
    secret=frozenset({"clientSecret"}),
    import_prefix="accounts/",
)
POLICY = Kind(name="ZeroTrustAccessPolicy", path="access/policies", always={"sessionDuration": "24h"})
APPLICATION = Kind(
    name="ZeroTrustAccessApplication",
    path="access/apps",
    always={"appLauncherVisible": True, "httpOnlyCookieAttribute": True, "policies": [], "sessionDuration": "24h"},
    again=("destinations", "selfHostedDomains"),
    import_prefix="accounts/",
)
IDENTITY_PROVIDER = Kind(
    name="ZeroTrustAccessIdentityProvider",
    path="access/identity_providers",
    hidden=(("config", "clientSecret"),),
    import_prefix="accounts/",
)
KINDS = {kind.token: kind for kind in (TUNNEL, CONFIG, RECORD, SERVICE_TOKEN, POLICY, APPLICATION, IDENTITY_PROVIDER)}


@cache
def _fields() -> Mapping[str, Any]:
    return json.loads(FIELDS.read_text())


def check(kind: Kind, inputs: wire.Map) -> Failures:
    """The faults of a resource's inputs; an unknown value is never one."""
    failures: Failures = []
    _check_object(kind.inputs, "", inputs, failures)
    plain = wire.reveal(inputs)
    if plain.get(kind.owner) is None:
        failures.append((kind.owner, f"Missing required property '{kind.owner}'"))
    if kind is RECORD and plain.get("proxied") is True and plain.get("ttl") not in (AUTOMATIC_TTL, wire.UNKNOWN, None):
        failures.append(("ttl", "ttl must be set to 1 when `proxied` is true"))
    rotation = [name for name in ("clientSecretVersion", "previousClientSecretExpiresAt") if plain.get(name) is None]
    if kind is SERVICE_TOKEN and len(rotation) == 1:
        failures.append((rotation[0], "clientSecretVersion and previousClientSecretExpiresAt must be given together"))
    return failures


def _check_object(fields: Fields, place: str, value: Mapping[str, Any], failures: Failures) -> None:
    for name, item in value.items():
        if name in fields:
            _check(fields[name], f"{place}{name}", item, failures)
        elif not name.startswith("__") and name != "version":
            failures.append((f"{place}{name}", f"An argument named '{place}{name}' is not expected here"))
    for name, spec in fields.items():
        if spec.get("required") and value.get(name) is None:
            failures.append((f"{place}{name}", f"Missing required property '{place}{name}'"))


def _check(spec: Mapping[str, Any], place: str, value: wire.Value, failures: Failures) -> None:
    value, _ = wire.open_secret(value)
    if value is None or value == wire.UNKNOWN:
        return
    kind, choices = spec["type"], spec.get("choices")
    if not _TYPES[kind](value):
        failures.append((place, f"'{place}' must be a {kind}, got a {type(value).__name__}"))
    elif kind == "object":
        _check_object(spec["fields"], f"{place}.", value, failures)
    elif kind in ("list", "map"):
        parts = value.items() if kind == "map" else enumerate(value)
        inner = {**spec["items"], **({"choices": choices} if choices else {})}
        for key, item in parts:
            _check(inner, f"{place}[{key}]", item, failures)
    elif choices and isinstance(value, str) and value.lower() not in {choice.lower() for choice in choices}:
        failures.append((place, f"'{place}' must be one of {', '.join(choices)}, got '{value}'"))


_TYPES = {
    "string": lambda value: isinstance(value, str),
    "bool": lambda value: isinstance(value, bool),
    "number": lambda value: isinstance(value, float | int) and not isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "map": lambda value: isinstance(value, dict),
    "list": lambda value: isinstance(value, list),
    "any": lambda value: value is not None,
}
