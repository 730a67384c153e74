"""keystone/issuer.py: tokens of the cluster against the documents that the world reads."""

import base64
import json
import time
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from keystone import agefiles, issuer
from keystone.identities import Identities
from keystone.settings import Settings, parse
from tests.recording import ROOT_SECRET, document

HOST = "oidc.example.org"
IDENTITIES = Identities(ROOT_SECRET, "site")
AWS = {"region": "eu-central-1", "accountId": "123456789012"}


def site(**aws: Any) -> Settings:
    base = document()
    base["cluster"]["issuerHost"] = HOST
    return parse({**base, "platform": {"certManager": {}}, "aws": {**AWS, **aws}})


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def minted(settings: Settings) -> str:
    """A token as the API server makes it from the key file that the Primer gets: the first key signs."""
    pem = agefiles.texts(settings, IDENTITIES)["service.key"].decode()
    key = load_pem_private_key(
        (pem.partition("-----END PRIVATE KEY-----\n")[0] + "-----END PRIVATE KEY-----\n").encode(), None
    )
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    header = {"alg": "ES256", "kid": issuer.key_id(key.public_key())}
    claims = {
        "iss": issuer.url(HOST),
        "aud": ["sts.amazonaws.com"],
        "sub": "system:serviceaccount:keystone-system:pool-keys",
        "exp": int(time.time()) + 3600,
    }
    text = ".".join(encoded(json.dumps(part).encode()) for part in (header, claims))
    r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(SHA256())))
    return f"{text}.{encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def verified(token: str, documents: dict[str, str]) -> dict[str, Any]:
    """The claims, checked as a relying party does: discovery, key by its id, algorithm, signature, issuer."""
    header, claims, signature = token.split(".")
    found = json.loads(decoded(claims))
    discovery = json.loads(documents[issuer.DISCOVERY])
    assert found["iss"] == discovery["issuer"]
    kid = json.loads(decoded(header))["kid"]
    path = discovery["jwks_uri"].removeprefix(f"{discovery['issuer']}/")
    [key] = [one for one in json.loads(documents[path])["keys"] if one["kid"] == kid] or [None]
    if key is None:
        raise LookupError(f"no published key {kid}")
    assert key["alg"] in discovery["id_token_signing_alg_values_supported"]
    x, y = (int.from_bytes(decoded(key[name]), "big") for name in ("x", "y"))
    raw = decoded(signature)
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    public.verify(encode_dss_signature(r, s), f"{header}.{claims}".encode(), ec.ECDSA(SHA256()))
    return found


def published(settings: Settings) -> dict[str, str]:
    assert settings.aws
    return dict(issuer.documents(HOST, IDENTITIES, settings.aws.key_generations))


BEFORE = site()
ANNOUNCED = site(publishedKeyGeneration=2)
SIGNING = site(signingKeyGeneration=2, publishedKeyGeneration=1)
AFTER = site(signingKeyGeneration=2)


@pytest.mark.parametrize(
    ("minting", "reading"),
    [
        (BEFORE, BEFORE),
        (BEFORE, ANNOUNCED),
        (ANNOUNCED, ANNOUNCED),
        (ANNOUNCED, SIGNING),
        (SIGNING, SIGNING),
        # A reader that still holds the documents of the step before.
        (ANNOUNCED, BEFORE),
        (SIGNING, ANNOUNCED),
        (SIGNING, AFTER),
        (AFTER, AFTER),
        (AFTER, SIGNING),
    ],
)
def test_a_token_verifies_at_every_step_of_a_rotation(minting: Settings, reading: Settings) -> None:
    assert verified(minted(minting), published(reading))["sub"] == "system:serviceaccount:keystone-system:pool-keys"


def test_after_a_rotation_the_old_key_is_trusted_no_more() -> None:
    with pytest.raises(LookupError, match="no published key"):
        verified(minted(BEFORE), published(AFTER))


def test_a_forged_signature_is_found() -> None:
    header, claims, signature = minted(BEFORE).split(".")
    raw = decoded(signature)
    with pytest.raises(InvalidSignature):
        verified(f"{header}.{claims}.{encoded(raw[:-1] + bytes([raw[-1] ^ 1]))}", published(BEFORE))


def test_the_documents_hold_no_private_number_and_are_the_same_each_time() -> None:
    first, second = published(SIGNING), published(SIGNING)
    assert first == second
    for key in json.loads(first[issuer.KEYS])["keys"]:
        assert set(key) == {"use", "kty", "kid", "crv", "alg", "x", "y"}


def test_which_key_signs_does_not_show_in_the_documents() -> None:
    assert published(ANNOUNCED) == published(SIGNING)


def test_the_primer_verifies_with_both_keys_while_they_overlap() -> None:
    one, both = (agefiles.texts(settings, IDENTITIES)["service.key"].decode() for settings in (BEFORE, SIGNING))
    first, second = IDENTITIES.service_account_key(1), IDENTITIES.service_account_key(2)
    assert (one, both) == (first, second + first)
    assert first != second
