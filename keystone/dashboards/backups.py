"""The dashboard of what would be lost for good."""

from keystone.dashboards.panels import Bad, Lines, Logs, Number, Page, Row


def backups() -> Page:
    units = "headscale-backup|etcd-backup|syncoid-.+|sanoid|offsite-backup"
    copies = f'name=~"({units}).timer"'
    # Whole datasets may go once a week, so their age would hide that of the others.
    failed = f'name=~"({units}|offsite-zfs).service", state="failed"'
    return Page(
        name="backups",
        title="Keystone / Backups",
        says="Copies of what would be lost for good: on the hosts by timers, in the cluster by jobs",
        rows=[
            Row(
                title="Now",
                panels=[
                    Number(
                        title="Oldest copy of a host",
                        expr=f"max(time() - node_systemd_timer_last_trigger_seconds{{{copies}}})",
                        says="Since the last run of the timer that waited longest",
                        unit="dtdurations",
                        bad=Bad(26 * 3600),
                    ),
                    Number(
                        title="Failed on hosts",
                        expr=f"sum(node_systemd_unit_state{{{failed}}}) or vector(0)",
                        says="Copies of hosts whose last run failed",
                        bad=Bad(1),
                    ),
                    Number(
                        title="Oldest copy of the cluster",
                        expr='max(time() - kube_cronjob_status_last_successful_time{cronjob=~".*backup.*"})',
                        says="Since the last success of the job that waited longest; one of them looks into the bucket",
                        unit="dtdurations",
                        bad=Bad(26 * 3600),
                    ),
                ],
            ),
            Row(
                title="Over time",
                panels=[
                    Lines(
                        title="Hosts: age of the last copy",
                        queries=[
                            (
                                f"time() - node_systemd_timer_last_trigger_seconds{{{copies}}}",
                                "{{instance}} {{name}}",
                            )
                        ],
                        says="Falls to zero with each run",
                        unit="s",
                    ),
                    Lines(
                        title="Cluster: age of the last copy",
                        queries=[
                            (
                                'time() - kube_cronjob_status_last_successful_time{cronjob=~".*backup.*"}',
                                "{{namespace}}/{{cronjob}}",
                            )
                        ],
                        says="Falls to zero with each success",
                        unit="s",
                    ),
                    Lines(
                        title="Failed jobs",
                        queries=[('kube_job_status_failed{job_name=~".*backup.*"}', "{{namespace}}/{{job_name}}")],
                        says="Pods of backup jobs that failed",
                    ),
                ],
            ),
            Row(
                title="What they said",
                panels=[
                    Logs(
                        title="Copies of the hosts",
                        expr=f'{{job="journal", unit=~"({units}|offsite-zfs).service"}}',
                        says="Their own words",
                    )
                ],
            ),
        ],
    )
