"""cloudflared as plain manifests: no chart brings two pods that take a token from a file and nothing else."""

from collections.abc import Iterator
from typing import Any

import versions
from keystone.charts.objects import Thing
from keystone.charts.observability import GRAFANA_SERVICE
from keystone.charts.observability import NAMESPACE as MONITORING
from keystone.charts.policies import policy
from keystone.settings import Hostname, Origin, Settings, Tunnel

NAMESPACE = "cloudflared"
APP = "cloudflared"
IMAGE = f"docker.io/cloudflare/cloudflared:{versions.CLOUDFLARED_IMAGE}"
USER = 65532
METRICS_PORT = 2000
TOKEN_KEY = "token"
TOKEN_FOLDER = "/etc/cloudflared"
GENERATION_LABEL = "keystone.internal/tunnel-generation"
GRACE_SECONDS = 40
"""Longer than cloudflared's own 30 s, in which it ends running requests."""
HOSTNAME_LABEL = "kubernetes.io/hostname"
CATCH_ALL = "http_status:404"
APPS = {
    "grafana": Origin(namespace=MONITORING, service=GRAFANA_SERVICE, port=80),
    # The host layer installs it, as the release argo-cd without TLS of its own.
    "argocd": Origin(namespace="argocd", service="argo-cd-argocd-server", port=80),
}
"""Where the programs of Keystone are."""


def labels(tunnel: Tunnel) -> dict[str, str]:
    """What marks the pods of one generation."""
    return {"app.kubernetes.io/name": APP, GENERATION_LABEL: str(tunnel.generation)}


def object_name(tunnel: Tunnel) -> str:
    """Name of the Deployment, its Secret and its budget: two generations may run side by side."""
    return f"{APP}-{tunnel.generation}"


def tunnel_name(settings: Settings, tunnel: Tunnel) -> str:
    """What the tunnel is called at Cloudflare."""
    return f"{settings.cluster.name}-{tunnel.generation}"


def origin(hostname: Hostname) -> Origin:
    """The service that a name leads to."""
    return hostname.origin or APPS[hostname.app or ""]


def service_url(origin: Origin) -> str:
    """Where cloudflared finds a service of the cluster."""
    return f"{origin.scheme}://{origin.service}.{origin.namespace}.svc:{origin.port}"


def deployment(settings: Settings, tunnel: Tunnel) -> dict[str, Any]:
    """The spec of the Deployment."""
    return {
        "replicas": tunnel.replicas,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "selector": {"matchLabels": labels(tunnel)},
        "template": {"metadata": {"labels": labels(tunnel)}, "spec": _pod(settings, tunnel)},
    }


def _pod(settings: Settings, tunnel: Tunnel) -> dict[str, Any]:
    probe = {"port": METRICS_PORT, "scheme": "HTTP"}
    container = {
        "name": APP,
        "image": IMAGE,
        "args": ["tunnel", "--no-autoupdate", "--loglevel", "info", "--metrics", f"0.0.0.0:{METRICS_PORT}", "run"],
        # By file, not by environment: whoever reads the process list or a crash report does not find it.
        "env": [{"name": "TUNNEL_TOKEN_FILE", "value": f"{TOKEN_FOLDER}/{TOKEN_KEY}"}],
        "ports": [{"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"}],
        # Ready is who has a connection; without one a new pod would be no better, so only a hung process restarts.
        "readinessProbe": {"httpGet": {"path": "/ready", **probe}, "periodSeconds": 5, "failureThreshold": 3},
        "livenessProbe": {"httpGet": {"path": "/healthcheck", **probe}, "periodSeconds": 10, "failureThreshold": 6},
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "token", "mountPath": TOKEN_FOLDER, "readOnly": True}],
    }
    spread = {
        "maxSkew": 1,
        "topologyKey": HOSTNAME_LABEL,
        "whenUnsatisfiable": "ScheduleAnyway",  # two pods on the only node left are better than one
        "labelSelector": {"matchLabels": labels(tunnel)},
    }
    secret = {"secretName": object_name(tunnel), "defaultMode": 0o440}
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [spread],
        **_placement(settings, tunnel),
        "containers": [container],
        "volumes": [{"name": "token", "secret": secret}],
    }


def _placement(settings: Settings, tunnel: Tunnel) -> dict[str, Any]:
    """Dedicated nodes: only these, with their taints tolerated."""
    if not tunnel.ingress_nodes:
        return {}
    taints = {(one.key, one.value, one.effect) for name in tunnel.ingress_nodes for one in settings.hosts[name].taints}
    names = {"key": HOSTNAME_LABEL, "operator": "In", "values": sorted(tunnel.ingress_nodes)}
    required = {"nodeSelectorTerms": [{"matchExpressions": [names]}]}
    tolerations = [
        {"key": key, "operator": "Equal", "value": value, "effect": effect} for key, value, effect in sorted(taints)
    ]
    return {
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}},
        **({"tolerations": tolerations} if tolerations else {}),
    }


def disruption_budget(tunnel: Tunnel) -> dict[str, Any]:
    """One pod may be away at a time."""
    return {"maxUnavailable": 1, "selector": {"matchLabels": labels(tunnel)}}


def network_policies(settings: Settings, tunnel: Tunnel, made: set[str]) -> Iterator[Thing]:
    """What cloudflared may reach: Cloudflare and the namespaces behind the names; and what may be reached from it.

    `made` are the namespaces of our own: they deny by default, so the way in has to be opened there too. In any other
    namespace such a policy would shut out everybody else.
    """
    if closed := policy(settings, NAMESPACE, ["internet"]):
        yield closed
        origins = sorted({origin(hostname).namespace for hostname in tunnel.hostnames.values()})
        own = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": APP}}}
        yield _policy(
            "origins",
            NAMESPACE,
            {**own, "policyTypes": ["Egress"], "egress": [{"to": [_namespace(space)]} for space in origins]},
        )
        for space in (space for space in origins if space in made):
            yield _policy(
                "from-cloudflared",
                space,
                {
                    "podSelector": {},
                    "policyTypes": ["Ingress"],
                    "ingress": [{"from": [{**_namespace(NAMESPACE), **own}]}],
                },
            )


def monitor() -> Thing:
    """What tells Prometheus to ask the pods."""
    return Thing(
        api="monitoring.coreos.com/v1",
        kind="PodMonitor",
        name=APP,
        namespace=NAMESPACE,
        spec={
            "selector": {"matchLabels": {"app.kubernetes.io/name": APP}},
            "podMetricsEndpoints": [{"port": "metrics", "path": "/metrics", "interval": "30s"}],
        },
    )


def _policy(name: str, namespace: str, spec: dict[str, Any]) -> Thing:
    return Thing(api="networking.k8s.io/v1", kind="NetworkPolicy", name=name, namespace=namespace, spec=spec)


def _namespace(name: str) -> dict[str, Any]:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
