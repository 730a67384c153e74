"""The user's repository as a source of the GitOps engine: one folder, or several one after another."""

from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes.core import v1 as core
from pulumi_kubernetes.meta import v1 as meta

from components.thing import thing
from keystone.charts.gitops import SECRET, login, things
from keystone.settings import Gitops


@dataclass(frozen=True, kw_only=True)
class GitopsRepositoryArgs:
    """`after` stands for the platform: the user's manifests may use all of its kinds."""

    gitops: Gitops
    after: list[pulumi.Resource]
    key: pulumi.Input[str] | None = None
    """The token or private key that reads the repository."""


class GitopsRepository(pulumi.ComponentResource):
    def __init__(self, name: str, args: GitopsRepositoryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("keystone:components:GitopsRepository", name, None, opts)
        made: dict[str, Any] = {}
        after = [*args.after, *self._login(name, args)]
        for it in things(args.gitops):
            # The first is the source; phases wait for each other in the cluster, where they also run again.
            before = list(made.values())[:1] or after
            made[it.name] = thing(f"{name}-{it.kind.lower()}-{it.name}", it, parent=self, after=before)
        self.register_outputs({})

    def _login(self, name: str, args: GitopsRepositoryArgs) -> list[pulumi.Resource]:
        repository = args.gitops.repository
        if repository is None or repository.login is None or args.key is None:
            return []
        labels, _ = login(args.gitops, "")
        data = pulumi.Output.secret(args.key).apply(lambda key: login(args.gitops, key)[1])
        return [
            core.Secret(
                f"{name}-login",
                metadata=meta.ObjectMetaArgs(name=SECRET, namespace=args.gitops.namespace, labels=labels or None),
                string_data=data,
                opts=pulumi.ResourceOptions(parent=self, depends_on=args.after),
            )
        ]
