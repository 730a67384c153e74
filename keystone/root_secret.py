"""The root secret of a stack, for commands that run outside of the engine.

A stack file with a passphrase is opened here: `pulumi config get` wants the stack to exist in the backend, where
a fresh clone has none. With any other secrets provider Pulumi itself is asked.
"""

import base64
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from keystone.engine.process import quick
from keystone.errors import KeystoneError
from keystone.settings.stackfile import NAMESPACE, ROOT_SECRET, config_of, path_of

# Pulumi's passphrase format (sdk/go/common/resource/config/crypt.go): PBKDF2-HMAC-SHA256, then AES-256-GCM.
_ITERATIONS = 1_000_000
_KEY_BYTES = 32
# What Pulumi encrypts beside the salt, to tell a wrong passphrase.
_PROOF = "pulumi"


def root_secret(stack: str, project: Path = Path()) -> str:
    """Return the root secret of a stack. Raises KeystoneError when it is missing or cannot be decrypted."""
    file, key = path_of(stack, project), f"{NAMESPACE}:{ROOT_SECRET}"
    value = config_of(stack, project).get(key)
    if not isinstance(value, Mapping) or not isinstance(value.get("secure"), str):
        raise KeystoneError(file.name, f"{key} is not an encrypted value", "Make the stack file with `keystone init`")
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    salt = document.get("encryptionsalt")
    if isinstance(salt, str) and document.get("secretsprovider", "passphrase") in ("passphrase", "default"):
        return _decrypt(value["secure"], _key(file.name, salt, passphrase()), file.name)
    return quick(["config", "get", key, "--stack", stack], project).strip()


def config_secrets(stack: str, project: Path = Path()) -> dict[str, str]:
    """Return every encrypted value of a stack file by its key, the root secret too; those inside of objects as well.

    Raises KeystoneError when one cannot be decrypted.
    """
    file, config = path_of(stack, project), config_of(stack, project)
    encrypted = {place: text for key, value in config.items() for place, text in _encrypted(key, value)}
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    salt = document.get("encryptionsalt")
    if not encrypted:
        return {}
    if isinstance(salt, str) and document.get("secretsprovider", "passphrase") in ("passphrase", "default"):
        key = _key(file.name, salt, passphrase())
        return {place: _decrypt(text, key, file.name) for place, text in encrypted.items()}
    said = json.loads(quick(["config", "--show-secrets", "--json", "--stack", stack], project))
    return {key: str(entry.get("value", "")) for key, entry in said.items() if entry.get("secret")}


def _encrypted(place: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        if set(value) == {"secure"} and isinstance(value["secure"], str):
            yield place, value["secure"]
            return
        for key, item in value.items():
            yield from _encrypted(f"{place}.{key}", item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _encrypted(f"{place}[{index}]", item)


def passphrase() -> str:
    """The passphrase from the environment, as Pulumi looks for it. Raises KeystoneError when there is none."""
    if (text := os.environ.get("PULUMI_CONFIG_PASSPHRASE")) is not None:
        return text
    if file := os.environ.get("PULUMI_CONFIG_PASSPHRASE_FILE"):
        try:
            return Path(file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise KeystoneError(
                "PULUMI_CONFIG_PASSPHRASE_FILE", f"{file} cannot be read: {error.strerror}", "Correct the path"
            ) from None
    raise KeystoneError(
        "PULUMI_CONFIG_PASSPHRASE",
        "is not set, and the stack's secrets are encrypted with it",
        'Set it (or PULUMI_CONFIG_PASSPHRASE_FILE); for a twin stack `eval "$(make -s env)"` does',
    )


def _key(name: str, encryption_salt: str, text: str) -> bytes:
    """The key of the stack file, proven with the text that lies beside the salt."""
    version, salt, proof = (*encryption_salt.split(":", 2), "", "")[:3]
    if version != "v1" or not proof:
        raise KeystoneError(name, "encryptionsalt is not of the form that Pulumi writes", "Restore the line")
    key = hashlib.pbkdf2_hmac("sha256", text.encode(), _decoded(salt, name), _ITERATIONS, _KEY_BYTES)
    if _decrypt(proof, key, name) != _PROOF:
        raise KeystoneError(name, "encryptionsalt holds something else than Pulumi's proof", "Restore the line")
    return key


def _decrypt(text: str, key: bytes, name: str) -> str:
    version, nonce, cipher = (*text.split(":"), "", "")[:3]
    if version != "v1" or not cipher:
        raise KeystoneError(name, "an encrypted value is not of the form that Pulumi writes", "Restore the line")
    try:
        return AESGCM(key).decrypt(_decoded(nonce, name), _decoded(cipher, name), None).decode()
    except (InvalidTag, ValueError):
        raise KeystoneError(
            "PULUMI_CONFIG_PASSPHRASE",
            f"does not decrypt the secrets of {name}",
            "Set the passphrase that the stack was made with",
        ) from None


def _decoded(text: str, name: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise KeystoneError(name, "an encrypted value is not base64", "Restore the line") from None
