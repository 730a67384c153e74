"""Ed25519 keys as OpenSSH files, the same bytes each time (OpenSSH, PROTOCOL.key).

The usual libraries put a random check number into each private key file; here it is derived as well.
"""

import base64
import struct
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KIND = b"ssh-ed25519"
BLOCK = 8


@dataclass(frozen=True, kw_only=True)
class SshKey:
    """An SSH key pair: `private` is an OpenSSH file's text, `public` is `ssh-ed25519 AAAA...` without a comment."""

    private: str = field(repr=False)
    public: str


def _string(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def ssh_key(seed: bytes, check: bytes) -> SshKey:
    """Return the key pair of a 32-byte seed. `check` is the file's 4-byte check number."""
    if len(check) != 4:
        raise ValueError(f"{len(check)} check bytes given, 4 wanted")
    point = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    blob = _string(KIND) + _string(point)
    secret = check + check + blob + _string(seed + point) + _string(b"")
    secret += bytes(range(1, 1 + -len(secret) % BLOCK))
    body = b"openssh-key-v1\0" + _string(b"none") + _string(b"none") + _string(b"") + struct.pack(">I", 1)
    text = base64.b64encode(body + _string(blob) + _string(secret)).decode()
    lines = [text[at : at + 70] for at in range(0, len(text), 70)]
    private = "\n".join(["-----BEGIN OPENSSH PRIVATE KEY-----", *lines, "-----END OPENSSH PRIVATE KEY-----", ""])
    return SshKey(private=private, public=f"{KIND.decode()} {base64.b64encode(blob).decode()}")
