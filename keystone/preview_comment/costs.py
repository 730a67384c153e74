"""What of a plan changes a bill: kinds and quantities, no prices.

The only values of resources that a comment shows are those of the list below.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keystone.preview_comment.plan import Plan, Step

# Type -> the properties by which it is billed; a * stands for every item of a list. A type without any is billed for
# being there.
BILLED: dict[str, tuple[str, ...]] = {
    "aws:autoscaling/group:Group": (
        "minSize",
        "maxSize",
        "desiredCapacity",
        "mixedInstancesPolicy.launchTemplate.overrides.*.instanceType",
        "mixedInstancesPolicy.instancesDistribution.onDemandBaseCapacity",
        "mixedInstancesPolicy.instancesDistribution.onDemandPercentageAboveBaseCapacity",
    ),
    "aws:cloudfront/distribution:Distribution": ("priceClass",),
    "aws:ebs/volume:Volume": ("size", "type", "iops", "throughput"),
    "aws:ec2/eip:Eip": (),
    "aws:ec2/instance:Instance": ("instanceType",),
    "aws:ec2/launchTemplate:LaunchTemplate": ("instanceType",),
    "aws:ec2/natGateway:NatGateway": (),
    "aws:ec2/spotInstanceRequest:SpotInstanceRequest": ("instanceType",),
    "aws:ec2/vpcEndpoint:VpcEndpoint": ("vpcEndpointType",),
    "aws:efs/fileSystem:FileSystem": ("throughputMode", "provisionedThroughputInMibps"),
    "aws:kms/key:Key": (),
    "aws:lb/loadBalancer:LoadBalancer": ("loadBalancerType",),
    "aws:rds/instance:Instance": ("instanceClass", "allocatedStorage", "multiAz"),
    "aws:s3/bucket:Bucket": (),
    "cloudflare:index/loadBalancer:LoadBalancer": (),
    "kubernetes:core/v1:PersistentVolumeClaim": ("spec.resources.requests.storage", "spec.storageClassName"),
    "kubernetes:core/v1:Service": ("spec.type",),
    "kubernetes:karpenter.sh/v1:NodePool": (
        "spec.limits.nodes",
        "spec.limits.cpu",
        "spec.limits.memory",
        # Instance types, zones, spot or on demand.
        "spec.template.spec.requirements.*.values.*",
    ),
    "kubernetes:apps/v1:StatefulSet": ("spec.replicas",),
}
# Only billed in one of their forms.
ONLY_WHEN = {"kubernetes:core/v1:Service": ("spec.type", "LoadBalancer")}
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
_UNKNOWN = "known later"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One line: `what` holds the billed properties, old and new where they differ."""

    kind: str
    type: str
    name: str
    what: str


def costs(plan: Plan) -> list[Cost]:
    """The billed resources that come, go, or change in a billed property; those that go first."""
    found = [cost for step in plan.of("replace", "delete", "update", "create") if (cost := _cost(step))]
    order = ("replace", "delete", "create", "update")
    return sorted(found, key=lambda cost: (order.index(cost.kind), cost.type, cost.name))


def _cost(step: Step) -> Cost | None:
    if step.type not in BILLED:
        return None
    if rule := ONLY_WHEN.get(step.type):
        path, wanted = rule
        if wanted not in (_look(step.old, path), _look(step.new, path)):
            return None
    parts = []
    for path in BILLED[step.type]:
        old, new = _shown(_look(step.old, path)), _shown(_look(step.new, path))
        word = path.removesuffix(".*").rsplit(".", 1)[-1]
        match step.kind:
            case "create" if new:
                parts.append(f"{word} {new}")
            case "delete" if old:
                parts.append(f"{word} {old}")
            case "update" | "replace" if old != new:
                parts.append(f"{word} {old or 'none'} -> {new or 'none'}")
    if step.kind == "update" and not parts:
        return None
    return Cost(kind=step.kind, type=step.type, name=step.name, what=", ".join(parts))


def _look(inputs: Mapping[str, Any], path: str) -> Any:
    found: list[Any] = [inputs]
    for key in path.split("."):
        if key == "*":
            found = [item for one in found if isinstance(one, list) for item in one]
        else:
            found = [one[key] for one in found if isinstance(one, Mapping) and key in one]
    return found if "*" in path else next(iter(found), None)


def _shown(value: Any) -> str:
    """A number, a size or the name of a class, or several. Anything else is not shown: it is no quantity."""
    if isinstance(value, list):
        return "/".join(_shown(one) for one in value)
    if value is None:
        return ""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    # The engine's placeholder for what is not known yet is a UUID.
    if re.fullmatch(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", text):
        return _UNKNOWN
    return text if isinstance(value, str | int | float) and _PLAIN.fullmatch(text) else "[not shown]"
