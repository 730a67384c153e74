"""The properties of each type: names, forms, defaults, which are secret and which replace the resource."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twin.plugins import wire
from twin.plugins.base import Failures

LOCAL_COMMAND = "command:local:Command"
REMOTE_COMMAND = "command:remote:Command"
COPY_TO_REMOTE = "command:remote:CopyToRemote"
LOCAL_RUN = "command:local:run"

REPLACE_ON = frozenset({"triggers"})
DEFAULT_PORT = 22.0
DEFAULT_DIAL_ERRORS = 10.0
DEFAULT_DIAL_SECONDS = 15.0


@dataclass(frozen=True)
class Field:
    """One property: `form` is "string", "bool", "number", "any", "strings", "map", "asset" or an object's fields."""

    form: str | dict[str, Field]
    required: bool = False
    default: Any = None
    secret: bool = False


_TEXT = Field("string")
_BASE = {
    "stdin": _TEXT,
    "logging": _TEXT,
    "environment": Field("map"),
    "addPreviousOutputInEnv": Field("bool"),
}
_LOCAL = {
    **_BASE,
    "interpreter": Field("strings"),
    "dir": _TEXT,
    "assetPaths": Field("strings"),
    "archivePaths": Field("strings"),
}
_LIFE = {"create": _TEXT, "update": _TEXT, "delete": _TEXT, "triggers": Field("list")}
_ENDPOINT = {
    "host": Field("string", required=True),
    "user": Field("string", default="root"),
    "port": Field("number", default=DEFAULT_PORT),
    "password": Field("string", secret=True),
    "privateKey": Field("string", secret=True),
    "privateKeyPassword": Field("string", secret=True),
    "agentSocketPath": _TEXT,
    "dialErrorLimit": Field("number", default=DEFAULT_DIAL_ERRORS),
    "perDialTimeout": Field("number", default=DEFAULT_DIAL_SECONDS),
    "hostKey": _TEXT,
}
_CONNECTION = Field({**_ENDPOINT, "proxy": Field(_ENDPOINT)}, required=True, secret=True)

FIELDS: dict[str, dict[str, Field]] = {
    LOCAL_COMMAND: {**_LIFE, **_LOCAL},
    REMOTE_COMMAND: {**_LIFE, **_BASE, "connection": _CONNECTION},
    COPY_TO_REMOTE: {
        "connection": _CONNECTION,
        "triggers": Field("list"),
        "source": Field("asset", required=True),
        "remotePath": Field("string", required=True),
    },
}
RUN_FIELDS = {**_LOCAL, "command": Field("string", required=True)}

_WIRE_NAMES = {str: "string", bool: "bool", float: "float64", list: "[]interface {}", dict: "map[string]interface {}"}
_FORMS: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "bool": lambda value: isinstance(value, bool),
    "number": lambda value: isinstance(value, float),
    "list": lambda value: isinstance(value, list),
    "asset": lambda value: wire.signature(value) in (wire.ASSET, wire.ARCHIVE),
}


def check(fields: dict[str, Field], owner: str, inputs: wire.Map) -> tuple[wire.Map, Failures]:
    """The inputs with defaults and secret marks, and the faults in them; an unknown value is never a fault."""
    checked: wire.Map = {}
    failures: Failures = []
    for name, value in inputs.items():
        spec = fields.get(name)
        if spec is None:
            if not name.startswith("__") and name != "version":
                failures.append((name, f"Unrecognized field '{name}' on '{owner}'"))
            checked[name] = value
        else:
            checked[name] = _check_value(spec, name, owner, value, failures)
    for name, spec in fields.items():
        if checked.get(name) is None:
            if spec.required:
                failures.append((name, f"Missing required field '{name}' on '{owner}'"))
            elif spec.default is not None:
                checked[name] = spec.default
    return checked, failures


def _check_value(spec: Field, name: str, owner: str, value: wire.Value, failures: Failures) -> wire.Value:
    plain, marked = wire.open_secret(value)
    if plain is None or plain == wire.UNKNOWN:
        return wire.secret(value) if spec.secret and plain is not None else value
    if isinstance(spec.form, dict):
        if not isinstance(plain, dict):
            failures.append((name, _mismatch(name, owner, "object", plain)))
            return value
        plain, below = check(spec.form, f"{owner}.{name}", plain)
        failures.extend((f"{name}.{place}", reason) for place, reason in below)
        # The mark of the whole covers its parts.
        plain = plain if spec.secret else {key: _mark(spec.form, key, item) for key, item in plain.items()}
    else:
        failures.extend((name, reason) for reason in _form_faults(spec.form, name, owner, plain))
    return wire.secret(plain) if marked or spec.secret else plain


def _mark(fields: dict[str, Field], name: str, value: wire.Value) -> wire.Value:
    spec = fields.get(name)
    return wire.secret(value) if spec is not None and spec.secret and value is not None else value


def _form_faults(form: str, name: str, owner: str, value: wire.Value) -> list[str]:
    if form == "strings":
        parts = {f"{name}[{index}]": item for index, item in enumerate(value)} if isinstance(value, list) else None
    elif form == "map":
        parts = {f"{name}.{key}": item for key, item in value.items()} if isinstance(value, dict) else None
    else:
        return [] if _FORMS[form](value) else [_mismatch(name, owner, form, value)]
    if parts is None:
        return [_mismatch(name, owner, form, value)]
    plain = {place: wire.open_secret(item)[0] for place, item in parts.items()}
    return [_mismatch(place, owner, "string", item) for place, item in plain.items() if not isinstance(item, str)]


def _mismatch(name: str, owner: str, form: str, value: wire.Value) -> str:
    got = "nil" if value is None else _WIRE_NAMES.get(type(value), type(value).__name__)
    return f"Field '{name}' on '{owner}' must be a '{form}'; got '{got}' instead"
