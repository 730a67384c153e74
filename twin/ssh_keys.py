"""SSH keys that the twin makes itself: those of its blank machines."""

from __future__ import annotations

import hashlib
import os

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat


def installer_key(network: str, name: str) -> bytes:
    """Return the host key (OpenSSH PEM) of a blank machine's installer.

    Not a secret: the settings record its public half out of band (`installerHostKey`), as a user does who reads it
    off the console of a real machine, and so it must be the same after each `twin down`.
    """
    seed = hashlib.sha256(b"keystone twin installer\0" + network.encode() + b"\0" + name.encode()).digest()
    return _pem(Ed25519PrivateKey.from_private_bytes(seed))


def installer_public_key(network: str, name: str) -> str:
    """Return the public half of `installer_key`, as `installerHostKey` in the settings has it."""
    seed = hashlib.sha256(b"keystone twin installer\0" + network.encode() + b"\0" + name.encode()).digest()
    key = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def random_key() -> bytes:
    """Return a fresh host key (OpenSSH PEM), as sshd makes one for a machine that has none."""
    return _pem(Ed25519PrivateKey.from_private_bytes(os.urandom(32)))


def _pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
