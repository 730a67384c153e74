"""Security groups of EC2 and their rules."""

from __future__ import annotations

from typing import Any

from twin.plugins.aws.kinds import Call, Kind
from twin.plugins.aws.rows.ec2 import describe, retag, specification
from twin.plugins.aws.values import Props, compact, tags_of, whole

DESCRIPTION = "Managed by Pulumi"
GONE = ("InvalidGroup.NotFound", "InvalidGroupId.Malformed", "InvalidPermission.NotFound")
RULES_GONE = ("InvalidSecurityGroupRuleId.NotFound", "InvalidSecurityGroupRuleId.Malformed")
DIRECTIONS = ("ingress", "egress")
ALL_OUT = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}


def _create(call: Call) -> str:
    given = compact(
        GroupName=call.inputs["name"],
        Description=call.inputs["description"],
        VpcId=call.inputs.get("vpcId"),
        **specification("security-group", call.tags),
    )
    identity = call("ec2", "create_security_group", **given)["GroupId"]
    # EC2 lets a new group out to everywhere; the official plugin takes that rule away at once.
    call.find(GONE, "ec2", "revoke_security_group_egress", GroupId=identity, IpPermissions=[ALL_OUT])
    return identity


def _update(call: Call) -> None:
    for direction in DIRECTIONS:
        if call.inputs.get(direction) is None or not call.changed(direction):
            continue
        have = [_permission(rule, call.id) for rule in call.state.get(direction) or []]
        wanted = [_permission(rule, call.id) for rule in call.inputs[direction]]
        gone = [rule for rule in have if rule not in wanted]
        new = [rule for rule in wanted if rule not in have]
        if gone:
            call.find(GONE, "ec2", f"revoke_security_group_{direction}", GroupId=call.id, IpPermissions=gone)
        if new:
            call("ec2", f"authorize_security_group_{direction}", GroupId=call.id, IpPermissions=new)
    retag(call)


def _permission(rule: Props, group: str) -> dict[str, Any]:
    note = compact(Description=rule.get("description") or None)
    groups = [*(rule.get("securityGroups") or []), *([group] if rule.get("self") else [])]
    protocol = str(rule["protocol"]).lower()
    ports = {} if protocol in ("-1", "all") else {"FromPort": whole(rule["fromPort"]), "ToPort": whole(rule["toPort"])}
    parts = {
        "IpRanges": [{"CidrIp": one, **note} for one in rule.get("cidrBlocks") or []],
        "Ipv6Ranges": [{"CidrIpv6": one, **note} for one in rule.get("ipv6CidrBlocks") or []],
        "PrefixListIds": [{"PrefixListId": one, **note} for one in rule.get("prefixListIds") or []],
        "UserIdGroupPairs": [{"GroupId": one, **note} for one in groups],
    }
    protocol = "-1" if protocol == "all" else protocol
    return {"IpProtocol": protocol, **ports, **{name: item for name, item in parts.items() if item}}


def _rule(held: dict[str, Any], group: str) -> Props:
    ends = held.get("UserIdGroupPairs") or []
    notes = [
        one.get("Description")
        for key in ("IpRanges", "Ipv6Ranges", "PrefixListIds", "UserIdGroupPairs")
        for one in held.get(key) or []
    ]
    return {
        "protocol": held["IpProtocol"],
        "fromPort": held.get("FromPort", 0),
        "toPort": held.get("ToPort", 0),
        "cidrBlocks": [one["CidrIp"] for one in held.get("IpRanges") or []],
        "ipv6CidrBlocks": [one["CidrIpv6"] for one in held.get("Ipv6Ranges") or []],
        "prefixListIds": [one["PrefixListId"] for one in held.get("PrefixListIds") or []],
        "securityGroups": [one["GroupId"] for one in ends if one["GroupId"] != group],
        "self": any(one["GroupId"] == group for one in ends),
        "description": next((note for note in notes if note), ""),
    }


def _read(call: Call) -> Props | None:
    group = describe(call, "security_groups", "GroupIds", call.id)
    if group is None:
        return None
    found: Props = {
        "arn": call.arn("ec2", f"security-group/{call.id}"),
        "name": group["GroupName"],
        "description": group["Description"],
        "vpcId": group.get("VpcId"),
        "ownerId": group.get("OwnerId"),
        "tagsAll": tags_of(group.get("Tags")),
    }
    held = {"ingress": group["IpPermissions"], "egress": group["IpPermissionsEgress"]}
    for direction in DIRECTIONS:
        # Rules that are resources of their own are not this one's business; an import cannot tell them apart.
        if call.get(direction) is not None or not call.state:
            found[direction] = [_rule(one, call.id) for one in held[direction]]
    return found


def _delete(call: Call) -> None:
    group = describe(call, "security_groups", "GroupIds", call.id)
    if group is None:
        return
    if call.state.get("revokeRulesOnDelete"):
        for direction, key in (("ingress", "IpPermissions"), ("egress", "IpPermissionsEgress")):
            if group[key]:
                call("ec2", f"revoke_security_group_{direction}", GroupId=call.id, IpPermissions=group[key])
    call("ec2", "delete_security_group", GroupId=call.id)


# --- rules as resources ---


def _single(inputs: Props) -> dict[str, Any]:
    note = compact(Description=inputs.get("description"))
    parts: dict[str, Any] = {}
    if inputs.get("cidrIpv4"):
        parts["IpRanges"] = [{"CidrIp": inputs["cidrIpv4"], **note}]
    if inputs.get("cidrIpv6"):
        parts["Ipv6Ranges"] = [{"CidrIpv6": inputs["cidrIpv6"], **note}]
    if inputs.get("prefixListId"):
        parts["PrefixListIds"] = [{"PrefixListId": inputs["prefixListId"], **note}]
    if inputs.get("referencedSecurityGroupId"):
        parts["UserIdGroupPairs"] = [{"GroupId": inputs["referencedSecurityGroupId"], **note}]
    ports = compact(FromPort=inputs.get("fromPort"), ToPort=inputs.get("toPort"))
    return {"IpProtocol": inputs["ipProtocol"], **ports, **parts}


def _rule_row(direction: str) -> Kind:
    def create(call: Call) -> str:
        given = {"GroupId": call.inputs["securityGroupId"], "IpPermissions": [_single(call.inputs)]}
        tags = specification("security-group-rule", call.tags)
        answer = call("ec2", f"authorize_security_group_{direction}", **given, **tags)
        return answer["SecurityGroupRules"][0]["SecurityGroupRuleId"]

    def update(call: Call) -> None:
        if not call.state:
            return
        if call.changed("description"):
            change = [{"SecurityGroupRuleId": call.id, "Description": call.inputs.get("description") or ""}]
            group = call.inputs["securityGroupId"]
            what = f"update_security_group_rule_descriptions_{direction}"
            call("ec2", what, GroupId=group, SecurityGroupRuleDescriptions=change)
        retag(call)

    def read(call: Call) -> Props | None:
        answer = call.find(RULES_GONE, "ec2", "describe_security_group_rules", SecurityGroupRuleIds=[call.id])
        rule = next(iter((answer or {}).get("SecurityGroupRules", [])), None)
        if rule is None or rule["IsEgress"] is not (direction == "egress"):
            return None
        everything = rule["IpProtocol"] == "-1"
        return {
            "arn": call.arn("ec2", f"security-group-rule/{call.id}"),
            "securityGroupRuleId": call.id,
            "securityGroupId": rule["GroupId"],
            "ipProtocol": rule["IpProtocol"],
            **({} if everything else {"fromPort": rule.get("FromPort"), "toPort": rule.get("ToPort")}),
            "cidrIpv4": rule.get("CidrIpv4"),
            "cidrIpv6": rule.get("CidrIpv6"),
            "prefixListId": rule.get("PrefixListId"),
            "referencedSecurityGroupId": rule.get("ReferencedGroupInfo", {}).get("GroupId"),
            "description": rule.get("Description") or None,
            "tagsAll": tags_of(rule.get("Tags")),
        }

    def delete(call: Call) -> None:
        rules = {"GroupId": call.state["securityGroupId"], "SecurityGroupRuleIds": [call.id]}
        call.find((*RULES_GONE, *GONE), "ec2", f"revoke_security_group_{direction}", **rules)

    name = f"SecurityGroup{direction.capitalize()}Rule"
    return Kind(
        token=f"aws:vpc/securityGroup{direction.capitalize()}Rule:{name}",
        create=create,
        read=read,
        update=update,
        delete=delete,
        fixed=frozenset(
            [
                "securityGroupId",
                "ipProtocol",
                "fromPort",
                "toPort",
                "cidrIpv4",
                "cidrIpv6",
                "prefixListId",
                "referencedSecurityGroupId",
            ]
        ),
        check=_check_rule,
    )


ENDS = ("cidrIpv4", "cidrIpv6", "prefixListId", "referencedSecurityGroupId")


def _check_rule(inputs: Any) -> list[tuple[str, str]]:
    given = [name for name in ENDS if inputs.get(name) is not None]
    faults = (
        []
        if len(given) == 1
        else [(ENDS[0], f"exactly one of {', '.join(ENDS)} is needed, and {len(given)} are given")]
    )
    if inputs.get("ipProtocol") == "-1":
        faults += [
            (name, f"{name} must be left out with ipProtocol -1") for name in ("fromPort", "toPort") if name in inputs
        ]
    return faults


ROWS = (
    Kind(
        token="aws:ec2/securityGroup:SecurityGroup",
        create=_create,
        read=_read,
        update=_update,
        delete=_delete,
        fixed=frozenset({"name", "description", "vpcId"}),
        named="name",
        longest=255,
        defaults={"description": DESCRIPTION, "revokeRulesOnDelete": False},
        here_only=frozenset({"revokeRulesOnDelete"}),
    ),
    _rule_row("ingress"),
    _rule_row("egress"),
)
