"""`make dry-run`: every kustomization is built, every object of every stack is held against the definitions."""

from pathlib import Path
from typing import Any

import pytest

from keystone import facts
from keystone.errors import KeystoneError
from keystone.settings import read
from tests.dry_run import PROJECT, build, faults, kustomizations, objects, recorded
from tests.settings.test_examples import CLUSTERS

STACKS = sorted(file.name.removeprefix("Pulumi.").removesuffix(".yaml") for file in PROJECT.glob("Pulumi.*.yaml"))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("stack", STACKS)
def test_an_api_server_would_take_every_object_of_the_program(stack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)
    found = list(objects(recorded(stack)))
    assert found
    assert [fault for thing in found for fault in faults(thing)] == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize("stack", sorted(CLUSTERS))
def test_an_api_server_would_take_every_object_of_an_example(
    stack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"Pulumi.{stack}.yaml").symlink_to(PROJECT / CLUSTERS[stack] / f"Pulumi.{stack}.yaml")
    facts.write(read(stack, tmp_path), stack, tmp_path)
    monkeypatch.chdir(tmp_path)
    found = list(objects(recorded(stack, tmp_path)))
    assert found
    assert [fault for thing in found for fault in faults(thing)] == []


@pytest.mark.parametrize("folder", kustomizations() or [None], ids=str)
def test_every_kustomization_builds_into_objects_that_would_be_taken(folder: Path | None) -> None:
    if folder is None:
        pytest.skip("the project has no kustomization")
    assert [fault for thing in build(folder) for fault in faults(thing)] == []


def account(**fields: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "x"}, **fields}


def deployment(**container: Any) -> dict[str, Any]:
    pod = {"containers": [{"name": "x", "image": "x", **container}]}
    spec = {"selector": {"matchLabels": {}}, "template": {"metadata": {"labels": {}}, "spec": pod}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}, "spec": spec}


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
        (account(autoMount=True), "ServiceAccount x: autoMount is no field of v1"),
        (account(automountServiceAccountToken="no"), "automountServiceAccountToken: 'no' is not of type 'boolean'"),
        (
            deployment(securityContext={"privilegd": False}),
            "Deployment x: spec.template.spec.containers[0].securityContext.privilegd is no field of apps/v1",
        ),
        (deployment(env=[{"value": "1"}]), "spec.template.spec.containers.0.env.0: 'name' is a required property"),
        (
            {**account(), "kind": "ServiceAccounts"},
            "ServiceAccounts x: neither Kubernetes nor a chart of the catalogue defines v1 ServiceAccounts",
        ),
        (route(hostnames="a"), "HTTPRoute hello: spec.hostnames: 'a' is not of type 'array'"),
        (
            {**route(), "kind": "HTTPRoutes"},
            "nor a chart of the catalogue defines gateway.networking.k8s.io/v1 HTTPRoutes",
        ),
    ],
)
def test_what_would_be_refused_or_dropped_is_named(thing: dict[str, Any], fault: str) -> None:
    [said] = faults(thing)
    assert said.endswith(fault)


def test_a_right_object_has_no_fault() -> None:
    assert faults(route(hostnames=["hello.example.org"])) == []
    assert faults(account(automountServiceAccountToken=False)) == []
    ports = [{"containerPort": 80}]
    assert faults(deployment(ports=ports, resources={"limits": {"memory": "1Gi", "cpu": 1}})) == []


def test_a_broken_kustomization_is_told_in_kustomizes_words(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("resources: [nowhere.yaml]\n")
    with pytest.raises(KeystoneError, match=r"nowhere\.yaml"):
        build(tmp_path)
    (tmp_path / "nowhere.yaml").write_text("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n")
    assert [thing["kind"] for thing in build(tmp_path)] == ["ConfigMap"]
