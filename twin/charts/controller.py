"""Watches what asks for charts and has it installed, one task per object."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import uuid
from typing import Any

import httpx

from keystone.errors import KeystoneError
from twin.charts import buckets, engines, volumes
from twin.charts.bootstrap import bootstrap
from twin.charts.cluster import Cluster
from twin.charts.engines import Engine
from twin.charts.installer import Failed, Installer, Wish
from twin.charts.orders import Orders
from twin.services.kube import Kube

log = logging.getLogger("twin.charts")
Object = dict[str, Any]
DEPENDENCY_SECONDS = 0.3


class ChartController:
    """Runs until it is stopped. `kube` is an administrator's client, which it does not close."""

    def __init__(self, kube: Kube, orders: Orders) -> None:
        self._cluster = Cluster(kube)
        self._installer = Installer(self._cluster, orders)
        self._seen: dict[tuple[str, str, str], Object] = {}
        self._work: dict[tuple[str, str, str], tuple[str, asyncio.Task[None]]] = {}
        self._watches: list[asyncio.Task[None]] = []

    @property
    def cluster(self) -> Cluster:
        return self._cluster

    def start(self, facts: Object | None = None) -> None:
        """Begin to watch, in the background; with a cluster's facts, bring what its host layer brings too."""
        if facts is not None:
            self._watches.append(asyncio.create_task(self._bootstrap(facts), name="charts bootstrap"))
        for engine in engines.ENGINES:
            self._watches.append(asyncio.create_task(self._watch(engine), name=f"charts {engine.kind}"))
        self._watches.append(asyncio.create_task(volumes.provide(self._cluster), name="charts volumes"))
        self._watches.append(asyncio.create_task(buckets.provide(self._cluster), name="charts buckets"))

    async def stop(self) -> None:
        tasks = [*self._watches, *(task for _, task in self._work.values())]
        self._watches, self._work = [], {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _bootstrap(self, facts: Object) -> None:
        """Until it succeeds: the API may be restarting, and a Go module may have to be downloaded first."""
        while True:
            try:
                await bootstrap(self._cluster, facts)
                return
            except (KeystoneError, httpx.TransportError) as error:
                log.error("host layer: %s", error)
            await asyncio.sleep(engines.RETRY_SECONDS)

    async def _watch(self, engine: Engine) -> None:
        async for what, thing in self._cluster.watch(engine.api, engine.kind):
            key = (engine.kind, thing["metadata"]["namespace"], thing["metadata"]["name"])
            if what == "DELETED":
                self._seen.pop(key, None)
                if key in self._work:
                    self._work.pop(key)[1].cancel()
                continue
            self._seen[key] = thing
            digest = _digest(thing)
            if key in self._work:
                before, task = self._work[key]
                if before == digest:
                    continue
                task.cancel()
            self._work[key] = (digest, asyncio.create_task(self._care(engine, thing), name=f"chart {key[2]}"))

    async def _care(self, engine: Engine, thing: Object) -> None:
        """Bring one object to its end: installed, or removed. Tries again for ever, as the engines do."""
        name = thing["metadata"]["name"]
        while True:
            try:
                if "deletionTimestamp" in thing["metadata"]:
                    await self._remove(engine, thing)
                    return
                if await self._install(engine, thing):
                    return
            except (KeystoneError, httpx.TransportError) as error:
                log.warning("%s %s: %s", engine.kind, name, error)
            except Exception:
                log.exception("%s %s", engine.kind, name)
            await asyncio.sleep(engines.RETRY_SECONDS)

    async def _install(self, engine: Engine, thing: Object) -> bool:
        if thing["spec"].get("suspend"):
            return True
        wish = await self._wish(engine, thing)
        if not wish.chart:  # an application from a repository, which nobody reads here
            await self._cluster.patch_status(thing, engine.ready(thing, wish))
            return True
        if engine.finalizer not in thing["metadata"].get("finalizers", []):
            finalizers = [*thing["metadata"].get("finalizers", []), engine.finalizer]
            await self._cluster.patch(thing, {"metadata": {"finalizers": finalizers}})
        if engine.is_ready(thing):
            return True
        await self._dependencies(engine, thing)
        await self._cluster.patch_status(thing, engine.progressing(thing, wish))
        try:
            await self._installer.install(wish)
        except Failed as failure:
            message = str(failure)
            log.warning("%s %s: %s", engine.kind, wish.release, message)
            now = self._seen.get((engine.kind, thing["metadata"]["namespace"], thing["metadata"]["name"]), thing)
            await self._cluster.patch_status(thing, engine.failed(now, wish, message))
            await self._tell(engine, thing, "Warning", engine.reasons[1], message)
            return False
        await self._cluster.patch_status(thing, engine.ready(thing, wish))
        log.info("%s %s: installed %s %s", engine.kind, wish.release, wish.chart, wish.version)
        return True

    async def _wish(self, engine: Engine, thing: Object) -> Wish:
        """What is asked for; waits for the source of the chart, as the engine would."""
        said = False
        while (source := engine.source(thing) if engine.source else None) is not None:
            found = await self._cluster.get(source)
            if found is not None:
                return engine.wish(thing, found)
            if engine.waiting and not said:
                said = True
                name = f"{source['kind']}/{source['metadata']['namespace']}/{source['metadata']['name']}"
                await self._cluster.patch_status(thing, engine.waiting(thing, name))
            await asyncio.sleep(DEPENDENCY_SECONDS)
        return engine.wish(thing, None)

    async def _dependencies(self, engine: Engine, thing: Object) -> None:
        """Wait until all that the object depends on is ready; says what it waits for."""
        namespace, said = thing["metadata"]["namespace"], ""
        for one in thing["spec"].get("dependsOn", []):
            key = (engine.kind, one.get("namespace", namespace), one["name"])
            while not (key in self._seen and engine.is_ready(self._seen[key])):
                if engine.waiting and said != one["name"]:
                    said = one["name"]
                    await self._cluster.patch_status(thing, engine.waiting(thing, f"{key[1]}/{said}"))
                await asyncio.sleep(DEPENDENCY_SECONDS)

    async def _remove(self, engine: Engine, thing: Object) -> None:
        source = engine.source(thing) if engine.source else None
        wish = engine.wish(thing, await self._cluster.get(source) if source else None)
        if wish.chart:
            await self._installer.uninstall(wish)
        # As it is now: the garbage collector takes finalizers of its own off meanwhile, and none may come back.
        now = await self._cluster.get(thing)
        if now is None or engine.finalizer not in now["metadata"].get("finalizers", []):
            return
        left = [one for one in now["metadata"]["finalizers"] if one != engine.finalizer]
        version = now["metadata"]["resourceVersion"]
        await self._cluster.patch(thing, {"metadata": {"finalizers": left, "resourceVersion": version}})
        log.info("%s %s: removed", engine.kind, wish.release)

    async def _tell(self, engine: Engine, thing: Object, kind: str, reason: str, message: str) -> None:
        """An event about the object: this is what the Kubernetes provider shows while it waits."""
        metadata = thing["metadata"]
        target = {"apiVersion": engine.api, "kind": engine.kind, "uid": metadata["uid"]}
        await self._cluster.create(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": f"{metadata['name']}.{uuid.uuid4().hex[:16]}", "namespace": metadata["namespace"]},
                "involvedObject": {**target, "name": metadata["name"], "namespace": metadata["namespace"]},
                "type": kind,
                "reason": reason,
                "message": message[:1000],
                "source": {"component": engine.reporter},
                "firstTimestamp": engines.now(),
                "lastTimestamp": engines.now(),
                "count": 1,
            }
        )


def _digest(thing: Object) -> str:
    """Changes with what is asked for, and not with what we report."""
    metadata = thing["metadata"]
    asked = [metadata["uid"], thing["spec"], "deletionTimestamp" in metadata]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
