"""A queue with the news of machines that are about to leave: interruptions, recommendations, scale-in, maintenance."""

from dataclasses import dataclass

import pulumi
from pulumi_aws import cloudwatch, sqs

from keystone import iam
from keystone.aws import events
from keystone.settings import Settings


@dataclass(frozen=True, kw_only=True)
class AwsNodeEventsArgs:
    """`handler` names who takes the messages."""

    settings: Settings
    handler: str
    key_arn: pulumi.Input[str]


class AwsNodeEvents(pulumi.ComponentResource):
    url: pulumi.Output[str]
    """Of the queue, once its rules send."""
    arn: pulumi.Output[str]

    def __init__(self, name: str, args: AwsNodeEventsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("keystone:components:AwsNodeEvents", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        settings, handler = args.settings, args.handler
        queue = sqs.Queue(
            f"{name}-queue",
            name=events.queue_name(settings, handler),
            message_retention_seconds=events.RETENTION_SECONDS,
            kms_master_key_id=args.key_arn,
            opts=child,
        )
        document = iam.policy(events.queue_policy(settings, handler, queue.arn))
        policy = sqs.QueuePolicy(
            f"{name}-policy",
            queue_url=queue.url,
            policy=pulumi.Output.json_dumps(document, sort_keys=True),
            opts=child,
        )
        targets = []
        for event in events.PATTERNS:
            rule = cloudwatch.EventRule(
                f"{name}-{event}",
                name=events.rule_name(settings, event, handler),
                description=f"Machines of {settings.cluster.name} that leave: {event}",
                event_pattern=events.pattern(settings, event),
                opts=child,
            )
            targets.append(
                cloudwatch.EventTarget(
                    f"{name}-{event}-target", rule=rule.name, target_id=handler, arn=queue.arn, opts=child
                )
            )
        told = pulumi.Output.all(queue.url, policy.id, *(target.id for target in targets))
        self.url = told.apply(lambda values: values[0])
        self.arn = queue.arn
        self.register_outputs({"url": self.url})
