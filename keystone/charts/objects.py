"""Custom resources that the program makes itself, as values: pools, gateway, issuers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from keystone.charts import network, platform
from keystone.settings import Settings

WAIT_READY = "condition=Ready"


@dataclass(frozen=True, kw_only=True)
class Thing:
    """One object: `after` names the release that its kind comes with, `wait` is a `pulumi.com/waitFor` expression."""

    api: str
    kind: str
    name: str
    spec: Mapping[str, Any]
    namespace: str | None = None
    after: str | None = None
    wait: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    finalizers: tuple[str, ...] = ()


# --- load balancer ---

# By label, not by name: a host that comes or goes changes its own things alone.
LOCAL_NODES = [
    {"key": network.ROLE_LABEL, "operator": "Exists"},
    {"key": network.REMOTE_LABEL, "operator": "DoesNotExist"},
]


def pools(settings: Settings) -> Iterator[Thing]:
    """The pools of addresses, and the announcement of all of them on the local network."""
    balancer = settings.network.load_balancer
    if not balancer.pools:
        return
    yield from _cilium_pools(settings) if balancer.provider == "cilium" else _metallb_pools(settings)


def _cilium_pools(settings: Settings) -> Iterator[Thing]:
    found = settings.network.load_balancer.pools
    for name, addresses in sorted(found.items()):
        yield Thing(
            api="cilium.io/v2",
            kind="CiliumLoadBalancerIPPool",
            name=name,
            spec={
                "blocks": [{"start": str(addresses.first), "stop": str(addresses.last)}],
                "serviceSelector": {"matchLabels": {network.POOL_LABEL: name}},
            },
        )
    yield Thing(
        api="cilium.io/v2alpha1",
        kind="CiliumL2AnnouncementPolicy",
        name="pools",
        spec={
            "serviceSelector": {"matchExpressions": [{"key": network.POOL_LABEL, "operator": "Exists"}]},
            # A node elsewhere cannot answer for an address of this network.
            "nodeSelector": {"matchExpressions": LOCAL_NODES},
            "loadBalancerIPs": True,
            "externalIPs": False,
        },
    )


def _metallb_pools(settings: Settings) -> Iterator[Thing]:
    found = settings.network.load_balancer.pools
    place: dict[str, Any] = {"namespace": network.METALLB_NAMESPACE, "after": network.METALLB}
    for name, addresses in sorted(found.items()):
        yield Thing(
            api="metallb.io/v1beta1",
            kind="IPAddressPool",
            name=name,
            # By name only: a service that names no pool gets no address that somebody else counts on.
            spec={"addresses": [f"{addresses.first}-{addresses.last}"], "autoAssign": False},
            **place,
        )
    yield Thing(
        api="metallb.io/v1beta1",
        kind="L2Advertisement",
        name="pools",
        spec={
            "ipAddressPools": sorted(found),
            "nodeSelectors": [{"matchExpressions": LOCAL_NODES}],
        },
        **place,
    )


# --- certificates and gateway ---


def issuers(settings: Settings) -> Iterator[Thing]:
    """Where certificates come from: a public authority, or one of the cluster's own."""
    manager = settings.platform.cert_manager if settings.platform else None
    if manager is None:
        return
    issuer: dict[str, Any] = {
        "api": "cert-manager.io/v1",
        "kind": "ClusterIssuer",
        "after": platform.CERT_MANAGER,
        "wait": WAIT_READY,
    }
    if manager.acme:
        token = {"apiTokenSecretRef": {"name": platform.ACME_SECRET, "key": platform.ACME_SECRET_KEY}}
        acme = {
            "email": manager.acme.email,
            "server": manager.acme.directory,
            "privateKeySecretRef": {"name": "acme-account"},
            "solvers": [{"selector": {"dnsZones": [settings.cluster.domain]}, "dns01": {"cloudflare": token}}],
        }
        yield Thing(name=manager.issuer, spec={"acme": acme}, **issuer)
        return
    yield Thing(name="self-signed", spec={"selfSigned": {}}, **issuer)
    yield Thing(
        api="cert-manager.io/v1",
        kind="Certificate",
        name="private-ca",
        namespace=platform.CERT_MANAGER,
        after=platform.CERT_MANAGER,
        wait=WAIT_READY,
        spec={
            "isCA": True,
            "commonName": f"{settings.cluster.name} private CA",
            "secretName": "private-ca",
            "duration": "87600h",
            "renewBefore": "8760h",
            "privateKey": {"algorithm": "ECDSA", "size": 256},
            "issuerRef": {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": "self-signed"},
        },
    )
    yield Thing(name=manager.issuer, spec={"ca": {"secretName": "private-ca"}}, **issuer)


def gateway(settings: Settings) -> Iterator[Thing]:
    """The gateway for traffic from outside, and the way from http to https. Traefik's chart makes its own gateway."""
    found = network.gateway(settings)
    if found is None:
        return
    secure = network.has_certificates(settings)
    everywhere = {"namespaces": {"from": "All"}}
    if settings.network.gateway == "cilium":
        listeners: list[dict[str, Any]] = [
            {"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": everywhere},
        ]
        if secure:
            listeners.append(
                {
                    "name": "https",
                    "port": 443,
                    "protocol": "HTTPS",
                    "hostname": network.served(settings),
                    "allowedRoutes": everywhere,
                    "tls": {"mode": "Terminate", "certificateRefs": [{"name": network.GATEWAY_SECRET}]},
                }
            )
        yield Thing(
            api="gateway.networking.k8s.io/v1",
            kind="Gateway",
            name=found.name,
            namespace=found.namespace,
            wait="condition=Programmed",
            annotations={"cert-manager.io/cluster-issuer": issuer} if (issuer := network.issuer(settings)) else {},
            spec={
                "gatewayClassName": "cilium",
                # The labels go on to the gateway's service, and there they choose its pool.
                "infrastructure": {"labels": {network.POOL_LABEL: network.INGRESS_POOL}},
                "listeners": listeners,
            },
        )
    if secure:
        plain = "http" if settings.network.gateway == "cilium" else "web"
        yield Thing(
            api="gateway.networking.k8s.io/v1",
            kind="HTTPRoute",
            name="to-https",
            namespace=found.namespace,
            after="traefik" if settings.network.gateway == "traefik" else None,
            spec={
                "parentRefs": [{"name": found.name, "sectionName": plain}],
                "rules": [
                    {
                        "filters": [
                            {"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 301}}
                        ]
                    }
                ],
            },
        )
