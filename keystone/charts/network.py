"""Load balancer, gateway and service mesh. The network plugin is not here: it belongs to the host layer."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import versions
from keystone.charts.release import Opening, PodSecurity, Release
from keystone.settings import Settings

METALLB, METALLB_NAMESPACE = "metallb", "metallb-system"
ROLE_LABEL = "keystone.internal/role"
"""Every node that is a host of the settings has it; the nodes of a cloud's pools have not."""
REMOTE_LABEL = "keystone.internal/remote"
"""A host outside the local network has it."""
POOL_LABEL = "keystone.internal/pool"
"""A LoadBalancer service with this label gets an address of the pool of that name (Cilium)."""
POOL_ANNOTATION = "metallb.io/address-pool"
"""The same for MetalLB, as an annotation."""
INGRESS_POOL = "ingress"
"""The pool whose first address is the gateway's."""
GATEWAY_SECRET = "public-tls"
TRAEFIK_SECURE_PORT = 8443


class GatewayRef(NamedTuple):
    """Where routes attach."""

    namespace: str
    name: str
    listener: str
    hostname: str | None
    """What the listener serves, by its certificate; None: every name."""


def releases(settings: Settings) -> Iterator[Release]:
    network = settings.network
    if uses_metallb(settings):
        yield metallb()
    if network.gateway == "traefik":
        yield traefik(settings)
    if network.gateway == "nginx":
        yield ingress_nginx(settings)
    if network.service_mesh == "istio":
        yield from istio(settings)


def uses_metallb(settings: Settings) -> bool:
    balancer = settings.network.load_balancer
    return balancer.provider == "metallb" and bool(balancer.pools)


def gateway(settings: Settings) -> GatewayRef | None:
    """The Gateway that HTTPRoutes attach to; None without one (ingress-nginx, or no pool to take its address from)."""
    if settings.network.gateway == "nginx" or INGRESS_POOL not in settings.network.load_balancer.pools:
        return None
    secure = has_certificates(settings)
    hostname = served(settings) if secure else None
    if settings.network.gateway == "traefik":
        return GatewayRef("traefik", "public", "websecure" if secure else "web", hostname)
    return GatewayRef("gateway", "public", "https" if secure else "http", hostname)


def served(settings: Settings) -> str:
    """The names that the gateway's listener with TLS and its certificate are for."""
    return f"*.{settings.cluster.domain}"


def namespaces(settings: Settings) -> dict[str, tuple[PodSecurity, tuple[Opening, ...]]]:
    """The namespace of Cilium's gateway, whose proxy runs on the nodes; Traefik's gateway lies with its chart."""
    if settings.network.gateway != "cilium" or gateway(settings) is None:
        return {}
    return {"gateway": ("restricted", ("outside", "cluster"))}


def has_certificates(settings: Settings) -> bool:
    return settings.platform is not None and settings.platform.cert_manager is not None


def issuer(settings: Settings) -> str | None:
    """Name of the ClusterIssuer, when there is one."""
    manager = settings.platform.cert_manager if settings.platform else None
    return manager.issuer if manager else None


def metallb() -> Release:
    return Release(
        name=METALLB,
        chart="metallb",
        repository="https://metallb.github.io/metallb",
        version=versions.METALLB_CHART,
        namespace=METALLB_NAMESPACE,
        pod_security="privileged",  # the speaker answers ARP on the host's network
        crd_groups=("metallb.io",),
        # Layer 2 alone needs no routing daemon, and FRR would be on by default. kubeadm marks its servers as none that
        # answer for load balancers, and there may be no other nodes: which do is said where the pools are announced.
        values={"frrk8s": {"enabled": False}, "speaker": {"frr": {"enabled": False}, "ignoreExcludeLB": True}},
        openings=("api", "webhooks", "nodes"),
    )


def traefik(settings: Settings) -> Release:
    secure, service = has_certificates(settings), _service(settings)
    listener: dict[str, Any] = {
        "port": TRAEFIK_SECURE_PORT,
        "protocol": "HTTPS",
        "hostname": served(settings),
        "namespacePolicy": {"from": "All"},
        "certificateRefs": [{"name": GATEWAY_SECRET}],
        "mode": "Terminate",
    }
    values: dict[str, Any] = {
        "providers": {"kubernetesGateway": {"enabled": True}, "kubernetesIngress": {"enabled": False}},
        "gateway": {
            "enabled": INGRESS_POOL in settings.network.load_balancer.pools,
            "name": "public",
            "annotations": {"cert-manager.io/cluster-issuer": issuer(settings)} if secure else {},
            "listeners": {
                "web": {"port": 8000, "protocol": "HTTP", "namespacePolicy": {"from": "All"}},
                **({"websecure": listener} if secure else {}),
            },
        },
        "ingressRoute": {"dashboard": {"enabled": False}},
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        # Of the service's type alone the chart says `spec.type`, and lets a `type` beside it pass in silence.
        "service": {"spec": {"type": service.pop("type")}, **service},
    }
    return Release(
        name="traefik",
        chart="traefik",
        repository="https://traefik.github.io/charts",
        version=versions.TRAEFIK_CHART,
        namespace="traefik",
        crd_groups=("traefik.io", "hub.traefik.io"),
        needs=(*_pools(settings), *(("cert-manager",) if secure else ())),
        values=values,
        openings=("api", "cluster", "outside"),
    )


def ingress_nginx(settings: Settings) -> Release:
    """Retired upstream in March 2026: no security fixes any more. Only for those who choose it by name."""
    return Release(
        name="ingress-nginx",
        chart="ingress-nginx",
        repository="https://kubernetes.github.io/ingress-nginx",
        version=versions.INGRESS_NGINX_CHART,
        namespace="ingress-nginx",
        pod_security="baseline",
        needs=_pools(settings),
        values={
            "controller": {
                "allowSnippetAnnotations": False,
                "metrics": {"enabled": True},
                "service": _service(settings),
            }
        },
        openings=("api", "webhooks", "cluster", "outside"),
    )


def istio(settings: Settings) -> Iterator[Release]:
    """Ambient mode: no sidecars. The namespaces that take part carry the label istio.io/dataplane-mode=ambient."""
    shared: dict[str, Any] = {
        "repository": "https://istio-release.storage.googleapis.com/charts",
        "version": versions.ISTIO_CHART,
        "namespace": "istio-system",
        "pod_security": "privileged",  # istio-cni and ztunnel enter other pods' network namespaces
        "openings": ("api", "webhooks", "nodes", "cluster"),
    }
    # k3s keeps flannel's plugin in folders of its own; with any other plugin the usual folders hold.
    flannel = settings.network.cni == "flannel" and settings.cluster.distribution == "k3s"
    platform = {"global": {"platform": "k3s"}} if flannel else {}
    groups = tuple(f"{name}.istio.io" for name in ("networking", "security", "telemetry", "extensions"))
    # Else istiod sets it by itself, in both charts, and the engine, which keeps charts as they are, sets it back.
    base = {"base": {"validationFailurePolicy": "Fail"}}
    ambient = {"profile": "ambient"}
    yield Release(name="istio-base", chart="base", crd_groups=groups, values=base, **shared)
    yield Release(name="istiod", chart="istiod", needs=("istio-base",), values={**ambient, **base}, **shared)
    yield Release(name="istio-cni", chart="cni", needs=("istio-base",), values={**ambient, **platform}, **shared)
    yield Release(name="ztunnel", chart="ztunnel", needs=("istiod", "istio-cni"), **shared)


def _pools(settings: Settings) -> tuple[str, ...]:
    return (METALLB,) if uses_metallb(settings) else ()


def _service(settings: Settings) -> dict[str, Any]:
    """A LoadBalancer service with an address of the ingress pool, or one inside the cluster when there is no pool."""
    if INGRESS_POOL not in settings.network.load_balancer.pools:
        return {"type": "ClusterIP"}
    if settings.network.load_balancer.provider == "metallb":
        return {"type": "LoadBalancer", "annotations": {POOL_ANNOTATION: INGRESS_POOL}}
    return {"type": "LoadBalancer", "labels": {POOL_LABEL: INGRESS_POOL}}
