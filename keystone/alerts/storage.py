"""Alerts about Ceph, backups and the pools of cloud nodes."""

from keystone.alerts.alert import Alert, zfs
from keystone.settings import Settings

# The systemd timers that copy what a host alone holds (nix/modules/mesh/backup.nix, kubeadm/etcd-backup.nix,
# snapshots.nix, offsite). Those that run once a week are the job verify-backup's business.
_COPIES = "headscale-backup.timer|etcd-backup.timer|syncoid-.+.timer|offsite-backup.timer"


def _ceph(settings: Settings) -> bool:
    return settings.observability is not None and bool(settings.storage and settings.storage.ceph)


ALERTS = (
    Alert(
        name="CephError",
        expr="ceph_health_status == 2",
        minutes=5,
        severity="critical",
        summary="Ceph is in the state HEALTH_ERR: data may be out of reach",
        needs=_ceph,
    ),
    Alert(
        name="CephWarning",
        expr="ceph_health_status == 1",
        minutes=15,
        severity="warning",
        summary="Ceph is in the state HEALTH_WARN",
        needs=_ceph,
    ),
    Alert(
        name="CephOsdDown",
        expr="ceph_osd_up == 0",
        minutes=10,
        severity="warning",
        summary="{{ $labels.ceph_daemon }} is down",
        needs=_ceph,
    ),
    Alert(
        name="CephMonitorMissing",
        expr="ceph_mon_quorum_status == 0",
        minutes=15,
        severity="warning",
        summary="{{ $labels.ceph_daemon }} is not in the quorum",
        needs=_ceph,
    ),
    Alert(
        name="CephPoolFilling",
        expr="ceph_pool_percent_used * on (pool_id) group_left (name) ceph_pool_metadata > 0.8",
        minutes=15,
        severity="warning",
        summary="The pool {{ $labels.name }} is {{ $value | humanizePercentage }} full",
        needs=_ceph,
    ),
    Alert(
        name="HostBackupOverdue",
        expr=f'time() - node_systemd_timer_last_trigger_seconds{{name=~"{_COPIES}"}} > 26 * 3600',
        minutes=30,
        severity="warning",
        summary="{{ $labels.name }} of {{ $labels.node }} ran {{ $value | humanizeDuration }} ago",
    ),
    Alert(
        name="SnapshotsOverdue",
        expr='time() - node_systemd_timer_last_trigger_seconds{name="sanoid.timer"} > 3 * 3600',
        minutes=30,
        severity="warning",
        summary="{{ $labels.node }} made no snapshot for {{ $value | humanizeDuration }}",
        needs=zfs,
    ),
    Alert(
        name="BackupJobOverdue",
        expr=(
            # One that never succeeded has no last success: it counts from when it was made.
            'time() - (kube_cronjob_status_last_successful_time{cronjob=~".*backup.*"} '
            'or kube_cronjob_created{cronjob=~".*backup.*"}) > 26 * 3600 '
            "unless on (namespace, cronjob) kube_cronjob_spec_suspend == 1"
        ),
        minutes=30,
        severity="critical",
        summary="{{ $labels.namespace }}/{{ $labels.cronjob }} has not succeeded for {{ $value | humanizeDuration }}",
    ),
    Alert(
        name="PodsWithoutNode",
        expr="sum by (namespace) (kube_pod_status_unschedulable) > 0",
        minutes=15,
        severity="warning",
        summary="{{ $value }} pods of {{ $labels.namespace }} find no node, and no pool makes one for them",
    ),
)
