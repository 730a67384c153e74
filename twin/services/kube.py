"""A small client of the Kubernetes API for the twin's own services, and the kubeconfig files that they write."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import yaml

from keystone.errors import KeystoneError
from twin.files import write_private

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"


class ApiError(KeystoneError):
    """The API refused a request; `status` is the HTTP status."""

    def __init__(self, place: str, status: int, message: str) -> None:
        self.status = status
        super().__init__(place, f"HTTP {status} {message}")


class Kube:
    """Requests with one client certificate. Every request is bounded (10 s)."""

    def __init__(self, server: str, ca: Path, certificate: Path, key: Path) -> None:
        context = ssl.create_default_context(cafile=str(ca))
        context.load_cert_chain(certificate, key)
        # The environment may hold proxies of the user, which know nothing of this computer's loopback addresses.
        self._client = httpx.AsyncClient(base_url=server, verify=context, timeout=10.0, trust_env=False)

    async def __aenter__(self) -> Kube:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._client.aclose()

    async def ready(self) -> bool:
        """What /readyz says."""
        return (await self._client.get("/readyz")).status_code == 200

    async def get(self, path: str) -> dict[str, Any]:
        return await self._send("GET", path)

    async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return await self._send("POST", path, body)

    async def patch(self, path: str, body: dict[str, Any], kind: str = MERGE) -> dict[str, Any]:
        return await self._send("PATCH", path, body, kind)

    async def apply(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Server-side apply as `keystone-twin`."""
        return await self._send("PATCH", f"{path}?fieldManager=keystone-twin&force=true", body, APPLY)

    async def delete(self, path: str) -> None:
        """Ask for the deletion of an object; one that is not there is as good as deleted."""
        try:
            await self._send("DELETE", path)
        except ApiError as error:
            if error.status != 404:
                raise

    async def watch(self, path: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Every object of a collection, as ("ADDED", object), then every change to it. Ends when the API says so.

        Objects that a listing repeats come again: whoever reads this compares resource versions or generations.
        """
        listed = await self.get(path)
        for item in listed["items"]:
            yield "ADDED", item
        version = listed["metadata"]["resourceVersion"]
        timeout = httpx.Timeout(10.0, read=None)
        query = {"watch": "true", "resourceVersion": version, "allowWatchBookmarks": "false"}
        async with self._client.stream("GET", path, params=query, timeout=timeout) as response:
            if not response.is_success:
                raise ApiError(f"WATCH {path}", response.status_code, (await response.aread()).decode()[:200])
            async for line in response.aiter_lines():
                event = json.loads(line)
                if event["type"] == "ERROR":  # too old: the caller lists again
                    return
                yield event["type"], event["object"]

    async def _send(
        self, method: str, path: str, body: dict[str, Any] | None = None, kind: str = "application/json"
    ) -> dict[str, Any]:
        response = await self._client.request(method, path, json=body, headers={"Content-Type": kind})
        if response.is_success:
            return response.json()
        try:
            message = str(response.json().get("message", ""))
        except ValueError:
            message = response.text[:200]
        raise ApiError(f"{method} {path}", response.status_code, message)


def write_kubeconfig(path: Path, *, server: str, ca: bytes, certificate: bytes, key: bytes, proxy: str = "") -> Path:
    """Write a kubeconfig of the shape of k3s (names `default`), mode 0600."""
    cluster = {"server": server, "certificate-authority-data": base64.b64encode(ca).decode()}
    if proxy:
        cluster["proxy-url"] = proxy
    user = {
        "client-certificate-data": base64.b64encode(certificate).decode(),
        "client-key-data": base64.b64encode(key).decode(),
    }
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "default", "cluster": cluster}],
        "users": [{"name": "default", "user": user}],
        "contexts": [{"name": "default", "context": {"cluster": "default", "user": "default"}}],
        "current-context": "default",
    }
    return write_private(path, yaml.safe_dump(document, sort_keys=False).encode())
