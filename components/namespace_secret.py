"""A Secret that must lie in a namespace before the chart whose pods want it."""

from collections.abc import Mapping

import pulumi
from pulumi_kubernetes.core import v1 as core
from pulumi_kubernetes.meta import v1 as meta


def with_secret(
    name: str,
    key: str,
    data: Mapping[str, pulumi.Input[str]],
    *,
    namespace: pulumi.Input[str],
    parent: pulumi.Resource,
) -> pulumi.Output[str]:
    """The namespace's name, known when the Secret `key` is in it: whoever uses the name comes after the Secret."""
    made = core.Secret(
        name,
        metadata=meta.ObjectMetaArgs(name=key, namespace=namespace),
        string_data={entry: pulumi.Output.secret(value) for entry, value in data.items()},
        opts=pulumi.ResourceOptions(parent=parent),
    )
    return pulumi.Output.all(namespace, made.id).apply(lambda found: found[0])
