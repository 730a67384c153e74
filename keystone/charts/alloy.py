"""Alloy's configurations, as text: logs of pods and journals, metrics of hosts, probes of mesh and tunnel.

https://grafana.com/docs/alloy/latest/reference/ describes every component that is used here.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from keystone.charts import network
from keystone.settings import Settings

EXPORTER = "127.0.0.1:9101"
"""Where the host's node exporter listens (nix/modules/monitoring.nix)."""
ETCD = "127.0.0.1:2381"
"""Where etcd tells its metrics, under k3s and kubeadm alike."""
HEADSCALE = "127.0.0.1:9090"
TAILSCALE = "100.100.100.100:80"
"""Tailscale's own address on every machine; /metrics answers for this machine alone."""
PLUGINS = {"cilium": "127.0.0.1:9962", "calico": "127.0.0.1:9091"}
"""Where the network plugin of the node tells its metrics (nix/modules/cni.nix); flannel tells none."""
METALLB_PORT = "metricshttps"
"""MetalLB's port, in the pods of its controller and of its speakers, which are in the host's network."""

EVERY = ",*,"

Target = Mapping[str, str]


def logs(settings: Settings, loki_url: str) -> str:
    return f"""\
discovery.kubernetes "pods" {{
  role = "pod"
  selectors {{
    role  = "pod"
    field = "spec.nodeName=" + sys.env("HOSTNAME")
  }}
}}
discovery.relabel "pods" {{
  targets = discovery.kubernetes.pods.targets
  rule {{
    source_labels = ["__meta_kubernetes_namespace"]
    target_label  = "namespace"
  }}
  rule {{
    source_labels = ["__meta_kubernetes_pod_name"]
    target_label  = "pod"
  }}
  rule {{
    source_labels = ["__meta_kubernetes_pod_container_name"]
    target_label  = "container"
  }}
  rule {{
    source_labels = ["__meta_kubernetes_pod_label_app_kubernetes_io_name"]
    target_label  = "app"
  }}
}}
loki.source.kubernetes "pods" {{
  targets    = discovery.relabel.pods.output
  forward_to = [loki.write.cluster.receiver]
}}
loki.relabel "journal" {{
  forward_to = []
  rule {{
    source_labels = ["__journal__systemd_unit"]
    target_label  = "unit"
  }}
  rule {{
    source_labels = ["__journal_priority_keyword"]
    target_label  = "level"
  }}
}}
loki.source.journal "host" {{
  path          = "/var/log/journal"
  max_age       = "12h"
  labels        = {{ job = "journal" }}
  relabel_rules = loki.relabel.journal.rules
  forward_to    = [loki.write.cluster.receiver]
}}
loki.write "cluster" {{
  endpoint {{
    url = {_text(f"{loki_url}/loki/api/v1/push")}
  }}
  external_labels = {{ cluster = {_text(settings.cluster.name)}, node = sys.env("HOSTNAME") }}
}}
"""


def hosts(settings: Settings, write_urls: Iterable[str], scrape_seconds: int) -> str:
    endpoints = "".join(f"  endpoint {{\n    url = {_text(url)}\n  }}\n" for url in write_urls)
    return f"""\
discovery.relabel "mine" {{
  targets = [
{_targets(scraped(settings))}
  ]
{_kept()}
  rule {{
    target_label = "instance"
    replacement  = sys.env("HOSTNAME")
  }}
}}
prometheus.scrape "host" {{
  targets         = discovery.relabel.mine.output
  scrape_interval = "{scrape_seconds}s"
  forward_to      = [prometheus.remote_write.cluster.receiver]
}}
{_metallb(scrape_seconds) if network.uses_metallb(settings) else ""}\
discovery.relabel "probes" {{
  targets = [
{_targets(probed(settings))}
  ]
{_kept()}
}}
prometheus.exporter.blackbox "probes" {{
  config  = {_text(json.dumps({"modules": modules(settings)}, sort_keys=True))}
  targets = discovery.relabel.probes.output
}}
discovery.relabel "results" {{
  targets = prometheus.exporter.blackbox.probes.targets
  rule {{
    target_label = "job"
    replacement  = "blackbox"
  }}
  rule {{
    target_label = "instance"
    replacement  = sys.env("HOSTNAME")
  }}
}}
prometheus.scrape "probes" {{
  targets         = discovery.relabel.results.output
  scrape_interval = "{scrape_seconds}s"
  forward_to      = [prometheus.remote_write.cluster.receiver]
}}
prometheus.remote_write "cluster" {{
{endpoints}\
  external_labels = {{ node = sys.env("HOSTNAME") }}
}}
"""


def scraped(settings: Settings) -> list[Target]:
    """What is read on loopback: `hosts` are those that read it."""
    primer, _ = settings.primer
    return [
        {"__address__": EXPORTER, "job": "node-exporter", "hosts": EVERY},
        {"__address__": TAILSCALE, "job": "tailscale", "hosts": EVERY},
        {"__address__": ETCD, "job": "etcd", "hosts": f",{','.join(settings.servers)},"},
        {"__address__": HEADSCALE, "job": "headscale", "hosts": f",{primer},"},
        *({"__address__": PLUGINS[it], "job": it, "hosts": EVERY} for it in [settings.network.cni] if it in PLUGINS),
    ]


def _metallb(scrape_seconds: int) -> str:
    """MetalLB's pods on this node. It asks for a token, and makes its certificate anew with each start of a pod."""
    return f"""\
discovery.kubernetes "metallb" {{
  role = "pod"
  namespaces {{
    names = [{_text(network.METALLB_NAMESPACE)}]
  }}
  selectors {{
    role  = "pod"
    field = "spec.nodeName=" + sys.env("HOSTNAME")
  }}
}}
discovery.relabel "metallb" {{
  targets = discovery.kubernetes.metallb.targets
  rule {{
    source_labels = ["__meta_kubernetes_pod_container_port_name"]
    regex         = {_text(METALLB_PORT)}
    action        = "keep"
  }}
  rule {{
    source_labels = ["__meta_kubernetes_pod_name"]
    target_label  = "pod"
  }}
}}
prometheus.scrape "metallb" {{
  targets           = discovery.relabel.metallb.output
  job_name          = "metallb"
  scheme            = "https"
  bearer_token_file = "/var/run/secrets/kubernetes.io/serviceaccount/token"
  tls_config {{
    insecure_skip_verify = true
  }}
  scrape_interval = "{scrape_seconds}s"
  forward_to      = [prometheus.remote_write.cluster.receiver]
}}
"""


def probed(settings: Settings) -> list[Target]:
    """What is tried from where: the controller from every host; every host and public name from the Primer."""
    primer, _ = settings.primer
    mesh = settings.mesh
    found: list[Target] = [
        {
            "name": "controller",
            "address": f"{mesh.server_url}/health",
            "module": "controller",
            "probe": "controller",
            "target": mesh.server_url.removeprefix("https://"),
            "hosts": EVERY,
        }
    ]
    for name, host in sorted(settings.hosts.items()):
        if name == primer:
            continue
        found.append(
            {
                "name": f"mesh-{name}",
                "address": f"{name}.{mesh.domain}:{host.ssh.port}",
                "module": "mesh",
                "probe": "mesh",
                "target": name,
                "hosts": f",{primer},",
            }
        )
    for key in sorted(settings.tunnel.hostnames) if settings.tunnel else ():
        assert settings.tunnel
        name = settings.tunnel.name_of(key)
        probe = {"name": f"tunnel-{key}", "address": f"https://{name}", "module": "public", "probe": "tunnel"}
        found.append({**probe, "target": name, "hosts": f",{primer},"})
    return found


def modules(settings: Settings) -> dict[str, Any]:
    """The blackbox exporter's modules."""
    return {
        "mesh": {"prober": "tcp", "timeout": "5s"},
        "controller": {
            "prober": "http",
            "timeout": "5s",
            # The hosts trust the private authority, this pod has not heard of it. No secret goes there.
            "http": {"tls_config": {"insecure_skip_verify": settings.mesh.tls == "private"}},
        },
        "public": {
            "prober": "http",
            "timeout": "9s",
            # Cloudflare Access answers those who are not logged in: then name, tunnel's edge and certificate are fine.
            "http": {"follow_redirects": False, "valid_status_codes": [200, 301, 302, 303, 307, 401, 403]},
        },
    }


def _kept() -> str:
    """Rules that keep what this host is to do, by the target's `hosts`: names between commas, or an asterisk."""
    return """\
  rule {
    source_labels = ["hosts"]
    regex         = ".*,(" + sys.env("HOSTNAME") + "|[*]),.*"
    action        = "keep"
  }
  rule {
    regex  = "hosts"
    action = "labeldrop"
  }"""


def _targets(found: Iterable[Target]) -> str:
    return "\n".join(
        "    { " + ", ".join(f"{_text(key)} = {_text(value)}" for key, value in target.items()) + " },"
        for target in found
    )


def _text(value: str) -> str:
    """A string of Alloy's language, which escapes as JSON does."""
    return json.dumps(value)
