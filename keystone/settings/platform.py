"""Section `platform`: services that most clusters want. Left out: none of them."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StrictStr

from keystone.settings.model import Bool, Domain, Model, Wrong

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"


def _directory(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme != "https" or not parts.hostname or parts.username:
        raise Wrong(f"{value!r} is not the https URL of an ACME directory", f"Write it like {LETS_ENCRYPT}")
    return value


def _mail(value: str) -> str:
    name, _, domain = value.partition("@")
    if not name or "." not in domain or " " in value:
        raise Wrong(f"{value!r} is not a mail address", "Write it like ops@example.org")
    return value


Mail = Annotated[StrictStr, AfterValidator(_mail)]


class Acme(Model):
    """Certificates of a public authority, proven by DNS records in Cloudflare.

    The token that may edit the zone's records is keystone:acmeToken.
    """

    email: Mail = Field(description="where the authority sends warnings")
    directory: Annotated[StrictStr, AfterValidator(_directory)] = Field(
        default=LETS_ENCRYPT, description="URL of the authority's ACME directory"
    )


class CertManager(Model):
    """cert-manager. Without `acme` certificates come from an authority of the cluster's own."""

    acme: Acme | None = Field(default=None, description="a public authority: {email, directory}")

    @property
    def issuer(self) -> str:
        """Name of the ClusterIssuer that certificates of the cluster use."""
        return "public" if self.acme else "private"


class ExternalDns(Model):
    """DNS records for services and routes; the provider's token or key is keystone:externalDnsKey."""

    provider: Literal["cloudflare", "pdns"] = Field(description="who holds the zone")
    domains: tuple[Domain, ...] = Field(min_length=1, description="zones whose records may be written; no others are")
    policy: Literal["upsert-only", "sync"] = Field(
        default="upsert-only", description="whether records are removed too (sync)"
    )
    server: Annotated[StrictStr, AfterValidator(_directory)] | None = Field(
        default=None, description="URL of the PowerDNS API, for pdns"
    )


class Platform(Model):
    """What runs besides network, storage and monitoring."""

    cert_manager: CertManager | None = Field(default=None, description="certificates")
    external_dns: ExternalDns | None = Field(default=None, description="DNS records for services and routes")
    metrics_server: Bool = Field(
        default=True, description="usage of pods and nodes; k3s brings its own, so this is for kubeadm"
    )
    vertical_pod_autoscaler: Bool = Field(default=False, description="requests of pods by their usage")
