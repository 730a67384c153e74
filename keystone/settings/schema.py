"""The JSON schema of a whole stack file (Pulumi.<stack>.yaml), for editors.

It knows the keys, types and choices; the rules between sections are held by `parse` alone.
"""

import json
from pathlib import PurePosixPath
from typing import Any

from keystone.settings.root import Settings
from keystone.settings.stackfile import NAMESPACE, ROOT_SECRET, SECRET_KEYS

PATH = PurePosixPath("docs/reference/settings.schema.json")
MODELINE = f"# yaml-language-server: $schema={PATH}"
"""First line of a stack file: tells editors where the schema is."""

_SECRET = {
    "description": "an encrypted value; set it with `pulumi config set --secret`",
    "type": "object",
    "properties": {"secure": {"type": "string"}},
    "required": ["secure"],
    "additionalProperties": False,
}


def document() -> dict[str, Any]:
    """The schema as data."""
    settings = _tidy(Settings.model_json_schema(by_alias=True))
    properties = {f"{NAMESPACE}:{key}": value for key, value in settings["properties"].items()}
    secrets = {f"{NAMESPACE}:{key}": _SECRET for key in SECRET_KEYS}
    return {
        # Draft 7 is what editors' YAML support knows best.
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Keystone stack file",
        "description": "Settings of one Keystone stack: Pulumi.<stack>.yaml",
        "type": "object",
        "properties": {
            "config": {
                "type": "object",
                "properties": {**secrets, **properties},
                # Other namespaces (pulumi:, aws:, twin:) are not ours to judge.
                "patternProperties": {f"^(?!{NAMESPACE}:)[^:]+(:.+)?$": {}},
                "required": [f"{NAMESPACE}:{ROOT_SECRET}", *(f"{NAMESPACE}:{key}" for key in settings["required"])],
                "additionalProperties": False,
            },
            "encryptionsalt": {"type": "string", "description": "salt of the stack's passphrase; made by Pulumi"},
            "secretsprovider": {"type": "string", "description": "who encrypts the stack's secrets; made by Pulumi"},
            "encryptedkey": {"type": "string", "description": "key of the secrets provider; made by Pulumi"},
        },
        "required": ["config"],
        "$defs": settings["$defs"],
    }


def _tidy(schema: Any) -> Any:
    """Without the titles that repeat a key; a mapping whose keys have a pattern takes no others."""
    if isinstance(schema, list):
        return [_tidy(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    tidy = {key: _tidy(value) for key, value in schema.items() if not (key == "title" and isinstance(value, str))}
    return {**tidy, "additionalProperties": False} if "patternProperties" in tidy else tidy


def text() -> str:
    """The schema as it is checked in."""
    return json.dumps(document(), indent=2, sort_keys=True) + "\n"
