"""Keys of KMS and parameters of SSM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twin.plugins.aws.kinds import Call, Kind
from twin.plugins.aws.values import Props, compact, tag_list, tags_of, whole

GONE = ("NotFoundException", "ParameterNotFound")
PENDING = "PendingDeletion"
SYMMETRIC = "SYMMETRIC_DEFAULT"
YEAR_DAYS = 365.0


# --- keys ---


def _create_key(call: Call) -> str:
    given = compact(
        Description=call.inputs.get("description"),
        KeyUsage=call.inputs.get("keyUsage"),
        KeySpec=call.inputs.get("customerMasterKeySpec"),
        Policy=call.inputs.get("policy"),
        MultiRegion=call.inputs.get("multiRegion"),
        BypassPolicyLockoutSafetyCheck=call.inputs.get("bypassPolicyLockoutSafetyCheck"),
        Tags=tag_list(call.tags, "TagKey", "TagValue"),
    )
    return call("kms", "create_key", **given)["KeyMetadata"]["KeyId"]


def _update_key(call: Call) -> None:
    key = {"KeyId": call.id}
    if call.state and call.changed("description"):
        call("kms", "update_key_description", **key, Description=call.inputs.get("description") or "")
    if call.state and call.changed("policy") and call.inputs.get("policy"):
        call("kms", "put_key_policy", **key, PolicyName="default", Policy=call.inputs["policy"])
    if call.changed("isEnabled") and (call.state or call.inputs.get("isEnabled") is False):
        call("kms", "disable_key" if call.inputs.get("isEnabled") is False else "enable_key", **key)
    if call.changed("enableKeyRotation", "rotationPeriodInDays"):
        if call.inputs.get("enableKeyRotation"):
            days = whole(call.inputs.get("rotationPeriodInDays"))
            call("kms", "enable_key_rotation", **key, **compact(RotationPeriodInDays=days))
        elif call.state.get("enableKeyRotation"):
            call("kms", "disable_key_rotation", **key)
    if call.state:
        have = call.state.get("tagsAll") or {}
        if gone := sorted(set(have) - set(call.tags)):
            call("kms", "untag_resource", **key, TagKeys=gone)
        if have != call.tags and call.tags:
            call("kms", "tag_resource", **key, Tags=tag_list(call.tags, "TagKey", "TagValue"))


def _read_key(call: Call) -> Props | None:
    answer = call.find(GONE, "kms", "describe_key", KeyId=call.id)
    if answer is None or answer["KeyMetadata"]["KeyState"] == PENDING:
        return None
    meta = answer["KeyMetadata"]
    found: Props = {
        "arn": meta["Arn"],
        "keyId": meta["KeyId"],
        "description": meta.get("Description") or None,
        "keyUsage": meta["KeyUsage"],
        "customerMasterKeySpec": meta.get("KeySpec") or SYMMETRIC,
        "isEnabled": meta["Enabled"],
        "multiRegion": meta.get("MultiRegion", False),
        "policy": call("kms", "get_key_policy", KeyId=call.id, PolicyName="default")["Policy"],
        "tagsAll": tags_of(call("kms", "list_resource_tags", KeyId=call.id).get("Tags")),
    }
    if found["customerMasterKeySpec"] == SYMMETRIC:
        rotation = call("kms", "get_key_rotation_status", KeyId=call.id)
        found["enableKeyRotation"] = rotation["KeyRotationEnabled"]
        # moto keeps no period and always tells a year: of anything else nothing is known.
        if (days := rotation.get("RotationPeriodInDays")) and (days != YEAR_DAYS or not call.state):
            found["rotationPeriodInDays"] = days
    return found


def _delete_key(call: Call) -> None:
    days = whole(call.state.get("deletionWindowInDays"))
    if _read_key(call) is not None:
        call("kms", "schedule_key_deletion", KeyId=call.id, **compact(PendingWindowInDays=days))


# --- aliases ---


def _create_alias(call: Call) -> str:
    call("kms", "create_alias", AliasName=call.inputs["name"], TargetKeyId=call.inputs["targetKeyId"])
    return call.inputs["name"]


def _update_alias(call: Call) -> None:
    if call.state and call.changed("targetKeyId"):
        call("kms", "update_alias", AliasName=call.id, TargetKeyId=call.inputs["targetKeyId"])


def _read_alias(call: Call) -> Props | None:
    for page in call.aws.client("kms", call.region).get_paginator("list_aliases").paginate():
        for one in page["Aliases"]:
            if one["AliasName"] == call.id and one.get("TargetKeyId"):
                target = one["TargetKeyId"]
                arn = call.arn("kms", f"key/{target}")
                return {"name": call.id, "arn": one["AliasArn"], "targetKeyId": target, "targetKeyArn": arn}
    return None


def _delete_alias(call: Call) -> None:
    call.find(GONE, "kms", "delete_alias", AliasName=call.id)


def _same_key(name: str, have: object, want: object) -> bool:
    """A key may be named by its id or its ARN."""
    return name == "targetKeyId" and str(want).rpartition("/")[2] == str(have).rpartition("/")[2]


# --- parameters ---


def _value(call: Call) -> str:
    for name in ("valueWo", "value", "insecureValue"):
        if call.inputs.get(name) is not None:
            return call.inputs[name]
    return ""


def _put(call: Call, *, overwrite: bool) -> None:
    given = compact(
        Name=call.inputs["name"],
        Value=_value(call),
        Type=call.inputs["type"],
        Description=call.inputs.get("description"),
        KeyId=call.inputs.get("keyId") if call.inputs["type"] == "SecureString" else None,
        AllowedPattern=call.inputs.get("allowedPattern"),
        Tier=call.inputs.get("tier"),
        DataType=call.inputs.get("dataType"),
        Overwrite=True if overwrite else None,
        # Tags and an overwriting do not go together.
        Tags=tag_list(call.tags) if call.tags and not overwrite else None,
    )
    call("ssm", "put_parameter", **given)


def _create_parameter(call: Call) -> str:
    _put(call, overwrite=bool(call.inputs.get("overwrite")))
    return call.inputs["name"]


VALUE = ("value", "insecureValue", "valueWoVersion")
DETAILS = (*VALUE, "type", "description", "keyId", "allowedPattern", "tier", "dataType")


def _update_parameter(call: Call) -> None:
    key = {"ResourceType": "Parameter", "ResourceId": call.id}
    if call.state and call.changed(*DETAILS):
        inputs = call.inputs
        if not call.changed(*VALUE):
            # Every put carries a value; one that somebody else wrote since must survive.
            answer = call("ssm", "get_parameter", Name=call.id, WithDecryption=True)
            inputs = {**inputs, "valueWo": answer["Parameter"]["Value"]}
        _put(Call(aws=call.aws, region=call.region, inputs=inputs, id=call.id, tags=call.tags), overwrite=True)
    # A creation that overwrites could not carry the tags.
    made = {} if call.inputs.get("overwrite") else dict(call.tags)
    have = (call.state.get("tagsAll") or {}) if call.state else made
    if gone := sorted(set(have) - set(call.tags)):
        call("ssm", "remove_tags_from_resource", **key, TagKeys=gone)
    if have != call.tags and call.tags:
        call("ssm", "add_tags_to_resource", **key, Tags=tag_list(call.tags))


def _read_parameter(call: Call) -> Props | None:
    write_only = call.get("valueWoVersion") is not None or call.get("hasValueWo")
    answer = call.find(GONE, "ssm", "get_parameter", Name=call.id, WithDecryption=True)
    if answer is None:
        return None
    one = answer["Parameter"]
    filters = [{"Key": "Name", "Option": "Equals", "Values": [call.id]}]
    about = next(iter(call("ssm", "describe_parameters", ParameterFilters=filters)["Parameters"]), {})
    found: Props = {
        "name": one["Name"],
        "arn": one["ARN"],
        "type": one["Type"],
        "version": one["Version"],
        "dataType": one.get("DataType", "text"),
        "description": about.get("Description") or None,
        "keyId": about.get("KeyId") if one["Type"] == "SecureString" else None,
        "allowedPattern": about.get("AllowedPattern") or None,
        "tier": about.get("Tier", "Standard"),
        "hasValueWo": bool(write_only),
        "tagsAll": tags_of(
            call("ssm", "list_tags_for_resource", ResourceType="Parameter", ResourceId=call.id)["TagList"]
        ),
    }
    if call.get("insecureValue") is not None:
        found["insecureValue"] = one["Value"]
    elif not write_only:
        found["value"] = one["Value"]
    return found


def _delete_parameter(call: Call) -> None:
    call.find(GONE, "ssm", "delete_parameter", Name=call.id)


def _check_parameter(inputs: Mapping[str, Any]) -> list[tuple[str, str]]:
    given = [name for name in ("value", "valueWo", "insecureValue") if inputs.get(name) is not None]
    faults = []
    if len(given) != 1:
        said = f"{', '.join(given)} are given" if given else "none is given"
        faults.append(("value", f"exactly one of value, valueWo and insecureValue is needed, and {said}"))
    if ("valueWo" in given) != (inputs.get("valueWoVersion") is not None):
        faults.append(("valueWoVersion", "valueWo and valueWoVersion must be given together"))
    if inputs.get("insecureValue") is not None and inputs.get("type") == "SecureString":
        faults.append(("insecureValue", "insecureValue cannot be a SecureString"))
    return faults


ROWS = (
    Kind(
        token="aws:kms/key:Key",
        create=_create_key,
        read=_read_key,
        update=_update_key,
        delete=_delete_key,
        fixed=frozenset({"keyUsage", "customerMasterKeySpec", "customKeyStoreId", "multiRegion", "xksKeyId"}),
        defaults={"keyUsage": "ENCRYPT_DECRYPT", "customerMasterKeySpec": SYMMETRIC, "isEnabled": True},
        here_only=frozenset({"deletionWindowInDays", "bypassPolicyLockoutSafetyCheck"}),
    ),
    Kind(
        token="aws:kms/alias:Alias",
        create=_create_alias,
        read=_read_alias,
        update=_update_alias,
        delete=_delete_alias,
        fixed=frozenset({"name"}),
        named="name",
        longest=256,
        lead="alias/",
        same=_same_key,
    ),
    Kind(
        token="aws:ssm/parameter:Parameter",
        create=_create_parameter,
        read=_read_parameter,
        update=_update_parameter,
        delete=_delete_parameter,
        fixed=frozenset({"name", "dataType"}),
        named="name",
        longest=2048,
        secret=frozenset({"value", "valueWo"}),
        write_only=frozenset({"valueWo"}),
        moving=frozenset({"version"}),
        here_only=frozenset({"overwrite"}),
        check=_check_parameter,
    ),
)
