"""Custom resources from the values of `keystone/charts/objects.py`."""

from collections.abc import Iterable, Mapping, Sequence

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.meta import v1 as meta

from keystone.charts.objects import Thing

LIMIT = "5m"


def thing(
    name: str,
    it: Thing,
    *,
    parent: pulumi.Resource,
    after: Sequence[pulumi.Resource] = (),
    namespace: pulumi.Input[str] | None = None,
    removal: str = LIMIT,
) -> CustomResource:
    """One object; with a `wait` it is done when that holds. `namespace` carries what the object waits for.

    `removal` is how long it may take to go.
    """
    annotations = {**it.annotations, **({"pulumi.com/waitFor": it.wait} if it.wait else {})}
    return CustomResource(
        name,
        api_version=it.api,
        kind=it.kind,
        metadata=meta.ObjectMetaArgs(
            name=it.name,
            namespace=namespace or it.namespace,
            annotations=annotations or None,
            finalizers=list(it.finalizers) or None,
        ),
        spec=it.spec,
        opts=pulumi.ResourceOptions(
            parent=parent,
            depends_on=list(after),
            custom_timeouts=pulumi.CustomTimeouts(create=LIMIT, update=LIMIT, delete=removal),
        ),
    )


def things(
    prefix: str,
    found: Iterable[Thing],
    *,
    parent: pulumi.Resource,
    namespaces: Mapping[str, pulumi.Input[str]],
    releases: Mapping[str, pulumi.Resource],
    after: Sequence[pulumi.Resource] = (),
) -> list[CustomResource]:
    """Objects one after another, named PREFIX-NAME; each after the release that its kind comes with."""
    made: list[CustomResource] = []
    for it in found:
        before = [*after, *([releases[it.after]] if it.after else []), *made[-1:]]
        namespace = namespaces.get(it.namespace, it.namespace) if it.namespace else None
        made.append(thing(f"{prefix}-{it.name}", it, parent=parent, after=before, namespace=namespace))
    return made
