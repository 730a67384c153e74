"""The dashboard of Ceph, volumes and ZFS."""

from keystone.dashboards.panels import Bad, Lines, Number, Page, Row
from keystone.settings import Settings


def storage(settings: Settings) -> Page:
    rows: list[Row] = []
    if settings.storage and settings.storage.ceph:
        rows.append(_ceph())
    rows.append(
        Row(
            title="Volumes",
            panels=[
                Lines(
                    title="Fullest volumes",
                    queries=[
                        (
                            "topk(10, 1 - kubelet_volume_stats_available_bytes / kubelet_volume_stats_capacity_bytes)",
                            "{{namespace}}/{{persistentvolumeclaim}}",
                        )
                    ],
                    says="The ten volumes with the least space left",
                    unit="percentunit",
                    top=1,
                ),
                Lines(
                    title="Claims by class",
                    queries=[("count by (storageclass) (kube_persistentvolumeclaim_info)", "{{storageclass}}")],
                    says="Volumes that pods asked for",
                ),
            ],
        )
    )
    if any(host.layout == "zfs-luks" for host in settings.hosts.values()):
        rows.append(
            Row(
                title="ZFS",
                panels=[
                    Number(
                        title="Pools not online",
                        expr='count(node_zfs_zpool_state{state!="online"} == 1) or vector(0)',
                        says="System pools of hosts that are degraded, faulted or away",
                        bad=Bad(1),
                    ),
                    Lines(
                        title="Cache",
                        queries=[("node_zfs_arc_size", "{{instance}}")],
                        says="Memory that ZFS takes for its cache",
                        unit="bytes",
                    ),
                ],
            )
        )
    return Page(name="storage", title="Keystone / Storage", says="Ceph, volumes of pods, ZFS of the hosts", rows=rows)


def _ceph() -> Row:
    return Row(
        title="Ceph",
        panels=[
            Number(
                title="Health",
                expr="max(ceph_health_status)",
                says="0 is well, 1 a warning, 2 an error",
                bad=Bad(1),
            ),
            Number(
                title="OSDs down",
                expr="count(ceph_osd_up == 0) or vector(0)",
                says="Disks that Ceph misses",
                bad=Bad(1),
            ),
            Number(
                title="Monitors in the quorum",
                expr="sum(ceph_mon_quorum_status)",
                says="More than half must be there",
            ),
            Lines(
                title="Pools",
                queries=[("ceph_pool_percent_used * on (pool_id) group_left (name) ceph_pool_metadata", "{{name}}")],
                says="How full each pool is",
                unit="percentunit",
                top=1,
            ),
            Lines(
                title="Placement groups",
                queries=[
                    ("sum(ceph_pg_total)", "all"),
                    ("sum(ceph_pg_active)", "active"),
                    ("sum(ceph_pg_clean)", "clean"),
                ],
                says="All three are equal when every copy is where it belongs",
            ),
        ],
    )
