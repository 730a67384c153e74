"""Between Pulumi's properties and Cloudflare's JSON: names, numbers, secrets, and what of an answer belongs to whom."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from twin.plugins import wire
from twin.plugins.cloudflare import kinds
from twin.plugins.cloudflare.kinds import OWNERS, Fields, Kind

PLURALS = {"includes": "include", "excludes": "exclude", "requires": "require", "ingresses": "ingress"}
"""Lists that the SDK names in the plural and the API does not."""
ODD = {
    "service_auth401_redirect": "service_auth_401_redirect",
    "audTags": "audTag",
    "noTlsVerify": "noTLSVerify",
    "matchSnItoHost": "matchSNItoHost",
}
"""Names that no rule gives."""
CNAME_SETTINGS = {"flatten_cname": False, "ipv4_only": False, "ipv6_only": False}


def api_name(field: Mapping[str, Any], wire_name: str, camel: bool) -> str:
    """A property's name in the API: snake case as in Python, camel case inside of a tunnel's configuration."""
    name = wire_name if camel else field["name"]
    return PLURALS.get(wire_name) or ODD.get(name, name)


def to_api(fields: Fields, value: Mapping[str, Any], camel: bool = False) -> dict[str, Any]:
    """Plain properties as a request's body; without what has no value."""
    return {
        api_name(fields[name], name, camel): _to_api(fields[name], item, camel)
        for name, item in value.items()
        if name in fields and item is not None
    }


def _to_api(field: Mapping[str, Any], value: Any, camel: bool) -> Any:
    match field["type"]:
        case "object":
            return to_api(field["fields"], value, camel)
        case "list":
            return [_to_api(field["items"], item, camel) for item in value]
        case "map":
            return {key: _to_api(field["items"], item, camel) for key, item in value.items()}
        case "number" if isinstance(value, float) and value.is_integer():
            return int(value)
    return value


def from_api(fields: Fields, value: Mapping[str, Any], camel: bool = False) -> wire.Map:
    """An answer as properties; what the SDK does not know is left out, and so is null."""
    found = {}
    for name, field in fields.items():
        item = value.get(api_name(field, name, camel))
        if item is not None:
            found[name] = _from_api(field, item, camel)
    return found


def _from_api(field: Mapping[str, Any], value: Any, camel: bool) -> wire.Value:
    match field["type"]:
        case "object" if isinstance(value, dict):
            return from_api(field["fields"], value, camel)
        case "list" if isinstance(value, list):
            return [_from_api(field["items"], item, camel) for item in value]
        case "map" if isinstance(value, dict):
            return {key: _from_api(field["items"], item, camel) for key, item in value.items()}
        case "string" if not isinstance(value, str):
            return json.dumps(value)  # such as a tunnel's metadata, which the SDK has as text
        case "number":
            return float(value)
    return value


def body(kind: Kind, inputs: wire.Map, state: wire.Map | None = None) -> dict[str, Any]:
    """The body that makes the object, or (with its `state`) updates it."""
    plain = {name: item for name, item in wire.reveal(inputs).items() if name in kind.inputs and item is not None}
    if state is not None and kind.update == "PATCH":
        old = wire.reveal(state)
        plain = {name: item for name, item in plain.items() if not wire.equal(old.get(name), item)}
    else:
        kept = {name: wire.reveal(state)[name] for name in kind.again if state and state.get(name) is not None}
        always = (
            kind.always if kind is not kinds.APPLICATION or plain.get("type") == "self_hosted" else {"policies": []}
        )
        plain = {**always, **kept, **plain}
    if kind is kinds.APPLICATION:
        plain["policies"] = [{"precedence": float(n), **one} for n, one in enumerate(plain["policies"], 1)]
    sent = to_api(kind.inputs, {name: item for name, item in plain.items() if name not in (*OWNERS, "tunnelId")})
    if kind is kinds.CONFIG and "config" in plain:
        sent["config"] = to_api(kind.inputs["config"]["fields"], plain["config"], camel=True)
    if kind is kinds.RECORD and state is not None and plain["type"] == "CNAME":
        sent["settings"] = {**CNAME_SETTINGS, **sent.get("settings", {})}
    return {name: item for name, item in sorted(sent.items()) if item != [] or name in ("policies", "tags")}


def state_of(kind: Kind, answer: Mapping[str, Any], old: wire.Map) -> wire.Map:
    """The state that an answer to a GET means; `old` has what no answer tells: the owner, and what is hidden."""
    state = from_api({**kind.inputs, **kind.outputs}, answer)
    if kind is kinds.CONFIG:
        config = answer.get("config")
        state["config"] = from_api(kind.inputs["config"]["fields"], config or {}, camel=True)
    if kind is kinds.APPLICATION:
        # An answer holds the policies whole; the application's own part is which, and in what order.
        state["policies"] = [
            {key: one[key] for key in ("id", "precedence") if key in one} for one in state.get("policies", [])
        ]
    for name in (*OWNERS, "tunnelId"):
        if name in kind.inputs and old.get(name) is not None:
            state[name] = old[name]
    for path in kind.hidden:
        _keep(path, old, state)
    for name in kind.secret:
        if state.get(name) is None and old.get(name) is not None:
            state[name] = old[name]
        if state.get(name) is not None:
            state[name] = wire.secret(state[name])
    return state


def _keep(path: tuple[str, ...], old: wire.Map, state: wire.Map) -> None:
    """Put the old value at a path into the state, with its secret mark; drop what an answer has there instead."""
    for part in path[:-1]:
        before, marked = wire.open_secret(old.get(part))
        if not isinstance(state.get(part), dict):
            return
        old = {key: wire.secret(item) for key, item in before.items()} if marked else (before or {})
        state = state[part]
    state.pop(path[-1], None)
    if old.get(path[-1]) is not None:
        state[path[-1]] = old[path[-1]]


def over(state: wire.Value, inputs: wire.Value) -> wire.Value:
    """The state with the inputs as they were given, secret marks and all."""
    plain, marked = wire.open_secret(inputs)
    if marked or not isinstance(plain, dict) or not isinstance(state, dict) or wire.signature(state) is not None:
        return inputs
    return {**state, **{key: over(state.get(key), item) for key, item in plain.items() if item is not None}}


def covers(have: wire.Value, want: wire.Value) -> bool:
    """Whether the object has all that the program wants; what it has besides does not count."""
    if isinstance(want, dict):
        return isinstance(have, dict) and all(
            covers(have.get(key), item) for key, item in want.items() if item is not None
        )
    if isinstance(want, list):
        return isinstance(have, list) and len(have) == len(want) and all(map(covers, have, want))
    return wire.equal(have, want)


def same(kind: Kind, name: str, have: wire.Value, want: wire.Value) -> bool:
    """Whether a property is as wanted. The API writes some values its own way."""
    if kind is kinds.RECORD and isinstance(have, str) and isinstance(want, str):
        if name == "name":
            return have == want or have.startswith(f"{want}.") or want == "@"
        if name == "content":
            return have.lower() == want.lower()
    return covers(have, want)
