"""Property values as they cross the plugin protocol, as plain Python values, without loss.

A value is None, a bool, a float, a str, a list or a dict. Secrets, unknowns, assets, archives and resource references
stay what they are on the wire: a dict with a signature key, or the one string that means "unknown". So a provider can
hand inputs back exactly as they came, with hashes and secret marks in place, which
`pulumi.provider.experimental.PropertyValue` (it drops hashes and cannot write unknowns) does not allow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from google.protobuf import struct_pb2
from pulumi.runtime import rpc

UNKNOWN = rpc.UNKNOWN
SIGNATURE = rpc._special_sig_key
SECRET = rpc._special_secret_sig
ASSET = rpc._special_asset_sig
ARCHIVE = rpc._special_archive_sig

Value = Any
"""None, bool, float, str, list or dict, as described above."""
Map = dict[str, Any]

_SIMPLE_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*\Z")


def decode(struct: struct_pb2.Struct) -> Map:
    """A protobuf struct as a dict."""
    return {key: _decode(item) for key, item in struct.fields.items()}


def _decode(value: struct_pb2.Value) -> Value:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return decode(value.struct_value)
    if kind == "list_value":
        return [_decode(item) for item in value.list_value.values]
    return None if kind in (None, "null_value") else getattr(value, kind)


def encode(values: Map) -> struct_pb2.Struct:
    """A dict as a protobuf struct."""
    return struct_pb2.Struct(fields={key: _encode(item) for key, item in values.items()})


def _encode(value: Value) -> struct_pb2.Value:
    if value is None:
        return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
    if isinstance(value, bool):
        return struct_pb2.Value(bool_value=value)
    if isinstance(value, int | float):
        return struct_pb2.Value(number_value=value)
    if isinstance(value, str):
        return struct_pb2.Value(string_value=value)
    if isinstance(value, list | tuple):
        return struct_pb2.Value(list_value=struct_pb2.ListValue(values=[_encode(item) for item in value]))
    return struct_pb2.Value(struct_value=encode(value))


def signature(value: Value) -> str | None:
    """Which special kind of value this is (SECRET, ASSET, ...), or None."""
    return value.get(SIGNATURE) if isinstance(value, dict) else None


def secret(value: Value) -> Value:
    """The value marked secret (once)."""
    return value if signature(value) == SECRET else {SIGNATURE: SECRET, "value": value}


def open_secret(value: Value) -> tuple[Value, bool]:
    """The value without its own secret mark, and whether it had one."""
    marked = False
    while signature(value) == SECRET:
        value, marked = value.get("value"), True
    return value, marked


def reveal(value: Value) -> Value:
    """The value with every secret mark in it taken off."""
    value, _ = open_secret(value)
    if isinstance(value, list):
        return [reveal(item) for item in value]
    if isinstance(value, dict):
        return {key: reveal(item) for key, item in value.items()}
    return value


def is_unknown(value: Value) -> bool:
    """Whether the value itself, apart from a secret mark, is not known yet."""
    return open_secret(value)[0] == UNKNOWN


def secret_texts(value: Value) -> set[str]:
    """Every non-empty text that lies below a secret mark: what must not reach a log."""
    return {part for part in _secret_parts(value, False) if isinstance(part, str) and part and part != UNKNOWN}


def _secret_parts(value: Value, inside: bool) -> Iterator[Value]:
    value, marked = open_secret(value)
    inside = inside or marked
    if isinstance(value, dict):
        for key, item in value.items():
            if key != SIGNATURE:
                yield from _secret_parts(item, inside)
    elif isinstance(value, list):
        for item in value:
            yield from _secret_parts(item, inside)
    elif inside:
        yield value


def equal(old: Value, new: Value) -> bool:
    """Whether the engine holds both for the same; assets and archives are the same when their hashes are."""
    if signature(old) in (ASSET, ARCHIVE) and signature(old) == signature(new) and old.get("hash") and new.get("hash"):
        return old["hash"] == new["hash"]
    if isinstance(old, dict) and isinstance(new, dict):
        return _present(old) == _present(new) and all(equal(old[key], new[key]) for key in _present(old))
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(equal, old, new))
    # True == 1.0 in Python, and not on the wire.
    return type(old) is type(new) and old == new


def _present(value: Map) -> set[str]:
    return {key for key, item in value.items() if item is not None}


def changes(old: Map, new: Map) -> dict[str, str]:
    """Path of each property that differs -> "add", "delete" or "update", as the engine's own comparison words it."""
    return dict(_changes("", old, new))


def _changes(path: str, old: Value, new: Value) -> Iterator[tuple[str, str]]:
    if isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            here = f"{path}[{index}]"
            if index >= len(old):
                yield here, "add"
            elif index >= len(new):
                yield here, "delete"
            else:
                yield from _changes(here, old[index], new[index])
    elif isinstance(old, dict) and isinstance(new, dict) and signature(old) is None and signature(new) is None:
        for key in sorted({*_present(old), *_present(new)}):
            here = _join(path, key)
            if old.get(key) is None:
                yield here, "add"
            elif new.get(key) is None:
                yield here, "delete"
            else:
                yield from _changes(here, old[key], new[key])
    elif not equal(old, new):
        yield path, "update"


def _join(path: str, key: str) -> str:
    if not _SIMPLE_NAME.match(key):
        return f'{path}["{key}"]'.replace("\n", "\\n")
    return f"{path}.{key}" if path else key


def top_level(path: str) -> str:
    """The first name of a property path."""
    quoted = re.match(r'\["(.*?)"\]', path)
    return quoted[1] if quoted else re.split(r"[.\[]", path, maxsplit=1)[0]
