"""What AWS tells of machines that are about to leave, and who hears it."""

from collections.abc import Mapping
from typing import Any

from keystone import iam
from keystone.aws import names
from keystone.iam import Statement
from keystone.settings import Settings

RETENTION_SECONDS = 300
"""Older news are about machines that are gone."""
DRAIN_SECONDS = 300
"""How long a machine waits for its drain before it goes anyhow."""
HOOK = "drain"

PATTERNS: Mapping[str, Mapping[str, Any]] = {
    "spot": {"source": ["aws.ec2"], "detail-type": ["EC2 Spot Instance Interruption Warning"]},
    "rebalance": {"source": ["aws.ec2"], "detail-type": ["EC2 Instance Rebalance Recommendation"]},
    "state": {"source": ["aws.ec2"], "detail-type": ["EC2 Instance State-change Notification"]},
    "leaving": {"source": ["aws.autoscaling"], "detail-type": ["EC2 Instance-terminate Lifecycle Action"]},
    "health": {
        "source": ["aws.health"],
        "detail-type": ["AWS Health Event"],
        "detail": {"service": ["EC2"], "eventTypeCategory": ["scheduledChange"]},
    },
}


def queue_name(settings: Settings, handler: str) -> str:
    """Each handler has its own queue: a message that one takes is gone for the other."""
    return f"keystone-{settings.cluster.name}-{handler}"


def rule_name(settings: Settings, event: str, handler: str) -> str:
    return f"keystone-{settings.cluster.name}-{handler}-{event}"


def pattern(settings: Settings, event: str) -> str:
    """What the rule lets through; the groups' hooks are known by name, the rest is sorted out by the handler."""
    found = dict(PATTERNS[event])
    if event == "leaving":
        found["detail"] = {"AutoScalingGroupName": [{"prefix": f"{settings.cluster.name}-"}]}
    return iam.encoded(found)


def queue_policy(settings: Settings, handler: str, queue_arn: Any) -> list[Statement]:
    """EventBridge may send, for these rules alone; nobody speaks to the queue without TLS."""
    rules = [names.arn(settings, "events", f"rule/{rule_name(settings, event, handler)}") for event in PATTERNS]
    return [
        Statement(
            sid="Events",
            principal={"Service": "events.amazonaws.com"},
            actions=("sqs:SendMessage",),
            resources=(queue_arn,),
            conditions={"ArnEquals": {"aws:SourceArn": rules}},
            reason="EventBridge tells of leaving machines",
        ),
        Statement(
            sid="TlsOnly",
            effect="Deny",
            principal={"AWS": "*"},
            actions=("sqs:*",),
            resources=(queue_arn,),
            conditions={"Bool": {"aws:SecureTransport": "false"}},
            reason="requests without TLS",
        ),
    ]
