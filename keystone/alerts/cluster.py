"""Alerts about Kubernetes itself: etcd, the API, releases, certificates, volumes, logs."""

from keystone.alerts.alert import Alert
from keystone.settings import Settings


def _flux(settings: Settings) -> bool:
    return settings.observability is not None and settings.gitops.engine == "flux"


def _argocd(settings: Settings) -> bool:
    return settings.observability is not None and settings.gitops.engine == "argocd"


def _certificates(settings: Settings) -> bool:
    return settings.observability is not None and bool(settings.platform and settings.platform.cert_manager)


ALERTS = (
    Alert(
        name="EtcdWithoutLeader",
        expr="etcd_server_has_leader == 0",
        minutes=1,
        severity="critical",
        summary="etcd on {{ $labels.node }} has no leader: nothing in the cluster can be changed",
    ),
    Alert(
        name="EtcdMemberMissing",
        # The controller of the nodes knows the servers by their label, whether or not they answer.
        expr=(
            'count(kube_node_labels{label_keystone_internal_role=~"primer|server"}) > '
            'count(up{job="etcd"} == 1) or absent(up{job="etcd"} == 1)'
        ),
        minutes=10,
        severity="warning",
        summary="Not every server tells of its etcd member",
    ),
    Alert(
        name="EtcdDatabaseLarge",
        expr="etcd_mvcc_db_total_size_in_bytes / etcd_server_quota_backend_bytes > 0.8",
        minutes=10,
        severity="warning",
        summary="etcd on {{ $labels.node }} is at {{ $value | humanizePercentage }} of its limit, where writes end",
    ),
    Alert(
        name="EtcdDiskSlow",
        expr=(
            "histogram_quantile(0.99, sum by (node, le) (rate(etcd_disk_wal_fsync_duration_seconds_bucket[5m]))) > 0.1"
        ),
        minutes=15,
        severity="warning",
        summary="etcd on {{ $labels.node }} waits {{ $value | humanizeDuration }} for its disk",
    ),
    Alert(
        name="ApiErrors",
        expr=('sum(rate(apiserver_request_total{code=~"5.."}[5m])) / sum(rate(apiserver_request_total[5m])) > 0.05'),
        minutes=10,
        severity="critical",
        summary="{{ $value | humanizePercentage }} of the requests to the Kubernetes API fail",
    ),
    Alert(
        name="FluxObjectNotReady",
        expr='gotk_resource_info{ready="False", suspended!="true"} == 1',
        minutes=15,
        severity="warning",
        summary="{{ $labels.customresource_kind }} {{ $labels.exported_namespace }}/{{ $labels.name }} is not ready",
        needs=_flux,
    ),
    Alert(
        name="ArgoApplicationNotHealthy",
        expr='argocd_app_info{health_status!~"Healthy|Progressing|Suspended"} == 1',
        minutes=15,
        severity="warning",
        summary="The application {{ $labels.name }} is {{ $labels.health_status }}",
        needs=_argocd,
    ),
    Alert(
        name="CertificateExpires",
        # By when it was to be made anew, not by its end: some certificates live for two days. 0 is one that never was.
        expr="certmanager_certificate_renewal_timestamp_seconds < time()",
        minutes=60,
        severity="warning",
        summary="The certificate {{ $labels.exported_namespace }}/{{ $labels.name }} is not made, or not in time",
        needs=_certificates,
    ),
    Alert(
        name="VolumeFilling",
        expr="kubelet_volume_stats_available_bytes / kubelet_volume_stats_capacity_bytes < 0.1",
        minutes=15,
        severity="warning",
        summary=(
            "The volume {{ $labels.namespace }}/{{ $labels.persistentvolumeclaim }} has "
            "{{ $value | humanizePercentage }} left"
        ),
    ),
    Alert(
        name="LogsNotArriving",
        expr=(
            "sum(rate(loki_distributor_lines_received_total[10m])) == 0 "
            "or absent(loki_distributor_lines_received_total)"
        ),
        minutes=15,
        severity="warning",
        summary="Loki gets no lines",
    ),
)
