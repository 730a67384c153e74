"""Networks of EC2: VPC, subnets, gateways, routes, endpoints."""

from __future__ import annotations

from typing import Any

from twin.plugins.aws.client import AwsError
from twin.plugins.aws.kinds import Call, Kind
from twin.plugins.aws.rows.ec2 import describe, retag, specification
from twin.plugins.aws.values import Props, compact, tags_of
from twin.plugins.base import ProviderError

NAT_SECONDS = 300.0


# --- VPC ---


def _create_vpc(call: Call) -> str:
    given = compact(
        CidrBlock=call.inputs.get("cidrBlock"),
        InstanceTenancy=call.inputs.get("instanceTenancy"),
        AmazonProvidedIpv6CidrBlock=call.inputs.get("assignGeneratedIpv6CidrBlock"),
        **specification("vpc", call.tags),
    )
    return call("ec2", "create_vpc", **given)["Vpc"]["VpcId"]


VPC_ATTRIBUTES = ("enableDnsSupport", "enableDnsHostnames")


def _update_vpc(call: Call) -> None:
    for name in VPC_ATTRIBUTES:
        if call.changed(name) and call.inputs.get(name) is not None:
            attribute = {name[0].upper() + name[1:]: {"Value": call.inputs[name]}}
            call("ec2", "modify_vpc_attribute", VpcId=call.id, **attribute)
    retag(call)


def _read_vpc(call: Call) -> Props | None:
    vpc = describe(call, "vpcs", "VpcIds", call.id)
    if vpc is None:
        return None
    found: Props = {
        "arn": call.arn("ec2", f"vpc/{call.id}"),
        "cidrBlock": vpc["CidrBlock"],
        "instanceTenancy": vpc.get("InstanceTenancy", "default"),
        "dhcpOptionsId": vpc.get("DhcpOptionsId"),
        "ownerId": vpc.get("OwnerId"),
        "tagsAll": tags_of(vpc.get("Tags")),
    }
    for name in VPC_ATTRIBUTES:
        answer = call("ec2", "describe_vpc_attribute", VpcId=call.id, Attribute=name)
        found[name] = answer[name[0].upper() + name[1:]]["Value"]
    mine = [{"Name": "vpc-id", "Values": [call.id]}]
    tables = call("ec2", "describe_route_tables", Filters=[*mine, {"Name": "association.main", "Values": ["true"]}])
    groups = call("ec2", "describe_security_groups", Filters=[*mine, {"Name": "group-name", "Values": ["default"]}])
    lists = call("ec2", "describe_network_acls", Filters=[*mine, {"Name": "default", "Values": ["true"]}])
    for one in tables["RouteTables"][:1]:
        found |= {"mainRouteTableId": one["RouteTableId"], "defaultRouteTableId": one["RouteTableId"]}
    for one in groups["SecurityGroups"][:1]:
        found["defaultSecurityGroupId"] = one["GroupId"]
    for one in lists["NetworkAcls"][:1]:
        found["defaultNetworkAclId"] = one["NetworkAclId"]
    return found


# --- subnets ---


def _create_subnet(call: Call) -> str:
    given = compact(
        VpcId=call.inputs["vpcId"],
        CidrBlock=call.inputs.get("cidrBlock"),
        Ipv6CidrBlock=call.inputs.get("ipv6CidrBlock"),
        AvailabilityZone=call.inputs.get("availabilityZone"),
        AvailabilityZoneId=call.inputs.get("availabilityZoneId"),
        **specification("subnet", call.tags),
    )
    return call("ec2", "create_subnet", **given)["Subnet"]["SubnetId"]


SUBNET_ATTRIBUTES = ("mapPublicIpOnLaunch", "assignIpv6AddressOnCreation")


def _update_subnet(call: Call) -> None:
    for name in SUBNET_ATTRIBUTES:
        if call.changed(name) and (call.state or call.inputs.get(name)):
            attribute = {name[0].upper() + name[1:]: {"Value": bool(call.inputs.get(name))}}
            call("ec2", "modify_subnet_attribute", SubnetId=call.id, **attribute)
    retag(call)


def _read_subnet(call: Call) -> Props | None:
    subnet = describe(call, "subnets", "SubnetIds", call.id)
    return subnet and {
        "arn": call.arn("ec2", f"subnet/{call.id}"),
        "vpcId": subnet["VpcId"],
        "cidrBlock": subnet.get("CidrBlock"),
        "availabilityZone": subnet["AvailabilityZone"],
        "availabilityZoneId": subnet.get("AvailabilityZoneId"),
        "mapPublicIpOnLaunch": bool(subnet.get("MapPublicIpOnLaunch")),
        "assignIpv6AddressOnCreation": bool(subnet.get("AssignIpv6AddressOnCreation")),
        "ownerId": subnet.get("OwnerId"),
        "tagsAll": tags_of(subnet.get("Tags")),
    }


# --- gateways ---


def _create_igw(call: Call) -> str:
    answer = call("ec2", "create_internet_gateway", **specification("internet-gateway", call.tags))
    return answer["InternetGateway"]["InternetGatewayId"]


def _update_igw(call: Call) -> None:
    old, new = call.state.get("vpcId"), call.inputs.get("vpcId")
    if old != new:
        if old:
            call("ec2", "detach_internet_gateway", InternetGatewayId=call.id, VpcId=old)
        if new:
            call("ec2", "attach_internet_gateway", InternetGatewayId=call.id, VpcId=new)
    retag(call)


def _read_igw(call: Call) -> Props | None:
    gateway = describe(call, "internet_gateways", "InternetGatewayIds", call.id)
    return gateway and {
        "arn": call.arn("ec2", f"internet-gateway/{call.id}"),
        "vpcId": next((one["VpcId"] for one in gateway.get("Attachments", [])), None),
        "ownerId": gateway.get("OwnerId"),
        "tagsAll": tags_of(gateway.get("Tags")),
    }


def _delete_igw(call: Call) -> None:
    gateway = describe(call, "internet_gateways", "InternetGatewayIds", call.id)
    for one in (gateway or {}).get("Attachments", []):
        call("ec2", "detach_internet_gateway", InternetGatewayId=call.id, VpcId=one["VpcId"])
    if gateway is not None:
        call("ec2", "delete_internet_gateway", InternetGatewayId=call.id)


def _create_eip(call: Call) -> str:
    answer = call("ec2", "allocate_address", Domain="vpc", **specification("elastic-ip", call.tags))
    return answer["AllocationId"]


def _read_eip(call: Call) -> Props | None:
    address = describe(call, "addresses", "AllocationIds", call.id)
    return address and {
        "arn": call.arn("ec2", f"elastic-ip/{call.id}"),
        "allocationId": call.id,
        "domain": address.get("Domain", "vpc"),
        "publicIp": address["PublicIp"],
        "privateIp": address.get("PrivateIpAddress"),
        "associationId": address.get("AssociationId"),
        "instance": address.get("InstanceId") or None,
        "networkInterface": address.get("NetworkInterfaceId") or None,
        "publicDns": f"ec2-{address['PublicIp'].replace('.', '-')}.{call.region}.compute.amazonaws.com",
        "tagsAll": tags_of(address.get("Tags")),
    }


def _delete_eip(call: Call) -> None:
    if describe(call, "addresses", "AllocationIds", call.id) is not None:
        call("ec2", "release_address", AllocationId=call.id)


def _create_nat(call: Call) -> str:
    given = compact(
        SubnetId=call.inputs["subnetId"],
        AllocationId=call.inputs.get("allocationId"),
        ConnectivityType=call.inputs.get("connectivityType"),
        PrivateIpAddress=call.inputs.get("privateIp"),
        **specification("natgateway", call.tags),
    )
    return call("ec2", "create_nat_gateway", **given)["NatGateway"]["NatGatewayId"]


def _update_nat(call: Call) -> None:
    if not call.state:
        call.wait(f"NAT gateway {call.id} is available", lambda: _nat_state(call) == "available", NAT_SECONDS)
    retag(call)


def _nat_state(call: Call) -> str | None:
    found = describe(call, "nat_gateways", "NatGatewayIds", call.id)
    if found is not None and found["State"] == "failed":
        raise ProviderError(f"NAT gateway {call.id} failed: {found.get('FailureMessage', 'no reason given')}")
    return found["State"] if found else None


def _read_nat(call: Call) -> Props | None:
    nat = describe(call, "nat_gateways", "NatGatewayIds", call.id)
    if nat is None or nat["State"] in ("deleted", "deleting"):
        return None
    address = next(iter(nat.get("NatGatewayAddresses", [])), {})
    return {
        "subnetId": nat["SubnetId"],
        "vpcId": nat.get("VpcId"),
        "connectivityType": nat.get("ConnectivityType", "public"),
        "allocationId": address.get("AllocationId"),
        "networkInterfaceId": address.get("NetworkInterfaceId"),
        "privateIp": address.get("PrivateIp"),
        "publicIp": address.get("PublicIp"),
        "tagsAll": tags_of(nat.get("Tags")),
    }


def _delete_nat(call: Call) -> None:
    if _read_nat(call) is not None:
        call("ec2", "delete_nat_gateway", NatGatewayId=call.id)
        # Its address and its subnet cannot go before it is gone.
        call.wait(f"NAT gateway {call.id} is gone", lambda: _read_nat(call) is None, NAT_SECONDS)


# --- endpoints ---


def _create_endpoint(call: Call) -> str:
    given = compact(
        VpcId=call.inputs["vpcId"],
        ServiceName=call.inputs["serviceName"],
        VpcEndpointType=call.inputs.get("vpcEndpointType"),
        PolicyDocument=call.inputs.get("policy"),
        RouteTableIds=call.inputs.get("routeTableIds"),
        SubnetIds=call.inputs.get("subnetIds"),
        SecurityGroupIds=call.inputs.get("securityGroupIds"),
        PrivateDnsEnabled=call.inputs.get("privateDnsEnabled"),
        **specification("vpc-endpoint", call.tags),
    )
    return call("ec2", "create_vpc_endpoint", **given)["VpcEndpoint"]["VpcEndpointId"]


ENDPOINT_LISTS = {"routeTableIds": "RouteTableIds", "subnetIds": "SubnetIds", "securityGroupIds": "SecurityGroupIds"}


def _update_endpoint(call: Call) -> None:
    if not call.state:
        return
    given: dict[str, Any] = {}
    for name, api in ENDPOINT_LISTS.items():
        wanted, have = set(call.inputs.get(name) or []), set(call.state.get(name) or [])
        given |= {f"Add{api}": sorted(wanted - have), f"Remove{api}": sorted(have - wanted)}
    if call.changed("policy"):
        given |= {"PolicyDocument": call.inputs["policy"]} if call.inputs.get("policy") else {"ResetPolicy": True}
    if call.changed("privateDnsEnabled") and call.inputs.get("privateDnsEnabled") is not None:
        given["PrivateDnsEnabled"] = call.inputs["privateDnsEnabled"]
    given = {name: item for name, item in given.items() if item != []}
    if given:
        call("ec2", "modify_vpc_endpoint", VpcEndpointId=call.id, **given)
    retag(call)


def _read_endpoint(call: Call) -> Props | None:
    one = describe(call, "vpc_endpoints", "VpcEndpointIds", call.id)
    if one is None or one["State"].lower() in ("deleted", "deleting"):
        return None
    groups = [group["GroupId"] if isinstance(group, dict) else group for group in one.get("Groups") or []]
    return {
        "arn": call.arn("ec2", f"vpc-endpoint/{call.id}"),
        "vpcId": one["VpcId"],
        "serviceName": one["ServiceName"],
        "vpcEndpointType": one.get("VpcEndpointType", "Gateway"),
        "policy": one.get("PolicyDocument") or None,
        "routeTableIds": one.get("RouteTableIds") or [],
        "subnetIds": one.get("SubnetIds") or [],
        **({"securityGroupIds": groups} if groups else {}),
        "privateDnsEnabled": bool(one.get("PrivateDnsEnabled")),
        "networkInterfaceIds": one.get("NetworkInterfaceIds") or [],
        "state": one["State"],
        "ownerId": one.get("OwnerId"),
        "tagsAll": tags_of(one.get("Tags")),
    }


def _delete_endpoint(call: Call) -> None:
    if _read_endpoint(call) is None:
        return
    failed = call("ec2", "delete_vpc_endpoints", VpcEndpointIds=[call.id]).get("Unsuccessful") or []
    for one in failed:
        error = one.get("Error", {})
        raise AwsError(f"ec2 delete_vpc_endpoints: {error.get('Code')}: {error.get('Message')}", str(error.get("Code")))


def _plain_delete(operation: str, parameter: str, plural: str, parameters: str) -> Any:
    def delete(call: Call) -> None:
        if describe(call, plural, parameters, call.id) is not None:
            call("ec2", operation, **{parameter: call.id})

    return delete


ROWS = (
    Kind(
        token="aws:ec2/vpc:Vpc",
        create=_create_vpc,
        read=_read_vpc,
        update=_update_vpc,
        delete=_plain_delete("delete_vpc", "VpcId", "vpcs", "VpcIds"),
        fixed=frozenset({"cidrBlock", "instanceTenancy", "ipv4IpamPoolId", "ipv4NetmaskLength"}),
        defaults={"enableDnsSupport": True, "instanceTenancy": "default"},
    ),
    Kind(
        token="aws:ec2/subnet:Subnet",
        create=_create_subnet,
        read=_read_subnet,
        update=_update_subnet,
        delete=_plain_delete("delete_subnet", "SubnetId", "subnets", "SubnetIds"),
        fixed=frozenset({"vpcId", "cidrBlock", "availabilityZone", "availabilityZoneId", "outpostArn"}),
        defaults={"mapPublicIpOnLaunch": False, "assignIpv6AddressOnCreation": False},
    ),
    Kind(
        token="aws:ec2/internetGateway:InternetGateway",
        create=_create_igw,
        read=_read_igw,
        update=_update_igw,
        delete=_delete_igw,
    ),
    Kind(
        token="aws:ec2/eip:Eip",
        create=_create_eip,
        read=_read_eip,
        update=retag,
        delete=_delete_eip,
        fixed=frozenset({"address", "domain", "networkBorderGroup", "publicIpv4Pool"}),
    ),
    Kind(
        token="aws:ec2/natGateway:NatGateway",
        create=_create_nat,
        read=_read_nat,
        update=_update_nat,
        delete=_delete_nat,
        fixed=frozenset({"subnetId", "allocationId", "connectivityType", "privateIp", "vpcId"}),
        defaults={"connectivityType": "public"},
    ),
    Kind(
        token="aws:ec2/vpcEndpoint:VpcEndpoint",
        create=_create_endpoint,
        read=_read_endpoint,
        update=_update_endpoint,
        delete=_delete_endpoint,
        fixed=frozenset({"vpcId", "serviceName", "vpcEndpointType"}),
        defaults={"vpcEndpointType": "Gateway"},
    ),
)
