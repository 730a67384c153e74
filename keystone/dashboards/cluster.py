"""The dashboard of hosts, control plane, releases and logs."""

from keystone.alerts.hosts import REAL
from keystone.dashboards.panels import RATE, Bad, Lines, Logs, Number, Page, Row
from keystone.settings import Settings


def cluster(settings: Settings) -> Page:
    flux = settings.gitops.engine == "flux"
    broken = (
        'count(gotk_resource_info{ready="False"}) or vector(0)'
        if flux
        else 'count(argocd_app_info{health_status!="Healthy"}) or vector(0)'
    )
    return Page(
        name="cluster",
        title="Keystone / Cluster",
        says="Hosts, control plane, releases and logs of the whole cluster",
        rows=[
            Row(
                title="Now",
                panels=[
                    Number(
                        title="Hosts not ready",
                        expr='count(kube_node_status_condition{condition="Ready", status="true"} == 0) or vector(0)',
                        says="Nodes whose kubelet does not say Ready",
                        bad=Bad(1),
                    ),
                    Number(
                        title="Alerts",
                        expr='count(ALERTS{alertstate="firing", alertname!~"Watchdog|InfoInhibitor"}) or vector(0)',
                        says="Alerts that fire",
                        bad=Bad(1),
                    ),
                    Number(
                        title="etcd members",
                        expr='count(up{job="etcd"} == 1) or vector(0)',
                        says="Servers whose etcd tells its metrics",
                        bad=Bad(len(settings.servers), below=True),
                    ),
                    Number(
                        title="Releases not ready",
                        expr=broken,
                        says="Releases and folders that the GitOps engine could not bring up",
                        bad=Bad(1),
                    ),
                    Number(
                        title="API errors",
                        expr=(
                            f'sum(rate(apiserver_request_total{{code=~"5.."}}{RATE})) / '
                            f"sum(rate(apiserver_request_total{RATE}))"
                        ),
                        says="Part of the requests to the Kubernetes API that fail",
                        unit="percentunit",
                        bad=Bad(0.05),
                    ),
                    Number(
                        title="Pods without a node",
                        expr="sum(kube_pod_status_unschedulable) or vector(0)",
                        says="Pods that no node can take",
                        bad=Bad(1),
                    ),
                ],
            ),
            Row(
                title="Hosts",
                panels=[
                    Lines(
                        title="Processor",
                        queries=[
                            (
                                f'1 - avg by (instance) (rate(node_cpu_seconds_total{{mode="idle"}}{RATE}))',
                                "{{instance}}",
                            )
                        ],
                        says="Part of the processors that works",
                        unit="percentunit",
                        top=1,
                    ),
                    Lines(
                        title="Memory",
                        queries=[
                            ("1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes", "{{instance}}"),
                        ],
                        says="Part of the memory that is taken",
                        unit="percentunit",
                        top=1,
                    ),
                    Lines(
                        title="Disks",
                        queries=[
                            (
                                f"1 - min by (instance) (node_filesystem_avail_bytes{{{REAL}}} / "
                                f"node_filesystem_size_bytes{{{REAL}}})",
                                "{{instance}}",
                            )
                        ],
                        says="Fullest file system of each host",
                        unit="percentunit",
                        top=1,
                    ),
                    Lines(
                        title="Network",
                        queries=[
                            (
                                "sum by (instance) (rate(node_network_receive_bytes_total"
                                f'{{device!~"lo|lxc.*|cilium.*|cali.*|veth.*|tailscale.*"}}{RATE}))',
                                "{{instance}} in",
                            ),
                            (
                                "sum by (instance) (rate(node_network_transmit_bytes_total"
                                f'{{device!~"lo|lxc.*|cilium.*|cali.*|veth.*|tailscale.*"}}{RATE}))',
                                "{{instance}} out",
                            ),
                        ],
                        says="Traffic of the hosts' own interfaces",
                        unit="Bps",
                    ),
                ],
            ),
            Row(
                title="Control plane",
                panels=[
                    Lines(
                        title="API requests",
                        queries=[(f"sum by (verb) (rate(apiserver_request_total{RATE}))", "{{verb}}")],
                        says="Requests to the Kubernetes API",
                        unit="reqps",
                    ),
                    Lines(
                        title="API latency",
                        queries=[
                            (
                                "histogram_quantile(0.99, sum by (verb, le) (rate("
                                f'apiserver_request_duration_seconds_bucket{{verb!~"WATCH|CONNECT"}}{RATE})))',
                                "{{verb}}",
                            )
                        ],
                        says="99 of 100 requests are answered within",
                        unit="s",
                    ),
                    Lines(
                        title="etcd's disk",
                        queries=[
                            (
                                "histogram_quantile(0.99, sum by (instance, le) "
                                f"(rate(etcd_disk_wal_fsync_duration_seconds_bucket{RATE})))",
                                "{{instance}}",
                            )
                        ],
                        says="How long etcd waits for its disk; 0.01 s is good, 0.1 s is too long",
                        unit="s",
                    ),
                    Lines(
                        title="etcd's size",
                        queries=[
                            ("etcd_mvcc_db_total_size_in_bytes", "{{instance}}"),
                            ("max(etcd_server_quota_backend_bytes)", "limit"),
                        ],
                        says="Size of the database, and where writes end",
                        unit="bytes",
                    ),
                ],
            ),
            Row(
                title="Logs",
                panels=[
                    Lines(
                        title="Lines",
                        queries=[(f"sum(rate(loki_distributor_lines_received_total{RATE}))", "lines")],
                        says="Lines that Loki takes in",
                        unit="cps",
                    ),
                    Logs(
                        title="Errors of the hosts",
                        expr='{job="journal", level=~"err|crit|alert|emerg"}',
                        says="What the journals of all hosts call an error or worse",
                    ),
                ],
            ),
        ],
    )
