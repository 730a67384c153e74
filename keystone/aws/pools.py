"""What the machines of a pool at EC2 are told: tags, user data, labels and taints. Nothing of it is secret."""

from collections.abc import Iterable, Mapping

from keystone.aws import names
from keystone.settings import NodePool, Settings, Taint

POOL_LABEL = "keystone.internal/pool"
PARAMETERS, LABELS, TAINTS, MESH = "keystone-parameters", "keystone-labels", "keystone-taints", "keystone-mesh"
"""Words of the user data; the first is a tag of the machines too."""
ROOT_DEVICE = "/dev/xvda"
"""What the image calls its disk; a disk of another name would be a second one, and the first without our key."""
UNREGISTERED = Taint.model_construct(key="karpenter.sh/unregistered", value="", effect="NoExecute")
"""Karpenter takes it away when it knows the node."""
STARTUP = Taint.model_construct(key="node.cilium.io/agent-not-ready", value="true", effect="NoExecute")
"""The image's own, on clusters with Cilium: no pod comes before its network."""


def labels(name: str, pool: NodePool) -> dict[str, str]:
    """The labels of a pool's nodes."""
    return {**pool.labels, POOL_LABEL: name}


def taints(pool: NodePool) -> tuple[Taint, ...]:
    """The taints with which a pool's nodes register."""
    return (*pool.taints, *((UNREGISTERED,) if pool.scaler == "karpenter" else ()))


def taint_text(taint: Taint) -> str:
    """A taint as kubelets take it: KEY=VALUE:EFFECT."""
    return f"{taint.key}={taint.value}:{taint.effect}" if taint.value else f"{taint.key}:{taint.effect}"


def told(settings: Settings, name: str) -> dict[str, str]:
    """What a machine of the pool must know, by the words above."""
    pool = names.chosen(settings).node_pools[name]
    return {
        PARAMETERS: names.pool_prefix(settings, name),
        LABELS: ",".join(f"{key}={value}" for key, value in sorted(labels(name, pool).items())),
        TAINTS: ",".join(map(taint_text, taints(pool))),
    }


def tags(settings: Settings, name: str) -> dict[str, str]:
    """Tags of a pool's machines. Their keys hold no slash: EC2 refuses such tags where machines may see them."""
    return {
        "Name": f"{settings.cluster.name}-{name}",
        "keystone-cluster": settings.cluster.name,
        "keystone-pool": name,
        PARAMETERS: names.pool_prefix(settings, name),
    }


def user_data(settings: Settings, name: str) -> str:
    """The user data of a pool's machines: lines of WORD=VALUE.

    Karpenter's machines cannot read their tags, so all that is needed stands here.
    """
    known = {MESH: settings.mesh.server_url, **told(settings, name)}
    head = (
        f"# Pool {name} of the cluster {settings.cluster.name}. Joins mesh and cluster with keys that its role reads.\n"
    )
    return head + "".join(f"{word}={value}\n" for word, value in known.items())


def parse(text: str) -> Mapping[str, str]:
    """User data as its machine reads it."""
    lines = (line.partition("=") for line in text.splitlines() if not line.startswith("#"))
    return {word: value for word, equals, value in lines if equals}


def autoscaler_tags(settings: Settings, name: str) -> dict[str, str]:
    """By these the autoscaler finds the group, and knows what a node of it would be while it has none."""
    pool = names.chosen(settings).node_pools[name]
    template = "k8s.io/cluster-autoscaler/node-template"
    zone = {"topology.kubernetes.io/zone": pool.zones[0]} if len(pool.zones) == 1 else {}
    return {
        "k8s.io/cluster-autoscaler/enabled": "true",
        f"k8s.io/cluster-autoscaler/{settings.cluster.name}": "owned",
        **{f"{template}/label/{key}": value for key, value in (zone | labels(name, pool)).items()},
        **_taint_tags(template, pool.taints),
    }


def _taint_tags(template: str, found: Iterable[Taint]) -> dict[str, str]:
    return {f"{template}/taint/{taint.key}": f"{taint.value}:{taint.effect}" for taint in found}
