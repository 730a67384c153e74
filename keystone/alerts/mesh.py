"""Alerts about the mesh and the tunnel: what the hosts' probes find, what Headscale and Tailscale tell."""

from keystone.alerts.alert import Alert
from keystone.settings import Settings


def _tunnel(settings: Settings) -> bool:
    return settings.observability is not None and settings.tunnel is not None


ALERTS = (
    Alert(
        name="MeshControllerDown",
        expr='max(probe_success{probe="controller"}) == 0 or absent(probe_success{probe="controller"})',
        minutes=5,
        severity="critical",
        summary="No host reaches the mesh's controller: nobody can join, and changes of addresses stay unknown",
    ),
    Alert(
        name="MeshControllerUnreachable",
        expr='probe_success{probe="controller"} == 0',
        minutes=10,
        severity="warning",
        summary="{{ $labels.node }} does not reach the mesh's controller at {{ $labels.target }}",
    ),
    Alert(
        name="MeshHostUnreachable",
        expr='probe_success{probe="mesh"} == 0',
        minutes=5,
        severity="warning",
        summary="{{ $labels.target }} does not answer over the mesh",
    ),
    Alert(
        name="MeshRelayed",
        expr=(
            'sum by (node) (rate(tailscaled_outbound_bytes_total{path="derp"}[15m])) > 10000 and '
            'sum by (node) (rate(tailscaled_outbound_bytes_total{path="derp"}[15m])) > '
            "0.5 * sum by (node) (rate(tailscaled_outbound_bytes_total[15m]))"
        ),
        minutes=30,
        severity="info",
        summary="{{ $labels.node }} sends {{ $value | humanize1024 }}B/s through the relay, and little directly",
    ),
    Alert(
        name="MeshRoutesNotApproved",
        expr="tailscaled_advertised_routes > tailscaled_approved_routes",
        minutes=10,
        severity="warning",
        summary="{{ $labels.node }} offers routes that nobody approved, so nobody uses them",
    ),
    Alert(
        name="MeshCertificateExpires",
        expr='min by (target) (probe_ssl_earliest_cert_expiry{probe="controller"}) - time() < 14 * 86400',
        minutes=60,
        severity="warning",
        summary="The certificate of {{ $labels.target }} ends in {{ $value | humanizeDuration }}",
    ),
    Alert(
        name="MeshControllerBusy",
        expr="headscale_nodestore_queue_depth > 100",
        minutes=10,
        severity="warning",
        summary="Headscale has {{ $value }} changes of nodes waiting",
    ),
    Alert(
        name="TunnelDisconnected",
        expr="sum(cloudflared_tunnel_ha_connections) == 0 or absent(cloudflared_tunnel_ha_connections)",
        minutes=5,
        severity="critical",
        summary="No cloudflared is connected to Cloudflare: no public name leads into the cluster",
        needs=_tunnel,
    ),
    Alert(
        name="PublicNameDown",
        expr='probe_success{probe="tunnel"} == 0',
        minutes=10,
        severity="warning",
        summary="https://{{ $labels.target }} does not answer as it should",
        needs=_tunnel,
    ),
)
