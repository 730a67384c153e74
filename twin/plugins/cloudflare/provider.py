"""The cloudflare provider: what each operation sends, and what the state holds afterwards."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from twin.plugins import sdk_version, wire
from twin.plugins.base import Diff, Failures, Operation, Provider, ProviderError
from twin.plugins.cloudflare import kinds, values
from twin.plugins.cloudflare.client import Client, CloudError
from twin.plugins.cloudflare.kinds import KINDS, OWNERS, Kind

OFFICIAL = "https://api.cloudflare.com/client/v4"
GET_ZONE = "cloudflare:index/getZone:getZone"
GET_TOKEN = "cloudflare:index/getZeroTrustTunnelCloudflaredToken:getZeroTrustTunnelCloudflaredToken"
SETTINGS = {"apiToken": "CLOUDFLARE_API_TOKEN", "baseUrl": "CLOUDFLARE_BASE_URL"}
GONE = 404


class CloudflareProvider(Provider):
    """`environment` stands in for settings that are not given."""

    plugin_name = "cloudflare"

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.version = sdk_version("cloudflare")
        self._environment = environment
        self._settings: dict[str, Any] = {}
        self._client: Client | None = None

    async def take_settings(self, settings: wire.Map) -> None:
        plain = wire.reveal(settings)
        self._settings = {
            name: plain.get(name) or self._environment.get(variable) for name, variable in SETTINGS.items()
        }

    async def check_resource(self, operation: Operation, inputs: wire.Map) -> tuple[wire.Map, Failures]:
        kind = _kind(operation.type)
        checked = {name: wire.secret(item) if name in kind.secret else item for name, item in inputs.items()}
        return checked, kinds.check(kind, inputs)

    async def diff_resource(self, operation: Operation, old_inputs: wire.Map, state: wire.Map, news: wire.Map) -> Diff:
        kind, changes = _kind(operation.type), {}
        have, want = wire.reveal(state), wire.reveal(news)
        for name in kind.inputs:
            if want.get(name) is not None:
                if have.get(name) is None:
                    changes[name] = "add"
                elif not values.same(kind, name, have[name], want[name]):
                    changes[name] = "update"
            elif old_inputs.get(name) is not None:
                changes[name] = "delete"
        return Diff(changes=changes, replace_on=kind.replace_on)

    async def create_resource(self, operation: Operation, inputs: wire.Map) -> tuple[str, wire.Map]:
        kind = _kind(operation.type)
        if operation.preview:
            unknown = dict.fromkeys((name for name in kind.outputs if name not in inputs), wire.UNKNOWN)
            return "", {**unknown, **inputs}
        method = "PUT" if kind is kinds.CONFIG else "POST"
        answer = await self._send(method, _path(kind, inputs), values.body(kind, inputs))
        identity = _plain(inputs, "tunnelId") if kind is kinds.CONFIG else (answer or {}).get("id")
        if not identity:
            raise ProviderError(f"{_path(kind, inputs)}: the answer has no id, so the object cannot be found again")
        return identity, values.over(values.state_of(kind, answer, inputs), inputs)

    async def update_resource(self, operation: Operation, state: wire.Map, inputs: wire.Map) -> wire.Map:
        kind = _kind(operation.type)
        if operation.preview:
            return {**state, **inputs}
        path = _path(kind, state, operation.resource_id)
        answer = await self._send(kind.update, path, values.body(kind, inputs, state))
        outputs = {name: state[name] for name in kind.outputs if state.get(name) is not None}
        return {**outputs, **values.over(values.state_of(kind, answer or {}, {**state, **inputs}), inputs)}

    async def delete_resource(self, operation: Operation, state: wire.Map) -> None:
        kind = _kind(operation.type)
        if kind is kinds.CONFIG:
            return  # it goes with its tunnel
        try:
            await self._send("DELETE", _path(kind, state, operation.resource_id))
        except CloudError as error:
            if error.status != GONE:
                raise

    async def read_resource(self, operation: Operation, resource_id: str, state: wire.Map) -> tuple[str, wire.Map]:
        kind = _kind(operation.type)
        *owner, identity = resource_id.split("/")
        if owner:
            state = {kind.owner: owner[-1], **({"tunnelId": identity} if kind is kinds.CONFIG else {})}
        if not _plain(state, kind.owner):
            cure = f"{kind.import_prefix}{kind.owner.removesuffix('Id').upper()}/ID"
            raise ProviderError(f"{resource_id} is not an id to read a {kind.name} by. Give {cure}")
        try:
            answer = await self._send("GET", _path(kind, state, identity))
        except CloudError as error:
            if error.status == GONE:
                return "", {}
            raise
        return identity, values.state_of(kind, answer, state)

    async def read_inputs(self, operation: Operation, state: wire.Map, inputs: wire.Map) -> wire.Map:
        """Of an import, which has no inputs yet: those that its object has."""
        kind = _kind(operation.type)
        return inputs or {name: item for name, item in state.items() if name in kind.inputs and item not in ([], {})}

    async def call_function(self, token: str, args: wire.Map) -> wire.Map:
        plain = wire.reveal(args)
        if token == GET_TOKEN:
            path = f"/accounts/{plain['accountId']}/cfd_tunnel/{plain['tunnelId']}"
            return {**plain, "id": plain["tunnelId"], "token": await self._send("GET", f"{path}/token")}
        if token == GET_ZONE:
            return await self._zone(plain)
        raise ProviderError(f"unknown function {token!r}; this plugin has {GET_ZONE} and {GET_TOKEN}")

    async def cancel(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()

    def schema(self) -> str:
        resources = {
            token: {"inputProperties": {name: {"type": "string"} for name in kind.inputs}}
            for token, kind in KINDS.items()
        }
        return json.dumps({"name": self.plugin_name, "version": self.version, "resources": resources})

    async def _zone(self, args: Mapping[str, Any]) -> wire.Map:
        identity = args.get("zoneId")
        if identity is None:
            name = (args.get("filter") or {}).get("name")
            found = await self._send("GET", "/zones", query={"name": name} if name else None)
            if len(found) != 1:
                raise ProviderError(f"{len(found)} zones have the name {name}, and one was expected")
            identity = found[0]["id"]
        zone = await self._send("GET", f"/zones/{identity}")
        return {**args, "id": identity, "zoneId": identity, "name": zone["name"], "status": zone["status"]}

    async def _send(self, method: str, path: str, body: Any = None, query: Mapping[str, str] | None = None) -> Any:
        if self._client is None:
            token = self._settings.get("apiToken")
            if not token:
                raise ProviderError("the provider has no apiToken. Give one, or set CLOUDFLARE_API_TOKEN")
            self._client = Client(self._settings.get("baseUrl") or OFFICIAL, token)
        return await self._client.send(method, path, body, query)


def _kind(token: str) -> Kind:
    if token not in KINDS:
        raise ProviderError(f"unknown resource type {token!r}; this plugin has {', '.join(KINDS)}")
    return KINDS[token]


def _plain(state: wire.Map, name: str) -> Any:
    return wire.reveal(state.get(name))


def _path(kind: Kind, state: wire.Map, identity: str | None = None) -> str:
    """Where the objects of a kind are, or the one with this id."""
    base = f"/{OWNERS[kind.owner]}/{_plain(state, kind.owner)}/{kind.path}"
    if kind is kinds.CONFIG:
        return base.format(tunnelId=_plain(state, "tunnelId"))
    return f"{base}/{identity}" if identity else base
