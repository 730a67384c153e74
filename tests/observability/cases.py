"""For each alert: series that must make it fire, with what it then says, and look-alikes that must not.

Series are written as promtool does (https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/):
one reading a minute, `0x30` for thirty-one equal ones, `0+60x30` for a counter. Time begins at 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

DAY = 24 * 60
"""Minutes."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """`says` holds, per alert that must fire, its labels (severity aside) and its summary; `at` is in minutes."""

    fires: Mapping[str, str]
    says: Sequence[tuple[Mapping[str, str], str]]
    quiet: Mapping[str, str] = field(default_factory=dict)
    at: int = 90
    early: int | None = 0
    """A minute at which it must not fire yet; None where the series cannot be bad from the beginning on."""


DISK = '{node="w1", mountpoint="/", fstype="zfs"}'
READY = 'kube_node_status_condition{condition="Ready", status="true", node="w1"}'
PUBLIC = '{exported_namespace="gateway", name="public"}'
ISSUER = '{exported_namespace="linkerd", name="linkerd-identity-issuer"}'
CRON = '{namespace="backup", cronjob="backup-buckets"}'
NEVER = '{namespace="backup", cronjob="verify-backup"}'
DERP, DIRECT = (f'tailscaled_outbound_bytes_total{{node="w1", path="{path}"}}' for path in ("derp", "direct_ipv4"))

CASES: Mapping[str, Case] = {
    "HostNotReady": Case(
        fires={READY: "0x90"},
        quiet={READY: "1x90"},
        says=[
            (
                {"condition": "Ready", "status": "true", "node": "w1"},
                "w1 is not ready: its kubelet does not answer, or says that it cannot run pods",
            )
        ],
    ),
    "HostMetricsMissing": Case(
        fires={
            'kube_node_info{node="w1"}': "1x90",
            'kube_node_info{node="w2"}': "1x90",
            'up{job="node-exporter", node="w2"}': "1x90",
            'up{job="node-exporter", node="w1"}': "0x90",
        },
        quiet={'kube_node_info{node="w1"}': "1x90", 'up{job="node-exporter", node="w1"}': "1x90"},
        says=[({"node": "w1"}, "No metrics come from the machine w1")],
    ),
    "HostDiskFilling": Case(
        fires={f"node_filesystem_avail_bytes{DISK}": "9x90", f"node_filesystem_size_bytes{DISK}": "100x90"},
        quiet={
            f"node_filesystem_avail_bytes{DISK}": "11x90",
            f"node_filesystem_size_bytes{DISK}": "100x90",
            'node_filesystem_avail_bytes{node="w1", mountpoint="/run", fstype="tmpfs"}': "0x90",
            'node_filesystem_size_bytes{node="w1", mountpoint="/run", fstype="tmpfs"}': "100x90",
        },
        says=[({"node": "w1", "mountpoint": "/", "fstype": "zfs"}, "/ of w1 has 9% left")],
    ),
    "HostDiskFull": Case(
        fires={f"node_filesystem_avail_bytes{DISK}": "2x90", f"node_filesystem_size_bytes{DISK}": "100x90"},
        quiet={f"node_filesystem_avail_bytes{DISK}": "4x90", f"node_filesystem_size_bytes{DISK}": "100x90"},
        says=[({"node": "w1", "mountpoint": "/", "fstype": "zfs"}, "/ of w1 has 2% left")],
    ),
    "HostMemoryShort": Case(
        fires={'node_memory_MemAvailable_bytes{node="w1"}': "4x90", 'node_memory_MemTotal_bytes{node="w1"}': "100x90"},
        quiet={'node_memory_MemAvailable_bytes{node="w1"}': "6x90", 'node_memory_MemTotal_bytes{node="w1"}': "100x90"},
        says=[({"node": "w1"}, "w1 has 4% of its memory left")],
    ),
    "HostUnitFailed": Case(
        fires={'node_systemd_unit_state{node="w1", name="sshd.service", state="failed"}': "1x90"},
        quiet={
            'node_systemd_unit_state{node="w1", name="sshd.service", state="active"}': "1x90",
            'node_systemd_unit_state{node="w1", name="sshd.service", state="failed"}': "0x90",
        },
        says=[
            ({"node": "w1", "name": "sshd.service", "state": "failed"}, "The unit sshd.service of w1 has failed"),
        ],
    ),
    "HostClockOff": Case(
        fires={
            'node_timex_offset_seconds{node="w1"}': "-0.6x90",
            'node_timex_sync_status{node="w1"}': "1x90",
            'node_timex_sync_status{node="w2"}': "0x90",
        },
        quiet={'node_timex_offset_seconds{node="w1"}': "0.4x90", 'node_timex_sync_status{node="w1"}': "1x90"},
        says=[
            ({"node": "w1"}, "The clock of w1 is wrong or not kept by a time server"),
            ({"node": "w2"}, "The clock of w2 is wrong or not kept by a time server"),
        ],
    ),
    "ZfsPoolDegraded": Case(
        fires={
            'node_zfs_zpool_state{node="w1", zpool="system", state="online"}': "0x90",
            'node_zfs_zpool_state{node="w1", zpool="system", state="degraded"}': "1x90",
        },
        quiet={
            'node_zfs_zpool_state{node="w1", zpool="system", state="online"}': "1x90",
            'node_zfs_zpool_state{node="w1", zpool="system", state="degraded"}': "0x90",
        },
        says=[({"node": "w1", "zpool": "system", "state": "degraded"}, "The pool system of w1 is degraded")],
    ),
    "EtcdWithoutLeader": Case(
        fires={'etcd_server_has_leader{node="primer"}': "0x90"},
        quiet={'etcd_server_has_leader{node="primer"}': "1x90"},
        says=[({"node": "primer"}, "etcd on primer has no leader: nothing in the cluster can be changed")],
    ),
    "EtcdMemberMissing": Case(
        fires={
            'kube_node_labels{node="primer", label_keystone_internal_role="primer"}': "1x90",
            'kube_node_labels{node="s1", label_keystone_internal_role="server"}': "1x90",
            'up{job="etcd", node="primer"}': "1x90",
        },
        quiet={
            'kube_node_labels{node="primer", label_keystone_internal_role="primer"}': "1x90",
            'kube_node_labels{node="w1", label_keystone_internal_role="agent"}': "1x90",
            'up{job="etcd", node="primer"}': "1x90",
        },
        says=[({}, "Not every server tells of its etcd member")],
    ),
    "EtcdDatabaseLarge": Case(
        fires={
            'etcd_mvcc_db_total_size_in_bytes{node="primer"}': "81x90",
            'etcd_server_quota_backend_bytes{node="primer"}': "100x90",
        },
        quiet={
            'etcd_mvcc_db_total_size_in_bytes{node="primer"}': "79x90",
            'etcd_server_quota_backend_bytes{node="primer"}': "100x90",
        },
        says=[({"node": "primer"}, "etcd on primer is at 81% of its limit, where writes end")],
    ),
    "EtcdDiskSlow": Case(
        fires={
            'etcd_disk_wal_fsync_duration_seconds_bucket{node="primer", le="0.128"}': "0x90",
            'etcd_disk_wal_fsync_duration_seconds_bucket{node="primer", le="0.256"}': "0+100x90",
            'etcd_disk_wal_fsync_duration_seconds_bucket{node="primer", le="+Inf"}': "0+100x90",
        },
        quiet={
            'etcd_disk_wal_fsync_duration_seconds_bucket{node="primer", le="0.008"}': "0+100x90",
            'etcd_disk_wal_fsync_duration_seconds_bucket{node="primer", le="+Inf"}': "0+100x90",
        },
        says=[({"node": "primer"}, "etcd on primer waits 254.7ms for its disk")],
    ),
    "ApiErrors": Case(
        fires={'apiserver_request_total{code="500"}': "0+10x90", 'apiserver_request_total{code="200"}': "0+90x90"},
        quiet={
            'apiserver_request_total{code="500"}': "0+4x90",
            'apiserver_request_total{code="404"}': "0+50x90",
            'apiserver_request_total{code="200"}': "0+96x90",
        },
        says=[({}, "10% of the requests to the Kubernetes API fail")],
    ),
    "FluxObjectNotReady": Case(
        fires={
            'gotk_resource_info{customresource_kind="HelmRelease", exported_namespace="flux-system", '
            'name="loki", ready="False"}': "1x90"
        },
        quiet={
            'gotk_resource_info{customresource_kind="HelmRelease", exported_namespace="flux-system", '
            'name="loki", ready="True"}': "1x90",
            'gotk_resource_info{customresource_kind="HelmRelease", exported_namespace="flux-system", '
            'name="off", ready="False", suspended="true"}': "1x90",
        },
        says=[
            (
                {
                    "customresource_kind": "HelmRelease",
                    "exported_namespace": "flux-system",
                    "name": "loki",
                    "ready": "False",
                },
                "HelmRelease flux-system/loki is not ready",
            )
        ],
    ),
    "ArgoApplicationNotHealthy": Case(
        fires={'argocd_app_info{name="loki", health_status="Degraded"}': "1x90"},
        quiet={
            'argocd_app_info{name="loki", health_status="Healthy"}': "1x90",
            'argocd_app_info{name="ceph", health_status="Progressing"}': "1x90",
        },
        says=[({"name": "loki", "health_status": "Degraded"}, "The application loki is Degraded")],
    ),
    "CertificateExpires": Case(
        fires={
            f"certmanager_certificate_renewal_timestamp_seconds{PUBLIC}": "600x90",
            f"certmanager_certificate_expiration_timestamp_seconds{PUBLIC}": f"{30 * 86400}x90",
        },
        # The issuer of Linkerd lives for two days.
        quiet={
            f"certmanager_certificate_renewal_timestamp_seconds{ISSUER}": f"{23 * 3600}x90",
            f"certmanager_certificate_expiration_timestamp_seconds{ISSUER}": f"{48 * 3600}x90",
        },
        says=[
            (
                {"exported_namespace": "gateway", "name": "public"},
                "The certificate gateway/public is not made, or not in time",
            )
        ],
    ),
    "VolumeFilling": Case(
        fires={
            'kubelet_volume_stats_available_bytes{namespace="monitoring", persistentvolumeclaim="loki"}': "5x90",
            'kubelet_volume_stats_capacity_bytes{namespace="monitoring", persistentvolumeclaim="loki"}': "100x90",
        },
        quiet={
            'kubelet_volume_stats_available_bytes{namespace="monitoring", persistentvolumeclaim="loki"}': "11x90",
            'kubelet_volume_stats_capacity_bytes{namespace="monitoring", persistentvolumeclaim="loki"}': "100x90",
        },
        says=[
            (
                {"namespace": "monitoring", "persistentvolumeclaim": "loki"},
                "The volume monitoring/loki has 5% left",
            )
        ],
    ),
    "LogsNotArriving": Case(
        fires={"loki_distributor_lines_received_total": "5x90"},
        quiet={"loki_distributor_lines_received_total": "0+5x90"},
        says=[({}, "Loki gets no lines")],
    ),
    "MeshControllerDown": Case(
        fires={
            'probe_success{probe="controller", node="w1"}': "0x90",
            'probe_success{probe="controller", node="w2"}': "0x90",
        },
        quiet={
            'probe_success{probe="controller", node="w1"}': "0x90",
            'probe_success{probe="controller", node="w2"}': "1x90",
        },
        says=[
            ({}, "No host reaches the mesh's controller: nobody can join, and changes of addresses stay unknown"),
        ],
    ),
    "MeshControllerUnreachable": Case(
        fires={'probe_success{probe="controller", node="w1", target="vpn.example.org"}': "0x90"},
        quiet={'probe_success{probe="controller", node="w1", target="vpn.example.org"}': "1x90"},
        says=[
            (
                {"probe": "controller", "node": "w1", "target": "vpn.example.org"},
                "w1 does not reach the mesh's controller at vpn.example.org",
            )
        ],
    ),
    "MeshHostUnreachable": Case(
        fires={'probe_success{probe="mesh", node="primer", target="w1"}': "0x90"},
        quiet={
            'probe_success{probe="mesh", node="primer", target="w1"}': "1x90",
            'probe_success{probe="tunnel", node="primer", target="w1"}': "0x90",
        },
        says=[({"probe": "mesh", "node": "primer", "target": "w1"}, "w1 does not answer over the mesh")],
    ),
    "MeshRelayed": Case(
        fires={DERP: f"0+{20_480 * 60}x90", DIRECT: "0+60x90"},
        quiet={DERP: f"0+{20_480 * 60}x90", DIRECT: f"0+{40_000 * 60}x90"},
        says=[({"node": "w1"}, "w1 sends 20kiB/s through the relay, and little directly")],
    ),
    "MeshRoutesNotApproved": Case(
        fires={'tailscaled_advertised_routes{node="w1"}': "2x90", 'tailscaled_approved_routes{node="w1"}': "1x90"},
        quiet={'tailscaled_advertised_routes{node="w1"}': "2x90", 'tailscaled_approved_routes{node="w1"}': "2x90"},
        says=[({"node": "w1"}, "w1 offers routes that nobody approved, so nobody uses them")],
    ),
    "MeshCertificateExpires": Case(
        fires={
            'probe_ssl_earliest_cert_expiry{probe="controller", node="w1", target="vpn"}': f"{10 * 86400}x90",
            'probe_ssl_earliest_cert_expiry{probe="controller", node="w2", target="vpn"}': f"{10 * 86400}x90",
        },
        quiet={'probe_ssl_earliest_cert_expiry{probe="controller", node="w1", target="vpn"}': f"{15 * 86400}x90"},
        says=[({"target": "vpn"}, "The certificate of vpn ends in 9d 22h 30m 0s")],
    ),
    "MeshControllerBusy": Case(
        fires={'headscale_nodestore_queue_depth{node="primer"}': "101x90"},
        quiet={'headscale_nodestore_queue_depth{node="primer"}': "99x90"},
        says=[({"node": "primer"}, "Headscale has 101 changes of nodes waiting")],
    ),
    "TunnelDisconnected": Case(
        fires={
            'cloudflared_tunnel_ha_connections{pod="a"}': "0x90",
            'cloudflared_tunnel_ha_connections{pod="b"}': "0x90",
        },
        quiet={
            'cloudflared_tunnel_ha_connections{pod="a"}': "0x90",
            'cloudflared_tunnel_ha_connections{pod="b"}': "4x90",
        },
        says=[({}, "No cloudflared is connected to Cloudflare: no public name leads into the cluster")],
    ),
    "PublicNameDown": Case(
        fires={'probe_success{probe="tunnel", node="primer", target="grafana.example.org"}': "0x90"},
        quiet={'probe_success{probe="tunnel", node="primer", target="grafana.example.org"}': "1x90"},
        says=[
            (
                {"probe": "tunnel", "node": "primer", "target": "grafana.example.org"},
                "https://grafana.example.org does not answer as it should",
            )
        ],
    ),
    "CephError": Case(
        fires={"ceph_health_status": "2x90"},
        quiet={"ceph_health_status": "1x90"},
        says=[({}, "Ceph is in the state HEALTH_ERR: data may be out of reach")],
    ),
    "CephWarning": Case(
        fires={"ceph_health_status": "1x90"},
        quiet={"ceph_health_status": "0x90"},
        says=[({}, "Ceph is in the state HEALTH_WARN")],
    ),
    "CephOsdDown": Case(
        fires={'ceph_osd_up{ceph_daemon="osd.1"}': "0x90", 'ceph_osd_up{ceph_daemon="osd.2"}': "1x90"},
        quiet={'ceph_osd_up{ceph_daemon="osd.1"}': "1x90"},
        says=[({"ceph_daemon": "osd.1"}, "osd.1 is down")],
    ),
    "CephMonitorMissing": Case(
        fires={'ceph_mon_quorum_status{ceph_daemon="mon.a"}': "0x90"},
        quiet={'ceph_mon_quorum_status{ceph_daemon="mon.a"}': "1x90"},
        says=[({"ceph_daemon": "mon.a"}, "mon.a is not in the quorum")],
    ),
    "CephPoolFilling": Case(
        fires={
            'ceph_pool_percent_used{pool_id="1"}': "0.9x90",
            'ceph_pool_metadata{pool_id="1", name="blocks"}': "1x90",
        },
        quiet={
            'ceph_pool_percent_used{pool_id="1"}': "0.7x90",
            'ceph_pool_metadata{pool_id="1", name="blocks"}': "1x90",
        },
        says=[({"pool_id": "1", "name": "blocks"}, "The pool blocks is 90% full")],
    ),
    "HostBackupOverdue": Case(
        fires={'node_systemd_timer_last_trigger_seconds{node="primer", name="headscale-backup.timer"}': f"0x{2 * DAY}"},
        quiet={
            'node_systemd_timer_last_trigger_seconds{node="primer", name="headscale-backup.timer"}': f"0+60x{2 * DAY}",
            'node_systemd_timer_last_trigger_seconds{node="primer", name="logrotate.timer"}': f"0x{2 * DAY}",
        },
        says=[
            (
                {"node": "primer", "name": "headscale-backup.timer"},
                "headscale-backup.timer of primer ran 2d 0h 0m 0s ago",
            )
        ],
        at=2 * DAY,
        early=26 * 60,
    ),
    "SnapshotsOverdue": Case(
        fires={'node_systemd_timer_last_trigger_seconds{node="w1", name="sanoid.timer"}': "0x300"},
        quiet={'node_systemd_timer_last_trigger_seconds{node="w1", name="sanoid.timer"}': "0+60x300"},
        says=[({"node": "w1", "name": "sanoid.timer"}, "w1 made no snapshot for 5h 0m 0s")],
        at=300,
        early=180,
    ),
    "BackupJobOverdue": Case(
        fires={
            f"kube_cronjob_status_last_successful_time{CRON}": f"0x{2 * DAY}",
            f"kube_cronjob_spec_suspend{CRON}": f"0x{2 * DAY}",
            # one that never succeeded has no last success
            f"kube_cronjob_created{NEVER}": f"0x{2 * DAY}",
        },
        quiet={
            f"kube_cronjob_status_last_successful_time{CRON}": f"0x{2 * DAY}",
            f"kube_cronjob_spec_suspend{CRON}": f"1x{2 * DAY}",
            'kube_cronjob_status_last_successful_time{namespace="shop", cronjob="report"}': f"0x{2 * DAY}",
        },
        says=[
            (
                {"namespace": "backup", "cronjob": "backup-buckets"},
                "backup/backup-buckets has not succeeded for 2d 0h 0m 0s",
            ),
            (
                {"namespace": "backup", "cronjob": "verify-backup"},
                "backup/verify-backup has not succeeded for 2d 0h 0m 0s",
            ),
        ],
        at=2 * DAY,
        early=26 * 60,
    ),
    "PodsWithoutNode": Case(
        fires={
            'kube_pod_status_unschedulable{namespace="shop", pod="a"}': "1x90",
            'kube_pod_status_unschedulable{namespace="shop", pod="b"}': "1x90",
        },
        quiet={'kube_pod_status_unschedulable{namespace="shop", pod="a"}': "1x5 0x84"},
        says=[({"namespace": "shop"}, "2 pods of shop find no node, and no pool makes one for them")],
    ),
}
