"""The user's repository as a source of Flux or Argo CD."""

from typing import Any

import pulumi
import pytest
from pulumi_kubernetes.core.v1 import Secret

from components.gitops import GitopsRepository, GitopsRepositoryArgs
from keystone.settings import Gitops
from tests.components.platforms import Anything
from tests.recording import Engine, is_secret, plain, run

URL = "https://git.example.org/team/cluster.git"
PHASES = {"base": {"path": "./base"}, "apps": {"path": "./apps", "after": ["base"], "prune": False}}


SSH = "ssh://git@git.example.org/team/cluster.git"
KNOWN = "git.example.org ssh-ed25519 AAAA"


def deploy(engine: str = "flux", **repository: Any) -> Engine:
    gitops = Gitops.model_validate({"engine": engine, "repository": {"url": URL, **repository}})

    def build() -> None:
        key = pulumi.Output.secret("key-canary")
        GitopsRepository("gitops", GitopsRepositoryArgs(gitops=gitops, after=[Anything()], key=key))

    return run(build)


def test_flux_follows_the_branch_and_applies_the_folder() -> None:
    engine = deploy(path="./clusters/home", branch="stable")
    source = engine.named("gitops-gitrepository-cluster").inputs["spec"]
    assert (source["url"], source["ref"]) == (URL, {"branch": "stable"})
    assert "secretRef" not in source
    assert not engine.of(Secret)
    assert engine.named("gitops-kustomization-cluster").inputs["spec"]["path"] == "./clusters/home"


@pytest.mark.parametrize(
    ("engine", "repository", "expected"),
    [
        ("flux", {"login": {}}, {"username": "git", "password": "key-canary"}),
        ("flux", {"url": SSH, "login": {"knownHosts": KNOWN}}, {"identity": "key-canary", "known_hosts": KNOWN}),
        (
            "argocd",
            {"login": {"username": "bot"}},
            {"type": "git", "url": URL, "username": "bot", "password": "key-canary"},
        ),
        ("argocd", {"url": SSH, "login": {}}, {"type": "git", "url": SSH, "sshPrivateKey": "key-canary"}),
    ],
)
def test_the_engine_gets_the_login_in_its_own_words(
    engine: str, repository: dict[str, Any], expected: dict[str, str]
) -> None:
    made = deploy(engine, **repository)
    [secret] = made.of(Secret)
    assert is_secret(secret.inputs["stringData"])
    assert plain(secret.inputs["stringData"]) == expected
    kind = "gitrepository" if engine == "flux" else "application"
    assert "gitops-login" in made.named(f"gitops-{kind}-cluster").dependencies
    metadata = secret.inputs["metadata"]
    if engine == "flux":
        assert metadata["namespace"] == "flux-system"
        assert made.named("gitops-gitrepository-cluster").inputs["spec"]["secretRef"] == {"name": metadata["name"]}
    else:
        assert metadata["namespace"] == "argocd"
        assert metadata["labels"] == {"argocd.argoproj.io/secret-type": "repository"}


def test_phases_wait_for_each_other_in_the_cluster() -> None:
    engine = deploy(phases=PHASES)
    base, apps = (engine.named(f"gitops-kustomization-{name}").inputs["spec"] for name in ("base", "apps"))
    assert "dependsOn" not in base
    assert (apps["dependsOn"], apps["prune"], apps["wait"]) == ([{"name": "base"}], False, True)


def test_argo_gets_an_application_for_each_phase() -> None:
    engine = deploy("argocd", phases={"base": {"path": "./base"}, "apps": {"path": "./apps"}})
    apps = engine.named("gitops-application-apps").inputs
    assert apps["spec"]["source"] == {"repoURL": URL, "path": "./apps", "targetRevision": "main"}
    assert apps["metadata"]["namespace"] == "argocd"


@pytest.mark.parametrize("prune", [True, False])
def test_what_is_pruned_is_gone_before_what_it_ran_on(prune: bool) -> None:
    phases = {"base": {"path": "./base", "prune": prune}}
    spec = deploy(phases=phases).named("gitops-kustomization-base").inputs["spec"]
    assert spec.get("deletionPolicy") == ("WaitForTermination" if prune else None)
    metadata = deploy("argocd", phases=phases).named("gitops-application-base").inputs["metadata"]
    assert metadata.get("finalizers") == (["resources-finalizer.argocd.argoproj.io"] if prune else None)


def test_the_users_manifests_come_after_the_platform() -> None:
    assert "anything" in deploy().named("gitops-gitrepository-cluster").dependencies
