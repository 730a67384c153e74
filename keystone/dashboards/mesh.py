"""The dashboard of the mesh and the tunnel."""

from keystone.dashboards.panels import RATE, Bad, Lines, Number, Page, Row
from keystone.settings import Settings


def mesh(settings: Settings) -> Page:
    rows = [
        Row(
            title="Now",
            panels=[
                Number(
                    title="Hosts in the mesh",
                    expr='count(probe_success{probe="mesh"} == 1) or vector(0)',
                    says="Hosts that answer the Primer over the mesh",
                    bad=Bad(len(settings.hosts) - 1, below=True) if len(settings.hosts) > 1 else None,
                ),
                Number(
                    title="Known to Headscale",
                    expr="headscale_nodestore_nodes",
                    says="Nodes in Headscale's memory, pools and people's machines among them",
                ),
                Number(
                    title="Certificate ends in",
                    expr='min(probe_ssl_earliest_cert_expiry{probe="controller"}) - time()',
                    says="Time until the controller's certificate ends",
                    unit="dtdurations",
                    bad=Bad(14 * 86400, below=True),
                ),
                Number(
                    title="Warnings",
                    expr='sum(tailscaled_health_messages{type="warning"}) or vector(0)',
                    says="What the hosts' Tailscale daemons complain of",
                    bad=Bad(1),
                ),
            ],
        ),
        Row(
            title="Reach",
            panels=[
                Lines(
                    title="Time to connect",
                    queries=[('probe_duration_seconds{probe="mesh"}', "{{target}}")],
                    says="From the Primer to each host's SSH port, over the mesh",
                    unit="s",
                ),
                Lines(
                    title="Time to the controller",
                    queries=[('probe_duration_seconds{probe="controller"}', "{{instance}}")],
                    says="From each host to Headscale",
                    unit="s",
                ),
            ],
        ),
        Row(
            title="Traffic",
            panels=[
                Lines(
                    title="Sent, by path",
                    queries=[(f"sum by (path) (rate(tailscaled_outbound_bytes_total{RATE}))", "{{path}}")],
                    says="Directly, or through the relay (derp)",
                    unit="Bps",
                ),
                Lines(
                    title="Sent through the relay",
                    queries=[
                        (
                            f'sum by (instance) (rate(tailscaled_outbound_bytes_total{{path="derp"}}{RATE}))',
                            "{{instance}}",
                        )
                    ],
                    says="Hosts that find no direct way to one another",
                    unit="Bps",
                ),
                Lines(
                    title="Dropped packets",
                    queries=[
                        (
                            f"sum by (instance, reason) (rate(tailscaled_outbound_dropped_packets_total{RATE}))",
                            "{{instance}} out: {{reason}}",
                        ),
                        (
                            f"sum by (instance, reason) (rate(tailscaled_inbound_dropped_packets_total{RATE}))",
                            "{{instance}} in: {{reason}}",
                        ),
                    ],
                    says="acl: the policy forbids them",
                    unit="cps",
                ),
                Lines(
                    title="Routes",
                    queries=[
                        ("tailscaled_advertised_routes", "{{instance}} offered"),
                        ("tailscaled_approved_routes", "{{instance}} approved"),
                    ],
                    says="An offered route that is not approved is not used",
                ),
            ],
        ),
        Row(
            title="Headscale",
            panels=[
                Lines(
                    title="Maps sent",
                    queries=[
                        (f"sum by (status, type) (rate(headscale_mapresponse_sent_total{RATE}))", "{{type}} {{status}}")
                    ],
                    says="Changes that Headscale tells its nodes",
                    unit="cps",
                ),
                Lines(
                    title="Changes waiting",
                    queries=[("headscale_nodestore_queue_depth", "waiting")],
                    says="Changes of nodes that Headscale has not yet taken in",
                ),
            ],
        ),
    ]
    if settings.tunnel:
        rows.append(_tunnel())
    return Page(
        name="mesh",
        title="Keystone / Mesh",
        says="Headscale, the hosts' Tailscale daemons, and the tunnel",
        rows=rows,
    )


def _tunnel() -> Row:
    return Row(
        title="Tunnel",
        panels=[
            Lines(
                title="Connections",
                queries=[("sum(cloudflared_tunnel_ha_connections)", "connections")],
                says="Connections to Cloudflare's edge; each pod keeps four",
            ),
            Lines(
                title="Requests",
                queries=[
                    (f"sum(rate(cloudflared_tunnel_total_requests{RATE}))", "all"),
                    (f"sum(rate(cloudflared_tunnel_request_errors{RATE}))", "failed"),
                ],
                says="Requests through the tunnel",
                unit="reqps",
            ),
            Lines(
                title="Public names",
                queries=[('probe_success{probe="tunnel"}', "{{target}}")],
                says="1: the name answers, if only with a login page",
                top=1,
            ),
            Lines(
                title="Time to answer",
                queries=[('probe_duration_seconds{probe="tunnel"}', "{{target}}")],
                says="From the Primer, by way of Cloudflare",
                unit="s",
            ),
        ],
    )
