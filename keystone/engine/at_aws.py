"""What is at AWS as a create has asked for it, and whether it is ours.

Ours is what carries all tags that were asked for, the cluster's among them. What has no tags is ours if it is what was
asked for in everything that tells it apart.
"""

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from keystone.aws import services
from keystone.errors import KeystoneError

Found = Iterator[tuple[str, bool | None]]
"""The ids of what has the name or the place that was asked for, each with whether it is ours; None: nothing tells."""

MISSING = {
    "404",
    "AWS.SimpleQueueService.NonExistentQueue",
    "InvalidResourceId",
    "InvalidRouteTableID.NotFound",
    "NoSuchBucket",
    "NoSuchEntity",
    "NoSuchHostedZone",
    "NoSuchTagSet",
    "NotFoundException",
    "QueueDoesNotExist",
}
DENIED = {"403", "AccessDenied", "AccessDeniedException"}
ENDED = {"deleted", "deleting", "failed"}
"""States of gateways that are still listed for a while."""
FAILED_CERTIFICATES = {"EXPIRED", "FAILED", "INACTIVE", "REVOKED", "VALIDATION_TIMED_OUT"}
DESTINATIONS = {"destinationCidrBlock": "DestinationCidrBlock", "destinationIpv6CidrBlock": "DestinationIpv6CidrBlock"}
WAYS = {"gatewayId": "GatewayId", "natGatewayId": "NatGatewayId"}


class Account:
    """The account as a provider reaches it, and the inputs of one resource."""

    def __init__(self, inputs: Mapping[str, Any], provider: Mapping[str, Any]) -> None:
        self.inputs = inputs
        self._provider = {name: _parsed(item) for name, item in provider.items()}
        self.region = str(inputs.get("region") or self._provider.get("region") or "us-east-1")
        endpoints = self._provider.get("endpoints") or []
        self._endpoints = {name: url for block in endpoints for name, url in block.items() if url}
        given = inputs.get("tags") or {}
        own = {one["key"]: one["value"] for one in given} if isinstance(given, list) else given
        defaults = (self._provider.get("defaultTags") or {}).get("tags") or {}
        # A group's tags are a list; the provider adds none to it.
        self._tags = own if isinstance(given, list) else {**defaults, **own}

    def client(self, service: str) -> Any:
        return services.client(service, self.region, self._endpoints.get(service))

    def get(
        self, service: str, operation: str, missing: Iterable[str] = MISSING, /, **given: Any
    ) -> dict[str, Any] | None:
        """One answer; None where AWS says with one of the codes `missing` that there is none."""
        from botocore.exceptions import ClientError

        try:
            return getattr(self.client(service), operation)(**given)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in missing:
                return None
            raise

    def pages(self, service: str, operation: str, key: str, **given: Any) -> Iterator[dict[str, Any]]:
        """The objects of a list; `key` may lead through several levels, separated by dots."""
        client = self.client(service)
        if not client.can_paginate(operation):
            yield from _within(getattr(client, operation)(**given), key)
            return
        for page in client.get_paginator(operation).paginate(**given):
            yield from _within(page, key)

    def ours(self, tags: Any) -> bool | None:
        """Whether an object's tags are those that were asked for; None where no tag of a cluster was."""
        if services.CLUSTER_TAG not in self._tags:
            return None
        if not isinstance(tags, dict):
            tags = {one.get("Key", one.get("TagKey")): one.get("Value", one.get("TagValue")) for one in tags or ()}
        return self._tags.items() <= tags.items()

    def arn(self, rest: str) -> str:
        """The ARN of something of IAM."""
        who = str((self.get("sts", "get_caller_identity") or {})["Arn"])
        _, partition, _, _, account, _ = who.split(":", 5)
        return f"arn:{partition}:iam::{account}:{rest}"


def look(kind: str, inputs: Mapping[str, Any], provider: Mapping[str, Any]) -> list[tuple[str, bool | None]]:
    """What is there for a kind of KINDS. Raises KeystoneError in one line when AWS does not tell."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return list(KINDS[kind](Account(inputs, provider)))
    except (BotoCoreError, ClientError) as error:
        said = " ".join(str(error).split())
        raise KeystoneError(
            "AWS",
            f"cannot tell whether the {kind.rpartition(':')[2]} exists that an update was creating: {said}",
            "Run it again once AWS answers, with credentials that may look",
        ) from None


def owner(kind: str, inputs: Mapping[str, Any], provider: Mapping[str, Any]) -> str | None:
    """What `pulumi import` takes of what has the name. Raises KeystoneError when AWS does not tell."""
    found = look(kind, inputs, provider)
    if not found:
        return None
    match kind:
        case "aws:ec2/route:Route":
            return f"{inputs['routeTableId']}_{next(inputs[name] for name in DESTINATIONS if inputs.get(name))}"
        case "aws:ec2/routeTableAssociation:RouteTableAssociation":
            return f"{inputs['subnetId']}/{inputs['routeTableId']}"
    return found[0][0]


def _parsed(value: Any) -> Any:
    """An input of a provider: what is no text comes as JSON."""
    try:
        return json.loads(value) if isinstance(value, str) and value[:1] in "[{" else value
    except ValueError:
        return value


def _within(answer: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    found: Any = answer
    for part in key.split("."):
        found = found.get(part) or {}
    return list(found)


# --- by a name ---


def _role(at: Account) -> Found:
    name = at.inputs["name"]
    if one := at.get("iam", "get_role", RoleName=name):
        yield name, at.ours(one["Role"].get("Tags"))


def _profile(at: Account) -> Found:
    name = at.inputs["name"]
    if one := at.get("iam", "get_instance_profile", InstanceProfileName=name):
        yield name, at.ours(one["InstanceProfile"].get("Tags"))


def _policy(at: Account) -> Found:
    arn = at.arn(f"policy{at.inputs.get('path') or '/'}{at.inputs['name']}")
    if one := at.get("iam", "get_policy", PolicyArn=arn):
        yield arn, at.ours(one["Policy"].get("Tags"))


def _issuer(at: Account) -> Found:
    arn = at.arn(f"oidc-provider/{at.inputs['url'].removeprefix('https://')}")
    if one := at.get("iam", "get_open_id_connect_provider", OpenIDConnectProviderArn=arn):
        yield arn, at.ours(one.get("Tags"))


def _bucket(at: Account) -> Found:
    name = at.inputs["bucket"]
    # One of another account is denied, and never ours.
    if at.get("s3", "head_bucket", MISSING | DENIED, Bucket=name) is None:
        return
    if tagged := at.get("s3", "get_bucket_tagging", Bucket=name):
        yield name, at.ours(tagged["TagSet"])
        return
    held = at.get("s3", "list_object_versions", Bucket=name, MaxKeys=1) or {}
    # A plugin may tag it by a second request, which never came; of an empty one nobody loses anything.
    yield name, not (held.get("Versions") or held.get("DeleteMarkers"))


def _parameter(at: Account) -> Found:
    name = at.inputs["name"]
    if one := at.get("ssm", "list_tags_for_resource", ResourceType="Parameter", ResourceId=name):
        yield name, at.ours(one["TagList"])


def _queue(at: Account) -> Found:
    if one := at.get("sqs", "get_queue_url", QueueName=at.inputs["name"]):
        yield one["QueueUrl"], at.ours((at.get("sqs", "list_queue_tags", QueueUrl=one["QueueUrl"]) or {}).get("Tags"))


def _group(at: Account) -> Found:
    name = at.inputs["name"]
    names = [name]
    for one in at.pages(
        "autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups", AutoScalingGroupNames=names
    ):
        yield name, at.ours(one.get("Tags"))


def _alias(at: Account) -> Found:
    for one in at.pages("kms", "list_aliases", "Aliases"):
        if one["AliasName"] == at.inputs["name"]:
            target = str(at.inputs.get("targetKeyId")).rpartition("/")[2]
            yield one["AliasName"], one.get("TargetKeyId") == target


def _key(at: Account) -> Found:
    for one in at.pages("kms", "list_keys", "Keys"):
        # Rights to look at a key depend on its tags: one that may not be seen is not ours.
        tagged = at.get("kms", "list_resource_tags", MISSING | DENIED, KeyId=one["KeyId"])
        if tagged is None or (ours := at.ours(tagged["Tags"])) is False:
            continue
        about = (at.get("kms", "describe_key", KeyId=one["KeyId"]) or {}).get("KeyMetadata", {})
        alike = (about.get("Description") or "") == (at.inputs.get("description") or "")
        if alike and about.get("KeyState") != "PendingDeletion":
            yield one["KeyId"], ours


def _certificate(at: Account) -> Found:
    for one in at.pages("acm", "list_certificates", "CertificateSummaryList"):
        if one.get("DomainName") == at.inputs["domainName"] and one.get("Status") not in FAILED_CERTIFICATES:
            arn = one["CertificateArn"]
            yield arn, at.ours((at.get("acm", "list_tags_for_certificate", CertificateArn=arn) or {}).get("Tags"))


def _distribution(at: Account) -> Found:
    for one in at.pages("cloudfront", "list_distributions", "DistributionList.Items"):
        if set(one.get("Aliases", {}).get("Items") or []) & set(at.inputs.get("aliases") or []):
            tagged = at.get("cloudfront", "list_tags_for_resource", Resource=one["ARN"]) or {}
            yield one["Id"], at.ours(tagged.get("Tags", {}).get("Items"))


def _access_control(at: Account) -> Found:
    same = {
        "Description": "description",
        "OriginAccessControlOriginType": "originAccessControlOriginType",
        "SigningBehavior": "signingBehavior",
        "SigningProtocol": "signingProtocol",
    }
    for one in at.pages("cloudfront", "list_origin_access_controls", "OriginAccessControlList.Items"):
        if one["Name"] == at.inputs["name"]:
            alike = all((one.get(theirs) or "") == (at.inputs.get(ours) or "") for theirs, ours in same.items())
            yield one["Id"], alike


def _record(at: Account) -> Found:
    zone, name, kind = at.inputs["zoneId"], at.inputs["name"].rstrip(".").lower(), at.inputs["type"]
    first = {"StartRecordName": name, "StartRecordType": kind, "MaxItems": "1"}
    answer = at.get("route53", "list_resource_record_sets", HostedZoneId=zone, **first) or {}
    for one in answer.get("ResourceRecordSets", []):
        if one["Name"].rstrip(".").lower() == name and one["Type"] == kind:
            values = [part["Value"] for part in one.get("ResourceRecords", [])]
            ours = sorted(values) == sorted(at.inputs.get("records") or []) and one.get("TTL") == at.inputs.get("ttl")
            yield f"{zone}_{name}_{kind}", ours


# --- by tags ---


@dataclass(frozen=True)
class Listed:
    """A kind that EC2 lists; `same` are inputs that tell an object apart, with the answer's names for them."""

    operation: str
    place: str
    key: str
    same: Mapping[str, str]

    def __call__(self, at: Account) -> Found:
        for one in at.pages("ec2", self.operation, self.place):
            alike = all(one.get(theirs) == at.inputs.get(ours) for ours, theirs in self.same.items())
            if alike and str(one.get("State")).lower() not in ENDED:
                yield one[self.key], at.ours(one.get("Tags"))


# --- in a route table ---


def _tables(at: Account) -> list[dict[str, Any]]:
    found = at.get("ec2", "describe_route_tables", RouteTableIds=[at.inputs["routeTableId"]]) or {}
    return found.get("RouteTables", [])


def _route(at: Account) -> Found:
    [(ours, theirs)] = [(ours, theirs) for ours, theirs in DESTINATIONS.items() if at.inputs.get(ours)]
    destination = at.inputs[ours]
    for one in (route for table in _tables(at) for route in table["Routes"]):
        if one.get(theirs) == destination:
            same = all((one.get(api) or None) == at.inputs.get(name) for name, api in WAYS.items())
            yield f"r-{at.inputs['routeTableId']}{zlib.crc32(destination.encode())}", same


def _association(at: Account) -> Found:
    for one in (held for table in _tables(at) for held in table["Associations"]):
        if one.get("SubnetId") == at.inputs["subnetId"]:
            yield one["RouteTableAssociationId"], True


RULE = {
    "securityGroupId": "GroupId",
    "ipProtocol": "IpProtocol",
    "fromPort": "FromPort",
    "toPort": "ToPort",
    "cidrIpv4": "CidrIpv4",
}
KINDS: Mapping[str, Callable[[Account], Found]] = {
    "aws:acm/certificate:Certificate": _certificate,
    "aws:autoscaling/group:Group": _group,
    "aws:cloudfront/distribution:Distribution": _distribution,
    "aws:cloudfront/originAccessControl:OriginAccessControl": _access_control,
    "aws:ec2/eip:Eip": Listed("describe_addresses", "Addresses", "AllocationId", {}),
    "aws:ec2/internetGateway:InternetGateway": Listed(
        "describe_internet_gateways", "InternetGateways", "InternetGatewayId", {}
    ),
    "aws:ec2/launchTemplate:LaunchTemplate": Listed(
        "describe_launch_templates", "LaunchTemplates", "LaunchTemplateId", {"name": "LaunchTemplateName"}
    ),
    "aws:ec2/natGateway:NatGateway": Listed(
        "describe_nat_gateways", "NatGateways", "NatGatewayId", {"subnetId": "SubnetId"}
    ),
    "aws:ec2/route:Route": _route,
    "aws:ec2/routeTable:RouteTable": Listed("describe_route_tables", "RouteTables", "RouteTableId", {"vpcId": "VpcId"}),
    "aws:ec2/routeTableAssociation:RouteTableAssociation": _association,
    "aws:ec2/securityGroup:SecurityGroup": Listed(
        "describe_security_groups", "SecurityGroups", "GroupId", {"name": "GroupName", "vpcId": "VpcId"}
    ),
    "aws:ec2/subnet:Subnet": Listed(
        "describe_subnets", "Subnets", "SubnetId", {"vpcId": "VpcId", "cidrBlock": "CidrBlock"}
    ),
    "aws:ec2/vpc:Vpc": Listed("describe_vpcs", "Vpcs", "VpcId", {"cidrBlock": "CidrBlock"}),
    "aws:iam/instanceProfile:InstanceProfile": _profile,
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": _issuer,
    "aws:iam/policy:Policy": _policy,
    "aws:iam/role:Role": _role,
    "aws:kms/alias:Alias": _alias,
    "aws:kms/key:Key": _key,
    "aws:route53/record:Record": _record,
    "aws:s3/bucket:Bucket": _bucket,
    "aws:sqs/queue:Queue": _queue,
    "aws:ssm/parameter:Parameter": _parameter,
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": Listed(
        "describe_security_group_rules", "SecurityGroupRules", "SecurityGroupRuleId", RULE
    ),
}
