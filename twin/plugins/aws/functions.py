"""The functions (invokes) that the program calls."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from typing import Any

from twin.plugins import wire
from twin.plugins.aws.client import Aws
from twin.plugins.base import ProviderError

SUFFIXES = {"aws": "amazonaws.com", "aws-cn": "amazonaws.com.cn", "aws-us-gov": "amazonaws.com"}
VERSION = "2012-10-17"


def _caller(aws: Aws, args: wire.Map) -> wire.Map:
    del args
    who = aws.identity()
    return {"accountId": who["Account"], "arn": who["Arn"], "userId": who["UserId"], "id": who["Account"]}


def _partition(aws: Aws, args: wire.Map) -> wire.Map:
    del args
    partition = aws.partition()
    suffix = SUFFIXES[partition]
    reverse = ".".join(reversed(suffix.split(".")))
    return {"partition": partition, "id": partition, "dnsSuffix": suffix, "reverseDnsPrefix": reverse}


def _region(aws: Aws, args: wire.Map) -> wire.Map:
    name = args.get("region") or args.get("name") or aws.region
    described = {"description": name, "endpoint": f"ec2.{name}.amazonaws.com"}
    return {"region": name, "name": name, "id": name, **described}


def _zones(aws: Aws, args: wire.Map) -> wire.Map:
    filters = [{"Name": one["name"], "Values": one["values"]} for one in args.get("filters") or []]
    if args.get("state"):
        filters.append({"Name": "state", "Values": [args["state"]]})
    region = args.get("region") or aws.region
    given = {"Filters": filters} if filters else {}
    found = aws.call("ec2", "describe_availability_zones", region, **given)["AvailabilityZones"]
    left = {*(args.get("excludeNames") or []), *(args.get("excludeZoneIds") or [])}
    found = [one for one in found if one["ZoneName"] not in left and one["ZoneId"] not in left]
    found.sort(key=lambda one: one["ZoneName"])
    return {
        **args,
        "id": region,
        "region": region,
        "names": [one["ZoneName"] for one in found],
        "zoneIds": [one["ZoneId"] for one in found],
        "groupNames": sorted({one.get("GroupName") or region for one in found}),
    }


def _image(aws: Aws, args: wire.Map) -> wire.Map:
    filters = [{"Name": one["name"], "Values": one["values"]} for one in args.get("filters") or []]
    given: dict[str, Any] = {"Filters": filters} if filters else {}
    given |= {"Owners": args["owners"]} if args.get("owners") else {}
    found = aws.call("ec2", "describe_images", args.get("region") or "", **given)["Images"]
    found.sort(key=lambda one: one.get("CreationDate") or "")
    if not found or (len(found) > 1 and not args.get("mostRecent")):
        raise ProviderError(f"getAmi: {len(found)} images match. Make the filters tell one, or set mostRecent")
    one = found[-1]
    return {
        **args,
        "id": one["ImageId"],
        "imageId": one["ImageId"],
        "name": one["Name"],
        "architecture": one.get("Architecture"),
        "creationDate": one.get("CreationDate"),
        "ownerId": one.get("OwnerId"),
        "rootDeviceName": one.get("RootDeviceName"),
        "rootSnapshotId": "",
    }


def _document(aws: Aws, args: wire.Map) -> wire.Map:
    """The policy document: worked out here, AWS is not asked."""
    del aws
    statements = []
    for one in args.get("statements") or []:
        made: dict[str, Any] = {"Sid": one["sid"]} if one.get("sid") else {}
        made["Effect"] = one.get("effect") or "Allow"
        for name, key in (("principals", "Principal"), ("notPrincipals", "NotPrincipal")):
            if one.get(name):
                made[key] = _principals(one[name])
        for name, key in (
            ("actions", "Action"),
            ("notActions", "NotAction"),
            ("resources", "Resource"),
            ("notResources", "NotResource"),
        ):
            if one.get(name):
                made[key] = _one(sorted(one[name], reverse=True))
        for condition in one.get("conditions") or []:
            tests = made.setdefault("Condition", {}).setdefault(condition["test"], {})
            tests[condition["variable"]] = _one(condition["values"])
        statements.append(made)
    document = {"Version": args.get("version") or VERSION}
    document |= {"Id": args["policyId"]} if args.get("policyId") else {}
    document["Statement"] = statements
    text = json.dumps(document, indent=2)
    compact = json.dumps(document, separators=(",", ":"))
    return {**args, "id": str(zlib.crc32(compact.encode())), "json": text, "minifiedJson": compact}


def _principals(given: list[dict[str, Any]]) -> Any:
    if any(one["type"] == "*" for one in given):
        return "*"
    found: dict[str, list[str]] = {}
    for one in given:
        found.setdefault(one["type"], []).extend(one["identifiers"])
    return {kind: _one(identifiers) for kind, identifiers in found.items()}


def _one(values: list[str]) -> Any:
    return values[0] if len(values) == 1 else values


FUNCTIONS: dict[str, Callable[[Aws, wire.Map], wire.Map]] = {
    "aws:ec2/getAmi:getAmi": _image,
    "aws:iam/getPolicyDocument:getPolicyDocument": _document,
    "aws:index/getAvailabilityZones:getAvailabilityZones": _zones,
    "aws:index/getCallerIdentity:getCallerIdentity": _caller,
    "aws:index/getPartition:getPartition": _partition,
    "aws:index/getRegion:getRegion": _region,
}


def call(aws: Aws, token: str, args: wire.Map) -> wire.Map:
    """The result of a function; raises ProviderError for one that this plugin does not have."""
    if token not in FUNCTIONS:
        raise ProviderError(f"unknown function {token!r}; this plugin has {', '.join(FUNCTIONS)}")
    return FUNCTIONS[token](aws, args)
