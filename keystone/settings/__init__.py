"""The typed model of a stack file: one module per section, cross rules in `rules`.

`parse` takes a document, `read` a stack's file (no Pulumi needed), `load` the configuration of the running program.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keystone.settings import stackfile
from keystone.settings.aws import Aws, AwsNetwork, Capacity, Ci, NodePool
from keystone.settings.backup import Backup, Lock
from keystone.settings.cluster import Api, Cluster
from keystone.settings.faults import Fault, SettingsError
from keystone.settings.gitops import Gitops, Phase, Repository
from keystone.settings.hosts import Host, Site, Ssh, Taint
from keystone.settings.mesh import Derp, Mesh, Route, Rule, SshRule
from keystone.settings.network import LoadBalancer, Network
from keystone.settings.observability import Alerting, AlertRoute, Grafana, Logs, Observability
from keystone.settings.operators import Ack, Crossplane, Operators
from keystone.settings.parsing import examine, parse
from keystone.settings.platform import CertManager, ExternalDns, Platform
from keystone.settings.root import Settings
from keystone.settings.storage import Ceph, Storage
from keystone.settings.tunnel import Access, Hostname, IdentityProvider, Origin, ServiceToken, Tunnel

if TYPE_CHECKING:
    import pulumi

__all__ = [
    "Access",
    "Ack",
    "AlertRoute",
    "Alerting",
    "Api",
    "Aws",
    "AwsNetwork",
    "Backup",
    "Capacity",
    "Ceph",
    "CertManager",
    "Ci",
    "Cluster",
    "Crossplane",
    "Derp",
    "ExternalDns",
    "Fault",
    "Gitops",
    "Grafana",
    "Host",
    "Hostname",
    "IdentityProvider",
    "LoadBalancer",
    "Lock",
    "Logs",
    "Mesh",
    "Network",
    "NodePool",
    "Observability",
    "Operators",
    "Origin",
    "Phase",
    "Platform",
    "Repository",
    "Route",
    "Rule",
    "Secrets",
    "ServiceToken",
    "Settings",
    "SettingsError",
    "Site",
    "Ssh",
    "SshRule",
    "Storage",
    "Taint",
    "Tunnel",
    "load",
    "parse",
    "read",
]


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """The stack's secrets, as the engine hands them to the program."""

    root: "pulumi.Output[str]"
    cloudflare_token: "pulumi.Output[str] | None" = None
    identity_provider: "pulumi.Output[str] | None" = None
    """The client's secret at the OpenID Connect provider of the tunnel."""
    grafana_sso: "pulumi.Output[str] | None" = None
    """The client's secret at the OpenID Connect provider of Grafana."""
    acme: "pulumi.Output[str] | None" = None
    """The token that proves names to a public authority by DNS records."""
    external_dns: "pulumi.Output[str] | None" = None
    """The token or key with which external-dns writes records."""
    proxmox_config: "pulumi.Output[str] | None" = None
    """The file config.yaml of Proxmox' driver."""
    hetzner: "pulumi.Output[str] | None" = None
    """The token with which machines at Hetzner are made and removed."""
    repository: "pulumi.Output[str] | None" = None
    """The token or the private key that reads the user's repository."""
    receivers: "Mapping[str, pulumi.Output[str]]" = field(default_factory=dict)
    """What the receivers of alerts need, by the receiver's name: a URL, a key or a password."""


def read(stack: str, project: Path = Path()) -> Settings:
    """The settings of a stack, from its file. Raises SettingsError with all faults at once."""
    config = stackfile.config_of(stack, project)
    sections, faults = examine(stackfile.settings_of(config))
    if faults := stackfile.with_secrets(faults, config):
        raise SettingsError(faults, stackfile.path_of(stack, project).name)
    return Settings.model_construct(**sections)


def load() -> tuple[Settings, Secrets]:
    """Settings and secrets of the running Pulumi program. The one place that opens pulumi.Config."""
    import pulumi  # only the program has an engine; everything else reads the file

    config = pulumi.Config(stackfile.NAMESPACE)
    document = {key: _value(config.get(key)) for key in _given_keys()}
    sections, faults = examine(document)
    secrets = {key: config.get_secret(key) for key in stackfile.SECRET_KEYS}
    faults += stackfile.missing_secrets(document, [key for key, value in secrets.items() if value is not None])
    root = secrets[stackfile.ROOT_SECRET]
    if root is None or faults:
        raise SettingsError(faults, stackfile.path_of(pulumi.get_stack()).name)
    return Settings.model_construct(**sections), Secrets(
        root=root,
        cloudflare_token=secrets[stackfile.CLOUDFLARE_TOKEN],
        identity_provider=secrets[stackfile.IDENTITY_PROVIDER_SECRET],
        grafana_sso=secrets[stackfile.GRAFANA_SSO_SECRET],
        acme=secrets[stackfile.ACME_TOKEN],
        external_dns=secrets[stackfile.EXTERNAL_DNS_KEY],
        proxmox_config=secrets[stackfile.PROXMOX_CONFIG],
        hetzner=secrets[stackfile.HETZNER_TOKEN],
        repository=secrets[stackfile.REPOSITORY_KEY],
        receivers={
            name: value for name, key in stackfile.RECEIVER_SECRETS.items() if (value := secrets[key]) is not None
        },
    )


def _given_keys() -> list[str]:
    """The program's keys, secrets aside. pulumi.Config cannot list them, and an unknown one must not be lost."""
    from pulumi.runtime.config import CONFIG, get_config_env

    given: Mapping[str, Any] = {**get_config_env(), **CONFIG.get()}
    return list(stackfile.settings_of(given))


def _value(text: str | None) -> Any:
    """A configuration value. The engine hands all but plain text over as JSON."""
    try:
        return json.loads(text or "")
    except ValueError:
        return text
