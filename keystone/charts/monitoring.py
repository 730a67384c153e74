"""Custom resources of the monitoring that the program makes itself, as values: alert rules, monitors, route, bucket."""

from collections.abc import Iterator, Mapping
from typing import Any

from keystone import alerts
from keystone.charts import aws, backup, ceph, cloud_autoscaler, network, operators, platform, storage
from keystone.charts.objects import Thing
from keystone.charts.observability import (
    GRAFANA_SERVICE,
    LOGS_BUCKET,
    NAMESPACE,
    STACK,
    bucket_name,
    grafana_host,
)
from keystone.charts.release import Release
from keystone.settings import Observability, Settings

NAME = "app.kubernetes.io/name"
INSTANCE = "app.kubernetes.io/instance"
AUTOSCALER_PORT = 8085  # its chart gives the port no name

# Release -> (labels of its pods, name or number of the port that tells metrics). Charts could make these themselves,
# but then each would need Prometheus' kinds before it, and Prometheus comes after the network and storage that it uses.
# tests/observability/told-metrics.json has where each was read, and why the other releases are not here.
_MONITORED: Mapping[str, tuple[Mapping[str, str], str | int]] = {
    "cert-manager": ({INSTANCE: "cert-manager"}, "http-metrics"),
    "external-dns": ({NAME: "external-dns"}, "http"),
    "ingress-nginx": ({NAME: "ingress-nginx"}, "metrics"),
    "istio-cni": ({NAME: "istio-cni"}, "metrics"),
    "istiod": ({"app": "istiod"}, "http-monitoring"),
    platform.APPROVER: ({NAME: platform.APPROVER}, "metrics"),
    "longhorn": ({"app": "longhorn-manager"}, "manager"),
    "linkerd-cni": ({"k8s-app": "linkerd-cni"}, "repair-admin"),
    "linkerd-control-plane": ({"linkerd.io/control-plane-ns": "linkerd"}, "linkerd-admin"),
    "loki": ({NAME: "loki"}, "http-metrics"),
    "alloy-logs": ({INSTANCE: "alloy-logs"}, "http-metrics"),
    "proxmox-csi-plugin": ({NAME: "proxmox-csi-plugin"}, "metrics"),
    "rook-ceph-cluster": ({"app": "rook-ceph-mgr"}, "http-metrics"),
    "traefik": ({NAME: "traefik"}, "metrics"),
    "vertical-pod-autoscaler": ({NAME: "vertical-pod-autoscaler"}, "prometheus"),
    "ztunnel": ({"app": "ztunnel"}, "ztunnel-stats"),
    storage.EFS: ({"app": "efs-csi-controller"}, "metrics"),
    aws.WEBHOOK: ({INSTANCE: aws.WEBHOOK}, "metrics"),
    aws.TERMINATION: ({INSTANCE: aws.TERMINATION}, "http-metrics"),
    aws.KARPENTER: ({INSTANCE: aws.KARPENTER}, "http-metrics"),
    operators.CROSSPLANE: ({INSTANCE: operators.CROSSPLANE}, "metrics"),
    **{name: ({INSTANCE: name}, "http") for name in map(operators.ack_name, operators.ACK_VERSIONS)},
    **{
        name: ({INSTANCE: name}, AUTOSCALER_PORT)
        for name in (aws.AUTOSCALER, *map(cloud_autoscaler.autoscaler_name, ("azure", "gcp", "hetzner")))
    },
}
# The port of the GitOps engine's controllers; nothing else is in its namespace.
_ENGINE_PORTS = {"flux": "http-prom", "argocd": "metrics"}


def rules(settings: Settings, observability: Observability) -> Thing:
    """All alert rules, as one object."""
    spec = alerts.rules(alerts.chosen(settings), observability.alerting.runbooks)
    return _thing("PrometheusRule", "keystone", spec)


def monitors(settings: Settings, releases: Mapping[str, Release]) -> Iterator[Thing]:
    """What Prometheus reads of the chosen releases.

    The tunnel and kube-prometheus-stack bring their own; the hosts' Alloy reads MetalLB and what listens on a host.
    """
    for name, (labels, port) in sorted(_MONITORED.items()):
        if name in releases:
            yield _monitor(name, releases[name].namespace, labels, port)
    engine = settings.gitops.engine
    yield _monitor(engine, settings.gitops.namespace, {}, _ENGINE_PORTS[engine])


def route(settings: Settings, observability: Observability) -> Thing | None:
    """Grafana's name at the gateway; None when there is no gateway with an address."""
    host = grafana_host(settings, observability)
    if settings.network.gateway == "nginx":
        return _ingress(settings, host)
    found = network.gateway(settings)
    if found is None:
        return None
    return Thing(
        api="gateway.networking.k8s.io/v1",
        kind="HTTPRoute",
        name="grafana",
        namespace=NAMESPACE,
        spec={
            "parentRefs": [{"name": found.name, "namespace": found.namespace, "sectionName": found.listener}],
            "hostnames": [host],
            "rules": [{"backendRefs": [{"name": GRAFANA_SERVICE, "port": 80}]}],
        },
    )


def _ingress(settings: Settings, host: str) -> Thing:
    issuer = network.issuer(settings)
    backend = {"service": {"name": GRAFANA_SERVICE, "port": {"number": 80}}}
    return Thing(
        api="networking.k8s.io/v1",
        kind="Ingress",
        name="grafana",
        namespace=NAMESPACE,
        annotations={"cert-manager.io/cluster-issuer": issuer} if issuer else {},
        spec={
            "ingressClassName": "nginx",
            "rules": [{"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}],
            **({"tls": [{"hosts": [host], "secretName": "grafana-tls"}]} if issuer else {}),
        },
    )


def bucket(settings: Settings, observability: Observability) -> Thing | None:
    """The bucket for logs; Rook answers with a Secret and a ConfigMap of the same name."""
    if observability.logs.store != "bucket":
        return None
    return Thing(
        api="objectbucket.io/v1alpha1",
        kind="ObjectBucketClaim",
        name=LOGS_BUCKET,
        namespace=NAMESPACE,
        wait="jsonpath={.status.phase}=Bound",
        spec={
            "bucketName": bucket_name(settings),
            "storageClassName": ceph.OBJECT,
            "additionalConfig": {"maxSize": f"{observability.logs.bucket_gib}Gi", **_readers(settings)},
        },
    )


def _readers(settings: Settings) -> dict[str, str]:
    copied = settings.backup is not None and settings.backup.logs
    return {"bucketPolicy": backup.reader_policy(bucket_name(settings))} if copied else {}


def _monitor(name: str, namespace: str, labels: Mapping[str, str], port: str | int) -> Thing:
    # Beside Prometheus, not beside the pods: the one namespace that is there whenever its kinds are.
    spec = {
        "namespaceSelector": {"matchNames": [namespace]},
        "selector": {"matchLabels": dict(labels)},
        "podMetricsEndpoints": [{"port": port} if isinstance(port, str) else {"portNumber": port}],
    }
    return _thing("PodMonitor", name, spec)


def _thing(kind: str, name: str, spec: Mapping[str, Any]) -> Thing:
    return Thing(api="monitoring.coreos.com/v1", kind=kind, name=name, namespace=NAMESPACE, spec=spec, after=STACK)
