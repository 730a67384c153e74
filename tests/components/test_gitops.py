"""The user's repository as a source of Flux or Argo CD."""

from typing import Any

from components.gitops import GitopsRepository, GitopsRepositoryArgs
from keystone.settings import Gitops
from tests.components.platforms import Anything
from tests.recording import Engine, run

URL = "https://git.example.org/team/cluster.git"
PHASES = {"base": {"path": "./base"}, "apps": {"path": "./apps", "after": ["base"], "prune": False}}


def deploy(engine: str = "flux", **repository: Any) -> Engine:
    gitops = Gitops.model_validate({"engine": engine, "repository": {"url": URL, **repository}})
    return run(lambda: GitopsRepository("gitops", GitopsRepositoryArgs(gitops=gitops, after=[Anything()])) and None)


def test_flux_follows_the_branch_and_applies_the_folder() -> None:
    engine = deploy(path="./clusters/home", branch="stable", credentialsSecret="repository")
    source = engine.named("gitops-gitrepository-cluster").inputs["spec"]
    assert (source["url"], source["ref"]) == (URL, {"branch": "stable"})
    assert source["secretRef"] == {"name": "repository"}
    assert engine.named("gitops-kustomization-cluster").inputs["spec"]["path"] == "./clusters/home"


def test_phases_wait_for_each_other_in_the_cluster() -> None:
    engine = deploy(phases=PHASES)
    base, apps = (engine.named(f"gitops-kustomization-{name}").inputs["spec"] for name in ("base", "apps"))
    assert "dependsOn" not in base
    assert (apps["dependsOn"], apps["prune"], apps["wait"]) == ([{"name": "base"}], False, True)


def test_argo_gets_an_application_for_each_phase() -> None:
    engine = deploy("argocd", phases=PHASES)
    apps = engine.named("gitops-application-apps").inputs
    assert apps["spec"]["source"] == {"repoURL": URL, "path": "./apps", "targetRevision": "main"}
    assert apps["metadata"]["namespace"] == "argocd"


def test_the_users_manifests_come_after_the_platform() -> None:
    assert "anything" in deploy().named("gitops-gitrepository-cluster").dependencies
