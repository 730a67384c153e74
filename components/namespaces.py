"""The namespaces of the charts: each with its Pod Security level and a policy that denies what it does not list."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.core import v1 as core
from pulumi_kubernetes.meta import v1 as meta

from components.thing import thing
from keystone.charts import Opening, PodSecurity, Release, namespaces
from keystone.charts.policies import policy
from keystone.charts.release import pod_security
from keystone.settings import Settings


@dataclass(frozen=True, kw_only=True)
class NamespacesArgs:
    """`extra` are namespaces of our own objects, without a chart; `after` is what must be there before the first."""

    settings: Settings
    releases: Mapping[str, Release]
    after: pulumi.Resource
    extra: Mapping[str, tuple[PodSecurity, tuple[Opening, ...]]]


class Namespaces(pulumi.ComponentResource):
    names: Mapping[str, pulumi.Output[str]]
    """Each namespace of a chart by its name; what uses one of these values waits for namespace and policy."""

    def __init__(self, name: str, args: NamespacesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("keystone:components:Namespaces", name, None, opts)
        levels = namespaces(args.releases.values())
        levels |= {key: level for key, (level, _) in args.extra.items()}
        self.names = {}
        for key, level in sorted(levels.items()):
            made = core.Namespace(
                f"namespace-{key}",
                metadata=meta.ObjectMetaArgs(name=key, labels=pod_security(level)),
                opts=pulumi.ResourceOptions(parent=self, depends_on=[args.after]),
            )
            found: pulumi.Output[str] = made.metadata["name"]
            if rule := policy(args.settings, key, _openings(args, key)):
                denied = thing(f"policy-{key}", rule, parent=self, after=[made])
                # The namespace as its policy names it: whoever takes that comes after both.
                found = pulumi.Output.from_input(vars(denied)["metadata"])["namespace"]
            self.names[key] = found
        for key in sorted({r.namespace for r in args.releases.values()} - self.names.keys()):
            # Not of our making; what goes there waits for the same.
            self.names[key] = args.after.urn.apply(lambda _, name=key: name)
        self.register_outputs({})


def _openings(args: NamespacesArgs, namespace: str) -> tuple[Opening, ...]:
    charts = (r.openings for r in args.releases.values() if r.namespace == namespace)
    _, own = args.extra.get(namespace, ("restricted", ()))
    return tuple(sorted({*own, *(opening for found in charts for opening in found)}))
