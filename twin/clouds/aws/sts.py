"""AssumeRoleWithWebIdentity as AWS does it: the token's signature, its claims, and the role's trust policy.

Source: "AssumeRoleWithWebIdentity" in the STS API reference, and "Available keys for AWS OIDC federation" in the IAM
User Guide. moto itself accepts any token for any role.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from twin.clouds.aws import access
from twin.clouds.aws.account import PARTITION, Account
from twin.clouds.aws.errors import Refused

ACTION = "sts:AssumeRoleWithWebIdentity"
DISCOVERY = ".well-known/openid-configuration"
DEFAULT_SECONDS = 3600
LEAST_SECONDS = 900
SKEW_SECONDS = 300
NOT_AUTHORIZED = "Not authorized to perform sts:AssumeRoleWithWebIdentity"
P256_BYTES = 32


def assume(account: Account, form: Mapping[str, str]) -> tuple[Any, dict[str, Any]]:
    """A session of the role and the token's claims. Raises Refused with AWS's own codes."""
    for name in ("RoleArn", "RoleSessionName", "WebIdentityToken"):
        if not form.get(name):
            raise Refused("ValidationError", f"{name} is missing")
    header, claims, signed, signature = _parts(form["WebIdentityToken"])
    host, audience = _known(account, claims)
    _verify(header, _keys(account, host), signed, signature)
    _in_time(claims)
    role = account.role(form["RoleArn"])
    if role is None:
        # AWS does not tell who exists.
        raise Refused("AccessDenied", NOT_AUTHORIZED, 403)
    _trusted(account, role, host, audience, claims)
    seconds = int(form.get("DurationSeconds") or DEFAULT_SECONDS)
    if not LEAST_SECONDS <= seconds <= role.max_session_duration:
        raise Refused("ValidationError", f"DurationSeconds {seconds} exceeds the MaxSessionDuration set for this role")
    return account.open_session(role, form["RoleSessionName"], seconds), claims


def _parts(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    try:
        head, body, signature = token.split(".")
        header, claims = json.loads(_decode(head)), json.loads(_decode(body))
        if not (isinstance(header, dict) and isinstance(claims, dict)):
            raise ValueError
        return header, claims, f"{head}.{body}".encode(), _decode(signature)
    except (ValueError, binascii.Error):
        raise Refused("InvalidIdentityToken", "The ID Token provided is not a valid JWT") from None


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _known(account: Account, claims: dict[str, Any]) -> tuple[str, str]:
    """The issuer's host and the token's audience, both as the account's identity provider has them."""
    issuer = str(claims.get("iss", ""))
    host = issuer.removeprefix("https://").rstrip("/")
    provider = account.oidc_provider(f"arn:{PARTITION}:iam::{account.number}:oidc-provider/{host}")
    if provider is None or not issuer.startswith("https://"):
        raise Refused("InvalidIdentityToken", f"No OpenIDConnect provider found in your account for {issuer}")
    audiences = [str(one) for one in access.many(claims.get("aud"))]
    found = next((one for one in audiences if one in provider.client_id_list), None)
    if found is None:
        raise Refused("InvalidIdentityToken", f"Incorrect token audience: {', '.join(audiences) or 'none'}")
    return host, found


def _keys(account: Account, host: str) -> list[dict[str, Any]]:
    """The keys that the issuer publishes."""
    try:
        found = json.loads(account.published(host, DISCOVERY))
        address = str(found["jwks_uri"])
        if found["issuer"].rstrip("/") != f"https://{host}":
            raise Refused("InvalidIdentityToken", f"the discovery document names the issuer {found['issuer']}")
        if not address.startswith(f"https://{host}/"):
            raise Refused("IDPCommunicationError", f"the keys of {host} lie elsewhere, at {address}")
        return json.loads(account.published(host, address.removeprefix(f"https://{host}/")))["keys"]
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(
            "IDPCommunicationError", f"the documents of {host} are not what OIDC asks for: {error!r}"
        ) from None


def _verify(header: dict[str, Any], keys: list[dict[str, Any]], signed: bytes, signature: bytes) -> None:
    algorithm, name = header.get("alg"), header.get("kid")
    fitting = [key for key in keys if key.get("kid") == name and key.get("alg", algorithm) == algorithm]
    if not fitting or algorithm not in ("ES256", "RS256"):
        raise Refused("InvalidIdentityToken", f"Couldn't find the key {name} ({algorithm}) among the published ones")
    for key in fitting:
        try:
            if algorithm == "ES256":
                _elliptic(key, signed, signature)
            else:
                _rsa(key, signed, signature)
        except (InvalidSignature, ValueError, KeyError):
            continue
        return
    raise Refused("InvalidIdentityToken", "The signature of the ID Token does not verify")


def _elliptic(key: dict[str, Any], signed: bytes, signature: bytes) -> None:
    if len(signature) != 2 * P256_BYTES or key.get("crv") != "P-256":
        raise InvalidSignature
    x, y = (int.from_bytes(_decode(key[name]), "big") for name in ("x", "y"))
    r, s = (int.from_bytes(part, "big") for part in (signature[:P256_BYTES], signature[P256_BYTES:]))
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    public.verify(encode_dss_signature(r, s), signed, ec.ECDSA(SHA256()))


def _rsa(key: dict[str, Any], signed: bytes, signature: bytes) -> None:
    n, e = (int.from_bytes(_decode(key[name]), "big") for name in ("n", "e"))
    rsa.RSAPublicNumbers(e, n).public_key().verify(signature, signed, padding.PKCS1v15(), SHA256())


def _in_time(claims: dict[str, Any]) -> None:
    now = time.time()
    try:
        expiry, since = float(claims["exp"]), float(claims.get("nbf") or claims.get("iat") or 0)
    except (KeyError, TypeError, ValueError):
        raise Refused("InvalidIdentityToken", "Missing a required claim: exp") from None
    if expiry <= now:
        raise Refused(
            "ExpiredTokenException", f"Token expired: current date/time {now:.0f} must be before {expiry:.0f}"
        )
    if since > now + SKEW_SECONDS:
        raise Refused("InvalidIdentityToken", "The ID Token is not valid yet")


def _trusted(account: Account, role: Any, host: str, audience: str, claims: dict[str, Any]) -> None:
    provider = f"arn:{PARTITION}:iam::{account.number}:oidc-provider/{host}"
    context = {f"{host}:aud": audience, f"{host}:sub": str(claims.get("sub", ""))}
    context = {key.lower(): item for key, item in context.items()}
    verdict = False
    for one in access.many(access.parse(role.assume_role_policy_document).get("Statement")):
        principal = one.get("Principal")
        federated = access.many(principal.get("Federated")) if isinstance(principal, dict) else []
        acts = any(access.like(action, ACTION, fold=True) for action in access.many(one.get("Action")))
        denies = one.get("Effect") == "Deny"
        if provider in federated and acts and access.holds(one.get("Condition"), context, doubt=denies):
            verdict = not denies
            if denies:
                break
    if not verdict:
        raise Refused("AccessDenied", NOT_AUTHORIZED, 403)
