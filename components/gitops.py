"""The user's repository as a source of the GitOps engine: one folder, or several one after another."""

from dataclasses import dataclass
from typing import Any

import pulumi

from components.thing import thing
from keystone.charts.gitops import things
from keystone.settings import Gitops


@dataclass(frozen=True, kw_only=True)
class GitopsRepositoryArgs:
    """`after` stands for the platform: the user's manifests may use all of its kinds."""

    gitops: Gitops
    after: list[pulumi.Resource]


class GitopsRepository(pulumi.ComponentResource):
    def __init__(self, name: str, args: GitopsRepositoryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("keystone:components:GitopsRepository", name, None, opts)
        made: dict[str, Any] = {}
        for it in things(args.gitops):
            # The first is the source; phases wait for each other in the cluster, where they also run again.
            before = list(made.values())[:1] or args.after
            made[it.name] = thing(f"{name}-{it.kind.lower()}-{it.name}", it, parent=self, after=before)
        self.register_outputs({})
