"""Definitions of custom resources: read from pinned Go modules, made smaller, and kept in the user's cache.

Descriptions go, for they are most of a schema and no API server needs them to check an object. Nothing else changes
but for the listed additions: what our catalogue uses and an older module lacks.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import toolchain
from keystone.charts.newer import NEWER
from keystone.errors import KeystoneError
from keystone.files import write_file
from toolchain import cache, golang

Definition = dict[str, Any]
FORMAT = "1"
"""Goes into the names of cached files: another way to make them small needs another number."""


@dataclass(frozen=True)
class Source:
    """Files of a Go module that hold definitions; `groups` takes some API groups of them only."""

    module: str
    files: str
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Permissive:
    """A kind whose schema cannot be had: any object of it is accepted."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True


class _Loader(yaml.CSafeLoader):
    """PyYAML takes a bare `=` for a value of a type that it then cannot make; in these files it is a text."""


_Loader.add_constructor("tag:yaml.org,2002:value", lambda _loader, node: node.value)


def load(source: Source) -> list[Definition]:
    """The definitions of a source, from the cache if they are there. Raises KeystoneError when they cannot be had."""
    path = kept_at(source)
    if not path.is_file():
        _keep(path, list(_read(toolchain.module_dir(source.module), source)))
    return [_with_newer(definition) for definition in json.loads(path.read_text())]


def kept_at(source: Source) -> Path:
    """Where the cache has the definitions of a source. Raises KeystoneError when no pinned module is meant."""
    folder, version = golang.required(source.module)
    if not folder:
        raise KeystoneError(source.module, "no go.mod below toolchain/modules requires it", "Add it to modules/crds")
    key = hashlib.sha256(f"{FORMAT} {source.module} {version} {source.files} {sorted(source.groups)}".encode())
    return cache.root() / "crds" / f"{key.hexdigest()[:24]}.json"


def permissive(kind: Permissive) -> Definition:
    """A definition that accepts every object of a kind."""
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{kind.plural}.{kind.group}",
            # The API server takes kinds of Kubernetes' own groups only with a word about their approval.
            "annotations": {"api-approved.kubernetes.io": "unapproved, a stand-in"}
            if kind.group.endswith((".k8s.io", ".kubernetes.io"))
            else {},
        },
        "spec": {
            "group": kind.group,
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.kind.lower(),
            },
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "versions": [
                {
                    "name": kind.version,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": anything},
                }
            ],
        },
    }


def served(definition: Definition) -> list[tuple[str, str, str]]:
    """(API version, kind, plural) of each version that a definition serves."""
    spec = definition["spec"]
    return [
        (f"{spec['group']}/{version['name']}", spec["names"]["kind"], spec["names"]["plural"])
        for version in spec["versions"]
        if version["served"]
    ]


def _read(module: Path, source: Source) -> Iterator[Definition]:
    files = sorted(module.glob(source.files))
    if not files:
        raise KeystoneError(source.module, f"holds no file {source.files}", "Check the version in toolchain/modules")
    for file in files:
        # Some charts keep their definitions as templates; what these fill in are labels and the addresses of webhooks.
        text = re.sub(r"\{\{-? include .*?\}\}", "", file.read_text())
        for document in yaml.load_all(text, _Loader):
            if not isinstance(document, dict) or document.get("kind") != "CustomResourceDefinition":
                continue
            if not source.groups or document["spec"]["group"] in source.groups:
                yield _small(document)


def _small(document: Definition) -> Definition:
    spec = copy.deepcopy(document["spec"])
    # A conversion needs a webhook, which nobody answers here; every object is stored in the version it came in.
    spec.pop("conversion", None)
    for version in spec["versions"]:
        version["schema"]["openAPIV3Schema"] = _plain(version["schema"]["openAPIV3Schema"])
    annotations = {
        key: value
        for key, value in document["metadata"].get("annotations", {}).items()
        if key.startswith("api-approved.")
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": document["metadata"]["name"], "annotations": annotations},
        "spec": spec,
    }


def _plain(schema: Any, *, names: bool = False) -> Any:
    """A schema without descriptions; below `properties` the keys are names of fields, one of which may be so called."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _plain(value, names=key == "properties" and not names)
        for key, value in schema.items()
        if names or key not in ("description", "example", "externalDocs")
    }


def _with_newer(definition: Definition) -> Definition:
    """The definition with the fields of NEWER that it lacks; one that it has stays as it is."""
    name = definition["metadata"]["name"]
    for entry in NEWER:
        if entry.definition != name:
            continue
        for version in definition["spec"]["versions"]:
            parent = version["schema"]["openAPIV3Schema"]
            *way, last = entry.path.split(".")
            for step in way:
                parent = parent["items"] if step == "[]" else parent["properties"][step]
            parent.setdefault("properties", {}).setdefault(last, dict(entry.schema))
    return definition


def _keep(path: Path, definitions: list[Definition]) -> None:
    write_file(path, json.dumps(definitions).encode())
