"""Roles of IAM, their inline policies and attachments."""

from __future__ import annotations

from twin.plugins.aws.kinds import Call, Kind
from twin.plugins.aws.rows.iam import GONE, retag, text
from twin.plugins.aws.values import Props, compact, tag_list, tags_of


def _create_role(call: Call) -> str:
    call(
        "iam",
        "create_role",
        **compact(
            RoleName=call.inputs["name"],
            Path=call.inputs.get("path"),
            AssumeRolePolicyDocument=call.inputs["assumeRolePolicy"],
            Description=call.inputs.get("description"),
            MaxSessionDuration=call.inputs.get("maxSessionDuration"),
            PermissionsBoundary=call.inputs.get("permissionsBoundary"),
            Tags=tag_list(call.tags),
        ),
    )
    return call.inputs["name"]


def _update_role(call: Call) -> None:
    name = call.id
    if not call.state:
        for part in call.inputs.get("inlinePolicies") or []:
            call("iam", "put_role_policy", RoleName=name, PolicyName=part["name"], PolicyDocument=part["policy"])
        for arn in call.inputs.get("managedPolicyArns") or []:
            call("iam", "attach_role_policy", RoleName=name, PolicyArn=arn)
        return
    if call.changed("assumeRolePolicy"):
        call("iam", "update_assume_role_policy", RoleName=name, PolicyDocument=call.inputs["assumeRolePolicy"])
    if call.changed("description", "maxSessionDuration"):
        more = compact(MaxSessionDuration=call.inputs.get("maxSessionDuration"))
        call("iam", "update_role", RoleName=name, Description=call.inputs.get("description") or "", **more)
    if call.changed("permissionsBoundary"):
        if boundary := call.inputs.get("permissionsBoundary"):
            call("iam", "put_role_permissions_boundary", RoleName=name, PermissionsBoundary=boundary)
        else:
            call("iam", "delete_role_permissions_boundary", RoleName=name)
    if call.changed("inlinePolicies"):
        old = {part["name"] for part in call.state.get("inlinePolicies") or []}
        for part in call.inputs.get("inlinePolicies") or []:
            call("iam", "put_role_policy", RoleName=name, PolicyName=part["name"], PolicyDocument=part["policy"])
            old.discard(part["name"])
        for gone in sorted(old):
            call.find(GONE, "iam", "delete_role_policy", RoleName=name, PolicyName=gone)
    if call.changed("managedPolicyArns"):
        wanted, have = set(call.inputs.get("managedPolicyArns") or []), set(call.state.get("managedPolicyArns") or [])
        for arn in sorted(wanted - have):
            call("iam", "attach_role_policy", RoleName=name, PolicyArn=arn)
        for arn in sorted(have - wanted):
            call.find(GONE, "iam", "detach_role_policy", RoleName=name, PolicyArn=arn)
    retag(call, "role", "RoleName")


def _read_role(call: Call) -> Props | None:
    answer = call.find(GONE, "iam", "get_role", RoleName=call.id)
    if answer is None:
        return None
    role = answer["Role"]
    found: Props = {
        "name": role["RoleName"],
        "arn": role["Arn"],
        "path": role["Path"],
        "uniqueId": role["RoleId"],
        "createDate": role["CreateDate"].isoformat().replace("+00:00", "Z"),
        "assumeRolePolicy": text(role["AssumeRolePolicyDocument"]),
        "description": role.get("Description") or None,
        "maxSessionDuration": role.get("MaxSessionDuration", 3600),
        "permissionsBoundary": role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn"),
        "tagsAll": tags_of(role.get("Tags")),
    }
    # Only those of its own row count: policies of other rows are not this one's business.
    if call.get("managedPolicyArns") is not None:
        attached = call("iam", "list_attached_role_policies", RoleName=call.id)["AttachedPolicies"]
        found["managedPolicyArns"] = [one["PolicyArn"] for one in attached]
    if call.get("inlinePolicies") is not None:
        names = call("iam", "list_role_policies", RoleName=call.id)["PolicyNames"]
        answers = [call("iam", "get_role_policy", RoleName=call.id, PolicyName=name) for name in names]
        found["inlinePolicies"] = [
            {"name": one["PolicyName"], "policy": text(one["PolicyDocument"])} for one in answers
        ]
    return found


def _delete_role(call: Call) -> None:
    if call.find(GONE, "iam", "get_role", RoleName=call.id) is None:
        return
    mine = {part["name"] for part in call.state.get("inlinePolicies") or []}
    for name in call("iam", "list_role_policies", RoleName=call.id)["PolicyNames"]:
        if name in mine or call.state.get("forceDetachPolicies"):
            call("iam", "delete_role_policy", RoleName=call.id, PolicyName=name)
    for one in call("iam", "list_attached_role_policies", RoleName=call.id)["AttachedPolicies"]:
        arn = one["PolicyArn"]
        if arn in (call.state.get("managedPolicyArns") or []) or call.state.get("forceDetachPolicies"):
            call("iam", "detach_role_policy", RoleName=call.id, PolicyArn=arn)
    for profile in call("iam", "list_instance_profiles_for_role", RoleName=call.id)["InstanceProfiles"]:
        if call.state.get("forceDetachPolicies"):
            name = profile["InstanceProfileName"]
            call("iam", "remove_role_from_instance_profile", InstanceProfileName=name, RoleName=call.id)
    call("iam", "delete_role", RoleName=call.id)


# --- inline policies and attachments ---


def _pair(call: Call, separator: str, first: str, second: str) -> tuple[str, str]:
    """The two names that a joined id holds."""
    one, found, other = call.id.partition(separator)
    if found and not call.state.get(first):
        return one, other
    return call.get(first), call.get(second)


def _put_role_policy(call: Call) -> str:
    role, name = call.inputs["role"], call.inputs["name"]
    call("iam", "put_role_policy", RoleName=role, PolicyName=name, PolicyDocument=call.inputs["policy"])
    return f"{role}:{name}"


def _update_role_policy(call: Call) -> None:
    if call.state:
        _put_role_policy(call)


def _read_role_policy(call: Call) -> Props | None:
    role, name = _pair(call, ":", "role", "name")
    answer = call.find(GONE, "iam", "get_role_policy", RoleName=role, PolicyName=name)
    return answer and {"role": role, "name": name, "policy": text(answer["PolicyDocument"])}


def _delete_role_policy(call: Call) -> None:
    call.find(GONE, "iam", "delete_role_policy", RoleName=call.state["role"], PolicyName=call.state["name"])


def _attach(call: Call) -> str:
    role, arn = call.inputs["role"], call.inputs["policyArn"]
    call("iam", "attach_role_policy", RoleName=role, PolicyArn=arn)
    return f"{role}/{arn}"


def _read_attachment(call: Call) -> Props | None:
    role, arn = _pair(call, "/", "role", "policyArn")
    answer = call.find(GONE, "iam", "list_attached_role_policies", RoleName=role)
    found = any(one["PolicyArn"] == arn for one in (answer or {}).get("AttachedPolicies", []))
    return {"role": role, "policyArn": arn} if found else None


def _detach(call: Call) -> None:
    call.find(GONE, "iam", "detach_role_policy", RoleName=call.state["role"], PolicyArn=call.state["policyArn"])


ROWS = (
    Kind(
        token="aws:iam/role:Role",
        create=_create_role,
        read=_read_role,
        update=_update_role,
        delete=_delete_role,
        fixed=frozenset({"name", "path"}),
        named="name",
        defaults={"path": "/", "maxSessionDuration": 3600.0, "forceDetachPolicies": False},
        here_only=frozenset({"forceDetachPolicies"}),
    ),
    Kind(
        token="aws:iam/rolePolicy:RolePolicy",
        create=_put_role_policy,
        read=_read_role_policy,
        update=_update_role_policy,
        delete=_delete_role_policy,
        fixed=frozenset({"name", "role"}),
        named="name",
        longest=128,
    ),
    Kind(
        token="aws:iam/rolePolicyAttachment:RolePolicyAttachment",
        create=_attach,
        read=_read_attachment,
        delete=_detach,
        fixed=None,
    ),
)
