"""Rules about pools at other clouds than AWS."""

from collections.abc import Iterator

from keystone.settings.aws import Aws
from keystone.settings.clouds import Clouds
from keystone.settings.faults import Fault


def clouds_trust_a_public_issuer(clouds: Clouds | None, aws: Aws | None) -> Iterator[Fault]:
    if clouds and (clouds.gcp or clouds.azure) and aws is None:
        yield Fault(
            "clouds",
            "GCP and Azure trust the cluster's issuer, whose documents lie at AWS, and there is no section aws",
            "Add aws, or remove them",
        )


def pools_have_one_name(clouds: Clouds | None, aws: Aws | None) -> Iterator[Fault]:
    taken = dict.fromkeys(aws.node_pools if aws else (), "aws.nodePools")
    for cloud, pools in clouds.pools.items() if clouds else ():
        for name in pools:
            if name in taken:
                yield Fault(
                    f"clouds.{cloud}.pools.{name}",
                    f"has the name of a pool in {taken[name]}, and the label of nodes tells pools apart by name",
                    "Give it another",
                )
            taken.setdefault(name, f"clouds.{cloud}.pools")


def bounds_are_in_order(clouds: Clouds | None) -> Iterator[Fault]:
    for cloud, pools in clouds.pools.items() if clouds else ():
        for name, pool in pools.items():
            if pool.min > pool.max:
                yield Fault(
                    f"clouds.{cloud}.pools.{name}.min", f"{pool.min} is greater than max, {pool.max}", "Swap them"
                )


RULES = (clouds_trust_a_public_issuer, pools_have_one_name, bounds_are_in_order)
