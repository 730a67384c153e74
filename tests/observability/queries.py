"""Every expression of dashboards and alerts, and the metrics in it, by a real parser of PromQL."""

from collections.abc import Iterator
from typing import Any

import promql_parser

from keystone.alerts import ALERTS
from keystone.dashboards import queries
from keystone.dashboards.backups import backups
from keystone.dashboards.cluster import cluster
from keystone.dashboards.mesh import mesh
from keystone.dashboards.pools import pools
from keystone.dashboards.storage import storage
from keystone.settings import Settings, parse
from tests.recording import document

TUNNEL = {
    "accountId": "0" * 32,
    "zone": "example.org",
    "zoneId": "1" * 32,
    "team": "home",
    "hostnames": {
        "grafana": {
            "origin": {"namespace": "monitoring", "service": "kube-prometheus-stack-grafana", "port": 80},
            "access": {"emails": ["ada@example.org"]},
        }
    },
}


def site(*, full: bool = True, **more: Any) -> Settings:
    """A site with metrics; `full` adds Ceph, certificates and a tunnel. `more` replaces sections."""
    base = document(servers=3, agents=3)
    sections: dict[str, Any] = {"observability": {}, "storage": {"localPath": {}}}
    if full:
        for name in ("w1", "w2", "w3"):
            base["hosts"][name]["osdDisks"] = [f"/dev/disk/by-id/{name}-osd"]
        sections["storage"] = {"default": "ceph-block", "ceph": {}}
        sections["platform"] = {"certManager": {}}
        sections["tunnel"] = TUNNEL
        sections["network"] = {"loadBalancer": {"pools": {"ingress": "127.78.5.200-127.78.5.209"}}}
    return parse({**base, **sections, **more})


def expressions() -> Iterator[tuple[str, str]]:
    """(place, expression): every alert, and every panel of every page with everything chosen, both engines."""
    for alert in ALERTS:
        yield f"alert {alert.name}", alert.expr
    for engine in ("flux", "argocd"):
        settings = site(gitops={"engine": engine})
        for page in (cluster(settings), mesh(settings), storage(settings), backups(), pools()):
            for title, expr in queries(page):
                # Grafana puts in a range; any will do here.
                yield f"{page.title}: {title}", expr.replace("$__rate_interval", "5m")


def metrics(expr: str) -> set[str]:
    """The names of all metrics in the expression. Raises ValueError when it is no PromQL."""
    found: set[str] = set()

    def enter(node: promql_parser.Expr) -> bool:
        selector = node.vector_selector if isinstance(node, promql_parser.MatrixSelector) else node
        if isinstance(selector, promql_parser.VectorSelector) and selector.name:
            found.add(selector.name)
        return True

    promql_parser.walk(promql_parser.parse(expr), enter)
    return found
