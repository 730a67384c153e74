"""X.509 certificates that come out the same each time: RFC 6979 signatures, fixed dates, given serial numbers."""

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from keystone.errors import KeystoneError

# Fixed, because the same inputs must give the same bytes. The start lies well in the past: a machine with an empty
# clock battery must still be able to join. The end is far: a derived certificate is renewed by its generation.
NOT_BEFORE = datetime(2020, 1, 1, tzinfo=UTC)
NOT_AFTER = datetime(2070, 1, 1, tzinfo=UTC)


def key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    """Return the key as `EC PRIVATE KEY` (SEC 1), the form that k3s and kubeadm write themselves."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()


def serial_number(seed: bytes) -> int:
    """Return a positive serial number of at most 127 bits (RFC 5280 4.1.2.2 allows 20 octets)."""
    return int.from_bytes(seed[:16], "big") >> 1 or 1


def _usage(*, signs_certificates: bool, enciphers: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_encipherment=enciphers,
        key_cert_sign=signs_certificates,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, serial: int):
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(NOT_BEFORE)
        .not_valid_after(NOT_AFTER)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _signed(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> str:
    return builder.sign(key, SHA256(), ecdsa_deterministic=True).public_bytes(Encoding.PEM).decode()


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def authority(common_name: str, key: ec.EllipticCurvePrivateKey, serial: int, path_length: int | None = None) -> str:
    """Return a self-signed CA certificate in PEM, with the key usages of k3s' own CAs."""
    name, public = _name(common_name), key.public_key()
    builder = (
        _builder(name, name, public, serial)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_usage(signs_certificates=True, enciphers=True), critical=True)
    )
    return _signed(builder, key)


def alternative_name(name: str) -> x509.GeneralName:
    """Return `name` as an address where it is one, else as a DNS name. Raises KeystoneError for anything else."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name.strip("[]")))
    except ValueError:
        pass
    labels = name.removeprefix("*.").split(".")
    if not all(part.replace("-", "").isalnum() and part.isascii() and len(part) < 64 for part in labels):
        raise KeystoneError(
            "certificate names", f"{name!r} is neither an address nor a DNS name", "Give a host name or an address"
        )
    return x509.DNSName(name.lower())


def server(
    names: Sequence[str],
    key: ec.EllipticCurvePrivateKey,
    serial: int,
    ca_certificate: str,
    ca_key: ec.EllipticCurvePrivateKey,
) -> str:
    """Return a TLS server's certificate in PEM, signed by the given CA. The first name is the common name."""
    issuer = x509.load_pem_x509_certificate(ca_certificate.encode())
    # Only the SAN counts; the common name is for people and holds at most 64 characters (RFC 5280 A.1).
    subject = _name(names[0]) if len(names[0]) <= 64 else x509.Name([])
    builder = (
        _builder(subject, issuer.subject, key.public_key(), serial)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False, enciphers=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        # An empty subject makes the SAN critical (RFC 5280 4.2.1.6).
        .add_extension(
            x509.SubjectAlternativeName([alternative_name(name) for name in names]), critical=not len(subject.rdns)
        )
    )
    return _signed(builder, ca_key)
