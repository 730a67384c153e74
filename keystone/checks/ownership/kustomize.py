"""What `kustomize build` would give of a folder, as far as owners and fields need it.

Remote resources, replacements, plug-ins and generated names with a hash are left out: the last are another object at
each change, and nobody else can claim them.
"""

import copy
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from keystone.checks.ownership.manifests import KUSTOMIZATIONS, Manifest, Reader
from keystone.checks.ownership.objects import Scopes, group_of, metadata_of


def kustomization(folder: Path) -> Path | None:
    """The folder's kustomization file."""
    return next((folder / name for name in KUSTOMIZATIONS if (folder / name).is_file()), None)


def build(folder: Path, reader: Reader, scopes: Scopes, depth: int = 0) -> list[Manifest]:
    """The objects of a folder; without a kustomization file, all manifests below it, as Flux does."""
    file = kustomization(folder)
    if file is None:
        return _unlisted(folder, reader, scopes, depth)
    settings = next((document for document, _, _ in reader.documents(file) if isinstance(document, dict)), {})
    found: list[Manifest] = []
    for entry in [*_list(settings, "resources"), *_list(settings, "bases"), *_list(settings, "components")]:
        target = (folder / str(entry)).resolve()
        if target.is_dir() and depth < 20:
            found += build(target, reader, scopes, depth + 1)
        elif target.is_file():
            found += reader.manifests(target)
    found += list(_generated(settings, reader.name(file)))
    return transformed(found, settings, folder, scopes)


def includes(folder: Path, reader: Reader) -> set[Path]:
    """The folders that a folder's kustomization names."""
    file = kustomization(folder)
    documents = [document for document, _, _ in reader.documents(file)] if file else []
    settings = next((document for document in documents if isinstance(document, dict)), {})
    names = [*_list(settings, "resources"), *_list(settings, "bases"), *_list(settings, "components")]
    return {path for name in names if (path := (folder / str(name)).resolve()).is_dir()}


def _unlisted(folder: Path, reader: Reader, scopes: Scopes, depth: int) -> list[Manifest]:
    """The objects of a folder that has no kustomization file: its files, and its folders, each built by itself."""
    found = [one for path in reader.files(folder, recursive=False) for one in reader.manifests(path)]
    for inner in reader.folders(folder):
        found += build(inner, reader, scopes, depth + 1)
    return found


def transformed(found: list[Manifest], settings: Mapping[str, Any], folder: Path, scopes: Scopes) -> list[Manifest]:
    """The objects after the patches, names, namespaces, labels, images and replicas of a kustomization."""
    result = [one.with_document(copy.deepcopy(one.document)) for one in found]
    for patch, target in _patches(settings, folder):
        result = [one for one in (_patched(each, patch, target) for each in result) if one is not None]
    for one in result:
        _rename(one.document, settings, scopes)
        _label(one.document, settings)
        _scale(one.document, settings)
    return result


def _list(settings: Mapping[str, Any], key: str) -> list[Any]:
    value = settings.get(key)
    return value if isinstance(value, list) else []


def _generated(settings: Mapping[str, Any], place: str) -> Iterator[Manifest]:
    options = settings.get("generatorOptions") or {}
    for key, kind in (("configMapGenerator", "ConfigMap"), ("secretGenerator", "Secret")):
        for entry in _list(settings, key):
            own = {**options, **(entry.get("options") or {})}
            if own.get("disableNameSuffixHash"):
                metadata = {"name": str(entry.get("name")), "namespace": entry.get("namespace")}
                yield Manifest(
                    {"apiVersion": "v1", "kind": kind, "metadata": metadata, "data": {"*": "generated"}}, place
                )


def _patches(settings: Mapping[str, Any], folder: Path) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    """Each patch (an object to merge, or a list of JSON operations) with its target."""
    for entry in _list(settings, "patchesStrategicMerge"):
        yield from ((patch, {}) for patch in _loaded(folder, str(entry)))
    for entry in [*_list(settings, "patches"), *_list(settings, "patchesJson6902")]:
        if isinstance(entry, Mapping):
            text = entry.get("patch") or entry.get("path") or ""
            yield from ((patch, entry.get("target") or {}) for patch in _loaded(folder, str(text)))


def _loaded(folder: Path, text: str) -> list[Any]:
    try:
        if "\n" not in text and (folder / text).is_file():
            text = (folder / text).read_text(encoding="utf-8")
        return [document for document in yaml.safe_load_all(text) if isinstance(document, dict | list)]
    except (OSError, yaml.YAMLError):
        return []


def _patched(one: Manifest, patch: Any, target: Mapping[str, Any]) -> Manifest | None:
    document, metadata = one.document, metadata_of(one.document)
    wanted = dict(target)
    if not wanted and isinstance(patch, Mapping):
        wanted = {"kind": patch.get("kind"), **{k: metadata_of(patch).get(k) for k in ("name", "namespace")}}
    actual = {
        "kind": document.get("kind"),
        "name": metadata.get("name"),
        "namespace": metadata.get("namespace"),
        "group": group_of(document),
    }
    for key, value in actual.items():
        # kustomize takes targets as anchored regular expressions.
        if wanted.get(key) and not re.fullmatch(str(wanted[key]), str(value or "")):
            return one
    if wanted.get("labelSelector") or wanted.get("annotationSelector"):
        return one
    if isinstance(patch, Mapping):
        if patch.get("$patch") == "delete":
            return None
        rest = {key: value for key, value in patch.items() if key not in ("apiVersion", "kind")}
        merged = merge(document, rest)
        merged["metadata"] = {**merged.get("metadata", {}), "name": metadata.get("name")}
        return one.with_document(merged)
    result = copy.deepcopy(dict(document))
    for operation in patch:
        _operate(result, operation)
    return one.with_document(result)


def merge(base: Any, patch: Any) -> Any:
    """A strategic merge: mappings by key, lists of named items by name, null removes, everything else replaces."""
    if isinstance(base, Mapping) and isinstance(patch, Mapping):
        result = dict(base)
        for key, value in patch.items():
            if value is None:
                result.pop(key, None)
            else:
                result[key] = merge(result.get(key), value)
        return result
    if isinstance(base, list) and isinstance(patch, list) and _named([*base, *patch]):
        items = {item["name"]: item for item in base}
        for item in patch:
            items[item["name"]] = merge(items.get(item["name"]), item)
        return list(items.values())
    return patch


def _named(items: list[Any]) -> bool:
    return bool(items) and all(isinstance(item, Mapping) and "name" in item for item in items)


def _operate(document: dict[str, Any], operation: Any) -> None:
    """One operation of RFC 6902; one that does not fit changes nothing, where kustomize would refuse to build."""
    if not isinstance(operation, Mapping) or operation.get("op") not in ("add", "replace", "remove"):
        return
    parts = str(operation.get("path", "")).split("/")[1:] or [""]
    *way, last = [part.replace("~1", "/").replace("~0", "~") for part in parts]
    here: Any = document
    try:
        for part in way:
            here = here[int(part)] if isinstance(here, list) else here[part]
        if isinstance(here, list):
            if operation["op"] == "remove":
                here.pop(int(last))
            elif last == "-" or operation["op"] == "add":
                here.insert(len(here) if last == "-" else int(last), operation.get("value"))
            else:
                here[int(last)] = operation.get("value")
        elif operation["op"] == "remove":
            here.pop(last, None)
        else:
            here[last] = operation.get("value")
    except (KeyError, IndexError, ValueError, TypeError):
        return


def _rename(document: Any, settings: Mapping[str, Any], scopes: Scopes) -> None:
    metadata = document.setdefault("metadata", {})
    if document.get("kind") not in ("Namespace", "CustomResourceDefinition"):
        metadata["name"] = f"{settings.get('namePrefix') or ''}{metadata['name']}{settings.get('nameSuffix') or ''}"
    if settings.get("namespace") and not scopes.cluster_wide(group_of(document), str(document.get("kind"))):
        metadata["namespace"] = str(settings["namespace"])


def _label(document: Any, settings: Mapping[str, Any]) -> None:
    pairs = {**(settings.get("commonLabels") or {})}
    for entry in _list(settings, "labels"):
        pairs |= (entry.get("pairs") or {}) if isinstance(entry, Mapping) else {}
    for key, added in (("labels", pairs), ("annotations", settings.get("commonAnnotations") or {})):
        if added:
            document["metadata"][key] = {**(document["metadata"].get(key) or {}), **added}


def _scale(document: Any, settings: Mapping[str, Any]) -> None:
    for entry in _list(settings, "replicas"):
        if entry.get("name") == document["metadata"]["name"] and isinstance(document.get("spec"), dict):
            document["spec"]["replicas"] = entry.get("count")
    images = {entry.get("name"): entry for entry in _list(settings, "images") if isinstance(entry, Mapping)}
    for container in _containers(document) if images else ():
        name = re.split(r"[:@](?=[^/]*$)", str(container.get("image", "")))[0]
        if entry := images.get(name):
            end = f"@{entry['digest']}" if entry.get("digest") else f":{entry['newTag']}" if entry.get("newTag") else ""
            container["image"] = f"{entry.get('newName') or name}{end}"


def _containers(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("containers", "initContainers") and isinstance(value, list):
                yield from (item for item in value if isinstance(item, dict))
            else:
                yield from _containers(value)
    elif isinstance(node, list):
        for item in node:
            yield from _containers(item)
