"""Identities: same inputs, same bytes; another label, another key; and other programs read what we write."""

import base64
import dataclasses
import hashlib
import hmac
import json
import shutil
import subprocess
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key
from cryptography.x509.oid import ExtensionOID
from cryptography.x509.verification import PolicyBuilder, Store
from hypothesis import given, settings
from hypothesis import strategies as st

from keystone.errors import KeystoneError
from keystone.identities import CLUSTER_CAS, Identities, disk_guid
from keystone.identities.derive import P256_ORDER, clamp, derive, label, p256_key

VECTORS = Path(__file__).parent / "vectors" / "identities.json"
ROOT = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
NAMES = ["primer.example.net", "192.0.2.10", "2001:db8::10"]

identities = Identities(ROOT, "dev")
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on PATH: a second opinion only")
names = st.text(st.characters(codec="utf-8"), max_size=20)
generations = st.integers(1, 10**6)


def every_kind(subject: Identities) -> dict[str, object]:
    """One value of each kind: what the test vector holds."""
    mesh_tls = subject.mesh_certificate(NAMES)
    return {
        "ssh_host_key w1 1": dataclasses.asdict(subject.ssh_host_key("w1", 1)),
        "ssh_host_key w1 2": dataclasses.asdict(subject.ssh_host_key("w1", 2)),
        "initrd_host_key w1 1": dataclasses.asdict(subject.initrd_host_key("w1", 1)),
        "operator_key": dataclasses.asdict(subject.operator_key()),
        "age_recipient w1 1": subject.age_recipient("w1", 1),
        "server_token": subject.server_token(),
        "agent_token": subject.agent_token(),
        "cluster_cas": subject.cluster_cas(),
        "service_account_key": subject.service_account_key(),
        "headscale_noise_key": subject.headscale_noise_key(),
        "headscale_noise_public_key": subject.headscale_noise_public_key(),
        "headscale_derp_key": subject.headscale_derp_key(),
        "mesh_ca": list(subject.mesh_ca()),
        "mesh_certificate": list(mesh_tls),
        "recovery_passphrase w1 1": subject.recovery_passphrase("w1", 1),
        "object_store_certificate": list(subject.object_store_certificate(["store.rook-ceph.svc"])),
        "linkerd_anchor": list(subject.linkerd_anchor("cluster.local")),
        "backup_key 1": dataclasses.asdict(subject.backup_key(1)),
        "grafana_password": subject.grafana_password(),
        "fingerprint": subject.fingerprint("dev/w1/agent-token", b"text"),
        "disk_guid dev w1 1": disk_guid("dev", "w1", 1),
    }


def certificate(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def p256(pem: str) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(pem.encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp256r1"
    return key


def test_every_kind_equals_its_checked_in_vector():
    expected = json.loads(VECTORS.read_text())
    assert expected["rootSecret"] == ROOT
    assert every_kind(identities) == expected["values"]


def test_no_two_kinds_share_a_secret():
    files = {name: pem for name, pem in identities.cluster_cas().items() if name.endswith(".key")}
    assert set(files) == {f"{name}.key" for name in CLUSTER_CAS} | {"service.key"}
    secrets = [
        *files.values(),
        identities.mesh_ca()[1],
        identities.mesh_certificate(NAMES)[1],
        identities.linkerd_anchor("cluster.local")[1],
        identities.headscale_noise_key(),
        identities.headscale_derp_key(),
        identities.server_token().rsplit(":", 1)[1],
        identities.agent_token().rsplit(":", 1)[1],
        identities.ssh_host_key("w1", 1).private,
        identities.initrd_host_key("w1", 1).private,
        identities.operator_key().private,
        identities.backup_key(1).private,
        identities.backup_key(2).private,
        identities.recovery_passphrase("w1", 1),
    ]
    assert len(set(secrets)) == len(secrets)


@given(names, names, names, generations, names, names, names, generations)
def test_different_labels_have_different_encodings(c1, p1, n1, g1, c2, p2, n2, g2):
    assert (label(c1, p1, n1, g1) == label(c2, p2, n2, g2)) == ((c1, p1, n1, g1) == (c2, p2, n2, g2))


@settings(max_examples=50)
@given(st.binary(min_size=32, max_size=32), names, names, generations, generations)
def test_another_host_generation_cluster_or_root_is_another_key(root, first, second, low, high):
    one = Identities(root.hex(), "dev")
    key = one.ssh_host_key(first, low)
    assert Identities(root.hex(), "dev").ssh_host_key(first, low) == key
    assert (one.ssh_host_key(second, low) == key) == (first == second)
    assert (one.ssh_host_key(first, high) == key) == (low == high)
    assert Identities(root.hex(), "prod").ssh_host_key(first, low) != key
    flipped = bytes([root[0] ^ 1]) + root[1:]
    assert Identities(flipped.hex(), "dev").ssh_host_key(first, low) != key
    assert one.recovery_passphrase(first, low) != one.recovery_passphrase(first, low + 1)


@settings(max_examples=50)
@given(st.binary(min_size=40, max_size=40))
def test_a_p256_scalar_is_in_range_and_reduced_from_all_seed_bytes(seed):
    scalar = p256_key(seed).private_numbers().private_value
    assert 1 <= scalar < P256_ORDER
    assert (int.from_bytes(seed, "big") - (scalar - 1)) % (P256_ORDER - 1) == 0


def test_the_smallest_and_largest_p256_seeds_give_keys():
    assert p256_key(bytes(40)).private_numbers().private_value == 1
    assert 1 <= p256_key(b"\xff" * 40).private_numbers().private_value < P256_ORDER
    top = (P256_ORDER - 2).to_bytes(40, "big")
    assert p256_key(top).private_numbers().private_value == P256_ORDER - 1


def test_derivation_is_hkdf_sha256_of_rfc_5869():
    def mac(key: bytes, text: bytes) -> bytes:
        return hmac.digest(key, text, "sha256")

    info = label("dev", "ssh host key", "w1", 1)
    extracted = mac(b"keystone identities 1", bytes.fromhex(ROOT))
    first = mac(extracted, info + b"\x01")
    assert derive(bytes.fromhex(ROOT), info, 40) == (first + mac(extracted, first + info + b"\x02"))[:40]


@pytest.mark.parametrize("kind", ["ssh_host_key", "initrd_host_key"])
@pytest.mark.parametrize("host", ["primer", "w1", "a-rather-long-host-name"])
def test_ssh_keygen_reads_the_private_key_and_agrees_on_the_public_one(tmp_path, kind, host):
    key = getattr(identities, kind)(host, 1)
    file = tmp_path / "key"
    file.write_text(key.private)
    file.chmod(0o600)
    result = subprocess.run(["ssh-keygen", "-y", "-f", file], capture_output=True, text=True, timeout=20, check=True)
    assert result.stdout.split() == key.public.split()
    loaded = load_ssh_private_key(key.private.encode(), None)
    blob = base64.b64decode(key.public.split()[1])
    assert loaded.public_key().public_bytes_raw() == blob[-32:]  # type: ignore[union-attr]


def test_the_age_recipient_is_the_ssh_host_key():
    assert identities.age_recipient("w1", 3) == identities.ssh_host_key("w1", 3).public


def test_tokens_are_in_the_full_form_with_the_hash_of_the_server_ca_file():
    digest = hashlib.sha256(identities.cluster_cas()["server-ca.crt"].encode()).hexdigest()
    for token, user in ((identities.server_token(), "server"), (identities.agent_token(), "node")):
        prefix, credentials = token.split("::")
        assert prefix == f"K10{digest}"
        name, password = credentials.split(":")
        assert name == user
        assert len(bytes.fromhex(password)) == 32


def test_each_cluster_ca_is_one_self_signed_certificate_with_k3s_usages():
    files = identities.cluster_cas()
    assert set(files) == {f"{name}.{end}" for name in CLUSTER_CAS for end in ("crt", "key")} | {"service.key"}
    serials = set()
    for name in CLUSTER_CAS:
        [ca] = x509.load_pem_x509_certificates(files[f"{name}.crt"].encode())
        ca.verify_directly_issued_by(ca)
        assert ca.public_key() == p256(files[f"{name}.key"]).public_key()
        assert files[f"{name}.key"].startswith("-----BEGIN EC PRIVATE KEY-----\n")
        assert files[f"{name}.crt"].endswith("-----END CERTIFICATE-----\n")
        basic = ca.extensions.get_extension_for_oid(ExtensionOID.BASIC_CONSTRAINTS)
        assert basic.critical
        assert basic.value == x509.BasicConstraints(ca=True, path_length=None)
        usage = ca.extensions.get_extension_for_class(x509.KeyUsage)
        assert usage.critical
        assert usage.value.key_cert_sign
        assert usage.value.digital_signature
        assert usage.value.key_encipherment
        identifier = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        authority = ca.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        assert authority.key_identifier == identifier.digest
        assert ca.not_valid_before_utc < datetime(2025, 1, 1, tzinfo=UTC)
        assert ca.not_valid_after_utc > datetime(2060, 1, 1, tzinfo=UTC)
        assert 0 < ca.serial_number < 2**127
        serials.add(ca.serial_number)
    assert len(serials) == len(CLUSTER_CAS)


def test_the_service_account_key_is_p256_and_the_one_among_the_cluster_files():
    p256(identities.service_account_key())
    assert identities.cluster_cas()["service.key"] == identities.service_account_key()


def test_the_noise_key_gives_the_public_key_that_headscale_prints():
    # Published by Headscale v0.29.2 at /key for a file with the bytes 01 to 20.
    seed = bytes(range(1, 33))
    public = X25519PrivateKey.from_private_bytes(clamp(seed)).public_key().public_bytes_raw()
    assert public.hex() == "07a37cbc142093c8b755dc1b10e86cb426374ad16aa853ed0bdfc0b2b86d1c7c"


def test_headscale_keys_are_canonical_and_differ():
    for text in (identities.headscale_noise_key(), identities.headscale_derp_key()):
        prefix, digits = text.split(":")
        key = bytes.fromhex(digits)
        assert prefix == "privkey"
        assert len(key) == 32
        assert clamp(key) == key
    private = X25519PrivateKey.from_private_bytes(bytes.fromhex(identities.headscale_noise_key().split(":")[1]))
    assert identities.headscale_noise_public_key() == f"mkey:{private.public_key().public_bytes_raw().hex()}"


@pytest.mark.parametrize("name", NAMES)
def test_the_mesh_certificate_verifies_for_each_of_its_names(name):
    pem, key = identities.mesh_certificate(NAMES)
    leaf, ca = certificate(pem), certificate(identities.mesh_ca()[0])
    try:
        subject: x509.GeneralName = x509.IPAddress(ip_address(name))
    except ValueError:
        subject = x509.DNSName(name)
    verifier = PolicyBuilder().store(Store([ca])).time(datetime(2027, 1, 1, tzinfo=UTC)).build_server_verifier(subject)
    assert [c.subject for c in verifier.verify(leaf, [])] == [leaf.subject, ca.subject]
    assert leaf.public_key() == p256(key).public_key()


@needs_openssl
@pytest.mark.parametrize("name", CLUSTER_CAS)
def test_openssl_accepts_each_cluster_ca_in_strict_mode(tmp_path, name):
    (tmp_path / "ca.pem").write_text(identities.cluster_cas()[f"{name}.crt"])
    command = ["openssl", "verify", "-x509_strict", "-CAfile", "ca.pem", "ca.pem"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=20, check=False)
    assert (result.returncode, result.stdout) == (0, "ca.pem: OK\n")


@needs_openssl
def test_openssl_accepts_the_mesh_chain_in_strict_mode_and_refuses_another_name(tmp_path):
    (tmp_path / "ca.pem").write_text(identities.mesh_ca()[0])
    (tmp_path / "leaf.pem").write_text(identities.mesh_certificate(NAMES)[0])
    verify = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", "ca.pem"]

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*verify, *options, "leaf.pem"], cwd=tmp_path, capture_output=True, text=True, timeout=20, check=False
        )

    assert run("-verify_ip", "192.0.2.10").returncode == 0
    assert run("-verify_hostname", "primer.example.net").returncode == 0
    assert "mismatch" in run("-verify_ip", "192.0.2.11").stderr.lower()


def test_the_mesh_certificate_does_not_depend_on_the_order_of_names_but_on_the_names():
    pem = identities.mesh_certificate(NAMES)[0]
    assert identities.mesh_certificate([*reversed(NAMES), NAMES[0]])[0] == pem
    other = identities.mesh_certificate(NAMES[:2])[0]
    assert certificate(other).serial_number != certificate(pem).serial_number


def test_a_name_longer_than_a_common_name_goes_into_a_critical_san():
    long = f"{'a' * 60}.{'b' * 60}.example.net"
    leaf = certificate(identities.mesh_certificate([long])[0])
    san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert san.critical
    assert san.value.get_values_for_type(x509.DNSName) == [long]


def test_the_recovery_passphrase_can_be_typed():
    groups = identities.recovery_passphrase("w1", 1).split("-")
    assert [len(group) for group in groups] == [4] * 8
    assert not set("".join(groups)) & set("ilou")


def test_the_disk_guid_needs_no_secret_and_names_cluster_host_and_generation():
    guids = {disk_guid(c, h, g) for c in ("dev", "prod") for h in ("w1", "w2") for g in (1, 2)}
    assert len(guids) == 8
    assert all(guid == guid.lower() and len(guid) == 36 for guid in guids)


def test_a_fingerprint_needs_the_root_secret_and_separates_name_from_content():
    other = Identities("ff" * 32, "dev")
    assert identities.fingerprint("a", b"bc") != identities.fingerprint("ab", b"c")
    assert identities.fingerprint("a", b"b") != other.fingerprint("a", b"b")


def test_the_root_secret_is_not_shown():
    assert ROOT not in repr(identities)
    assert "PRIVATE" not in repr(identities.operator_key())


@pytest.mark.parametrize("bad", ["", "00" * 31, "00" * 33, "zz" * 32, "00 " * 32])
def test_a_root_secret_of_another_form_is_refused_without_showing_it(bad):
    with pytest.raises(KeystoneError, match=r"keystone:rootSecret: \d+ characters given, 64 hex digits") as caught:
        Identities(bad, "dev")
    assert not bad.strip() or bad.strip() not in str(caught.value)


def test_generations_below_one_are_refused():
    with pytest.raises(KeystoneError, match="ssh host key w1: generation 0 is below 1"):
        identities.ssh_host_key("w1", 0)


def test_a_mesh_certificate_without_names_or_with_a_wrong_one_is_refused():
    with pytest.raises(KeystoneError, match="mesh certificate: no name given"):
        identities.mesh_certificate([])
    with pytest.raises(KeystoneError, match="'https://a' is neither an address nor a DNS name"):
        identities.mesh_certificate(["https://a"])


def test_a_cluster_without_a_name_is_refused():
    with pytest.raises(KeystoneError, match=r"keystone:cluster\.name: empty"):
        Identities(ROOT, "")
