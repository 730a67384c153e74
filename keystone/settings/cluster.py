"""Section `cluster`: what the Kubernetes cluster is called and how its control plane is set."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field

from keystone.addressing import network
from keystone.settings.model import (
    Bool,
    Cidr,
    Domain,
    Generation,
    HttpsUrl,
    Label,
    Model,
    NameOrAddress,
    SshPublicKey,
)

DEFAULT_HTTPS_PORT = 443
API_PORT = 6443
"""The port on which every server serves the API."""


class Api(Model):
    """Where the Kubernetes API is reached."""

    endpoint: HttpsUrl = Field(
        description="URL under which people and programs reach the API, such as https://192.168.1.10:6443"
    )
    sans: tuple[NameOrAddress, ...] = Field(
        description="names and addresses in the API's certificate; the endpoint's host is among them"
    )

    @property
    def host(self) -> str:
        return urlsplit(self.endpoint).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.endpoint).port or DEFAULT_HTTPS_PORT


class Cluster(Model):
    """The cluster itself."""

    name: Annotated[Label, Field(max_length=40)] = Field(
        description="name of the cluster: part of every derived key, not changeable later"
    )
    domain: Domain = Field(description="DNS domain of the site, such as home.example.org")
    distribution: Literal["k3s", "kubeadm"] = Field(default="k3s", description="how Kubernetes is installed")
    pod_cidr: Cidr = Field(default=network("10.42.0.0/16"), description="range of the pods' addresses")
    service_cidr: Cidr = Field(default=network("10.43.0.0/16"), description="range of the services' addresses")
    cluster_domain: Domain = Field(default="cluster.local", description="DNS domain inside the cluster")
    api: Api = Field(description="where the Kubernetes API is reached: {endpoint, sans}")
    secrets_encryption: Bool = Field(default=True, description="whether Secrets are encrypted in etcd")
    audit_log: Bool = Field(default=True, description="whether the API writes an audit log")
    issuer_host: Domain | None = Field(
        default=None, description="public name of the issuer of service accounts' tokens, for AWS; not changeable later"
    )
    authorized_keys: tuple[SshPublicKey, ...] = Field(
        default=(), description="public SSH keys of people; the operator key of the stack is always authorised"
    )
    kubeconfig_generation: Generation = Field(
        default=1, description="a higher number fetches the administrator's kubeconfig again"
    )
