"""What machines of a pool at EC2 are told: tags, and user data in the words of all pools. Nothing of it is secret."""

from dataclasses import replace

from keystone import pools
from keystone.aws import names
from keystone.settings import Settings, Taint

ROOT_DEVICE = "/dev/xvda"
"""What the image calls its disk; a disk of another name would be a second one, and the first without our key."""
UNREGISTERED = Taint.model_construct(key="karpenter.sh/unregistered", value="", effect="NoExecute")
"""Karpenter takes it away when it knows the node."""


def tags(settings: Settings, name: str) -> dict[str, str]:
    """Tags of a pool's machines. Their keys hold no slash: EC2 refuses such tags where machines may see them."""
    return {
        "Name": f"{settings.cluster.name}-{name}",
        "keystone-cluster": settings.cluster.name,
        "keystone-pool": name,
        pools.PARAMETERS: names.pool_prefix(settings, name),
    }


def user_data(settings: Settings, name: str) -> str:
    """The user data of a pool's machines. Karpenter's cannot read their tags, so all that is needed stands here."""
    pool = pools.pools(settings)[name]
    if names.chosen(settings).node_pools[name].scaler == "karpenter":
        pool = replace(pool, taints=(*pool.taints, UNREGISTERED))
    return pools.user_data(settings, pool, names.pool_prefix(settings, name))


def autoscaler_tags(settings: Settings, name: str) -> dict[str, str]:
    """By these the autoscaler finds the group, and knows what a node of it would be while it has none."""
    pool = pools.pools(settings)[name]
    template = "k8s.io/cluster-autoscaler/node-template"
    zone = {"topology.kubernetes.io/zone": pool.zones[0]} if len(pool.zones) == 1 else {}
    return {
        "k8s.io/cluster-autoscaler/enabled": "true",
        f"k8s.io/cluster-autoscaler/{settings.cluster.name}": "owned",
        **{f"{template}/label/{key}": value for key, value in (zone | pool.node_labels).items()},
        **{f"{template}/taint/{taint.key}": f"{taint.value}:{taint.effect}" for taint in pool.taints},
    }
