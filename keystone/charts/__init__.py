"""The catalogue of charts: settings in, releases out. One module per topic; nothing here makes a resource.

A topic is a module with `releases(settings)`, which yields the releases that the settings choose of it. A new topic is
one line in TOPICS, such as `storage.releases`.
"""

from collections.abc import Callable, Iterator

from keystone.charts import aws, cloud_pools, linkerd, network, observability, operators, platform, storage
from keystone.charts.release import SYSTEM_NAMESPACES, Opening, PodSecurity, Release, in_order, namespaces
from keystone.settings import Settings

__all__ = ["SYSTEM_NAMESPACES", "Opening", "PodSecurity", "Release", "in_order", "namespaces", "releases"]

TOPICS: tuple[Callable[[Settings], Iterator[Release]], ...] = (
    platform.releases,
    network.releases,
    linkerd.releases,
    storage.releases,
    observability.releases,
    aws.releases,
    operators.releases,
    cloud_pools.releases,
)


def releases(settings: Settings) -> dict[str, Release]:
    """Every release that the settings choose, by name, in an order in which each comes after all that it needs."""
    return in_order(release for topic in TOPICS for release in topic(settings))
