"""Pools of machines at any cloud, in one shape: what the settings of each say, in the same words.

A cloud is a way to render this shape: AWS by components/aws_node_pool.py and keystone/aws, the others into releases and
objects by keystone/charts/cloud_pools.py.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from keystone.settings import Settings, Taint

Cloud = Literal["aws", "azure", "gcp", "hetzner"]
CLOUD_LABEL, POOL_LABEL = "keystone.internal/cloud", "keystone.internal/pool"
PARAMETERS, LABELS, TAINTS = "keystone-parameters", "keystone-labels", "keystone-taints"
"""Words of the user data. The mesh's controller is not among them: the image has it built in."""

STARTUP = Taint.model_construct(key="node.cilium.io/agent-not-ready", value="true", effect="NoExecute")
"""The image's own, on clusters with Cilium: no pod comes before its network."""


@dataclass(frozen=True, kw_only=True)
class Pool:
    """One pool. `spot` is whether machines may be taken away; `machine_types` are in the order of preference."""

    cloud: Cloud
    name: str
    machine_types: tuple[str, ...]
    min: int
    max: int
    zones: tuple[str, ...]
    image: str
    disk_gib: int
    spot: bool
    labels: Mapping[str, str]
    taints: tuple[Taint, ...]

    @property
    def node_labels(self) -> dict[str, str]:
        """The labels of its nodes."""
        return {**self.labels, POOL_LABEL: self.name, CLOUD_LABEL: self.cloud}


def pools(settings: Settings) -> dict[str, Pool]:
    """Every pool of the settings by name; a rule holds that names are unique."""
    found = [*_of_aws(settings), *_of_others(settings)]
    return {pool.name: pool for pool in sorted(found, key=lambda pool: pool.name)}


def _of_aws(settings: Settings) -> Iterator[Pool]:
    for name, pool in (settings.aws.node_pools if settings.aws else {}).items():
        yield Pool(
            cloud="aws",
            name=name,
            machine_types=pool.instance_types,
            min=pool.min,
            max=pool.max,
            zones=pool.zones,
            image=pool.image_id,
            disk_gib=pool.disk_gib,
            spot=pool.capacity.spot_percent > 0,
            labels=pool.labels,
            taints=pool.taints,
        )


def _of_others(settings: Settings) -> Iterator[Pool]:
    for cloud, found in (settings.clouds.pools if settings.clouds else {}).items():
        for name, pool in found.items():
            yield Pool(
                cloud=cloud,  # type: ignore[arg-type]
                name=name,
                machine_types=(pool.machine_type,),
                min=pool.min,
                max=pool.max,
                zones=pool.zones,
                image=pool.image,
                disk_gib=pool.disk_gib,
                spot=pool.spot,
                labels=pool.labels,
                taints=pool.taints,
            )


def user_data(settings: Settings, pool: Pool, parameters: str) -> str:
    """What a machine is told, in the words of the image's contract; `parameters` names where its secrets lie."""
    known = {
        PARAMETERS: parameters,
        LABELS: ",".join(f"{key}={value}" for key, value in sorted(pool.node_labels.items())),
        TAINTS: ",".join(map(taint_text, pool.taints)),
    }
    head = f"# Pool {pool.name} of the cluster {settings.cluster.name}. No secret stands here.\n"
    return head + "".join(f"{word}={value}\n" for word, value in known.items())


def startup_taint(settings: Settings) -> Taint | None:
    """What a machine of a pool registers with by its image, and others take away."""
    return STARTUP if settings.network.cni == "cilium" else None


def taint_text(taint: Taint) -> str:
    """A taint as kubelets take it: KEY=VALUE:EFFECT."""
    return f"{taint.key}={taint.value}:{taint.effect}" if taint.value else f"{taint.key}:{taint.effect}"


def parse(text: str) -> Mapping[str, str]:
    """User data as its machine reads it."""
    lines = (line.partition("=") for line in text.splitlines() if not line.startswith("#"))
    return {word: value for word, equals, value in lines if equals}
