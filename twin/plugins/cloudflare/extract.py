"""Reads the properties of our resource types from the Pulumi SDK: `python -m twin.plugins.cloudflare.extract`.

The SDK takes seconds to import, so the plugin reads the result, fields.json, which a test holds equal.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import typing
import warnings
from pathlib import Path
from typing import Any

FIELDS = Path(__file__).with_name("fields.json")
MODULES = {
    "ZeroTrustTunnelCloudflared": "zero_trust_tunnel_cloudflared",
    "ZeroTrustTunnelCloudflaredConfig": "zero_trust_tunnel_cloudflared_config",
    "DnsRecord": "dns_record",
    "ZeroTrustAccessServiceToken": "zero_trust_access_service_token",
    "ZeroTrustAccessPolicy": "zero_trust_access_policy",
    "ZeroTrustAccessApplication": "zero_trust_access_application",
    "ZeroTrustAccessIdentityProvider": "zero_trust_access_identity_provider",
}
SCALARS = {str: "string", bool: "bool", int: "number", float: "number"}


def fields_of(kind: Any) -> dict[str, Any]:
    """The properties of an Args class by their wire names: Python name, type, choices, whether required."""
    from pulumi import _types

    python_names = {wire: name for name, wire in _types.input_type_py_to_pulumi_names(kind).items()}
    parameters = inspect.signature(kind.__init__).parameters
    found = {}
    for wire, annotation in _types.input_type_types(kind).items():
        name = python_names[wire]
        field = {"name": name, **_type(annotation)}
        if name in parameters and parameters[name].default is inspect.Parameter.empty:
            field["required"] = True
        choices = re.search(r"Available values: (.*)", inspect.getdoc(getattr(kind, name)) or "")
        if choices and (words := re.findall(r'"([^"]*)"', choices[1])):
            # The SDK's generator takes a pair of underscores for emphasis.
            field["choices"] = [word.replace("*", "_") for word in words]
        found[wire] = field
    return found


def _type(annotation: Any) -> dict[str, Any]:
    from pulumi import _types

    bare = _bare(annotation)
    if bare in SCALARS:
        return {"type": SCALARS[bare]}
    if _types.is_input_type(bare):
        return {"type": "object", "fields": fields_of(bare)}
    origin, arguments = typing.get_origin(bare), typing.get_args(bare)
    if origin is not None and issubclass(origin, typing.Mapping):
        return {"type": "map", "items": _type(arguments[1])}
    if origin is not None and issubclass(origin, typing.Sequence):
        return {"type": "list", "items": _type(arguments[0])}
    return {"type": "any"}


def _bare(annotation: Any) -> Any:
    """The plain type of an `Input[...]`: its first alternative."""
    if typing.get_origin(annotation) is typing.Union:
        return _bare(typing.get_args(annotation)[0])
    return annotation


def extract() -> dict[str, Any]:
    """Inputs and outputs of every type in MODULES."""
    found = {}
    with warnings.catch_warnings():
        # The SDK warns of its own old names as it is imported.
        warnings.simplefilter("ignore", DeprecationWarning)
        importlib.import_module("pulumi_cloudflare")
    for name, module_name in MODULES.items():
        module = importlib.import_module(f"pulumi_cloudflare.{module_name}")
        inputs = fields_of(getattr(module, f"{name}Args"))
        state = fields_of(getattr(module, f"_{name}State"))
        outputs = {wire: field for wire, field in state.items() if wire not in inputs}
        found[name] = {"inputs": inputs, "outputs": outputs}
    return found


def text() -> str:
    """fields.json as it is checked in."""
    return json.dumps(extract(), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    FIELDS.write_text(text())
