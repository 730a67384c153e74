"""HKDF-SHA256 (RFC 5869) from one root secret: one label per purpose, name and generation."""

import json
import re

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keystone.errors import KeystoneError

# Part of every derived value: changing it changes every key of every cluster.
SALT = b"keystone identities 1"
# Order of the group of P-256 (FIPS 186-5, SP 800-186 3.2.1.3).
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def root_bytes(root_secret: str) -> bytes:
    """Return the 32 bytes of a root secret given as 64 hex digits. Raises KeystoneError; never shows the value."""
    text = root_secret.strip()
    if re.fullmatch(r"[0-9a-fA-F]{64}", text) is None:
        raise KeystoneError(
            "keystone:rootSecret",
            f"{len(text)} characters given, 64 hex digits (32 random bytes) wanted",
            "Make a stack with `keystone init`, or restore the secret from your backup",
        )
    return bytes.fromhex(text)


def label(cluster: str, purpose: str, name: str, generation: int) -> bytes:
    """Return the HKDF info of a value. A JSON list, so that no two different labels share one encoding."""
    if isinstance(generation, bool) or generation < 1:
        raise KeystoneError(
            f"{purpose} {name}".strip(), f"generation {generation} is below 1", "Generations count from 1"
        )
    return json.dumps(["keystone", cluster, purpose, name, int(generation)], separators=(",", ":")).encode()


def derive(root: bytes, info: bytes, length: int = 32) -> bytes:
    """Return `length` bytes for the label `info`."""
    return HKDF(algorithm=SHA256(), length=length, salt=SALT, info=info).derive(root)


def p256_key(seed: bytes) -> ec.EllipticCurvePrivateKey:
    """Return the P-256 key of 40 seed bytes: 64 extra bits make the reduction's bias negligible (FIPS 186-5 A.2.1)."""
    if len(seed) != 40:
        raise ValueError(f"{len(seed)} seed bytes given, 40 wanted")
    scalar = int.from_bytes(seed, "big") % (P256_ORDER - 1) + 1
    return ec.derive_private_key(scalar, ec.SECP256R1())


def clamp(seed: bytes) -> bytes:
    """Return 32 bytes as a canonical X25519 private key (RFC 7748 5), the form in which Tailscale makes its own."""
    return bytes([seed[0] & 248]) + seed[1:31] + bytes([seed[31] & 127 | 64])
