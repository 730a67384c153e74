"""`make dry-run`: every kustomization is built, every object of every stack is held against the definitions."""

from pathlib import Path
from typing import Any

import pytest

from keystone.errors import KeystoneError
from tests.dry_run import PROJECT, build, faults, kustomizations, objects, recorded

STACKS = sorted(file.name.removeprefix("Pulumi.").removesuffix(".yaml") for file in PROJECT.glob("Pulumi.*.yaml"))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("stack", STACKS)
def test_an_api_server_would_take_every_object_of_the_program(stack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)
    found = list(objects(recorded(stack)))
    assert found
    assert [fault for thing in found for fault in faults(thing)] == []


@pytest.mark.parametrize("folder", kustomizations() or [None], ids=str)
def test_every_kustomization_builds_into_objects_that_would_be_taken(folder: Path | None) -> None:
    if folder is None:
        pytest.skip("the project has no kustomization")
    assert [fault for thing in build(folder) for fault in faults(thing)] == []


def route(**spec: Any) -> dict[str, Any]:
    base = {"parentRefs": [{"name": "public"}], "rules": [{"backendRefs": [{"name": "hello", "port": 80}]}]}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "hello"},
        "spec": {**base, **spec},
    }


@pytest.mark.parametrize(
    ("thing", "fault"),
    [
        (route(hostname=["a"]), "HTTPRoute hello: spec.hostname is no field of gateway.networking.k8s.io/v1"),
        (route(parentRefs=[{}]), "HTTPRoute hello: spec.parentRefs.0: 'name' is a required property"),
        (route(hostnames="a"), "HTTPRoute hello: spec.hostnames: 'a' is not of type 'array'"),
        (
            {**route(), "kind": "HTTPRoutes"},
            "HTTPRoutes hello: no chart of the catalogue defines gateway.networking.k8s.io/v1 HTTPRoutes",
        ),
    ],
)
def test_what_would_be_refused_or_dropped_is_named(thing: dict[str, Any], fault: str) -> None:
    assert fault in faults(thing)


def test_a_right_object_has_no_fault() -> None:
    assert faults(route(hostnames=["hello.example.org"])) == []


def test_a_broken_kustomization_is_told_in_kustomizes_words(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("resources: [nowhere.yaml]\n")
    with pytest.raises(KeystoneError, match=r"nowhere\.yaml"):
        build(tmp_path)
    (tmp_path / "nowhere.yaml").write_text("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n")
    assert [thing["kind"] for thing in build(tmp_path)] == ["ConfigMap"]
