"""A release: its objects in Flux and in Argo CD, what it waits for, and how it is put in order."""

import json
from dataclasses import replace
from typing import Any

import pytest

from components.chart_release import ChartRelease, ChartReleaseArgs, install
from keystone.charts import Release
from keystone.settings import Gitops
from tests.components.platforms import Anything
from tests.recording import Engine, run

RELEASE = Release(
    name="store",
    chart="rook-ceph",
    repository="https://charts.test",
    version="v1.2.3",
    namespace="rook-ceph",
    needs=("base",),
    values={"a": {"b": 1}},
    limit_seconds=120,
)
OCI = Release(name="certs", chart="cert-manager", repository="oci://quay.test/charts", version="v1", namespace="certs")


def deploy(release: Release, engine: str = "flux", release_seconds: int | None = None, **more: Any) -> Engine:
    gitops = Gitops.model_validate({"engine": engine, "releaseSeconds": release_seconds})
    args = ChartReleaseArgs(release=release, gitops=gitops, namespace="there", **more)
    return run(lambda: ChartRelease("chart", args) and None)


def test_flux_gets_a_source_and_a_release_with_chart_version_and_values() -> None:
    engine = deploy(RELEASE)
    source, release = engine.named("chart-source"), engine.named("chart-release")
    assert source.inputs["kind"] == "HelmRepository"
    assert source.inputs["spec"] == {"interval": "12h", "url": "https://charts.test"}
    spec = release.inputs["spec"]
    assert spec["chart"]["spec"] == {
        "chart": "rook-ceph",
        "version": "v1.2.3",
        "sourceRef": {"kind": "HelmRepository", "name": "store"},
    }
    assert (spec["targetNamespace"], spec["releaseName"], spec["values"]) == ("there", "store", {"a": {"b": 1}})
    assert spec["dependsOn"] == [{"name": "base"}]
    assert spec["driftDetection"] == {"mode": "enabled"}
    assert release.dependencies >= {"chart-source"}


def test_flux_takes_a_chart_from_a_registry_by_its_tag() -> None:
    engine = deploy(OCI)
    assert engine.named("chart-source").inputs["kind"] == "OCIRepository"
    assert engine.named("chart-source").inputs["spec"]["url"] == "oci://quay.test/charts/cert-manager"
    assert engine.named("chart-source").inputs["spec"]["ref"] == {"tag": "v1"}
    assert engine.named("chart-release").inputs["spec"]["chartRef"] == {"kind": "OCIRepository", "name": "certs"}


def test_argo_gets_one_application_that_takes_its_objects_with_it() -> None:
    engine = deploy(RELEASE, "argocd")
    application = engine.named("chart-release")
    assert len(engine.resources) == 2  # the component and its one object
    assert application.inputs["kind"] == "Application"
    spec = application.inputs["spec"]
    assert (spec["source"]["chart"], spec["source"]["targetRevision"]) == ("rook-ceph", "v1.2.3")
    assert spec["source"]["helm"] == {"releaseName": "store", "valuesObject": {"a": {"b": 1}}}
    assert application.inputs["metadata"]["finalizers"] == ["resources-finalizer.argocd.argoproj.io"]
    assert application.inputs["metadata"]["namespace"] == "argocd"


def test_argo_spells_a_registry_without_its_scheme() -> None:
    assert deploy(OCI, "argocd").named("chart-release").inputs["spec"]["source"]["repoURL"] == "quay.test/charts"


def waits(engine: Engine) -> str:
    return engine.named("chart-release").inputs["metadata"]["annotations"]["pulumi.com/waitFor"]


@pytest.mark.parametrize("engine", ["flux", "argocd"])
def test_it_waits_longer_than_the_chart_may_take(engine: str) -> None:
    release = deploy(RELEASE, engine).named("chart-release")
    assert int(release.timeouts["create"].removesuffix("s")) > 120 == RELEASE.limit_seconds
    assert release.timeouts["delete"]


@pytest.mark.parametrize("engine", ["flux", "argocd"])
def test_the_settings_may_give_charts_another_time(engine: str) -> None:
    release = deploy(RELEASE, engine, release_seconds=900).named("chart-release")
    assert int(release.timeouts["create"].removesuffix("s")) > 900
    if engine == "flux":
        assert release.inputs["spec"]["timeout"] == "900s"


def test_flux_is_waited_for_by_its_condition_which_tells_the_generation() -> None:
    assert waits(deploy(RELEASE)) == "condition=Ready"


def test_argo_is_waited_for_until_it_has_compared_the_cluster_to_what_is_asked_for_now() -> None:
    def asked(release: Release, **more: Any) -> tuple[str, list[str]]:
        engine = deploy(release, "argocd", **more)
        return engine.named("chart-release").inputs["spec"]["source"]["name"], json.loads(waits(engine))

    name, expected = asked(RELEASE)
    assert expected == [
        f"jsonpath={{.status.sync.comparedTo.source.name}}={name}",
        "jsonpath={.status.sync.status}=Synced",
        "jsonpath={.status.health.status}=Healthy",
    ]
    others = [asked(RELEASE, values={"c": 2}), asked(replace(RELEASE, version="v2")), asked(RELEASE)]
    assert [other[0] == name for other in others] == [False, False, True]


def test_what_is_protected_cannot_be_deleted() -> None:
    assert deploy(RELEASE, protect=True).named("chart-release").protect
    assert not deploy(RELEASE).named("chart-release").protect


def test_a_failed_installation_is_tried_again_for_ever_so_that_the_next_up_goes_on() -> None:
    spec = deploy(RELEASE).named("chart-release").inputs["spec"]
    assert spec["install"]["strategy"]["name"] == spec["upgrade"]["strategy"]["name"] == "RetryOnFailure"


def test_further_values_are_added_to_those_of_the_catalogue() -> None:
    release = deploy(RELEASE, values={"c": 2}).named("chart-release")
    assert release.inputs["spec"]["values"] == {"a": {"b": 1}, "c": 2}


def test_releases_come_after_what_they_need() -> None:
    base = Release(name="base", chart="base", repository="https://charts.test", version="1", namespace="there")

    def build() -> None:
        install(
            [base, RELEASE],
            Gitops(),
            {"there": "there", RELEASE.namespace: RELEASE.namespace},
            parent=Anything(),
            after={},
        )

    engine = run(build)
    assert (
        "chart-base-release"
        in engine.named("chart-store").dependencies
        | engine.named("chart-store-release").dependencies
        | engine.named("chart-store-source").dependencies
    )
    assert engine.named("chart-store-release").inputs["spec"]["targetNamespace"] == "rook-ceph"
