"""The catalogue against the real definitions and the real schemas of values, from the pinned Go modules."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import toolchain
import versions
from keystone.charts import releases
from keystone.charts.newer import NEWER
from tests.charts.test_catalogue import POOLS, THREE, settings
from toolchain import cache
from twin.charts import bootstrap, catalogue, definitions, rendered
from twin.charts.catalogue import CHARTS, GATEWAY_API

MODULES = {
    "github.com/argoproj/argo-cd/v3": versions.ARGO_CD_CRDS,
    "github.com/cert-manager/cert-manager": versions.CERT_MANAGER_CRDS,
    "github.com/cilium/cilium": versions.CILIUM_CRDS,
    "github.com/fluxcd/helm-controller": versions.FLUX_HELM_CRDS,
    "github.com/fluxcd/kustomize-controller": versions.FLUX_KUSTOMIZE_CRDS,
    "github.com/fluxcd/source-controller": versions.FLUX_SOURCE_CRDS,
    "github.com/longhorn/longhorn-manager": versions.LONGHORN_CRDS,
    "github.com/prometheus-operator/prometheus-operator": versions.PROMETHEUS_CRDS,
    "github.com/rook/rook": versions.ROOK_CRDS,
    "go.universe.tf/metallb": versions.METALLB_CRDS,
    "sigs.k8s.io/external-dns": versions.EXTERNAL_DNS_CRDS,
    "sigs.k8s.io/gateway-api": versions.GATEWAY_API_CRDS,
    "sigs.k8s.io/karpenter": versions.KARPENTER_CRDS,
}
SCHEMAS = {
    "cert-manager": ("github.com/cert-manager/cert-manager", "deploy/charts/cert-manager"),
    "external-dns": ("sigs.k8s.io/external-dns", "charts/external-dns"),
    "metallb": ("go.universe.tf/metallb", "charts/metallb"),
}
"""Charts whose schema of values a Go module holds; Cilium's is checked with the host layer, in tests/nix."""


def everything() -> Any:
    """A stack that chooses as much as fits together."""
    return settings(
        THREE,
        network={"gateway": "traefik", "loadBalancer": {"provider": "metallb", "pools": POOLS}},
        storage={"default": "ceph-block", "ceph": {}, "localPath": {}, "longhorn": {}, "openebs": {}},
        platform={
            "certManager": {"acme": {"email": "ops@example.org"}},
            "externalDns": {"provider": "cloudflare", "domains": ["example.org"]},
            "verticalPodAutoscaler": True,
        },
    )


def test_versions_and_the_go_module_name_the_same_sources() -> None:
    text = (cache.MODULES / "crds" / "go.mod").read_text()
    assert dict(re.findall(r"^\t(\S+) v(\S+)$", text, re.MULTILINE)) == MODULES
    used = {source.module for chart in CHARTS.values() for source in chart.sources} | {GATEWAY_API.module}
    assert used == set(MODULES)


@pytest.mark.parametrize("name", [name for name, chart in CHARTS.items() if chart.sources])
def test_the_definitions_of_a_chart_can_be_had_and_lost_nothing_but_words(name: str) -> None:
    for definition in CHARTS[name].definitions():
        spec = definition["spec"]
        assert definition["metadata"]["name"] == f"{spec['names']['plural']}.{spec['group']}"
        assert spec["versions"]
        assert "conversion" not in spec
        for version in spec["versions"]:
            assert version["schema"]["openAPIV3Schema"]["type"] == "object"


def test_a_field_that_is_called_description_stays() -> None:
    source = definitions.Source("github.com/argoproj/argo-cd/v3", "manifests/crds/appproject-crd.yaml")
    [project] = definitions.load(source)
    spec = project["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert spec["properties"]["description"] == {"maxLength": 255, "type": "string"}
    assert "description" not in spec


@pytest.mark.parametrize("name", [release for release in releases(everything()) if release in CHARTS])
def test_the_api_groups_of_a_release_are_those_that_its_chart_brings(name: str) -> None:
    release = releases(everything())[name]
    brought = {definition["spec"]["group"] for definition in CHARTS[release.chart].definitions()}
    assert brought <= set(release.crd_groups)


def checked(thing: dict[str, Any], found: list[definitions.Definition]) -> list[str]:
    """What the schema of an object's kind says against it; unknown fields are faults."""
    group, _, version = thing["apiVersion"].partition("/")
    for definition in found:
        spec = definition["spec"]
        if (spec["group"], spec["names"]["kind"]) == (group, thing["kind"]):
            [schema] = [v["schema"]["openAPIV3Schema"] for v in spec["versions"] if v["name"] == version]
            closed = closing(copy.deepcopy(schema))
            return [error.message for error in jsonschema.Draft7Validator(closed).iter_errors(thing)]
    raise AssertionError(f"nobody defines {thing['kind']}")


def closing(schema: Any) -> Any:
    """A schema that refuses unknown fields, as the API server does."""
    if isinstance(schema, list):
        return [closing(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "properties" in schema and "additionalProperties" not in schema:
        open_ended = schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("x-kubernetes-embedded-resource")
        schema["additionalProperties"] = bool(open_ended)
    if schema.get("x-kubernetes-int-or-string"):
        schema.pop("type", None)
        schema.pop("anyOf", None)
    for key, value in list(schema.items()):
        if key == "metadata" and value == {"type": "object"}:
            continue
        schema[key] = closing(value)
    return schema


def rook_objects() -> list[dict[str, Any]]:
    found = releases(everything())
    made = [*rendered.ceph_cluster(found["rook-ceph-cluster"].values, "rook-ceph")]
    made += rendered.ceph_csi_drivers(found["ceph-csi-drivers"].values, "rook-ceph")
    return [thing for thing in json.loads(json.dumps(made)) if thing["kind"] != "StorageClass"]


def test_what_rook_makes_of_our_values_fits_its_definitions() -> None:
    found = CHARTS["rook-ceph"].definitions()
    assert {thing["kind"]: checked(thing, found) for thing in rook_objects()} == {
        "CephCluster": [],
        "CephBlockPool": [],
        "CephFilesystem": [],
        "CephFilesystemSubVolumeGroup": [],
        "CephObjectStore": [],
        "OperatorConfig": [],
        "Driver": [],
    }


def test_every_newer_field_is_used_and_lacks_in_the_older_definitions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(definitions, "NEWER", ())
    found = CHARTS["rook-ceph"].definitions()
    missing = [fault for thing in rook_objects() for fault in checked(thing, found)]
    assert len(missing) == len(NEWER)
    assert all(any(entry.path.rpartition(".")[2] in fault for fault in missing) for entry in NEWER)


@pytest.mark.parametrize("name", SCHEMAS)
def test_our_values_fit_the_charts_own_schema(name: str) -> None:
    module, folder = SCHEMAS[name]
    chart = toolchain.module_dir(module) / folder
    schema = json.loads((chart / "values.schema.json").read_text())
    ours = json.loads(json.dumps(releases(everything())[name].values))
    # Helm checks the chart's own values with ours over them.
    values = merged(yaml.safe_load((chart / "values.yaml").read_text()), ours)
    validator = jsonschema.Draft7Validator(schema)
    assert [error.message for error in validator.iter_errors(values)] == []
    assert list(validator.iter_errors({**values, "nameOverride": ["no"]})), "it would pass anything"


def merged(below: Any, above: Any) -> Any:
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return {**below, **{key: merged(below.get(key), value) for key, value in above.items()}}


def test_no_definition_is_copied_into_the_project() -> None:
    root = Path(__file__).parents[2]
    copied = [
        str(path.relative_to(root))
        for folder in ("keystone", "twin", "components", "toolchain", "nix")
        for path in (root / folder).rglob("*.y*ml")
        if "kind: CustomResourceDefinition" in path.read_text()
    ]
    # kwok's Stage is defined by us, with a schema that takes anything.
    assert copied == ["twin/services/stages/00-crd.yaml"]


def test_definitions_are_fetched_once_and_before_anything_waits_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, said = toolchain.module_dir(GATEWAY_API.module), []
    monkeypatch.setattr(cache, "root", lambda: tmp_path)
    monkeypatch.setattr(toolchain, "module_dir", lambda _module: kept)
    catalogue.fetch(["gateway-api", "reloader"], said.append)
    assert said == ["[1/1] fetching the definitions in sigs.k8s.io/gateway-api, once"]
    assert definitions.kept_at(GATEWAY_API).is_file()
    catalogue.fetch(["gateway-api"], said.append)
    assert len(said) == 1


def test_the_host_layers_charts_are_among_what_is_fetched() -> None:
    assert bootstrap.charts(settings()) == {"cilium", "flux-operator", "gateway-api"}
    assert bootstrap.charts(settings(gitops={"engine": "argocd"})) == {"argo-cd", "cilium", "gateway-api"}
    assert bootstrap.charts(settings()) <= CHARTS.keys()
