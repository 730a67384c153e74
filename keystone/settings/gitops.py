"""Section `gitops`: what delivers charts and the user's own manifests. Left out: Flux without a user repository."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StrictInt, StrictStr

from keystone.settings.model import Label, Model, Wrong

GIT_URL = r"(https|ssh)://[^\s@/]*@?[A-Za-z0-9.-]+(:\d+)?/\S+"


def _git_url(value: str) -> str:
    if re.fullmatch(GIT_URL, value) is None or re.match(r"\w+://[^/@]*:[^/@]*@", value):
        raise Wrong(
            f"{value!r} is not an https or ssh URL of a repository without a password",
            "Write it like https://git.example.org/team/cluster.git; credentials go into a secret",
        )
    return value


def _folder(value: str) -> str:
    if value.startswith("/") or ".." in value.split("/") or not re.fullmatch(r"[A-Za-z0-9._/-]+", value):
        raise Wrong(f"{value!r} is not a folder inside the repository", "Write it like ./clusters/home")
    return value


GitUrl = Annotated[StrictStr, AfterValidator(_git_url)]
Folder = Annotated[StrictStr, AfterValidator(_folder)]


class Phase(Model):
    """One folder of the repository that is applied as a whole, after others."""

    path: Folder = Field(description="folder inside the repository, such as ./infrastructure")
    after: tuple[Label, ...] = Field(default=(), description="names of the phases that must be ready before (Flux)")
    prune: bool = Field(default=True, description="whether objects that leave the folder leave the cluster")


class Login(Model):
    """How a repository is read that is not everybody's.

    The token (https) or the private key (ssh) is keystone:repositoryKey.
    """

    username: Annotated[StrictStr, Field(pattern=r"^[^\s:]+$")] = Field(
        default="git", description="name that goes with the token, for https"
    )
    known_hosts: StrictStr | None = Field(
        default=None, description="lines of the file known_hosts for an ssh server; Argo CD has a list of its own"
    )


class Repository(Model):
    """The user's own repository."""

    url: GitUrl = Field(description="https or ssh URL of the git repository, without a password")
    path: Folder = Field(default="./", description="folder that is applied when there are no phases")
    branch: Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9._/-]+$")] = Field(
        default="main", description="branch that is followed"
    )
    login: Login | None = Field(default=None, description="who reads it; left out: anybody may")
    interval_minutes: Annotated[StrictInt, Field(ge=1, le=1440)] = Field(
        default=5, description="how often the repository is asked for changes"
    )
    phases: Mapping[Label, Phase] = Field(
        default_factory=dict, description="folders applied one after another, by name"
    )


class Gitops(Model):
    """Who delivers charts and the user's manifests."""

    engine: Literal["flux", "argocd"] = Field(default="flux", description="Flux or Argo CD")
    repository: Repository | None = Field(default=None, description="the user's repository: {url, path, branch}")
    release_seconds: Annotated[StrictInt, Field(ge=10, le=7200)] | None = Field(
        default=None,
        description="seconds that one chart's installation may take; left out: as the catalogue says, 300 or more",
    )

    @property
    def wants_known_hosts(self) -> bool:
        """Whether the engine takes the ssh server's key from us."""
        return self.engine == "flux" and self.repository is not None and self.repository.url.startswith("ssh://")

    @property
    def namespace(self) -> str:
        """Where the engine and its objects live."""
        return "flux-system" if self.engine == "flux" else "argocd"
