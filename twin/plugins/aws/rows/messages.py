"""Queues of SQS, rules of EventBridge and their targets."""

from __future__ import annotations

import json
from typing import Any

from twin.plugins.aws.client import AwsError
from twin.plugins.aws.kinds import Call, Kind
from twin.plugins.aws.values import Props, camel, compact, pascal, tag_list, tags_of, whole

NO_QUEUE = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")
NO_RULE = ("ResourceNotFoundException",)
ATTRIBUTES = {
    "delaySeconds": "DelaySeconds",
    "kmsDataKeyReusePeriodSeconds": "KmsDataKeyReusePeriodSeconds",
    "kmsMasterKeyId": "KmsMasterKeyId",
    "maxMessageSize": "MaximumMessageSize",
    "messageRetentionSeconds": "MessageRetentionPeriod",
    "policy": "Policy",
    "receiveWaitTimeSeconds": "ReceiveMessageWaitTimeSeconds",
    "redriveAllowPolicy": "RedriveAllowPolicy",
    "redrivePolicy": "RedrivePolicy",
    "sqsManagedSseEnabled": "SqsManagedSseEnabled",
    "visibilityTimeoutSeconds": "VisibilityTimeout",
    "contentBasedDeduplication": "ContentBasedDeduplication",
    "deduplicationScope": "DeduplicationScope",
    "fifoThroughputLimit": "FifoThroughputLimit",
}
NUMBERS = (
    "delaySeconds",
    "maxMessageSize",
    "messageRetentionSeconds",
    "receiveWaitTimeSeconds",
    "visibilityTimeoutSeconds",
)
NUMBERS += ("kmsDataKeyReusePeriodSeconds",)
FLAGS = ("sqsManagedSseEnabled", "contentBasedDeduplication")


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, bool) else str(whole(value))


def _create_queue(call: Call) -> str:
    name = call.inputs["name"]
    # SQS says yes to a name that is ours already, as if it had made the queue.
    if (found := call.find(NO_QUEUE, "sqs", "get_queue_url", QueueName=name)) is not None:
        raise AwsError(
            f"operation error SQS: CreateQueue, QueueNameExists: there is {found['QueueUrl']}", "QueueNameExists"
        )
    given = {api: _text(call.inputs[key]) for key, api in ATTRIBUTES.items() if call.inputs.get(key) is not None}
    if call.inputs.get("fifoQueue"):
        given["FifoQueue"] = "true"
    return call("sqs", "create_queue", QueueName=name, Attributes=given, tags=dict(call.tags))["QueueUrl"]


def _update_queue(call: Call) -> None:
    if not call.state:
        return
    given = {
        api: _text(call.inputs[key]) if call.inputs.get(key) is not None else ""
        for key, api in ATTRIBUTES.items()
        if call.changed(key) and (call.inputs.get(key) is not None or call.state.get(key))
    }
    given = {api: item for api, item in given.items() if item or api not in map(ATTRIBUTES.get, (*NUMBERS, *FLAGS))}
    if given:
        call("sqs", "set_queue_attributes", QueueUrl=call.id, Attributes=given)
    have = call.state.get("tagsAll") or {}
    if gone := sorted(set(have) - set(call.tags)):
        call("sqs", "untag_queue", QueueUrl=call.id, TagKeys=gone)
    if have != call.tags and call.tags:
        call("sqs", "tag_queue", QueueUrl=call.id, Tags=dict(call.tags))


def _read_queue(call: Call) -> Props | None:
    answer = call.find(NO_QUEUE, "sqs", "get_queue_attributes", QueueUrl=call.id, AttributeNames=["All"])
    if answer is None:
        return None
    held = answer["Attributes"]
    found: Props = {name: held.get(api) or None for name, api in ATTRIBUTES.items() if name not in FLAGS}
    found |= {name: float(found[name]) for name in NUMBERS if found.get(name) is not None}
    found |= {name: held[ATTRIBUTES[name]].lower() == "true" for name in FLAGS if ATTRIBUTES[name] in held}
    if call.get("policy") is None:
        # A policy that is a resource of its own is not this one's business.
        found.pop("policy")
    arn = held["QueueArn"]
    return {
        **found,
        "name": arn.rpartition(":")[2],
        "arn": arn,
        "url": call.id,
        "fifoQueue": held.get("FifoQueue") == "true",
        "tagsAll": tags_of(call("sqs", "list_queue_tags", QueueUrl=call.id).get("Tags") or {}),
    }


def _delete_queue(call: Call) -> None:
    call.find(NO_QUEUE, "sqs", "delete_queue", QueueUrl=call.id)


def _put_queue_policy(call: Call) -> str:
    url = call.inputs["queueUrl"]
    call("sqs", "set_queue_attributes", QueueUrl=url, Attributes={"Policy": call.inputs["policy"]})
    return url


def _update_queue_policy(call: Call) -> None:
    if call.state:
        _put_queue_policy(call)


def _read_queue_policy(call: Call) -> Props | None:
    answer = call.find(NO_QUEUE, "sqs", "get_queue_attributes", QueueUrl=call.id, AttributeNames=["Policy"])
    policy = ((answer or {}).get("Attributes") or {}).get("Policy")
    return {"queueUrl": call.id, "policy": policy} if policy else None


def _delete_queue_policy(call: Call) -> None:
    call.find(NO_QUEUE, "sqs", "set_queue_attributes", QueueUrl=call.id, Attributes={"Policy": ""})


# --- EventBridge ---

BUS = "default"


def _put_rule(call: Call) -> str:
    bus, enabled = call.inputs.get("eventBusName") or BUS, call.inputs.get("isEnabled")
    state = call.inputs.get("state") or ("DISABLED" if enabled is False else "ENABLED")
    given = compact(
        Name=call.inputs["name"],
        EventBusName=bus,
        Description=call.inputs.get("description"),
        EventPattern=call.inputs.get("eventPattern"),
        ScheduleExpression=call.inputs.get("scheduleExpression"),
        RoleArn=call.inputs.get("roleArn"),
        State=state,
        Tags=tag_list(call.tags) if call.tags and not call.state else None,
    )
    call("events", "put_rule", **given)
    return call.inputs["name"] if bus == BUS else f"{bus}/{call.inputs['name']}"


def _create_rule(call: Call) -> str:
    bus, name = call.inputs.get("eventBusName") or BUS, call.inputs["name"]
    # PutRule overwrites in silence.
    if call.find(NO_RULE, "events", "describe_rule", Name=name, EventBusName=bus) is not None:
        raise AwsError(f"events put_rule: there is a rule {name} on the bus {bus}", "RuleExists")
    return _put_rule(call)


def _update_rule(call: Call) -> None:
    if not call.state:
        return
    _put_rule(call)
    arn, have = call.state["arn"], call.state.get("tagsAll") or {}
    if gone := sorted(set(have) - set(call.tags)):
        call("events", "untag_resource", ResourceARN=arn, TagKeys=gone)
    if have != call.tags and call.tags:
        call("events", "tag_resource", ResourceARN=arn, Tags=tag_list(call.tags))


def _rule_names(call: Call) -> dict[str, str]:
    bus, _, name = call.id.rpartition("/")
    return {"Name": name, "EventBusName": bus or BUS}


def _read_rule(call: Call) -> Props | None:
    names = _rule_names(call)
    rule = call.find(NO_RULE, "events", "describe_rule", **names)
    return rule and {
        "name": rule["Name"],
        "arn": rule["Arn"],
        "eventBusName": names["EventBusName"],
        "description": rule.get("Description") or None,
        "eventPattern": rule.get("EventPattern") or None,
        "scheduleExpression": rule.get("ScheduleExpression") or None,
        "roleArn": rule.get("RoleArn") or None,
        "state": rule["State"],
        "tagsAll": tags_of(call("events", "list_tags_for_resource", ResourceARN=rule["Arn"])["Tags"]),
    }


def _delete_rule(call: Call) -> None:
    names = _rule_names(call)
    if call.find(NO_RULE, "events", "describe_rule", **names) is None:
        return
    if call.state.get("forceDestroy"):
        held = call("events", "list_targets_by_rule", Rule=names["Name"], EventBusName=names["EventBusName"])["Targets"]
        if held:
            bus = names["EventBusName"]
            call("events", "remove_targets", Rule=names["Name"], EventBusName=bus, Ids=[one["Id"] for one in held])
    call("events", "delete_rule", **names)


def _check_rule(inputs: Any) -> list[tuple[str, str]]:
    if inputs.get("eventPattern") is None and inputs.get("scheduleExpression") is None:
        return [("eventPattern", "eventPattern or scheduleExpression is needed")]
    return []


TARGET = ("deadLetterConfig", "httpTarget", "input", "inputPath", "retryPolicy", "roleArn", "sqsTarget")
TARGET_NAMES = {
    "sqsTarget": "SqsParameters",
    "httpTarget": "HttpParameters",
    "maximumEventAgeInSeconds": "MaximumEventAgeInSeconds",
}


def _put_target(call: Call) -> str:
    inputs = call.inputs
    target = {"Id": inputs["targetId"], "Arn": inputs["arn"]}
    target |= pascal({name: inputs[name] for name in TARGET if inputs.get(name) is not None}, TARGET_NAMES)
    if shaped := inputs.get("inputTransformer"):
        target["InputTransformer"] = compact(
            InputPathsMap=shaped.get("inputPaths"), InputTemplate=shaped.get("inputTemplate")
        )
    bus = inputs.get("eventBusName") or BUS
    answer = call("events", "put_targets", Rule=inputs["rule"], EventBusName=bus, Targets=[target])
    for failed in answer.get("FailedEntries") or []:
        code = failed.get("ErrorCode", "")
        raise AwsError(f"events put_targets: {code}: {failed.get('ErrorMessage', 'no reason given')}", code)
    return f"{inputs['rule']}-{inputs['targetId']}"


def _update_target(call: Call) -> None:
    if call.state:
        _put_target(call)


def _target_names(call: Call) -> tuple[str, str, str]:
    """Bus, rule and target; an import gives [BUS/]RULE/TARGET."""
    if call.get("rule"):
        return call.get("eventBusName") or BUS, call.get("rule"), call.get("targetId")
    *bus, rule, target = call.id.split("/")
    return (bus or [BUS])[0], rule, target


def _read_target(call: Call) -> Props | None:
    bus, rule, identity = _target_names(call)
    answer = call.find(NO_RULE, "events", "list_targets_by_rule", Rule=rule, EventBusName=bus)
    for one in (answer or {}).get("Targets", []):
        if one["Id"] == identity:
            shaped = one.pop("InputTransformer", None)
            found = dict.fromkeys(TARGET) | camel(one, TARGET_NAMES)
            if shaped:
                paths = shaped.get("InputPathsMap") or {}
                found["inputTransformer"] = {"inputPaths": paths, "inputTemplate": shaped.get("InputTemplate")}
            del found["id"]
            names = {"rule": rule, "targetId": identity, "eventBusName": bus}
            return {**found, **names, "__id": f"{rule}-{identity}"}
    return None


def _delete_target(call: Call) -> None:
    bus, rule, identity = _target_names(call)
    call.find(NO_RULE, "events", "remove_targets", Rule=rule, EventBusName=bus, Ids=[identity])


ROWS = (
    Kind(
        token="aws:sqs/queue:Queue",
        create=_create_queue,
        read=_read_queue,
        update=_update_queue,
        delete=_delete_queue,
        fixed=frozenset({"name", "fifoQueue"}),
        named="name",
        longest=80,
        defaults={
            "delaySeconds": 0.0,
            "fifoQueue": False,
            "receiveWaitTimeSeconds": 0.0,
            "messageRetentionSeconds": 345600.0,
            "visibilityTimeoutSeconds": 30.0,
        },
    ),
    Kind(
        token="aws:sqs/queuePolicy:QueuePolicy",
        create=_put_queue_policy,
        read=_read_queue_policy,
        update=_update_queue_policy,
        delete=_delete_queue_policy,
        fixed=frozenset({"queueUrl"}),
    ),
    Kind(
        token="aws:cloudwatch/eventRule:EventRule",
        create=_create_rule,
        read=_read_rule,
        update=_update_rule,
        delete=_delete_rule,
        fixed=frozenset({"name", "eventBusName"}),
        named="name",
        defaults={"eventBusName": BUS, "forceDestroy": False},
        here_only=frozenset({"forceDestroy", "isEnabled"}),
        check=_check_rule,
    ),
    Kind(
        token="aws:cloudwatch/eventTarget:EventTarget",
        create=_put_target,
        read=_read_target,
        update=_update_target,
        delete=_delete_target,
        fixed=frozenset({"rule", "targetId", "eventBusName"}),
        named="targetId",
        prefix="",
        defaults={"eventBusName": BUS, "forceDestroy": False},
        here_only=frozenset({"forceDestroy"}),
    ),
)
