"""Section `tunnel`: names of a Cloudflare zone that lead into the cluster, each behind a login. Left out: none."""

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StrictInt, StrictStr

from keystone.settings.hosts import HostName
from keystone.settings.model import Domain, Generation, Label, Model, Port, Wrong
from keystone.settings.platform import Mail

OFFICIAL_API = "https://api.cloudflare.com/client/v4"
MAX_REPLICAS = 25
"""One tunnel takes 100 connections, and every replica makes four."""


def _api_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        sound = bool(parts.hostname) and parts.username is None and not parts.query and (parts.port or 1) > 0
        secure = parts.scheme == "https" or (parts.scheme == "http" and ip_address(parts.hostname or "").is_loopback)
    except ValueError:  # not an address, or a port that is none
        sound, secure = False, False
    if not (sound and secure):
        raise Wrong(
            f"{value!r} is not the https URL of an API (http is for a loopback address only)",
            f"Leave it out, or write it like {OFFICIAL_API}",
        )
    return value.rstrip("/")


def _object_id(value: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{32}", value):
        raise Wrong(
            f"{value!r} is not an id of Cloudflare, which has 32 hex digits", "Copy it from the zone's overview page"
        )
    return value


def _team(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", value):
        raise Wrong(f"{value!r} is not a team's name", "Write NAME of NAME.cloudflareaccess.com")
    return value


def _https_endpoint(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme != "https" or not parts.hostname or parts.username:
        raise Wrong(f"{value!r} is not an https URL", "Copy it from the provider's discovery document")
    return value


def _moment(value: str) -> str:
    if not re.fullmatch(r"\d{4}-(0\d|1[0-2])-([0-2]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\dZ", value):
        raise Wrong(f"{value!r} is not a moment in UTC", "Write it like 2027-01-31T00:00:00Z")
    return value


ApiUrl = Annotated[StrictStr, AfterValidator(_api_url)]
ObjectId = Annotated[StrictStr, AfterValidator(_object_id)]
Endpoint = Annotated[StrictStr, AfterValidator(_https_endpoint)]
Moment = Annotated[StrictStr, AfterValidator(_moment)]
Hours = Annotated[StrictInt, Field(ge=1, le=720)]
App = Literal["grafana", "argocd"]


class Origin(Model):
    """The service of the cluster that a name leads to."""

    namespace: Label = Field(description="namespace of the Service")
    service: Label = Field(description="name of the Service")
    port: Port = Field(description="port of the Service")
    scheme: Literal["http", "https"] = Field(
        default="http", description="https wants a certificate that is publicly trusted, for serverName if given"
    )
    server_name: Domain | None = Field(default=None, description="name in the certificate of an https service")


class Access(Model):
    """Who may open a name: anyone whom one of the lists names. Every list may be left out, not all of them."""

    emails: tuple[Mail, ...] = Field(default=(), description="people, by mail address")
    email_domains: tuple[Domain, ...] = Field(default=(), description="everyone with an address in these domains")
    groups: tuple[Annotated[StrictStr, Field(min_length=1)], ...] = Field(
        default=(), description="groups that the identity provider names in its claim `groups`"
    )
    service_tokens: tuple[Label, ...] = Field(default=(), description="programs, by name in tunnel.serviceTokens")

    @property
    def people(self) -> bool:
        """Whether people may come in, by logging in."""
        return bool(self.emails or self.email_domains or self.groups)


class Hostname(Model):
    """One public name; its key is the part before the zone."""

    origin: Origin | None = Field(default=None, description="service of the cluster: {namespace, service, port}")
    app: App | None = Field(default=None, description="in place of origin, a program of Keystone: grafana or argocd")
    access: Access | None = Field(default=None, description="who may open it: {emails, emailDomains, groups, ...}")
    session_hours: Hours = Field(default=24, description="hours after which people log in again")


class ServiceToken(Model):
    """A credential with which a program comes in."""

    generation: Generation = Field(default=1, description="raised: a new secret; the old one ends at previousUntil")
    previous_until: Moment | None = Field(
        default=None, description="moment until which the secret before this generation is accepted too"
    )
    valid_days: Annotated[StrictInt, Field(ge=1, le=3650)] = Field(
        default=365, description="days after which the token ends"
    )


class IdentityProvider(Model):
    """An OpenID Connect provider where people log in; its secret is keystone:identityProviderSecret."""

    name: Annotated[StrictStr, Field(min_length=1, max_length=60)] = Field(description="what the login page shows")
    client_id: Annotated[StrictStr, Field(min_length=1)] = Field(description="id of the client made for Cloudflare")
    auth_url: Endpoint = Field(description="authorization_endpoint of the provider")
    token_url: Endpoint = Field(description="token_endpoint of the provider")
    certs_url: Endpoint = Field(description="jwks_uri of the provider")
    scopes: tuple[Annotated[StrictStr, Field(min_length=1)], ...] = Field(
        default=("openid", "email", "profile", "groups"), description="what is asked of the provider"
    )


class Tunnel(Model):
    """A Cloudflare tunnel with its public names."""

    account_id: ObjectId = Field(description="id of the Cloudflare account")
    zone: Domain = Field(description="the zone, such as example.org")
    zone_id: ObjectId = Field(description="id of the zone")
    team: Annotated[StrictStr, AfterValidator(_team)] = Field(
        description="team of Zero Trust: NAME of NAME.cloudflareaccess.com"
    )
    api_url: ApiUrl = Field(default=OFFICIAL_API, description="URL of Cloudflare's API")
    generation: Generation = Field(default=1, description="raised: a second tunnel takes over and the first one goes")
    replicas: Annotated[StrictInt, Field(ge=2, le=MAX_REPLICAS)] = Field(
        default=2, description="pods of cloudflared; each keeps four connections"
    )
    ingress_nodes: tuple[HostName, ...] = Field(
        default=(), description="hosts that alone run cloudflared, their taints tolerated; none: all nodes"
    )
    hostnames: Mapping[Label, Hostname] = Field(min_length=1, description="public names, by their part before the zone")
    service_tokens: Mapping[Label, ServiceToken] = Field(default_factory=dict, description="credentials, by name")
    identity_provider: IdentityProvider | None = Field(
        default=None, description="where people log in; left out: a code by mail"
    )

    def name_of(self, key: str) -> str:
        """The public name of a key of `hostnames`."""
        return f"{key}.{self.zone}"

    def name_for(self, app: App) -> str | None:
        """The first public name that leads to a program of Keystone."""
        return next((self.name_of(key) for key, one in sorted(self.hostnames.items()) if one.app == app), None)

    def url_of(self, key: str) -> str:
        """Where a browser finds it."""
        return f"https://{self.name_of(key)}"
