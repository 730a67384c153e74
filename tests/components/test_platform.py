"""The platform as a whole, over the matrix of choices."""

from typing import Any

import pulumi
import pytest

from components.platform import Platform, PlatformArgs
from keystone.settings import Secrets
from tests.components.platforms import CEPH, POOLS, Anything, settings
from tests.recording import ROOT_SECRET, Engine, run

FULL: dict[str, Any] = {
    "network": {"loadBalancer": {"pools": POOLS}},
    "storage": {**CEPH, "localPath": {}},
    "platform": {"certManager": {}},
    "gitops": {"repository": {"url": "https://git.example.org/team/cluster.git"}},
}
CALICO = {"cni": "calico", "gateway": "traefik", "loadBalancer": {"provider": "metallb", "pools": POOLS}}
MATRIX: dict[str, dict[str, Any]] = {
    "as it comes": FULL,
    "nothing chosen": {},
    "argocd": {**FULL, "gitops": {**FULL["gitops"], "engine": "argocd"}},
    "calico": {**FULL, "network": CALICO},
    "calico without metallb": {**FULL, "network": {**CALICO, "loadBalancer": {"provider": "metallb"}}},
    "flannel with nginx": {**FULL, "network": {**CALICO, "cni": "flannel", "gateway": "nginx"}},
    "ceph off": {**FULL, "storage": {"localPath": {}}},
    "longhorn": {**FULL, "storage": {"default": "longhorn", "longhorn": {}, "localPath": {}}},
    "observed": {**FULL, "observability": {"logs": {"store": "bucket"}}},
    "observed without Ceph": {**FULL, "storage": {"localPath": {}}, "observability": {}},
    "observed by argocd": {**FULL, "gitops": {"engine": "argocd"}, "observability": {}},
    "istio": {**FULL, "network": {**FULL["network"], "serviceMesh": "istio"}},
}


def deploy(sections: dict[str, Any], *, preview: bool = False) -> Engine:
    chosen = settings(**sections)

    def build() -> None:
        secrets = Secrets(root=pulumi.Output.secret(ROOT_SECRET))
        Platform("platform", PlatformArgs(settings=chosen, secrets=secrets, after=Anything()))

    return run(build, preview=preview)


@pytest.mark.parametrize("sections", MATRIX.values(), ids=MATRIX)
def test_a_preview_shows_what_an_update_makes(sections: dict[str, Any]) -> None:
    made, previewed = deploy(sections), deploy(sections, preview=True)
    assert {r.name for r in previewed.resources} == {r.name for r in made.resources}


@pytest.mark.parametrize("sections", MATRIX.values(), ids=MATRIX)
def test_every_namespaced_object_lies_in_a_namespace_that_is_there(sections: dict[str, Any]) -> None:
    engine = deploy(sections)
    ours = {r.inputs["metadata"]["name"] for r in engine.resources if r.kind == "kubernetes:core/v1:Namespace"}
    there = ours | {"kube-system", "flux-system", "argocd"}
    for resource in engine.resources:
        metadata = resource.inputs.get("metadata", {})
        assert metadata.get("namespace", "kube-system") in there, resource.name
        target = resource.inputs.get("spec", {}).get("targetNamespace", "kube-system")
        assert target in there, resource.name


def test_only_the_chosen_engine_has_objects() -> None:
    for name, other in (("as it comes", "argoproj.io"), ("argocd", "toolkit.fluxcd.io")):
        engine = deploy(MATRIX[name])
        assert not [r.name for r in engine.resources if other in str(r.inputs.get("apiVersion"))]


def test_nothing_comes_before_the_nodes() -> None:
    engine = deploy(FULL)
    first = [r for r in engine.resources if r.kind == "kubernetes:core/v1:Namespace"]
    assert first
    assert all("anything" in r.dependencies for r in first)


@pytest.mark.parametrize(
    ("case", "maker"), [("observed", "rook-ceph-cluster"), ("observed without Ceph", "local-path")]
)
def test_a_destroy_removes_the_claims_of_the_monitoring_while_what_made_their_volumes_is_there(
    case: str, maker: str
) -> None:
    # No chart removes claims, they go with their namespace; and Ceph keeps a pool that holds a volume.
    assert f"chart-{maker}-release" in deploy(MATRIX[case]).named("namespace-monitoring").dependencies


def test_the_platform_of_a_small_site_stays_small() -> None:
    assert len(deploy(FULL).resources) <= 70
