"""A Job that tries classes of volumes, with the claims that it mounts."""

from collections.abc import Iterable, Sequence

import pulumi
from pulumi_kubernetes.batch import v1 as batch
from pulumi_kubernetes.core import v1 as core
from pulumi_kubernetes.meta import v1 as meta

from keystone.charts.mount_test import claim, job


def mount_job(
    name: str,
    key: str,
    classes: Iterable[str],
    *,
    namespace: pulumi.Input[str],
    parent: pulumi.Resource,
    after: Sequence[pulumi.Resource],
    wait: bool = True,
) -> batch.Job:
    """The Job `key`, registered as `name`; `wait` false is for classes whose volumes come with the pod alone."""
    claims = {
        kind: core.PersistentVolumeClaim(
            f"{kind}-claim",
            metadata=meta.ObjectMetaArgs(
                name=kind, namespace=namespace, annotations=None if wait else {"pulumi.com/skipAwait": "true"}
            ),
            spec=claim(kind),
            opts=pulumi.ResourceOptions(parent=parent, depends_on=after),
        )
        for kind in classes
    }
    return batch.Job(
        name,
        metadata=meta.ObjectMetaArgs(name=key, namespace=namespace),
        # The claims by their outputs: the pod waits for the volumes.
        spec=job({kind: made.metadata["name"] for kind, made in claims.items()}),
        opts=pulumi.ResourceOptions(parent=parent, custom_timeouts=pulumi.CustomTimeouts(create="10m", delete="5m")),
    )
