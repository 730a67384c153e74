"""Managed policies, instance profiles and identity providers of IAM."""

from __future__ import annotations

import json
from urllib.parse import unquote

from twin.plugins.aws.kinds import Call, Kind
from twin.plugins.aws.values import Props, compact, tag_list, tags_of

GONE = ("NoSuchEntity", "NoSuchEntityException")
MAX_VERSIONS = 5
"""IAM keeps so many versions of a managed policy."""


def text(document: object) -> str:
    """A policy as text: the client hands some out parsed, others with percent signs."""
    return unquote(document) if isinstance(document, str) else json.dumps(document)


def retag(call: Call, what: str, key: str) -> None:
    """Make the tags of a thing what they shall be; `key` is the parameter that names it."""
    have = call.state.get("tagsAll") or {}
    gone = sorted(set(have) - set(call.tags))
    if gone:
        call("iam", f"untag_{what}", **{key: call.id}, TagKeys=gone)
    changed = {name: item for name, item in call.tags.items() if have.get(name) != item}
    if changed:
        call("iam", f"tag_{what}", **{key: call.id}, Tags=tag_list(changed))


# --- managed policies ---


def _create_policy(call: Call) -> str:
    given = compact(
        PolicyName=call.inputs["name"],
        PolicyDocument=call.inputs["policy"],
        Path=call.inputs.get("path"),
        Description=call.inputs.get("description"),
        Tags=tag_list(call.tags),
    )
    return call("iam", "create_policy", **given)["Policy"]["Arn"]


def _update_policy(call: Call) -> None:
    if not call.state:
        return
    if call.changed("policy"):
        versions = call("iam", "list_policy_versions", PolicyArn=call.id)["Versions"]
        spare = sorted((one for one in versions if not one["IsDefaultVersion"]), key=lambda one: one["CreateDate"])
        if len(versions) >= MAX_VERSIONS:
            call("iam", "delete_policy_version", PolicyArn=call.id, VersionId=spare[0]["VersionId"])
        call(
            "iam",
            "create_policy_version",
            PolicyArn=call.id,
            PolicyDocument=call.inputs["policy"],
            SetAsDefault=True,
        )
    retag(call, "policy", "PolicyArn")


def _read_policy(call: Call) -> Props | None:
    answer = call.find(GONE, "iam", "get_policy", PolicyArn=call.id)
    if answer is None:
        return None
    policy = answer["Policy"]
    version = call("iam", "get_policy_version", PolicyArn=call.id, VersionId=policy["DefaultVersionId"])
    return {
        "arn": policy["Arn"],
        "name": policy["PolicyName"],
        "path": policy["Path"],
        "policyId": policy["PolicyId"],
        "attachmentCount": policy.get("AttachmentCount", 0),
        "description": policy.get("Description") or None,
        "policy": text(version["PolicyVersion"]["Document"]),
        "tagsAll": tags_of(policy.get("Tags")),
    }


def _delete_policy(call: Call) -> None:
    answer = call.find(GONE, "iam", "list_policy_versions", PolicyArn=call.id)
    for one in (answer or {}).get("Versions", []):
        if not one["IsDefaultVersion"]:
            call("iam", "delete_policy_version", PolicyArn=call.id, VersionId=one["VersionId"])
    call.find(GONE, "iam", "delete_policy", PolicyArn=call.id)


# --- instance profiles ---


def _create_profile(call: Call) -> str:
    name = call.inputs["name"]
    given = compact(InstanceProfileName=name, Path=call.inputs.get("path"), Tags=tag_list(call.tags))
    call("iam", "create_instance_profile", **given)
    return name


def _update_profile(call: Call) -> None:
    old, new = call.state.get("role"), call.inputs.get("role")
    if old != new:
        if old:
            call.find(GONE, "iam", "remove_role_from_instance_profile", InstanceProfileName=call.id, RoleName=old)
        if new:
            call("iam", "add_role_to_instance_profile", InstanceProfileName=call.id, RoleName=new)
    if call.state:
        retag(call, "instance_profile", "InstanceProfileName")


def _read_profile(call: Call) -> Props | None:
    answer = call.find(GONE, "iam", "get_instance_profile", InstanceProfileName=call.id)
    if answer is None:
        return None
    profile = answer["InstanceProfile"]
    return {
        "name": profile["InstanceProfileName"],
        "arn": profile["Arn"],
        "path": profile["Path"],
        "uniqueId": profile["InstanceProfileId"],
        "createDate": profile["CreateDate"].isoformat().replace("+00:00", "Z"),
        "role": next((role["RoleName"] for role in profile["Roles"]), None),
        "tagsAll": tags_of(profile.get("Tags")),
    }


def _delete_profile(call: Call) -> None:
    answer = call.find(GONE, "iam", "get_instance_profile", InstanceProfileName=call.id)
    if answer is None:
        return
    for role in answer["InstanceProfile"]["Roles"]:
        name = role["RoleName"]
        call("iam", "remove_role_from_instance_profile", InstanceProfileName=call.id, RoleName=name)
    call("iam", "delete_instance_profile", InstanceProfileName=call.id)


# --- identity providers ---


def _create_oidc(call: Call) -> str:
    given = compact(
        Url=call.inputs["url"],
        ClientIDList=call.inputs["clientIdLists"],
        ThumbprintList=call.inputs.get("thumbprintLists"),
        Tags=tag_list(call.tags),
    )
    return call("iam", "create_open_id_connect_provider", **given)["OpenIDConnectProviderArn"]


def _update_oidc(call: Call) -> None:
    if not call.state:
        return
    key = {"OpenIDConnectProviderArn": call.id}
    if call.changed("thumbprintLists") and call.inputs.get("thumbprintLists"):
        thumbprints = call.inputs["thumbprintLists"]
        call("iam", "update_open_id_connect_provider_thumbprint", **key, ThumbprintList=thumbprints)
    wanted, have = set(call.inputs["clientIdLists"]), set(call.state.get("clientIdLists") or [])
    for client in sorted(wanted - have):
        call("iam", "add_client_id_to_open_id_connect_provider", **key, ClientID=client)
    for client in sorted(have - wanted):
        call("iam", "remove_client_id_from_open_id_connect_provider", **key, ClientID=client)
    retag(call, "open_id_connect_provider", "OpenIDConnectProviderArn")


def _read_oidc(call: Call) -> Props | None:
    answer = call.find(GONE, "iam", "get_open_id_connect_provider", OpenIDConnectProviderArn=call.id)
    return answer and {
        "arn": call.id,
        # IAM leaves the scheme out.
        "url": answer["Url"].removeprefix("https://"),
        "clientIdLists": answer["ClientIDList"],
        "thumbprintLists": answer.get("ThumbprintList") or [],
        "tagsAll": tags_of(answer.get("Tags")),
    }


def _delete_oidc(call: Call) -> None:
    call.find(GONE, "iam", "delete_open_id_connect_provider", OpenIDConnectProviderArn=call.id)


def _same_url(name: str, have: object, want: object) -> bool:
    return name == "url" and str(want).removeprefix("https://").rstrip("/") == str(have).removeprefix("https://")


ROWS = (
    Kind(
        token="aws:iam/policy:Policy",
        create=_create_policy,
        read=_read_policy,
        update=_update_policy,
        delete=_delete_policy,
        fixed=frozenset({"name", "path", "description"}),
        named="name",
        longest=128,
        defaults={"path": "/"},
        here_only=frozenset({"delayAfterPolicyCreationInMs"}),
    ),
    Kind(
        token="aws:iam/instanceProfile:InstanceProfile",
        create=_create_profile,
        read=_read_profile,
        update=_update_profile,
        delete=_delete_profile,
        fixed=frozenset({"name", "path"}),
        named="name",
        longest=128,
        defaults={"path": "/"},
    ),
    Kind(
        token="aws:iam/openIdConnectProvider:OpenIdConnectProvider",
        create=_create_oidc,
        read=_read_oidc,
        update=_update_oidc,
        delete=_delete_oidc,
        fixed=frozenset({"url"}),
        same=_same_url,
    ),
)
