"""What must never stand anywhere in the clear: the root secret, everything derived from it, and the other secrets of
the stack file. Each secret comes in every form that gives it away by itself: the text, and the raw bytes within it.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

from keystone.identities import CLUSTER_GENERATION, Identities
from keystone.settings import Settings

SHORTEST = 8
"""Bytes. A shorter secret would be found in every text; `unsearchable` names those that are left out."""
_PEM = re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----\s+(.*?)-----END ", re.DOTALL)
# Keys that a lower generation derived are still keys: old backups and machines know them.
_GENERATIONS = 3


@dataclass(frozen=True)
class Secret:
    """A secret by name, with all its forms."""

    name: str
    forms: tuple[bytes, ...] = field(repr=False)


def derived(settings: Settings, identities: Identities) -> Iterator[Secret]:
    """The root secret and every secret that the identities of this stack hold."""
    texts = {
        "root secret": identities.root_secret,
        "operator key": identities.operator_key().private,
        "server token": identities.server_token(),
        "agent token": identities.agent_token(),
        **dict(_signing_keys(settings, identities)),
        "headscale noise key": identities.headscale_noise_key(),
        "headscale derp key": identities.headscale_derp_key(),
        **dict(_backup_keys(settings, identities)),
        "mesh CA key": identities.mesh_ca()[1],
        "mesh TLS key": identities.mesh_certificate([settings.mesh.server_host])[1],
        # The names are in the certificate alone: the key is the same for all.
        "object store TLS key": identities.object_store_certificate(["object-store"])[1],
        "Linkerd trust anchor key": identities.linkerd_anchor(settings.cluster.cluster_domain)[1],
        "Grafana password": identities.grafana_password(),
        **{f"cluster CA key {name}": text for name, text in identities.cluster_cas().items() if name.endswith(".key")},
    }
    for name, host in settings.hosts.items():
        newest = host.install_generation
        for generation in range(max(1, newest - _GENERATIONS + 1), newest + 1):
            suffix = f"of {name}" if generation == newest else f"of {name}, generation {generation}"
            texts[f"SSH host key {suffix}"] = identities.ssh_host_key(name, generation).private
            texts[f"initrd host key {suffix}"] = identities.initrd_host_key(name, generation).private
            texts[f"recovery passphrase {suffix}"] = identities.recovery_passphrase(name, generation)
    yield from (Secret(name, forms(text)) for name, text in texts.items())


def _signing_keys(settings: Settings, identities: Identities) -> Iterator[tuple[str, str]]:
    """The keys of service accounts' tokens, those of generations before too."""
    newest = max(settings.aws.key_generations) if settings.aws else CLUSTER_GENERATION
    for generation in range(max(1, newest - _GENERATIONS + 1), newest + 1):
        suffix = "" if generation == CLUSTER_GENERATION else f", generation {generation}"
        yield f"service-account key{suffix}", identities.service_account_key(generation)


def _backup_keys(settings: Settings, identities: Identities) -> Iterator[tuple[str, str]]:
    """The keys of the copies off the site, those of generations before too: old copies still open with them."""
    if settings.backup:
        for generation in range(1, settings.backup.key_generation + 1):
            yield f"backup key, generation {generation}", identities.backup_key(generation).private


def configured(values: Mapping[str, str]) -> Iterator[Secret]:
    """The encrypted values of a stack file, by their keys."""
    return (Secret(f"secret {key}", forms(text)) for key, text in values.items())


def unsearchable(secrets: Iterable[Secret]) -> list[str]:
    """The names of secrets that are too short to search for."""
    return sorted(secret.name for secret in secrets if not secret.forms)


def forms(text: str) -> tuple[bytes, ...]:
    """The text, and what gives it away by itself: bytes behind hex digits, a token's password, the number of a key."""
    text = text.strip()
    found: dict[bytes, None] = {}
    keys = list(_PEM.finditer(text))
    for key in keys:
        found |= dict.fromkeys(_key_material(text, key))
    if not keys:
        found[text.encode()] = None
    # k3s' K10<hash of the CA>::<user>:<password> and Headscale's privkey:<hex>: what follows the last colon is enough.
    tail = text.rpartition(":")[2]
    if not keys and tail != text and len(tail) >= 2 * SHORTEST:
        found[tail.encode()] = None
    if not keys and len(tail) >= 32 and len(tail) % 2 == 0 and re.fullmatch(r"[0-9a-fA-F]+", tail):
        found[bytes.fromhex(tail)] = None
        found[tail.lower().encode()] = None
        found[tail.upper().encode()] = None
    return tuple(form for form in found if len(form) >= SHORTEST)


def _key_material(text: str, key: re.Match[str]) -> Iterator[bytes]:
    """A private key's own number; for a kind of key without one, lines of its body that hold no public part."""
    pem = text[key.start() :].encode()
    try:
        loaded = load_ssh_private_key(pem, None) if "OPENSSH" in key[1] else load_pem_private_key(pem, None)
    except (ValueError, TypeError, binascii.Error):
        loaded = None
    if isinstance(loaded, Ed25519PrivateKey):
        yield loaded.private_bytes_raw()
    elif isinstance(loaded, EllipticCurvePrivateKey):
        number = loaded.private_numbers().private_value
        yield number.to_bytes((loaded.key_size + 7) // 8, "big")
    else:
        # The second half of an RSA key is private; its first lines hold the public number too.
        body = key[2].split()
        for line in body[len(body) // 2 :]:
            yield line.encode()
            yield _bytes_of(line)


def _bytes_of(line: str) -> bytes:
    try:
        return base64.b64decode(line + "=" * (-len(line) % 4))
    except ValueError:
        return b""
