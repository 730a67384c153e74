"""Auto Scaling groups and their lifecycle hooks."""

from __future__ import annotations

from typing import Any

from twin.plugins.aws.client import AwsError
from twin.plugins.aws.kinds import Call, Kind
from twin.plugins.aws.values import Props, camel, compact, pascal
from twin.plugins.base import ProviderError

GONE = ("ValidationError",)
"""What the service says of a group or hook that is not there."""
CAPACITY_SECONDS = 600.0
DRAIN_SECONDS = 600.0
DEFAULT_HEALTH_GRACE = 300.0
NAMES = {"vcpuCount": "VCpuCount", "memoryMib": "MemoryMiB"}
SIMPLE = {
    "minSize": "MinSize",
    "maxSize": "MaxSize",
    "desiredCapacity": "DesiredCapacity",
    "defaultCooldown": "DefaultCooldown",
    "healthCheckType": "HealthCheckType",
    "healthCheckGracePeriod": "HealthCheckGracePeriod",
    "capacityRebalance": "CapacityRebalance",
    "maxInstanceLifetime": "MaxInstanceLifetime",
    "defaultInstanceWarmup": "DefaultInstanceWarmup",
    "placementGroup": "PlacementGroup",
    "protectFromScaleIn": "NewInstancesProtectedFromScaleIn",
    "terminationPolicies": "TerminationPolicies",
    "availabilityZones": "AvailabilityZones",
}
UNKNOWN_TO_MOTO = ("defaultInstanceWarmup", "maxInstanceLifetime", "capacityRebalance")


def _template(value: Props | None) -> dict[str, Any] | None:
    if not value:
        return None
    names = {"id": "LaunchTemplateId", "name": "LaunchTemplateName", "version": "Version"}
    return {names[key]: item for key, item in value.items() if item}


def _settings(inputs: Props) -> dict[str, Any]:
    """Parameters that creating and updating share."""
    subnets = inputs.get("vpcZoneIdentifiers")
    mixed = inputs.get("mixedInstancesPolicy")
    return compact(
        **{api: inputs.get(name) for name, api in SIMPLE.items()},
        VPCZoneIdentifier=",".join(subnets) if subnets else None,
        LaunchTemplate=_template(inputs.get("launchTemplate")),
        MixedInstancesPolicy=pascal(mixed, NAMES) if mixed else None,
        ServiceLinkedRoleARN=inputs.get("serviceLinkedRoleArn"),
    )


def _hook(name: str, hook: Props) -> dict[str, Any]:
    return compact(
        LifecycleHookName=name,
        LifecycleTransition=hook["lifecycleTransition"],
        DefaultResult=hook.get("defaultResult"),
        HeartbeatTimeout=hook.get("heartbeatTimeout"),
        NotificationMetadata=hook.get("notificationMetadata"),
        NotificationTargetARN=hook.get("notificationTargetArn"),
        RoleARN=hook.get("roleArn"),
    )


def _tags(call: Call, tags: list[Props]) -> list[dict[str, Any]]:
    return [
        {
            "Key": one["key"],
            "Value": one["value"],
            "PropagateAtLaunch": one["propagateAtLaunch"],
            "ResourceId": call.inputs["name"],
            "ResourceType": "auto-scaling-group",
        }
        for one in tags
    ]


def _create(call: Call) -> str:
    name = call.inputs["name"]
    hooks = [_hook(one["name"], one) for one in call.inputs.get("initialLifecycleHooks") or []]
    least, wanted, most = (call.inputs.get(name) for name in ("minSize", "desiredCapacity", "maxSize"))
    if wanted is not None and not least <= wanted <= most:
        # AWS' own words; moto takes any number.
        said = (
            f"Desired capacity:{wanted:.0f} must be between the specified min size:{least:.0f} and max size:{most:.0f}"
        )
        raise ProviderError(f"autoscaling create_auto_scaling_group: ValidationError: {said}")
    tags = _tags(call, call.inputs.get("tags") or [])
    more = compact(LifecycleHookSpecificationList=hooks or None, Tags=tags or None)
    call("autoscaling", "create_auto_scaling_group", AutoScalingGroupName=name, **_settings(call.inputs), **more)
    return name


def _update(call: Call) -> None:
    name = {"AutoScalingGroupName": call.id}
    if call.state:
        settings = {key for key in call.inputs if call.inputs[key] != call.state.get(key)} - {"tags"}
        if settings & {*SIMPLE, "vpcZoneIdentifiers", "launchTemplate", "mixedInstancesPolicy"}:
            given = _settings(call.inputs)
            if not call.changed("desiredCapacity"):
                # The autoscaler's business, unless the program says another number.
                given.pop("DesiredCapacity", None)
            call("autoscaling", "update_auto_scaling_group", **name, **given)
        _retag(call)
    if call.changed("enabledMetrics") and call.inputs.get("enabledMetrics"):
        metrics, how = call.inputs["enabledMetrics"], call.inputs.get("metricsGranularity") or "1Minute"
        call("autoscaling", "enable_metrics_collection", **name, Metrics=metrics, Granularity=how)
    if call.changed("suspendedProcesses"):
        wanted, have = set(call.inputs.get("suspendedProcesses") or []), set(call.state.get("suspendedProcesses") or [])
        if wanted - have:
            call("autoscaling", "suspend_processes", **name, ScalingProcesses=sorted(wanted - have))
        if have - wanted:
            call("autoscaling", "resume_processes", **name, ScalingProcesses=sorted(have - wanted))
    _await_capacity(call)


def _retag(call: Call) -> None:
    have, wanted = call.state.get("tags") or [], call.inputs.get("tags") or []
    keys = {one["key"] for one in wanted}
    if gone := [one for one in have if one["key"] not in keys]:
        call("autoscaling", "delete_tags", Tags=_tags(call, gone))
    if changed := [one for one in wanted if one not in have]:
        call("autoscaling", "create_or_update_tags", Tags=_tags(call, changed))


def _await_capacity(call: Call) -> None:
    """Wait for the instances that the program asks for, as the official plugin does, unless it says "0"."""
    limit = _seconds(call.inputs.get("waitForCapacityTimeout"))
    wanted = max(call.inputs.get("desiredCapacity") or 0, call.inputs["minSize"])
    wanted = min(wanted, call.inputs["maxSize"])
    if limit <= 0 or not wanted:
        return

    def enough() -> bool:
        group = _group(call) or {}
        serving = [one for one in group.get("Instances", []) if one["LifecycleState"] == "InService"]
        return len(serving) >= wanted

    call.wait(f"group {call.id} has {int(wanted)} instances in service", enough, limit)


def _seconds(text: str | None) -> float:
    """A duration like `10m` or `90s` in seconds; of nothing the official plugin's limit."""
    if not text:
        return CAPACITY_SECONDS
    units = {"h": 3600.0, "m": 60.0, "s": 1.0}
    try:
        return float(text[:-1]) * units[text[-1]] if text[-1] in units else float(text)
    except ValueError:
        raise ProviderError(f"waitForCapacityTimeout: {text!r} is no duration. Write 10m, 90s or 0") from None


def _group(call: Call) -> dict[str, Any] | None:
    answer = call("autoscaling", "describe_auto_scaling_groups", AutoScalingGroupNames=[call.id])
    return next(iter(answer["AutoScalingGroups"]), None)


def _read(call: Call) -> Props | None:
    group = _group(call)
    if group is None or group.get("Status") == "Delete in progress":
        return None
    found: Props = {name: group.get(api) for name, api in SIMPLE.items() if name not in UNKNOWN_TO_MOTO}
    found |= {name: group[SIMPLE[name]] for name in UNKNOWN_TO_MOTO if group.get(SIMPLE[name])}
    template, mixed = group.get("LaunchTemplate"), group.get("MixedInstancesPolicy")
    if template:
        names = {"LaunchTemplateId": "id", "LaunchTemplateName": "name", "Version": "version"}
        found["launchTemplate"] = {names[key]: item for key, item in template.items() if key in names}
    if mixed:
        found["mixedInstancesPolicy"] = camel(mixed, NAMES)
    subnets = group.get("VPCZoneIdentifier")
    return {
        **found,
        "name": group["AutoScalingGroupName"],
        "arn": group["AutoScalingGroupARN"],
        "vpcZoneIdentifiers": subnets.split(",") if subnets else None,
        "suspendedProcesses": [one["ProcessName"] for one in group.get("SuspendedProcesses", [])],
        "tags": [
            {"key": one["Key"], "value": one["Value"], "propagateAtLaunch": one["PropagateAtLaunch"]}
            for one in group.get("Tags", [])
            if not one["Key"].startswith("aws:")
        ],
    }


def _delete(call: Call) -> None:
    if _group(call) is None:
        return
    if not call.state.get("forceDelete"):
        empty = {"MinSize": 0, "MaxSize": 0, "DesiredCapacity": 0}
        call("autoscaling", "update_auto_scaling_group", AutoScalingGroupName=call.id, **empty)
        call.wait(f"group {call.id} is empty", lambda: not (_group(call) or {}).get("Instances"), DRAIN_SECONDS)
    call("autoscaling", "delete_auto_scaling_group", AutoScalingGroupName=call.id, ForceDelete=True)
    call.wait(f"group {call.id} is gone", lambda: _group(call) is None, DRAIN_SECONDS)


def _check(inputs: Any) -> list[tuple[str, str]]:
    faults = []
    shapes = [name for name in ("launchConfiguration", "launchTemplate", "mixedInstancesPolicy") if inputs.get(name)]
    if len(shapes) != 1:
        said = f"{', '.join(shapes)} are given" if shapes else "none is given"
        place = "launchTemplate"
        faults.append(
            (place, f"exactly one of launchConfiguration, launchTemplate and mixedInstancesPolicy, but {said}")
        )
    places = [name for name in ("availabilityZones", "vpcZoneIdentifiers") if inputs.get(name)]
    if len(places) == 2:
        faults.append(("availabilityZones", "availabilityZones and vpcZoneIdentifiers exclude each other"))
    # desiredCapacity may lie beside them: where an autoscaler has it, the program keeps the first one.
    least, most = inputs.get("minSize"), inputs.get("maxSize")
    if isinstance(least, float | int) and isinstance(most, float | int) and least > most:
        faults.append(("minSize", f"minSize must not be above maxSize, not {least:.0f} and {most:.0f}"))
    return faults


# --- hooks ---


def _names(call: Call) -> dict[str, str]:
    """Group and hook; an import gives GROUP/HOOK."""
    group, slash, hook = call.id.partition("/")
    if not slash:
        group, hook = call.get("autoscalingGroupName"), call.id
    return {"AutoScalingGroupName": group, "LifecycleHookName": hook}


def _put_hook(call: Call) -> str:
    group = call.inputs["autoscalingGroupName"]
    call("autoscaling", "put_lifecycle_hook", AutoScalingGroupName=group, **_hook(call.inputs["name"], call.inputs))
    return call.inputs["name"]


def _update_hook(call: Call) -> None:
    if call.state:
        _put_hook(call)


def _read_hook(call: Call) -> Props | None:
    names = _names(call)
    if _group(Call(aws=call.aws, region=call.region, id=names["AutoScalingGroupName"])) is None:
        return None
    group, hook = names["AutoScalingGroupName"], names["LifecycleHookName"]
    answer = call("autoscaling", "describe_lifecycle_hooks", AutoScalingGroupName=group, LifecycleHookNames=[hook])
    for one in answer["LifecycleHooks"]:
        if one["LifecycleHookName"] == hook:
            return {
                "__id": hook,
                "name": hook,
                "autoscalingGroupName": group,
                "lifecycleTransition": one["LifecycleTransition"],
                "defaultResult": one.get("DefaultResult", "ABANDON"),
                "heartbeatTimeout": one.get("HeartbeatTimeout", 3600),
                "notificationMetadata": one.get("NotificationMetadata"),
                "notificationTargetArn": one.get("NotificationTargetARN"),
                "roleArn": one.get("RoleARN"),
            }
    return None


def _delete_hook(call: Call) -> None:
    try:
        call("autoscaling", "delete_lifecycle_hook", **_names(call))
    except AwsError as error:
        if error.code not in GONE:
            raise


ROWS = (
    Kind(
        token="aws:autoscaling/group:Group",
        create=_create,
        read=_read,
        update=_update,
        delete=_delete,
        fixed=frozenset({"name", "initialLifecycleHooks"}),
        named="name",
        longest=255,
        defaults={
            "forceDelete": False,
            "healthCheckGracePeriod": DEFAULT_HEALTH_GRACE,
            "waitForCapacityTimeout": "10m",
        },
        here_only=frozenset(
            [
                "forceDelete",
                "forceDeleteWarmPool",
                "ignoreFailedScalingActivities",
                "waitForCapacityTimeout",
                "instanceRefresh",
                "minElbCapacity",
                "waitForElbCapacity",
                "metricsGranularity",
            ]
        ),
        ordered=frozenset({"mixedInstancesPolicy", "terminationPolicies"}),
        check=_check,
    ),
    Kind(
        token="aws:autoscaling/lifecycleHook:LifecycleHook",
        create=_put_hook,
        read=_read_hook,
        update=_update_hook,
        delete=_delete_hook,
        fixed=frozenset({"autoscalingGroupName", "name", "lifecycleTransition"}),
        named="name",
        prefix="",
        longest=255,
    ),
)
