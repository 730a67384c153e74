"""Holds facts against their types as the NixOS modules do: what the types refuse, Nix refuses to build."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic.alias_generators import to_camel

from keystone.errors import KeystoneError
from keystone.facts import SCHEMA_VERSION, ClusterFacts, HostFacts


def read_facts(path: Path, kind: type[ClusterFacts] | type[HostFacts]) -> dict[str, Any]:
    """Return the facts of a file. Raises KeystoneError naming every fault: unknown or missing keys, wrong types."""
    try:
        document = json.loads(path.read_text())
    except FileNotFoundError:
        raise KeystoneError(path.name, "No such file or directory", "Run `keystone facts`") from None
    except ValueError as error:
        raise KeystoneError(path.name, f"is not JSON: {error}", "Run `keystone facts`") from None
    faults = list(_faults("", document, kind))
    if not faults and document["schemaVersion"] != SCHEMA_VERSION:
        faults = [f"schemaVersion: {document['schemaVersion']} is not {SCHEMA_VERSION}"]
    if faults:
        raise KeystoneError(path.name, "; ".join(faults), "Run `keystone facts`")
    return document


def _faults(place: str, value: Any, kind: Any) -> Iterator[str]:
    origin = typing.get_origin(kind)
    if origin is None and "__dataclass_fields__" in vars(kind):
        yield from _object(place, value, kind)
    elif origin in (typing.Union, types.UnionType):
        options = typing.get_args(kind)
        if value is None and type(None) in options:
            return
        [rest] = [option for option in options if option is not type(None)]
        yield from _faults(place, value, rest)
    elif origin is tuple:
        if not isinstance(value, list):
            yield f"{place}: is not a list"
            return
        for number, entry in enumerate(value):
            yield from _faults(f"{place}[{number}]", entry, typing.get_args(kind)[0])
    elif origin is Mapping:
        if not isinstance(value, dict):
            yield f"{place}: is not an attribute set"
            return
        for key, entry in value.items():
            yield from _faults(f"{place}.{key}", entry, typing.get_args(kind)[1])
    elif type(value) is not kind:
        yield f"{place}: is a {type(value).__name__}, not a {kind.__name__}"


def _object(place: str, value: Any, kind: type) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{place or 'the file'}: is not an attribute set"
        return
    hints = typing.get_type_hints(kind)
    wanted = {to_camel(field.name): hints[field.name] for field in dataclasses.fields(kind)}
    prefix = f"{place}." if place else ""
    yield from (f"{prefix}{key}: is not a known option" for key in sorted(set(value) - set(wanted)))
    yield from (f"{prefix}{key}: is missing" for key in sorted(set(wanted) - set(value)))
    for key in sorted(set(wanted) & set(value)):
        yield from _faults(prefix + key, value[key], wanted[key])
