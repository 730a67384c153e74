"""What the program would put into Kubernetes, checked without a cluster: rendered, and held against the definitions.

An API server prunes fields that a definition does not know, in silence; here they are faults.
"""

import json
import runpy
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pulumi.runtime
import yaml

from keystone.errors import KeystoneError
from tests.recording import ROOT_SECRET, SECRET, Recorded, run
from twin.charts.catalogue import CHARTS
from twin.charts.definitions import Definition

PROJECT = Path(__file__).resolve().parents[1]
KUBERNETES = "k8s.io/kubernetes"


def recorded(stack: str, folder: Path = PROJECT) -> list[Recorded]:
    """Every registration of the program for a stack file of a folder, which is the current one."""
    config: dict[str, Any] = yaml.safe_load((folder / f"Pulumi.{stack}.yaml").read_text())["config"]
    values = {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}
    secrets = [key for key, value in config.items() if isinstance(value, dict) and "secure" in value]
    pulumi.runtime.set_all_config({**values, **dict.fromkeys(secrets, ROOT_SECRET)}, secrets)
    try:
        return run(lambda: runpy.run_path(str(PROJECT / "__main__.py")) and None, stack=stack).resources
    finally:
        pulumi.runtime.set_all_config({})


def objects(resources: list[Recorded]) -> Iterator[dict[str, Any]]:
    """The Kubernetes objects among the registrations; a patch is a part of one, and left out."""
    for one in resources:
        if "apiVersion" in one.inputs and "kind" in one.inputs and not one.kind.endswith("Patch"):
            found = _plain(one.inputs)
            assert isinstance(found, dict)
            yield found


def _plain(value: Any) -> Any:
    """Without the wrapping of secrets; whole numbers as such, for the wire has only floating point."""
    if isinstance(value, dict):
        if SECRET in value:
            return _plain(value.get("value"))
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


@cache
def definitions() -> dict[tuple[str, str], Mapping[str, Any]]:
    """(API version, kind) -> schema, of every definition in the twin's catalogue."""
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for chart in CHARTS.values():
        for definition in chart.definitions():
            found |= _schemas(definition)
    return found


def _schemas(definition: Definition) -> dict[tuple[str, str], Mapping[str, Any]]:
    spec = definition["spec"]
    return {
        (f"{spec['group']}/{version['name']}", spec["names"]["kind"]): version["schema"]["openAPIV3Schema"]
        for version in spec["versions"]
        if version["served"]
    }


@cache
def built_in(api_version: str) -> dict[str, Mapping[str, Any]]:
    """Kind -> schema of what Kubernetes itself serves, from the module that the API server is built of."""
    import toolchain

    name = f"apis__{api_version.replace('/', '__')}" if "/" in api_version else f"api__{api_version}"
    file = toolchain.module_dir(KUBERNETES) / "api" / "openapi-spec" / "v3" / f"{name}_openapi.json"
    if not file.is_file():
        return {}
    parts = json.loads(file.read_text())["components"]["schemas"]
    return {
        one["kind"]: _whole(schema, parts)
        for schema in parts.values()
        for one in schema.get("x-kubernetes-group-version-kind", [])
        if "/".join(filter(None, (one["group"], one["version"]))) == api_version
    }


def _whole(schema: Any, parts: Mapping[str, Any], above: tuple[str, ...] = ()) -> Any:
    """A schema with what it refers to in its place; what refers to itself allows anything there."""
    if isinstance(schema, list):
        return [_whole(item, parts, above) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return {} if name in above else _whole(parts[name], parts, (*above, name))
    if len(schema.get("allOf", [])) == 1:
        return _whole(schema["allOf"][0], parts, above)
    return {key: _whole(value, parts, above) for key, value in schema.items()}


def faults(thing: Mapping[str, Any]) -> list[str]:
    """What an API server with the definitions would refuse or drop in an object."""
    key = (thing["apiVersion"], thing["kind"])
    where = f"{thing['kind']} {thing['metadata'].get('name', '')}"
    defined = definitions().get(key) or built_in(key[0]).get(key[1])
    if defined is None:
        return [f"{where}: neither Kubernetes nor a chart of the catalogue defines {key[0]} {key[1]}"]
    schema = {name: value for name, value in defined.items() if name != "metadata"}
    # Metadata is the API server's own business.
    body = {name: value for name, value in thing.items() if name not in ("apiVersion", "kind", "metadata")}
    schema["properties"] = {
        name: value
        for name, value in schema.get("properties", {}).items()
        if name not in ("apiVersion", "kind", "metadata")
    }
    schema["required"] = [name for name in schema.get("required", []) if name in schema["properties"]]
    wrong = [
        f"{where}: {'.'.join(map(str, error.absolute_path))}: {error.message[:200]}"
        for error in jsonschema.Draft7Validator(_as_json_schema(schema)).iter_errors(body)
    ]
    return wrong + [f"{where}: {path} is no field of {key[0]}" for path in _unknown(body, schema, "")]


def _as_json_schema(schema: Any) -> Any:
    """An OpenAPI schema of Kubernetes in the words of JSON schema."""
    if isinstance(schema, list):
        return [_as_json_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _as_json_schema(value) for key, value in schema.items() if key not in ("format", "default")}
    if found.get("nullable") is True and isinstance(found.get("type"), str):
        found["type"] = [found["type"], "null"]
    return found


def _unknown(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from _unknown(item, schema.get("items", {}), f"{path}[{number}]")
    if not isinstance(value, dict) or schema.get("x-kubernetes-preserve-unknown-fields"):
        return
    known, rest = schema.get("properties", {}), schema.get("additionalProperties")
    for key, item in value.items():
        place = f"{path}.{key}" if path else key
        if key in known:
            yield from _unknown(item, known[key], place)
        elif isinstance(rest, dict):
            yield from _unknown(item, rest, place)
        elif rest is not True and "properties" in schema:
            yield place


def kustomizations(project: Path = PROJECT) -> list[Path]:
    """The folders with a kustomization that git knows or would."""
    line = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*kustomization.yaml"]
    names = subprocess.run(line, cwd=project, capture_output=True, text=True, check=True).stdout.split("\0")
    return sorted({(project / name).parent for name in names if name})


def build(folder: Path) -> list[dict[str, Any]]:
    """The objects of a kustomization. Raises KeystoneError with kustomize's words."""
    import toolchain

    kubectl = toolchain.ensure(["kubectl"])["kubectl"]
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise KeystoneError(str(folder), done.stderr.strip().removeprefix("error: "))
    return [one for one in yaml.safe_load_all(done.stdout) if one]
