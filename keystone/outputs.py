"""The stack's outputs as an interface: what other projects may rely on, typed and with a version.

A Python consumer reads them through a stack reference:

    cluster = StackOutputs(pulumi.StackReference("organization/keystone/dev"))
    provider = kubernetes.Provider("cluster", kubeconfig=cluster.kubeconfig)

and anything else through `pulumi stack output --json`, which `parse` types. docs/reference/outputs.schema.json says the
same for other languages. Within a version, outputs are only added; a consumer ignores what it does not know.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from keystone.errors import KeystoneError

if TYPE_CHECKING:
    import pulumi

    from keystone.settings import Settings

VERSION = 1
PATH = "docs/reference/outputs.schema.json"
DASHBOARD_LABEL = "grafana_dashboard"
SECRET = ("kubeconfig", "serviceTokens")
"""Outputs that are secret: encrypted in the state, hidden by `pulumi stack output`."""


class Model(BaseModel):
    """Base of the outputs: camelCase outside, frozen, silent about values in errors, open to additions."""

    model_config = ConfigDict(
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        alias_generator=to_camel,
        validate_by_name=False,
        validate_by_alias=True,
        use_attribute_docstrings=True,
    )


class Node(Model):
    """One machine."""

    lan: str
    """Address on its site's network."""
    mesh: str
    """Address in the mesh."""
    role: Literal["primer", "server", "agent", "edge"]
    """What it does; an edge is in the mesh and no Kubernetes node."""


class Versions(Model):
    """What runs, without a leading v."""

    kubernetes: str
    headscale: str


class Gateway(Model):
    """The Gateway that HTTPRoutes name as their parent."""

    namespace: str
    name: str
    listener: str
    """The `sectionName` for traffic from outside."""
    hostname: str | None = None
    """What the listener serves, such as *.example.org: it takes no route with another host name. None: any name."""

    def serves(self, host: str) -> bool:
        """Whether the gateway takes a route with this host name, and has a certificate for it."""
        return self.hostname is None or host.partition(".")[2] == self.hostname.removeprefix("*.")


class AwsTrust(Model):
    """What a role needs that pods of this cluster take: trust in the provider, within the boundary."""

    account_id: str
    region: str
    issuer: str
    """Host of the issuer, as the conditions ISSUER:sub and ISSUER:aud name it."""
    provider_arn: str
    """The OIDC provider."""
    boundary_arn: str
    """The policy that bounds every role of the cluster."""


class Services(Model):
    """What the cluster offers to applications."""

    storage_class: str | None = None
    """The default storage class; none when the settings choose no storage."""
    gateway: Gateway | None = None
    """None when the settings choose no gateway: an Ingress then."""
    public_urls: Mapping[str, str] | None = None
    """URLs that lead into the cluster through its tunnel, by name; each asks for a login. None without a tunnel."""
    grafana_url: str | None = None
    """Where Grafana is, behind the gateway. None without the section observability."""
    aws: AwsTrust | None = None
    """With what roles at AWS trust service accounts of the cluster. None without the section aws."""
    dashboard_label: str
    """A ConfigMap with this label and the value "1" is a Grafana dashboard, in any namespace."""


class ServiceToken(Model):
    """A credential with which a program passes the tunnel's logins."""

    client_id: str
    """Value of the header CF-Access-Client-Id."""
    client_secret: str
    """Value of the header CF-Access-Client-Secret."""


class Outputs(Model):
    """All outputs of a stack."""

    outputs_version: Literal[1] = Field(description="version of this interface; a new one may take outputs away")
    api_endpoint: str = Field(description="URL of the Kubernetes API")
    kubeconfig: str = Field(description="secret: kubeconfig of an administrator")
    mesh_url: str = Field(description="URL of the mesh's controller")
    mesh_ca: str = Field(description="the mesh's certificate authority (PEM); empty when a public one signs")
    nodes: Mapping[str, Node] = Field(description="the machines by name")
    versions: Versions = Field(description="what runs")
    services: Services = Field(description="what the cluster offers to applications")
    service_tokens: Mapping[str, ServiceToken] = Field(
        default_factory=dict, description="secret: credentials for the tunnel's logins, by name"
    )
    pipeline_roles: Mapping[str, str] = Field(
        default_factory=dict, description="ARNs of the AWS roles that pipelines take, by what they do: preview, up"
    )


def plain(settings: "Settings", stack: str, project: Path = Path()) -> dict[str, Any]:
    """The outputs that the settings alone decide, for the program to export beside those of its resources."""
    from keystone import agefiles
    from keystone.charts import network, observability

    gateway, tunnel, watched = network.gateway(settings), settings.tunnel, settings.observability
    services = Services.model_construct(
        storage_class=settings.storage.default_class if settings.storage else None,
        gateway=Gateway.model_construct(**gateway._asdict()) if gateway else None,
        public_urls={key: tunnel.url_of(key) for key in sorted(tunnel.hostnames)} if tunnel else None,
        grafana_url=f"https://{observability.grafana_host(settings, watched)}" if watched else None,
        aws=_aws_trust(settings),
        dashboard_label=DASHBOARD_LABEL,
    )
    private = settings.mesh.tls == "private"
    authority = project / "nix" / "secrets" / stack / agefiles.MESH_CA
    return {
        "outputsVersion": VERSION,
        "apiEndpoint": settings.cluster.api.endpoint,
        "meshUrl": settings.mesh.server_url,
        "meshCa": authority.read_text(encoding="utf-8") if private and authority.exists() else "",
        "services": services.model_dump(by_alias=True, exclude_none=True),
    }


def _aws_trust(settings: "Settings") -> AwsTrust | None:
    from keystone.aws import names

    aws = settings.aws
    if aws is None:
        return None
    return AwsTrust.model_construct(
        account_id=aws.account_id,
        region=aws.region,
        issuer=names.issuer_host(settings),
        provider_arn=names.provider_arn(settings),
        boundary_arn=names.boundary_arn(settings),
    )


def schema() -> dict[str, Any]:
    """The JSON schema of `pulumi stack output --json --show-secrets`."""
    found = Outputs.model_json_schema(by_alias=True)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_tidy(found),
        "title": "Outputs of a Keystone stack",
        "description": f"Version {VERSION}. Within a version, outputs are only added. Secret: {', '.join(SECRET)}.",
    }


def _tidy(schema: Any) -> Any:
    """Without the titles that repeat a key."""
    if isinstance(schema, list):
        return [_tidy(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _tidy(value) for key, value in schema.items() if not (key == "title" and isinstance(value, str))}


def text() -> str:
    """The schema as it is checked in."""
    return json.dumps(schema(), indent=2, sort_keys=True) + "\n"


def parse(document: Mapping[str, Any]) -> Outputs:
    """The outputs of `pulumi stack output --json --show-secrets`. Raises KeystoneError with all faults."""
    _check(document.get("outputsVersion"))
    try:
        return Outputs.model_validate(document)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_input=False)]
        raise KeystoneError("outputs", "; ".join(faults), "Update the stack, or the reader to its version") from None


def _check(version: object) -> None:
    if version != VERSION:
        raise KeystoneError(
            "outputsVersion",
            f"the stack has {version!r}, this reader knows {VERSION}",
            "Update the stack with `pulumi up`, or the reader to the stack's version",
        )


class Reference(Protocol):
    """What a pulumi.StackReference offers; this module imports no Pulumi."""

    def get_output(self, name: "pulumi.Input[str]") -> "pulumi.Output[Any]":
        """The output of this name, or None: an older stack lacks some, and the version says so best."""
        ...


class StackOutputs:
    """The outputs of a referenced stack, one typed Output each; only what SECRET names is secret, the rest stays plain.

    Each fails with the version's fault when the stack's version is another one.
    """

    api_endpoint: "pulumi.Output[str]"
    kubeconfig: "pulumi.Output[str]"
    mesh_url: "pulumi.Output[str]"
    mesh_ca: "pulumi.Output[str]"
    nodes: "pulumi.Output[dict[str, Node]]"
    versions: "pulumi.Output[Versions]"
    services: "pulumi.Output[Services]"
    service_tokens: "pulumi.Output[dict[str, ServiceToken]]"
    pipeline_roles: "pulumi.Output[dict[str, str]]"

    def __init__(self, reference: Reference) -> None:
        version = reference.get_output("outputsVersion")

        def checked(name: str, build: Any = lambda value: value) -> "pulumi.Output[Any]":
            value = reference.get_output(name)

            def typed(number: Any) -> "pulumi.Output[Any]":
                _check(int(number) if isinstance(number, float) else number)
                return value.apply(build)

            return version.apply(typed)

        self.api_endpoint = checked("apiEndpoint")
        self.kubeconfig = checked("kubeconfig")
        self.mesh_url = checked("meshUrl")
        self.mesh_ca = checked("meshCa")
        self.nodes = checked("nodes", lambda found: {name: Node.model_validate(node) for name, node in found.items()})
        self.versions = checked("versions", Versions.model_validate)
        self.services = checked("services", Services.model_validate)
        self.service_tokens = checked(
            "serviceTokens",
            # A stack of before there were any has none.
            lambda found: {name: ServiceToken.model_validate(one) for name, one in (found or {}).items()},
        )
        self.pipeline_roles = checked("pipelineRoles", lambda found: found or {})
