"""The issuer of the cluster's tokens as two static, public documents: discovery and keys (OpenID Connect Discovery 1.0,
RFC 7517). Pure functions: whoever has the settings and the public keys gets the same bytes.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from keystone.identities import Identities

DISCOVERY = ".well-known/openid-configuration"
KEYS = "openid/v1/jwks"
"""Paths below the issuer, which the API server names too (`service-account-jwks-uri`)."""
ALGORITHM = "ES256"
CACHE_SECONDS = 300
"""How long a reader may keep a document: a key is published so much earlier than it signs."""


def url(host: str) -> str:
    """The issuer, as tokens name it in `iss`."""
    return f"https://{host}"


def discovery(host: str) -> dict[str, Any]:
    """What says where the keys lie."""
    return {
        "issuer": url(host),
        "jwks_uri": f"{url(host)}/{KEYS}",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [ALGORITHM],
        "claims_supported": ["aud", "exp", "iat", "iss", "sub"],
    }


def key_set(public_keys: Iterable[ec.EllipticCurvePublicKey]) -> dict[str, Any]:
    """The keys with which tokens are verified, in the given order."""
    return {"keys": [_web_key(key) for key in public_keys]}


def _web_key(key: ec.EllipticCurvePublicKey) -> dict[str, Any]:
    numbers = key.public_numbers()
    return {
        "use": "sig",
        "kty": "EC",
        "kid": key_id(key),
        "crv": "P-256",
        "alg": ALGORITHM,
        "x": _encoded(numbers.x.to_bytes(32, "big")),
        "y": _encoded(numbers.y.to_bytes(32, "big")),
    }


def key_id(key: ec.EllipticCurvePublicKey) -> str:
    """The `kid` that the API server writes into its tokens: the hash of the key's DER form.

    https://github.com/kubernetes/kubernetes, pkg/serviceaccount/jwt.go, keyIDFromPublicKey.
    """
    return _encoded(hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest())


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def public_key(identities: Identities, generation: int) -> ec.EllipticCurvePublicKey:
    """The public part of a generation's signing key."""
    key = load_pem_private_key(identities.service_account_key(generation).encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey), "identities make P-256 keys"
    return key.public_key()


def documents(host: str, identities: Identities, generations: Iterable[int]) -> Mapping[str, str]:
    """Both documents by their path. Nothing in them is secret. The older key stands first, whichever of them signs."""
    keys = [public_key(identities, generation) for generation in sorted(generations)]
    return {DISCOVERY: _text(discovery(host)), KEYS: _text(key_set(keys))}


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2, sort_keys=True) + "\n"
