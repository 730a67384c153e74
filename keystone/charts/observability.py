"""Metrics, logs and alerts: kube-prometheus-stack, Loki, and Alloy twice (logs of pods and journals; metrics of hosts).

What runs on a host tells its metrics on loopback alone, and no port is opened for them: an Alloy in the host's network
reads them there and hands them to Prometheus. Grafana keeps nothing of its own: what it shows comes from this project.
"""

from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Any

import versions
from keystone.charts import alloy, ceph, state_metrics
from keystone.charts.alertmanager import RECEIVERS_SECRET, config
from keystone.charts.release import Release
from keystone.settings import Observability, Settings

NAMESPACE = "monitoring"
AGENTS = "alloy"
"""Namespace of what reads the hosts: apart, because its pods may do what those of no other namespace of ours may."""
STACK = "kube-prometheus-stack"
GRAFANA_SERVICE = f"{STACK}-grafana"
ADMIN_SECRET = "grafana-admin"
SSO_SECRET = "grafana-sso"
LOKI_URL = f"http://loki.{NAMESPACE}.svc:3100"
LOGS_BUCKET = "loki-bucket"
"""Name of the bucket claim, and of the Secret and the ConfigMap that Rook makes of it; the chart has none so called."""
AUTHORITY, AUTHORITY_FILE = "private-authority", "ca.crt"
"""The ConfigMap with the certificate of the private authority, which signs the object store's."""
AUTHORITY_FOLDER = "/etc/private-authority"
# In the part of the range that is never given out by chance (KEP-3070), after k3s' own for DNS.
PROMETHEUS_ADDRESS = 30
PROMETHEUS_PORT = 9090
# Prometheus drops the oldest blocks in time; the rest is for the log of what is being written.
FILLED = 0.85


def releases(settings: Settings) -> Iterator[Release]:
    observability = settings.observability
    if observability is None:
        return
    yield stack(settings, observability)
    yield loki(settings, observability)
    yield alloy_logs(settings)
    yield alloy_hosts(settings, observability)


def prometheus_address(settings: Settings) -> IPv4Address:
    """Prometheus' address among the services. A host's resolver knows the mesh, not the names of services."""
    return settings.cluster.service_cidr[PROMETHEUS_ADDRESS]


def write_addresses(settings: Settings, observability: Observability) -> list[IPv4Address]:
    """Where hosts write their metrics to: of several Prometheus each has an address, since each is to have them all."""
    replicas, first = observability.metrics.replicas, PROMETHEUS_ADDRESS + 1
    if replicas == 1:
        return [prometheus_address(settings)]
    return [settings.cluster.service_cidr[number] for number in range(first, first + replicas)]


def replica_services(settings: Settings, observability: Observability) -> dict[str, dict[str, Any]]:
    """The services of single Prometheus pods by name, when there are several."""
    addresses = write_addresses(settings, observability)
    if len(addresses) == 1:
        return {}
    return {
        f"prometheus-{number}": {
            "clusterIP": str(address),
            "selector": {"statefulset.kubernetes.io/pod-name": f"prometheus-{STACK}-prometheus-{number}"},
            "ports": [{"name": "http-web", "port": PROMETHEUS_PORT, "targetPort": "http-web"}],
        }
        for number, address in enumerate(addresses)
    }


def grafana_host(settings: Settings, observability: Observability) -> str:
    return observability.grafana.host or f"grafana.{settings.cluster.domain}"


def stack(settings: Settings, observability: Observability) -> Release:
    talks = observability.grafana.sso or any(vars(observability.alerting.receivers).values())
    return Release(
        name=STACK,
        chart=STACK,
        repository="https://prometheus-community.github.io/helm-charts",
        version=versions.KUBE_PROMETHEUS_CHART,
        namespace=NAMESPACE,
        pod_security="baseline",
        crd_groups=("monitoring.coreos.com",),
        needs=volumes(settings, observability),
        limit_seconds=600,
        values={
            "fullnameOverride": STACK,
            # k3s and kubeadm bind these to loopback, and k3s' API server tells the metrics of all of them.
            "kubeControllerManager": {"enabled": False},
            "kubeScheduler": {"enabled": False},
            "kubeProxy": {"enabled": False},
            # Both come from the hosts, by Alloy: jobs etcd and node-exporter.
            "kubeEtcd": {"enabled": False},
            "nodeExporter": {"enabled": False},
            "prometheus": _prometheus(settings, observability),
            "alertmanager": _alertmanager(observability),
            "grafana": _grafana(settings, observability),
            "kube-state-metrics": state_metrics.values(settings),
        },
        openings=("api", "webhooks", "nodes", "cluster", *(("internet", "lan") if talks else ())),
    )


def _volume(observability: Observability, gib: int) -> dict[str, Any]:
    spec: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": f"{gib}Gi"}}}
    if observability.storage_class:
        spec["storageClassName"] = observability.storage_class
    return {"volumeClaimTemplate": {"spec": spec}}


def _prometheus(settings: Settings, observability: Observability) -> dict[str, Any]:
    metrics = observability.metrics
    anyone = {
        f"{kind}SelectorNilUsesHelmValues": False for kind in ("serviceMonitor", "podMonitor", "rule", "probe")
    } | {"scrapeConfigSelectorNilUsesHelmValues": False}
    return {
        "service": {"clusterIP": str(prometheus_address(settings))},
        "prometheusSpec": {
            **anyone,
            "replicas": metrics.replicas,
            "retention": f"{metrics.retention_days}d",
            "retentionSize": f"{int(metrics.volume_gib * FILLED * 1024)}MiB",
            "scrapeInterval": f"{metrics.scrape_seconds}s",
            "evaluationInterval": f"{metrics.scrape_seconds}s",
            "externalLabels": {"cluster": settings.cluster.name},
            "enableRemoteWriteReceiver": True,
            "storageSpec": _volume(observability, metrics.volume_gib),
        },
    }


def _alertmanager(observability: Observability) -> dict[str, Any]:
    alerting = observability.alerting
    return {
        "config": config(alerting),
        "alertmanagerSpec": {
            # Mounted as files, which the configuration names: no secret stands in a value.
            "secrets": [RECEIVERS_SECRET] if any(vars(alerting.receivers).values()) else [],
            "storage": _volume(observability, alerting.volume_gib),
        },
    }


def _grafana(settings: Settings, observability: Observability) -> dict[str, Any]:
    host = grafana_host(settings, observability)
    # Where its links and logins lead: from outside only the tunnel's name is found.
    public = (settings.tunnel and settings.tunnel.name_for("grafana")) or host
    ini: dict[str, Any] = {
        "server": {"domain": public, "root_url": f"https://{public}"},
        "analytics": {"reporting_enabled": False, "check_for_updates": False},
        "users": {"allow_sign_up": False},
        "auth.anonymous": {"enabled": False},
        "security": {"cookie_secure": True, "disable_gravatar": True},
    }
    values: dict[str, Any] = {
        "admin": {"existingSecret": ADMIN_SECRET},
        # Would run as root, and there is no volume whose owner it could set.
        "initChownData": {"enabled": False},
        "testFramework": {"enabled": False},
        "additionalDataSources": [{"name": "Loki", "uid": "loki", "type": "loki", "access": "proxy", "url": LOKI_URL}],
        "grafana.ini": ini,
    }
    if sso := observability.grafana.sso:
        ini["auth.generic_oauth"] = {
            "enabled": True,
            "name": sso.name,
            "client_id": sso.client_id,
            "auth_url": sso.auth_url,
            "token_url": sso.token_url,
            "api_url": sso.api_url,
            "scopes": " ".join(sso.scopes),
            "use_pkce": True,
            "allow_sign_up": True,
            "role_attribute_path": _role(sso.admin_groups, sso.editor_groups),
            "role_attribute_strict": True,
        }
        # The client's secret comes as a variable of the environment, under the name that Grafana reads by itself.
        values["envFromSecret"] = SSO_SECRET
    return values


def _role(admins: tuple[str, ...], editors: tuple[str, ...]) -> str:
    """A JMESPath expression: the role of a person by the groups that the provider tells."""
    found = [
        f"contains(groups[*], {_quoted(group)}) && '{role}' || "
        for role, groups in (("Admin", admins), ("Editor", editors))
        for group in groups
    ]
    return f"{''.join(found)}'Viewer'"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def loki(settings: Settings, observability: Observability) -> Release:
    logs = observability.logs
    bucket = logs.store == "bucket"
    store = "s3" if bucket else "filesystem"
    persistence: dict[str, Any] = {"enabled": True, "size": f"{logs.volume_gib}Gi"}
    if observability.storage_class:
        persistence["storageClass"] = observability.storage_class
    single: dict[str, Any] = {
        "replicas": 1,
        "persistence": persistence,
        # One pod: a budget would only keep its node from being drained.
        "podDisruptionBudget": {"enabled": False},
        # Kubernetes lets no StatefulSet have volumes of another size: a job grows the claim and makes the set anew.
        "statefulSetRecreateJob": {"enabled": True},
    }
    storage: dict[str, Any] = {"type": store}
    if bucket:
        storage |= {
            "bucketNames": {"chunks": bucket_name(settings), "ruler": bucket_name(settings)},
            "s3": {
                "endpoint": f"https://{ceph.OBJECT_STORE_HOST}",
                "region": "us-east-1",
                "s3ForcePathStyle": True,
                "insecure": False,
                "http_config": {"ca_file": f"{AUTHORITY_FOLDER}/{AUTHORITY_FILE}"},
            },
        }
        # The keys of the bucket, from the claim's own Secret: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
        single["extraEnvFrom"] = [{"secretRef": {"name": LOGS_BUCKET}}]
        single["extraVolumes"] = [{"name": "authority", "configMap": {"name": AUTHORITY}}]
        single["extraVolumeMounts"] = [{"name": "authority", "mountPath": AUTHORITY_FOLDER, "readOnly": True}]
    off = {"enabled": False}
    return Release(
        name="loki",
        chart="loki",
        repository="https://grafana-community.github.io/helm-charts",
        version=versions.LOKI_CHART,
        namespace=NAMESPACE,
        pod_security="baseline",
        needs=(STACK, *needs(settings, observability)),
        limit_seconds=600,
        values={
            "deploymentMode": "Monolithic",
            "loki": {
                "auth_enabled": False,
                "commonConfig": {"path_prefix": "/var/loki", "replication_factor": 1},
                "schemaConfig": {
                    "configs": [
                        {
                            "from": "2024-04-01",
                            "store": "tsdb",
                            "object_store": store,
                            "schema": "v13",
                            "index": {"prefix": "index_", "period": "24h"},
                        }
                    ]
                },
                "storage": storage,
                "limits_config": {"retention_period": f"{logs.retention_days * 24}h", "volume_enabled": True},
                "compactor": {
                    "retention_enabled": True,
                    "delete_request_store": store,
                    "working_directory": "/var/loki/compactor",
                },
                "analytics": {"reporting_enabled": False},
            },
            "singleBinary": single,
            # The chart's own tag is the cluster's version, which with k3s is none of an image's: v1.36.2+k3s1.
            "defaults": {"statefulSetRecreateJob": {"image": {"tag": f"v{versions.KUBERNETES}"}}},
            **{target: {"replicas": 0} for target in ("read", "write", "backend")},
            "gateway": off,
            "chunksCache": off,
            "resultsCache": off,
            "lokiCanary": off,
            "test": off,
        },
    )


def volumes(settings: Settings, observability: Observability) -> tuple[str, ...]:
    """The chart that makes the class of the volumes."""
    wanted = observability.storage_class or (settings.storage.default_class if settings.storage else None)
    made_by = {
        "ceph-block": "rook-ceph-cluster",
        "ceph-filesystem": "rook-ceph-cluster",
        "local-path": "local-path",
        "longhorn": "longhorn",
        "openebs-hostpath": "openebs",
        "ebs-gp3": "aws-ebs-csi-driver",
        "efs": "aws-efs-csi-driver",
        "proxmox": "proxmox-csi-plugin",
    }
    return (made_by[wanted],) if wanted else ()


def needs(settings: Settings, observability: Observability) -> tuple[str, ...]:
    """What Loki's pod waits for: its volume, and Ceph for its bucket."""
    found = volumes(settings, observability)
    if observability.logs.store == "bucket" and "rook-ceph-cluster" not in found:
        return (*found, "rook-ceph-cluster")
    return found


def bucket_name(settings: Settings) -> str:
    """Buckets of one store have one name each; the cluster's name keeps copies of two clusters apart."""
    return f"{settings.cluster.name}-logs"


def _alloy(name: str, text: str, more: dict[str, Any], controller: dict[str, Any], needs: tuple[str, ...]) -> Release:
    return Release(
        name=name,
        chart="alloy",
        repository="https://grafana.github.io/helm-charts",
        version=versions.ALLOY_CHART,
        namespace=AGENTS,
        pod_security="privileged",  # the hosts' journals, and the host's network for metrics on loopback
        needs=needs,
        values={
            "fullnameOverride": name,
            # Alloy reads no PodLogs here, and two releases could not own the kind both.
            "crds": {"create": False},
            "alloy": {"configMap": {"content": text}, "enableReporting": False, **more},
            "controller": {
                "type": "daemonset",
                # Every host tells of itself, whatever it is reserved for.
                "tolerations": [{"operator": "Exists"}],
                "priorityClassName": "system-node-critical",
                **controller,
            },
        },
        openings=("api", "cluster"),
    )


def alloy_logs(settings: Settings) -> Release:
    """Logs: pods by the API, each node's own, and the journal of the host."""
    # On the host, so that a restarted pod goes on where it was.
    positions = "/var/lib/alloy-logs"
    return _alloy(
        "alloy-logs",
        alloy.logs(settings, LOKI_URL),
        {
            "storagePath": positions,
            "mounts": {"varlog": True, "extra": [{"name": "positions", "mountPath": positions}]},
            # The journal is root's; nothing is written but the positions.
            "securityContext": {
                "runAsUser": 0,
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"], "add": ["DAC_READ_SEARCH"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            },
        },
        {"volumes": {"extra": [_host_path("positions", positions, "DirectoryOrCreate")]}},
        (STACK, "loki"),
    )


def alloy_hosts(settings: Settings, observability: Observability) -> Release:
    """Metrics of the hosts, from loopback, and the probes of mesh and tunnel."""
    addresses = write_addresses(settings, observability)
    urls = [f"http://{address}:{PROMETHEUS_PORT}/api/v1/write" for address in addresses]
    # The machine's own resolver knows the mesh's names; the nameservers of pods do not.
    resolver = _host_path("resolver", "/run/systemd/resolve/stub-resolv.conf", "File")
    return _alloy(
        "alloy-hosts",
        alloy.hosts(settings, urls, observability.metrics.scrape_seconds),
        {
            # The other Alloy of a machine (NixOS) has 12345; the firewall opens neither.
            "listenPort": 12346,
            "mounts": {"extra": [{"name": "resolver", "mountPath": "/etc/resolv.conf", "readOnly": True}]},
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            },
        },
        {"hostNetwork": True, "dnsPolicy": "Default", "volumes": {"extra": [resolver]}},
        (STACK,),
    )


def _host_path(name: str, path: str, kind: str) -> dict[str, Any]:
    return {"name": name, "hostPath": {"path": path, "type": kind}}
