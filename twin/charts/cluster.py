"""The cluster as the chart controller uses it: objects of any kind, and kinds that may not be served yet."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import httpx

from keystone.errors import KeystoneError
from twin.charts.definitions import Definition
from twin.services.kube import MERGE, ApiError, Kube

Object = dict[str, Any]
HASH = "keystone.internal/twin-hash"
SERVED_SECONDS = 20.0
AGAIN_SECONDS = 1.0
APPLY_ATTEMPTS = 20
AT_ONCE = 4
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


class Cluster:
    """Objects by their kind; paths come from the API's own discovery."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._plurals: dict[tuple[str, str], tuple[str, bool]] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._applied: dict[str, str] = {}

    async def path(self, thing: Object) -> str:
        """The path of an object; waits, bounded, until its kind is served."""
        metadata = thing["metadata"]
        collection = await self.collection(thing["apiVersion"], thing["kind"], metadata.get("namespace", ""))
        return f"{collection}/{metadata['name']}"

    async def collection(self, api: str, kind: str, namespace: str = "") -> str:
        """The path of all objects of a kind, in one namespace or in all."""
        plural, namespaced = await self._discovered(api, kind)
        root = "/api/v1" if api == "v1" else f"/apis/{api}"
        return f"{root}/namespaces/{namespace}/{plural}" if namespaced and namespace else f"{root}/{plural}"

    async def _discovered(self, api: str, kind: str) -> tuple[str, bool]:
        deadline = asyncio.get_running_loop().time() + SERVED_SECONDS
        while (api, kind) not in self._plurals:
            try:
                found = await self._kube.get("/api/v1" if api == "v1" else f"/apis/{api}")
                for entry in found["resources"]:
                    if "/" not in entry["name"]:
                        self._plurals[api, entry["kind"]] = (entry["name"], entry["namespaced"])
            except (ApiError, httpx.TransportError):
                found = {}
            if (api, kind) not in self._plurals:
                if asyncio.get_running_loop().time() > deadline:
                    raise KeystoneError(f"{api} {kind}", f"is not served after {SERVED_SECONDS:.0f} s")
                await asyncio.sleep(0.2)
        return self._plurals[api, kind]

    async def described(self, api: str, kind: str) -> None:
        """Wait, bounded, until the API describes a kind in OpenAPI v3: that comes some time after it is served."""
        deadline = asyncio.get_running_loop().time() + SERVED_SECONDS
        while not await self._describes(f"apis/{api}", kind):
            if asyncio.get_running_loop().time() > deadline:
                raise KeystoneError(f"{api} {kind}", f"is not in the API's OpenAPI after {SERVED_SECONDS:.0f} s")
            await asyncio.sleep(0.2)

    async def _describes(self, group: str, kind: str) -> bool:
        try:
            index = await self._kube.get("/openapi/v3")
            if group not in index["paths"]:
                return False
            document = await self._kube.get(index["paths"][group]["serverRelativeURL"])
        except (ApiError, httpx.TransportError):
            return False
        schemas = document["components"]["schemas"].values()
        return any(it["kind"] == kind for one in schemas for it in one.get("x-kubernetes-group-version-kind", ()))

    async def apply(self, thing: Object) -> Object:
        """Server-side apply. A kind that has just been defined is sometimes known and not served for a moment."""
        path = await self.path(thing)
        for left in reversed(range(APPLY_ATTEMPTS)):
            try:
                return await self._kube.apply(path, thing)
            except ApiError as error:
                if left == 0 or error.status not in (404, 409, 429, 500, 503) or "typed patch" in str(error):
                    raise  # the last is how the API refuses a field that the schema does not have
            await asyncio.sleep(0.25)
        raise AssertionError("the last attempt returns or raises")

    async def get(self, thing: Object) -> Object | None:
        """The object as it is now; None when it is not there."""
        try:
            return await self._kube.get(await self.path(thing))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def delete(self, thing: Object) -> None:
        await self._kube.delete(f"{await self.path(thing)}?propagationPolicy=Background")

    async def exists(self, path: str) -> bool:
        try:
            await self._kube.get(path)
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return True

    async def patch_status(self, thing: Object, status: Object) -> None:
        """Merge a status; kinds without a status of its own (Argo CD's) take it as part of the object."""
        path = await self.path(thing)
        try:
            await self._kube.patch(f"{path}/status", {"status": status}, MERGE)
        except ApiError as error:
            if error.status != 404:
                raise
            await self._kube.patch(path, {"status": status}, MERGE)

    async def patch(self, thing: Object, change: Object) -> None:
        await self._kube.patch(await self.path(thing), change, MERGE)

    async def create(self, thing: Object) -> None:
        collection = await self.collection(thing["apiVersion"], thing["kind"], thing["metadata"].get("namespace", ""))
        await self._kube.create(collection, thing)

    async def define(self, definitions: Iterable[Definition]) -> None:
        """Apply definitions of custom resources, some at a time; what is there already in this form stays as it is."""
        if not self._applied:
            listed = await self._kube.get(DEFINITIONS)
            for item in listed["items"]:
                self._applied[item["metadata"]["name"]] = item["metadata"].get("annotations", {}).get(HASH, "")
        await asyncio.gather(*(self._define(definition) for definition in definitions))

    async def _define(self, definition: Definition) -> None:
        name = definition["metadata"]["name"]
        digest = hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()[:16]
        if self._applied.get(name) == digest:
            return
        metadata = definition["metadata"]
        marked = {
            **definition,
            "metadata": {**metadata, "annotations": {**metadata.get("annotations", {}), HASH: digest}},
        }
        async with self._slots:
            await self._kube.apply(f"{DEFINITIONS}/{name}", marked)
        self._applied[name] = digest

    async def watch(self, api: str, kind: str) -> AsyncIterator[tuple[str, Object]]:
        """Every object of a kind and every change, for ever: over restarts of the API and before the kind is served."""
        while True:
            try:
                path = await self.collection(api, kind)
                async for event in self._kube.watch(path):
                    yield event
            except (KeystoneError, httpx.TransportError, json.JSONDecodeError):
                await asyncio.sleep(AGAIN_SECONDS)
