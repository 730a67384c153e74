"""What the rows of EC2 share: how an object is looked up, and its tags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twin.plugins.aws.client import AwsError
from twin.plugins.aws.kinds import Call
from twin.plugins.aws.values import tag_list


def gone(code: str) -> bool:
    """Whether an error says that there is no such object (InvalidVpcID.NotFound, NatGatewayNotFound, ...)."""
    return code.endswith(("NotFound", ".Malformed", "NotFoundException"))


def describe(call: Call, plural: str, parameter: str, identity: str) -> dict[str, Any] | None:
    """The one object of this id as `describe_PLURAL` tells it; None when there is none."""
    try:
        answer = call("ec2", f"describe_{plural}", **{parameter: [identity]})
    except AwsError as error:
        if gone(error.code):
            return None
        raise
    key = "".join(word.capitalize() for word in plural.split("_"))
    return next(iter(answer[key]), None)


def specification(kind: str, tags: Mapping[str, str]) -> dict[str, Any]:
    """The parameter that tags what a request makes; nothing without tags."""
    return {"TagSpecifications": [{"ResourceType": kind, "Tags": tag_list(tags)}]} if tags else {}


def retag(call: Call) -> None:
    """Make the tags of an object that was there before what they shall be."""
    if not call.state:
        return
    have = call.state.get("tagsAll") or {}
    if old := sorted(set(have) - set(call.tags)):
        call("ec2", "delete_tags", Resources=[call.id], Tags=[{"Key": name} for name in old])
    changed = {name: item for name, item in call.tags.items() if have.get(name) != item}
    if changed:
        call("ec2", "create_tags", Resources=[call.id], Tags=tag_list(changed))
