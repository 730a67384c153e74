"""Reads the properties of our resource types from the Pulumi SDK: `python -m twin.plugins.cloudflare.extract`.

The SDK takes seconds to import, so the plugin reads the result, fields.json, which a test holds equal.
"""

from __future__ import annotations

import importlib
import json
import re
import warnings
from pathlib import Path
from typing import Any

from twin.plugins.annotations import SCALARS, bare, inner, properties

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


def fields_of(kind: Any) -> dict[str, Any]:
    """The properties of an Args class by their wire names: Python name, type, choices, whether required."""
    found = {}
    for one in properties(kind):
        field = {"name": one.name, **_type(one.annotation)}
        if one.required:
            field["required"] = True
        choices = re.search(r"Available values: (.*)", one.text)
        if choices and (words := re.findall(r'"([^"]*)"', choices[1])):
            # The SDK's generator takes a pair of underscores for emphasis.
            field["choices"] = [word.replace("*", "_") for word in words]
        found[one.wire] = field
    return found


def _type(annotation: Any) -> dict[str, Any]:
    plain = bare(annotation)
    if plain in SCALARS:
        return {"type": SCALARS[plain]}
    what, items = inner(plain)
    if what == "object":
        return {"type": what, "fields": fields_of(items)}
    return {"type": what} if what == "any" else {"type": what, "items": _type(items)}


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
