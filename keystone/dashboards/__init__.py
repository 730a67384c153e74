"""Keystone's dashboards, built with Grafana's own SDK: settings in, JSON out.

https://grafana.github.io/grafana-foundation-sdk/ - the SDK's types keep a panel from having a field that Grafana does
not know. Dashboards are read only in Grafana: what they show is decided here.
"""

import json
from collections.abc import Iterator, Mapping

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from keystone.dashboards.backups import backups
from keystone.dashboards.cluster import cluster
from keystone.dashboards.mesh import mesh
from keystone.dashboards.panels import Page, build, queries
from keystone.dashboards.pools import pools
from keystone.dashboards.storage import storage
from keystone.settings import Settings

__all__ = ["Page", "dashboards", "pages", "queries"]


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
    return {
        f"keystone-{page.name}.json": json.dumps(
            build(page).build(), cls=JSONEncoder, sort_keys=True, separators=(",", ":")
        )
        for page in pages(settings)
    }
