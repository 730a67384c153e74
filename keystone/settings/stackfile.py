"""A stack file on disk: Pulumi.<stack>.yaml, read without Pulumi."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from keystone.errors import KeystoneError, no_stack_file, of_yaml
from keystone.settings.faults import Fault

NAMESPACE = "keystone"
_NEW_FILE = "Make the stack file with `keystone init`"
ROOT_SECRET = "rootSecret"
CLOUDFLARE_TOKEN = "cloudflareToken"
IDENTITY_PROVIDER_SECRET = "identityProviderSecret"
GRAFANA_SSO_SECRET = "grafanaSsoSecret"
ACME_TOKEN = "acmeToken"
EXTERNAL_DNS_KEY = "externalDnsKey"
PROXMOX_CONFIG = "proxmoxConfig"
HETZNER_TOKEN = "hetznerToken"
REPOSITORY_KEY = "repositoryKey"
RECEIVER_SECRETS = {
    "slack": "alertSlackUrl",
    "pagerduty": "alertPagerdutyKey",
    "email": "alertSmtpPassword",
    "webhook": "alertWebhookUrl",
    "heartbeat": "alertHeartbeatUrl",
}
"""What each receiver of alerts needs in secret, by the receiver's name."""
SECRET_KEYS: Mapping[str, tuple[str, ...]] = {
    ROOT_SECRET: (),
    CLOUDFLARE_TOKEN: ("tunnel",),
    IDENTITY_PROVIDER_SECRET: ("tunnel", "identityProvider"),
    GRAFANA_SSO_SECRET: ("observability", "grafana", "sso"),
    ACME_TOKEN: ("platform", "certManager", "acme"),
    EXTERNAL_DNS_KEY: ("platform", "externalDns"),
    PROXMOX_CONFIG: ("storage", "proxmox"),
    HETZNER_TOKEN: ("clouds", "hetzner"),
    REPOSITORY_KEY: ("gitops", "repository", "login"),
    **{key: ("observability", "alerting", "receivers", name) for name, key in RECEIVER_SECRETS.items()},
}
"""Top-level keys that hold secrets, each one encrypted value -> the setting that needs it; () for always."""


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, where YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value} stands there twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_STACK = re.compile(r"[A-Za-z0-9_.-]{1,100}")


def path_of(stack: str, project: Path = Path()) -> Path:
    """The file of a stack. Raises KeystoneError for a name that Pulumi would not take."""
    if not _STACK.fullmatch(stack) or stack in (".", ".."):
        raise KeystoneError("stack", f"{stack!r} is not a stack's name", "Use letters, digits, '-', '_' and '.'")
    return project / f"Pulumi.{stack}.yaml"


def config_of(stack: str, project: Path = Path()) -> dict[str, Any]:
    """The `config:` part of a stack file, every key with its namespace."""
    file = path_of(stack, project)
    try:
        document = yaml.load(file.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        raise no_stack_file(stack, project) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise of_yaml(file.name, error) from None
    config = document.get("config") if isinstance(document, dict) else None
    if not isinstance(config, dict) or not all(isinstance(key, str) for key in config):
        raise KeystoneError(file.name, "has no `config:` with keys", "Put the settings below `config:`")
    return config


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The keys below `keystone:`, without namespace and without the secrets."""
    plain = {
        key.removeprefix(f"{NAMESPACE}:"): value for key, value in config.items() if key.startswith(f"{NAMESPACE}:")
    }
    return {key: value for key, value in plain.items() if key not in SECRET_KEYS}


def with_secrets(faults: list[Fault], config: Mapping[str, Any]) -> list[Fault]:
    """The faults of the sections together with those of the secrets' places.

    Where a secret stands inside of a section, that is the fault; what the model says about the same place is not.
    """
    found = secret_faults(config)
    places = tuple(fault.place for fault in found)
    return found + [fault for fault in faults if not any(_at_or_below(fault.place, place) for place in places)]


def _at_or_below(place: str, other: str) -> bool:
    return place == other or place.startswith((f"{other}.", f"{other}["))


def secret_faults(config: Mapping[str, Any]) -> list[Fault]:
    """What is wrong with the secrets' places: missing, in plain text, or inside of a section."""
    given = [key for key in SECRET_KEYS if config.get(f"{NAMESPACE}:{key}") is not None]
    faults = missing_secrets(settings_of(config), given)
    faults += [
        Fault(key, "stands in the file in plain text", f"Use `pulumi config set --secret {NAMESPACE}:{key}`")
        for key in given
        if not _encrypted(config[f"{NAMESPACE}:{key}"])
    ]
    for key, value in settings_of(config).items():
        faults += [
            Fault(place, "a secret inside a section would be handed out in plain text", "Remove it")
            for place in _places_of_secrets(key, value)
        ]
    return faults


def missing_secrets(document: Mapping[str, Any], given: Collection[str]) -> list[Fault]:
    """A fault for each secret that a setting of the document needs and that is not among the given keys."""
    faults = []
    for key, place in SECRET_KEYS.items():
        if key not in given and _holds(document, place):
            cure = f"Use `pulumi config set --secret {NAMESPACE}:{key}`" if place else _NEW_FILE
            why = f", and {'.'.join(place)} needs it" if place else ""
            faults.append(Fault(key, f"this secret is missing{why}", cure))
    return faults


def _holds(document: Any, place: tuple[str, ...]) -> bool:
    for part in place:
        document = document.get(part) if isinstance(document, Mapping) else None
    return document is not None


def _encrypted(value: Any) -> bool:
    return isinstance(value, Mapping) and set(value) == {"secure"} and isinstance(value["secure"], str)


def _places_of_secrets(place: str, value: Any) -> list[str]:
    if _encrypted(value):
        return [place]
    if isinstance(value, Mapping):
        return [found for key, item in value.items() for found in _places_of_secrets(f"{place}.{key}", item)]
    if isinstance(value, list):
        return [found for index, item in enumerate(value) for found in _places_of_secrets(f"{place}[{index}]", item)]
    return []
