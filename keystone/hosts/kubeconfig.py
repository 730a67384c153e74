"""The administrator's kubeconfig: fetched from the Primer once its API is ready, or signed anew without any API."""

import base64
import datetime
from collections.abc import Mapping
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from keystone.errors import KeystoneError
from keystone.hosts import ssh
from keystone.hosts.context import Context, host_lock, progress

READY_SECONDS = 300.0
RENEWED_DAYS = 365


async def kubeconfig(context: Context) -> str:
    """The kubeconfig (YAML) of the cluster for its endpoint. Raises KeystoneError when the API is not ready in time."""
    primer, _ = context.settings.primer
    async with host_lock(context.stack, primer), context.dial(primer) as machine:
        if (await machine.run("systemctl", "is-active", "k3s", check=False)).stdout.strip() != "active":
            progress(primer, "starting k3s")
            await machine.run("systemctl", "start", "k3s", limit=READY_SECONDS)

        async def ready() -> bool | None:
            await machine.run("kubectl", "get", "--raw", "/readyz", "--request-timeout=5s")
            return True

        progress(primer, "waiting for the Kubernetes API")
        await ssh.until("the Kubernetes API to be ready", ready, place=str(machine.target), limit=READY_SECONDS)
        raw = (await machine.run("kubectl", "config", "view", "--raw")).stdout
    return rewrite(raw, context.cluster, context.settings.cluster.api.endpoint)


def rewrite(raw: str, cluster: str, endpoint: str) -> str:
    """A kubeconfig with one cluster, user and context, all called like the cluster, for the given endpoint."""
    try:
        document = yaml.safe_load(raw)
        authority = document["clusters"][0]["cluster"]["certificate-authority-data"]
        user = document["users"][0]["user"]
        credentials = {key: user[key] for key in ("client-certificate-data", "client-key-data")}
    except (yaml.YAMLError, KeyError, IndexError, TypeError):
        raise KeystoneError(
            "kubeconfig", "the Primer's kubeconfig lacks embedded certificates", "Look at `kubectl config view` there"
        ) from None
    return _render(cluster, endpoint, authority, credentials)


def _render(cluster: str, endpoint: str, authority: str, credentials: Mapping[str, str]) -> str:
    document: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": {"server": endpoint, "certificate-authority-data": authority}}],
        "users": [{"name": cluster, "user": dict(credentials)}],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": cluster}}],
        "current-context": cluster,
    }
    return yaml.safe_dump(document, sort_keys=False)


def renewed(context: Context, now: datetime.datetime) -> str:
    """A kubeconfig with a client certificate that we sign ourselves, by the cluster's derived client CA.

    Works while the API is down and after the old certificate has ended. Valid for a year.
    """
    authorities = context.identities.cluster_cas()
    ca = x509.load_pem_x509_certificate(authorities["client-ca.crt"].encode())
    ca_key = serialization.load_pem_private_key(authorities["client-ca.key"].encode(), None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:masters"),
        x509.NameAttribute(NameOID.COMMON_NAME, "system:admin"),
    ]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(subject))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=RENEWED_DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM) + authorities["client-ca.crt"].encode()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    credentials = {
        "client-certificate-data": base64.b64encode(pem).decode(),
        "client-key-data": base64.b64encode(private).decode(),
    }
    authority = base64.b64encode(authorities["server-ca.crt"].encode()).decode()
    return _render(context.cluster, context.settings.cluster.api.endpoint, authority, credentials)


def ends(text: str) -> datetime.datetime:
    """When the client certificate of a kubeconfig ends (UTC). Raises KeystoneError when it holds none."""
    try:
        data = yaml.safe_load(text)["users"][0]["user"]["client-certificate-data"]
        return x509.load_pem_x509_certificate(base64.b64decode(data)).not_valid_after_utc
    except (yaml.YAMLError, KeyError, IndexError, TypeError, ValueError):
        raise KeystoneError("kubeconfig", "it holds no client certificate", "Fetch it again") from None
