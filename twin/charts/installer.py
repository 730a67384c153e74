"""Installs and removes one release: definitions, objects made of its values, placeholder workloads."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keystone.errors import KeystoneError
from twin.charts import stages, workloads
from twin.charts.catalogue import chart
from twin.charts.cluster import Cluster
from twin.charts.orders import Orders

log = logging.getLogger("twin.charts")
Object = dict[str, Any]
POLL_SECONDS = 0.3


class Failed(Exception):
    """An installation did not succeed; the text is what the engine shows."""


@dataclass(frozen=True)
class Wish:
    """What an engine asks for."""

    release: str
    chart: str
    version: str
    namespace: str
    values: Mapping[str, Any]
    limit: float
    create_namespace: bool = False


class Installer:
    """Carries wishes out."""

    def __init__(self, cluster: Cluster, orders: Orders) -> None:
        self.cluster = cluster
        self.orders = orders

    async def install(self, wish: Wish) -> None:
        """Install or upgrade; raises Failed with the engine's words, after the wish's limit at the latest."""
        try:
            await asyncio.wait_for(self._install(wish), wish.limit)
        except TimeoutError:
            raise Failed(
                f"Helm install failed for release {wish.namespace}/{wish.release} with chart "
                f"{wish.chart}@{wish.version}: context deadline exceeded"
            ) from None
        except KeystoneError as error:
            raise Failed(
                f"Helm install failed for release {wish.namespace}/{wish.release} with chart "
                f"{wish.chart}@{wish.version}: {error}"
            ) from error

    async def _obey(self, wish: Wish) -> None:
        """Be as slow as it is ordered, or hang, or fail; an order that is taken back ends what it began."""
        began = time.monotonic()
        while (order := self.orders.of(wish.release)).hang or time.monotonic() - began < order.slow:
            await asyncio.sleep(POLL_SECONDS)
        if order.fail:
            raise KeystoneError(wish.chart, order.fail)

    async def _install(self, wish: Wish) -> None:
        await self._obey(wish)
        await self._namespace(wish)
        what = chart(wish.chart)
        definitions = await asyncio.to_thread(what.definitions)
        await self.cluster.define(definitions)
        await stages.follow(self.cluster, definitions)
        made = self._objects(wish)
        for thing in made:
            await self.cluster.apply(thing)
        pending = [thing for thing in made if thing["kind"] in ("Deployment", "DaemonSet")]
        while pending:
            now = [await self.cluster.get(thing) for thing in pending]
            pending = [
                thing for thing, seen in zip(pending, now, strict=True) if seen is None or not workloads.ready(seen)
            ]
            if pending:
                await asyncio.sleep(POLL_SECONDS)

    async def _namespace(self, wish: Wish) -> None:
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": wish.namespace}}
        if await self.cluster.get(namespace) is not None:
            return
        if not wish.create_namespace:
            raise KeystoneError("create", f'failed to create: namespaces "{wish.namespace}" not found')
        await self.cluster.apply(namespace)

    def _objects(self, wish: Wish) -> list[Object]:
        what = chart(wish.chart)
        try:
            made = list(what.renders(wish.values, wish.namespace)) if what.renders else []
        except (KeyError, TypeError, AttributeError) as error:
            raise KeystoneError("values", f"do not fit the chart: {type(error).__name__} {error}") from None
        made = json.loads(json.dumps(made))  # values may be shared between objects, and labels are not
        for thing in made:
            thing["metadata"].setdefault("labels", {})[workloads.RELEASE] = wish.release
        return [*made, *workloads.workloads(what, wish.release, wish.namespace)]

    async def uninstall(self, wish: Wish) -> None:
        """Remove what the release made. Definitions stay, as with the real charts: others' objects may live by them."""
        for thing in reversed(self._objects(wish)):
            try:
                await self.cluster.delete(thing)
            except KeystoneError as error:
                log.warning("%s: %s", wish.release, error)
