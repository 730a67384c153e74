"""Keystone's dashboards, built with Grafana's own SDK: settings in, JSON out.

https://grafana.github.io/grafana-foundation-sdk/ - the SDK's types keep a panel from having a field that Grafana does
not know. Dashboards are read only in Grafana: what they show is decided here.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from keystone.dashboards.backups import backups
from keystone.dashboards.cluster import cluster
from keystone.dashboards.mesh import mesh
from keystone.dashboards.panels import Page, build, log_queries, queries
from keystone.dashboards.pools import pools
from keystone.dashboards.storage import storage
from keystone.settings import Settings

# Defaults of Grafana's own schema of dashboards, which the SDK writes nevertheless.
_GRANTED: tuple[tuple[str, Any], ...] = (
    ("calcs", []),
    ("collapsed", False),
    ("instant", False),
    ("overrides", []),
    ("range", False),
    ("repeatDirection", "h"),
    ("transparent", False),
)

__all__ = ["Page", "dashboards", "log_queries", "pages", "queries"]


def pages(settings: Settings) -> Iterator[Page]:
    """The pages for what the settings choose; their parts are chosen alike."""
    yield cluster(settings)
    yield mesh(settings)
    yield storage(settings)
    yield backups()
    # The section of the cloud pools may be missing altogether.
    if getattr(settings, "aws", None) is not None:
        yield pools()


def dashboards(settings: Settings) -> Mapping[str, str]:
    """File name -> JSON of every dashboard that the settings choose. Compact, since it lies in the stack's state."""
    return {f"keystone-{page.name}.json": _compact(build(page)) for page in pages(settings)}


def _compact(page: Dashboard) -> str:
    written = json.loads(json.dumps(page.build(), cls=JSONEncoder))
    return json.dumps(_lean(written), sort_keys=True, separators=(",", ":"))


def _lean(value: Any) -> Any:
    """Without what Grafana takes for granted."""
    if isinstance(value, list):
        return [_lean(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: _lean(it) for key, it in value.items() if (key, it) not in _GRANTED}
