"""Certificates that a server of the cluster issues at start, from the CA keys among its secrets."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from keystone.errors import KeystoneError

LIFETIME = timedelta(days=365)
"""As k3s: a leaf lives a year and is issued anew at each start."""


@dataclass(frozen=True)
class Authority:
    """A CA of the cluster: its certificate file (which may hold a chain) and its key."""

    certificate: bytes
    key: bytes

    def issue(
        self,
        common_name: str,
        *,
        organization: str = "",
        names: Sequence[str] = (),
        server: bool = False,
        client: bool = False,
    ) -> tuple[bytes, bytes]:
        """A new key and its certificate with the chain above it, both PEM: (certificate, key)."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = [x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])]
        if organization:
            subject.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
        certificate = self._sign(x509.Name(subject), key.public_key(), names, server=server, client=client)
        return certificate, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def sign_request(self, request: bytes, common_name: str, organization: str) -> bytes:
        """A client certificate for the key of a PEM request; the name is ours, never the request's."""
        try:
            parsed = x509.load_pem_x509_csr(request)
        except ValueError as error:
            raise KeystoneError("certificate request", str(error)) from None
        public = parsed.public_key()
        if not parsed.is_signature_valid or not isinstance(public, ec.EllipticCurvePublicKey):
            raise KeystoneError("certificate request", "its signature or kind of key is wrong")
        subject = [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
        return self._sign(x509.Name(subject), public, (), server=False, client=True)

    def _sign(
        self, subject: x509.Name, public: ec.EllipticCurvePublicKey, names: Sequence[str], *, server: bool, client: bool
    ) -> bytes:
        chain = x509.load_pem_x509_certificates(self.certificate)
        issuer = chain[0]
        signer = load_pem_private_key(self.key, None)
        assert isinstance(signer, CertificateIssuerPrivateKeyTypes)
        now = datetime.now(UTC)
        usages = [ExtendedKeyUsageOID.SERVER_AUTH] * server + [ExtendedKeyUsageOID.CLIENT_AUTH] * client
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + LIFETIME)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),  # type: ignore[arg-type]
                critical=False,
            )
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general_name(name) for name in dict.fromkeys(names)]), critical=False
            )
        leaf = builder.sign(signer, SHA256()).public_bytes(Encoding.PEM)
        # Clients trust the root alone, so a server has to send what lies between; the root itself is not sent.
        between = [one.public_bytes(Encoding.PEM) for one in chain if one.subject != one.issuer]
        return leaf + b"".join(between)


def request(common_name: str, organization: str) -> tuple[bytes, bytes]:
    """A new key and a signing request for it, both PEM: (request, key)."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
    signed = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, SHA256())
    return signed.public_bytes(Encoding.PEM), key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _key_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_encipherment=True,
        key_cert_sign=False,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
