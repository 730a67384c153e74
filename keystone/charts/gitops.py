"""The user's repository as objects of Flux or Argo CD."""

from collections.abc import Iterator, Mapping
from typing import Any

from keystone.charts.objects import Thing
from keystone.settings import Gitops, Phase, Repository

NAME = "cluster"
SECRET = "cluster-repository"
FINALIZER = "resources-finalizer.argocd.argoproj.io"
"""Makes an application of Argo CD that is removed take its objects with it."""


def login(gitops: Gitops, key: str) -> tuple[dict[str, str], dict[str, str]]:
    """Labels and content of the Secret with which the engine reads the repository; `key` is the token or private key.

    https://fluxcd.io/flux/components/source/gitrepositories/#secret-reference and
    https://argo-cd.readthedocs.io/en/stable/operator-manual/declarative-setup/#repositories
    """
    repository = gitops.repository
    assert repository
    assert repository.login
    ssh, username = repository.url.startswith("ssh://"), repository.login.username
    if gitops.engine == "flux":
        if ssh:
            return {}, {"identity": key, "known_hosts": repository.login.known_hosts or ""}
        return {}, {"username": username, "password": key}
    proof = {"sshPrivateKey": key} if ssh else {"username": username, "password": key}
    # Argo CD finds it by the label and the URL, not by its name.
    return {"argocd.argoproj.io/secret-type": "repository"}, {"type": "git", "url": repository.url, **proof}


def things(gitops: Gitops) -> Iterator[Thing]:
    """Source first, then its folders. Nothing without a repository."""
    if gitops.repository is not None:
        yield from (_flux if gitops.engine == "flux" else _argo)(gitops, gitops.repository)


def _phases(repository: Repository) -> Mapping[str, Phase]:
    return repository.phases or {NAME: Phase(path=repository.path)}


def _flux(gitops: Gitops, repository: Repository) -> Iterator[Thing]:
    secret = {"secretRef": {"name": SECRET}} if repository.login else {}
    yield Thing(
        api="source.toolkit.fluxcd.io/v1",
        kind="GitRepository",
        name=NAME,
        namespace=gitops.namespace,
        wait="condition=Ready",
        spec={
            "interval": f"{repository.interval_minutes}m",
            "url": repository.url,
            "ref": {"branch": repository.branch},
            **secret,
        },
    )
    for name, phase in _phases(repository).items():
        yield Thing(
            api="kustomize.toolkit.fluxcd.io/v1",
            kind="Kustomization",
            name=name,
            namespace=gitops.namespace,
            # Not waited for: the folders are the user's own, and what is wrong in one must not stop the cluster.
            spec={
                "interval": "10m",
                "retryInterval": "1m",
                "timeout": "5m",
                "path": phase.path,
                "prune": phase.prune,
                # What makes and removes things for its objects goes after them: until then they must be gone.
                **({"deletionPolicy": "WaitForTermination"} if phase.prune else {}),
                # A phase is done when its objects are ready, not when they are there.
                "wait": True,
                "sourceRef": {"kind": "GitRepository", "name": NAME},
                **({"dependsOn": [{"name": before} for before in phase.after]} if phase.after else {}),
            },
        )


def _argo(gitops: Gitops, repository: Repository) -> Iterator[Thing]:
    """One Application per phase. There is no order between them: each is tried again until it fits."""
    for name, phase in _phases(repository).items():
        spec: dict[str, Any] = {
            "project": "default",
            "source": {"repoURL": repository.url, "path": phase.path, "targetRevision": repository.branch},
            "destination": {"server": "https://kubernetes.default.svc"},
            "syncPolicy": {
                "automated": {"prune": phase.prune, "selfHeal": True},
                "syncOptions": ["ServerSideApply=true"],
                "retry": {"limit": -1, "backoff": {"duration": "10s", "factor": 2, "maxDuration": "3m"}},
            },
        }
        yield Thing(
            api="argoproj.io/v1alpha1",
            kind="Application",
            name=name,
            namespace=gitops.namespace,
            finalizers=(FINALIZER,) if phase.prune else (),
            spec=spec,
        )
