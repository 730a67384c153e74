"""The dashboard of cloud nodes."""

from keystone.dashboards.panels import RATE, Bad, Lines, Number, Page, Row

_CLOUD = 'kube_node_labels{label_keystone_internal_cloud!=""}'


def pools() -> Page:
    on_cloud = f"* on (node) group_left {_CLOUD}"
    return Page(
        name="pools",
        title="Keystone / Pools",
        says="Cloud nodes, which come and go by need",
        rows=[
            Row(
                title="Now",
                panels=[
                    Number(title="Nodes", expr=f"count({_CLOUD}) or vector(0)", says="Nodes in the cloud"),
                    Number(
                        title="Not ready",
                        expr=(
                            'count((kube_node_status_condition{condition="Ready", status="true"} == 0) '
                            f"and on (node) {_CLOUD}) or vector(0)"
                        ),
                        says="Cloud nodes that boot, or that are lost",
                        bad=Bad(1),
                    ),
                    Number(
                        title="Pods without a node",
                        expr="sum(kube_pod_status_unschedulable) or vector(0)",
                        says="What the pools should make room for",
                        bad=Bad(1),
                    ),
                ],
            ),
            Row(
                title="Over time",
                panels=[
                    Lines(
                        title="Nodes by zone",
                        queries=[
                            (
                                f"count by (label_topology_kubernetes_io_zone) ({_CLOUD})",
                                "{{label_topology_kubernetes_io_zone}}",
                            )
                        ],
                        says="Nodes in the cloud",
                    ),
                    Lines(
                        title="Processors asked for",
                        queries=[
                            (
                                'sum(sum by (node) (kube_pod_container_resource_requests{resource="cpu"}) '
                                f"{on_cloud})",
                                "asked for",
                            ),
                            (f'sum(kube_node_status_allocatable{{resource="cpu"}} {on_cloud})', "there"),
                        ],
                        says="What pods ask for on cloud nodes, and what there is",
                    ),
                    Lines(
                        title="Karpenter",
                        queries=[
                            (f"sum(rate(karpenter_nodeclaims_created_total{RATE}))", "made"),
                            (f"sum(rate(karpenter_nodeclaims_terminated_total{RATE}))", "taken away"),
                        ],
                        says="Nodes that Karpenter makes and takes away, per second",
                        unit="cps",
                    ),
                ],
            ),
        ],
    )
