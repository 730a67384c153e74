"""Whether inputs are what the official plugin takes: known names, types, choices, and nothing required missing."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from twin.plugins import wire
from twin.plugins.aws.kinds import Kind
from twin.plugins.base import Failures

RANDOM_DIGITS = 7
INTERNAL = ("__defaults", "__internal", "__meta", "version")


def faults(kind: Kind, inputs: wire.Map) -> Failures:
    """The faults of a resource's inputs; an unknown value is never one."""
    found: Failures = []
    _object(kind.spec, "", inputs, found)
    plain = {name: item for name, item in wire.reveal(inputs).items() if item is not None}
    if kind.check is not None and not found:
        found += [(place, reason) for place, reason in kind.check(plain) if plain.get(place) != wire.UNKNOWN]
    return found


def _object(spec: Mapping[str, Any], place: str, value: Mapping[str, Any], found: Failures) -> None:
    fields, choices = spec["fields"], spec.get("choices", {})
    for name, item in value.items():
        if name in fields:
            _value(fields[name], f"{place}{name}", item, found, choices.get(name))
        elif name not in INTERNAL:
            found.append((f"{place}{name}", f"An argument named '{place}{name}' is not expected here"))
    for name in spec.get("required", ()):
        if value.get(name) is None:
            found.append((f"{place}{name}", f"Missing required property '{place}{name}'"))


def _shape(spec: Any) -> str:
    if isinstance(spec, str):
        return spec
    return "list" if isinstance(spec, list) else "map" if "map" in spec else "object"


def _value(spec: Any, place: str, value: wire.Value, found: Failures, choices: list[str] | None = None) -> None:
    value, _ = wire.open_secret(value)
    if value is None or value == wire.UNKNOWN or spec == "any" or wire.signature(value) is not None:
        return
    kind = _shape(spec)
    if not _TYPES[kind](value):
        found.append((place, f"'{place}' must be a {kind}, got a {type(value).__name__}"))
    elif kind == "object":
        _object(spec, f"{place}.", value, found)
    elif kind == "list":
        for index, item in enumerate(value):
            _value(spec[0], f"{place}[{index}]", item, found, choices)
    elif kind == "map":
        for key, item in value.items():
            _value(spec["map"], f"{place}[{key}]", item, found)
    elif choices and value not in choices:
        found.append((place, f"'{place}' must be one of {', '.join(choices)}, got '{value}'"))


# What a number, a boolean and a text may be in one another's place is what the official plugin converts.
_TYPES = {
    "string": lambda value: isinstance(value, str | bool | float | int),
    "bool": lambda value: isinstance(value, bool) or value in ("true", "false"),
    "number": lambda value: (isinstance(value, float | int) and not isinstance(value, bool)) or _numeric(value),
    "object": lambda value: isinstance(value, dict),
    "map": lambda value: isinstance(value, dict),
    "list": lambda value: isinstance(value, list),
}


def _numeric(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return isinstance(value, str)


def completed(kind: Kind, name: str, inputs: wire.Map, old: wire.Map, seed: bytes) -> wire.Map:
    """The inputs with a name, defaults and secret marks. A name that was once given by us stays."""
    made = {key: item for key, item in inputs.items() if item is not None}
    if kind.named and made.get(kind.named) is None:
        kept = old.get(kind.named)
        same_prefix = not kind.prefix or old.get(kind.prefix) == made.get(kind.prefix)
        made[kind.named] = kept if kept and same_prefix else _name(kind, name, made.get(kind.prefix), seed)
    for key, item in kind.defaults.items():
        if made.get(key) is None:
            made[key] = item
    return {key: wire.secret(item) if key in kind.secret else item for key, item in made.items()}


def _name(kind: Kind, name: str, prefix: wire.Value, seed: bytes) -> wire.Value:
    digits = (seed.hex() or secrets.token_hex(8))[:RANDOM_DIGITS]
    if wire.is_unknown(prefix):
        return wire.UNKNOWN
    begin = f"{name}-" if prefix is None else str(wire.open_secret(prefix)[0])
    begin = begin.lower() if kind.lower else begin
    return f"{kind.lead}{begin[: kind.longest - RANDOM_DIGITS - len(kind.lead)]}{digits}"
