"""Every expression of dashboards and alerts, and the metrics in it, by a real parser of PromQL."""

import re
from collections.abc import Iterator
from typing import Any

import promql_parser

from keystone.alerts import ALERTS
from keystone.charts import alloy
from keystone.charts.observability import LOKI_URL
from keystone.dashboards import log_queries, queries
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


def log_expressions() -> Iterator[tuple[str, str]]:
    """(place, expression) of every panel with lines of Loki."""
    settings = site()
    for page in (cluster(settings), mesh(settings), storage(settings), backups(), pools()):
        for title, expr in log_queries(page):
            yield f"{page.title}: {title}", expr


def log_labels() -> set[str]:
    """The labels that Alloy puts on the lines that it sends to Loki."""
    text = alloy.logs(site(), LOKI_URL)
    sets = re.findall(r"labels\s*= \{([^}]*)\}", text)
    return {*re.findall(r'target_label\s*= "(\w+)"', text), *re.findall(r"(\w+) =", " ".join(sets))}


def streams(expr: str) -> set[str]:
    """The labels that an expression of LogQL chooses lines by. Raises ValueError for all but a sound selector alone.

    Loki's own parser would bring the better part of Loki along. Its selectors are those of PromQL without a metric's
    name (https://grafana.com/docs/loki/latest/query/log_queries/), and our panels ask for nothing else.
    """
    node = promql_parser.parse(expr)
    if not isinstance(node, promql_parser.VectorSelector) or node.name or node.offset or node.at:
        raise ValueError(f"{expr} is more than a selector of lines")
    matchers = node.matchers.matchers
    sure = (promql_parser.MatchOp.Equal, promql_parser.MatchOp.Re)
    if not any(one.op in sure and not (one.value == "" or re.fullmatch(one.value, "")) for one in matchers):
        raise ValueError(f"{expr} chooses lines by nothing that they must have")
    return {one.name for one in matchers}
