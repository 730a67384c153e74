"""Alerts about the machines. Their own exporter tells of them, with the label `node` that Alloy adds."""

from keystone.alerts.alert import Alert, zfs

REAL = 'fstype!~"tmpfs|ramfs|overlay|squashfs"'
"""Disks, and not what lies in memory or on another file system."""


ALERTS = (
    Alert(
        name="HostNotReady",
        expr='kube_node_status_condition{condition="Ready", status="true"} == 0',
        minutes=5,
        severity="critical",
        summary="{{ $labels.node }} is not ready: its kubelet does not answer, or says that it cannot run pods",
    ),
    Alert(
        name="HostMetricsMissing",
        expr='kube_node_info unless on (node) (up{job="node-exporter"} == 1)',
        minutes=10,
        severity="warning",
        summary="No metrics come from the machine {{ $labels.node }}",
    ),
    Alert(
        name="HostDiskFilling",
        expr=f"node_filesystem_avail_bytes{{{REAL}}} / node_filesystem_size_bytes{{{REAL}}} < 0.1",
        minutes=15,
        severity="warning",
        summary="{{ $labels.mountpoint }} of {{ $labels.node }} has {{ $value | humanizePercentage }} left",
    ),
    Alert(
        name="HostDiskFull",
        expr=f"node_filesystem_avail_bytes{{{REAL}}} / node_filesystem_size_bytes{{{REAL}}} < 0.03",
        minutes=5,
        severity="critical",
        summary="{{ $labels.mountpoint }} of {{ $labels.node }} has {{ $value | humanizePercentage }} left",
    ),
    Alert(
        name="HostMemoryShort",
        expr="node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes < 0.05",
        minutes=10,
        severity="warning",
        summary="{{ $labels.node }} has {{ $value | humanizePercentage }} of its memory left",
    ),
    Alert(
        name="HostUnitFailed",
        expr='node_systemd_unit_state{state="failed"} == 1',
        minutes=5,
        severity="warning",
        summary="The unit {{ $labels.name }} of {{ $labels.node }} has failed",
    ),
    Alert(
        name="HostClockOff",
        expr="abs(node_timex_offset_seconds) > 0.5 or node_timex_sync_status == 0",
        minutes=15,
        severity="warning",
        summary="The clock of {{ $labels.node }} is wrong or not kept by a time server",
    ),
    Alert(
        name="ZfsPoolDegraded",
        expr='node_zfs_zpool_state{state!="online"} == 1',
        minutes=5,
        severity="critical",
        summary="The pool {{ $labels.zpool }} of {{ $labels.node }} is {{ $labels.state }}",
        needs=zfs,
    ),
)
