"""The custom resources of Karpenter for one pool: what its machines are, and which nodes it may have."""

from collections.abc import Mapping, Sequence
from typing import Any

from keystone import pools as shapes
from keystone.aws import events, names, pools
from keystone.charts.objects import Thing
from keystone.settings import Settings, Taint

EXPIRE_AFTER = "720h"
"""Machines are replaced after 30 days, so that a new image reaches all."""
DRAIN_LIMIT = f"{events.DRAIN_SECONDS}s"
"""As machines of groups, or a removed pool would stay until its last pod lets itself be moved."""
REMOVAL_LIMIT = "20m"
"""A class of machines goes after the last of its machines, which is drained and then ended by EC2."""
CONSOLIDATE_AFTER = "5m"


def node_class(
    settings: Settings,
    name: str,
    *,
    profile: Any,
    key_arn: Any,
    subnets: Sequence[Any],
    security_group: Any,
    tags: Mapping[str, str],
) -> Thing:
    """What a machine is. The tags are no metadata: Karpenter's templates cannot ask for that."""
    pool, network = names.chosen(settings).node_pools[name], names.chosen(settings).network
    assert network, "the settings want a network for pools"
    return Thing(
        api="karpenter.k8s.aws/v1",
        kind="EC2NodeClass",
        name=name,
        spec={
            "amiFamily": "Custom",
            "amiSelectorTerms": [{"id": pool.image_id}],
            "instanceProfile": profile,
            "subnetSelectorTerms": [{"id": subnet} for subnet in subnets],
            "securityGroupSelectorTerms": [{"id": security_group}],
            "associatePublicIPAddress": network.public_addresses,
            "metadataOptions": {"httpEndpoint": "enabled", "httpTokens": "required", "httpPutResponseHopLimit": 1},
            "blockDeviceMappings": [
                {
                    "deviceName": pools.ROOT_DEVICE,
                    "rootVolume": True,
                    "ebs": {
                        "volumeType": "gp3",
                        "volumeSize": f"{pool.disk_gib}Gi",
                        "encrypted": True,
                        "kmsKeyID": key_arn,
                        "deleteOnTermination": True,
                    },
                }
            ],
            "userData": pools.user_data(settings, name),
            "tags": dict(tags),
        },
    )


def node_pool(settings: Settings, name: str) -> Thing:
    """Which nodes the pool may have."""
    pool = names.chosen(settings).node_pools[name]
    kinds = ["spot"] * (pool.capacity.spot_percent > 0)
    kinds += ["on-demand"] * (pool.capacity.spot_percent < 100 or pool.capacity.on_demand_base > 0)
    return Thing(
        api="karpenter.sh/v1",
        kind="NodePool",
        name=name,
        spec={
            "template": {
                "metadata": {"labels": shapes.pools(settings)[name].node_labels},
                "spec": {
                    "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": name},
                    "requirements": [
                        _one_of("karpenter.sh/capacity-type", kinds),
                        _one_of("node.kubernetes.io/instance-type", pool.instance_types),
                        _one_of("topology.kubernetes.io/zone", sorted(pool.zones)),
                    ],
                    "taints": [_taint(one) for one in pool.taints],
                    "startupTaints": [_taint(startup)] if (startup := shapes.startup_taint(settings)) else [],
                    "expireAfter": EXPIRE_AFTER,
                    "terminationGracePeriod": DRAIN_LIMIT,
                },
            },
            "limits": {"nodes": str(pool.max)},
            "disruption": {
                "consolidationPolicy": "WhenEmptyOrUnderutilized",
                "consolidateAfter": CONSOLIDATE_AFTER,
                "budgets": [{"nodes": "20%"}],
            },
        },
    )


def _one_of(key: str, values: Sequence[str]) -> dict[str, Any]:
    return {"key": key, "operator": "In", "values": list(values)}


def _taint(one: Taint) -> dict[str, str]:
    return {"key": one.key, **({"value": one.value} if one.value else {}), "effect": one.effect}
