"""Routes of EC2: tables, single routes, and which subnet uses which table."""

from __future__ import annotations

import zlib
from typing import Any

from twin.plugins.aws.kinds import Call, Kind
from twin.plugins.aws.rows.ec2 import describe, retag, specification
from twin.plugins.aws.values import Props, compact, tags_of

DESTINATIONS = {
    "destinationCidrBlock": "DestinationCidrBlock",
    "destinationIpv6CidrBlock": "DestinationIpv6CidrBlock",
    "destinationPrefixListId": "DestinationPrefixListId",
}
TARGETS = {
    "gatewayId": "GatewayId",
    "natGatewayId": "NatGatewayId",
    "networkInterfaceId": "NetworkInterfaceId",
    "transitGatewayId": "TransitGatewayId",
    "vpcEndpointId": "VpcEndpointId",
    "vpcPeeringConnectionId": "VpcPeeringConnectionId",
    "egressOnlyGatewayId": "EgressOnlyInternetGatewayId",
}
GONE = ("InvalidRoute.NotFound", "InvalidRouteTableID.NotFound", "InvalidAssociationID.NotFound")
IN_TABLE = {"cidrBlock": "DestinationCidrBlock", "ipv6CidrBlock": "DestinationIpv6CidrBlock"}


def _create_table(call: Call) -> str:
    answer = call("ec2", "create_route_table", VpcId=call.inputs["vpcId"], **specification("route-table", call.tags))
    return answer["RouteTable"]["RouteTableId"]


def _update_table(call: Call) -> None:
    if call.changed("routes") and call.inputs.get("routes") is not None:
        wanted = [_inline(route) for route in call.inputs["routes"]]
        have = [_inline(route) for route in call.state.get("routes") or []]
        for route in have:
            if route not in wanted:
                call.find(GONE, "ec2", "delete_route", RouteTableId=call.id, **_destination(route))
        for route in wanted:
            if route not in have:
                call("ec2", "create_route", RouteTableId=call.id, **route)
    retag(call)


def _inline(route: Props) -> dict[str, Any]:
    names = {**IN_TABLE, "destinationPrefixListId": "DestinationPrefixListId", **TARGETS}
    return {names[name]: item for name, item in route.items() if item and name in names}


def _destination(route: dict[str, Any]) -> dict[str, Any]:
    return {name: item for name, item in route.items() if name in DESTINATIONS.values()}


def _read_table(call: Call) -> Props | None:
    table = describe(call, "route_tables", "RouteTableIds", call.id)
    if table is None:
        return None
    found: Props = {
        "arn": call.arn("ec2", f"route-table/{call.id}"),
        "vpcId": table["VpcId"],
        "ownerId": table.get("OwnerId"),
        "tagsAll": tags_of(table.get("Tags")),
    }
    if call.get("routes") is not None:
        found["routes"] = [
            {name: route[api] for name, api in {**IN_TABLE, **TARGETS}.items() if route.get(api)}
            for route in table["Routes"]
            if route.get("GatewayId") != "local"
        ]
    return found


def _delete_table(call: Call) -> None:
    if describe(call, "route_tables", "RouteTableIds", call.id) is not None:
        call("ec2", "delete_route_table", RouteTableId=call.id)


# --- single routes ---


def _where(call: Call) -> Props:
    """Table and destination of a route; an import gives both as TABLE_DESTINATION."""
    if call.get("routeTableId"):
        return {name: call.get(name) for name in ("routeTableId", *DESTINATIONS) if call.get(name)}
    table, _, destination = call.id.partition("_")
    return {"routeTableId": table, _kind_of(destination): destination}


def _kind_of(destination: str) -> str:
    if destination.startswith("pl-"):
        return "destinationPrefixListId"
    return "destinationIpv6CidrBlock" if ":" in destination else "destinationCidrBlock"


def _request(place: Props) -> dict[str, Any]:
    return {api: place[name] for name, api in DESTINATIONS.items() if place.get(name)}


def _create_route(call: Call) -> str:
    place = _where(call)
    target = {api: call.inputs[name] for name, api in TARGETS.items() if call.inputs.get(name)}
    call("ec2", "create_route", RouteTableId=place["routeTableId"], **_request(place), **target)
    return _route_id(place)


def _route_id(place: Props) -> str:
    destination = next(iter(_request(place).values()))
    return f"r-{place['routeTableId']}{zlib.crc32(str(destination).encode())}"


def _update_route(call: Call) -> None:
    if call.state:
        place = _where(call)
        target = {api: call.inputs[name] for name, api in TARGETS.items() if call.inputs.get(name)}
        call("ec2", "replace_route", RouteTableId=place["routeTableId"], **_request(place), **target)


def _read_route(call: Call) -> Props | None:
    place = _where(call)
    table = describe(call, "route_tables", "RouteTableIds", place["routeTableId"])
    for route in (table or {}).get("Routes", []):
        if all(route.get(api) == item for api, item in _request(place).items()):
            return {
                "__id": _route_id(place),
                **place,
                **{name: route.get(api) or None for name, api in TARGETS.items()},
                "state": route.get("State"),
                "origin": route.get("Origin"),
            }
    return None


def _delete_route(call: Call) -> None:
    place = _where(call)
    call.find(GONE, "ec2", "delete_route", RouteTableId=place["routeTableId"], **_request(place))


def _check_route(inputs: Any) -> list[tuple[str, str]]:
    faults = []
    for names in (DESTINATIONS, TARGETS):
        given = [name for name in names if inputs.get(name) is not None]
        if len(given) != 1:
            said = f"{', '.join(given)} are given" if given else "none is given"
            faults.append((next(iter(names)), f"exactly one of {', '.join(names)} is needed, and {said}"))
    return faults


# --- associations ---


def _associate(call: Call) -> str:
    given = compact(SubnetId=call.inputs.get("subnetId"), GatewayId=call.inputs.get("gatewayId"))
    return call("ec2", "associate_route_table", RouteTableId=call.inputs["routeTableId"], **given)["AssociationId"]


def _association(call: Call) -> tuple[str, str, dict[str, Any]] | None:
    """Table, id and the association itself. An import gives SUBNET/TABLE."""
    subnet, _, table = call.id.partition("/")
    for one in call("ec2", "describe_route_tables")["RouteTables"]:
        for held in one.get("Associations", []):
            identity = held.get("RouteTableAssociationId")
            if identity == call.id or (table and held.get("SubnetId") == subnet and one["RouteTableId"] == table):
                return one["RouteTableId"], identity, held
    return None


def _read_association(call: Call) -> Props | None:
    found = _association(call)
    if found is None:
        return None
    table, identity, held = found
    ends = compact(subnetId=held.get("SubnetId"), gatewayId=held.get("GatewayId"))
    return {"routeTableId": table, "__id": identity, **ends}


def _dissociate(call: Call) -> None:
    call.find(GONE, "ec2", "disassociate_route_table", AssociationId=call.id)


ROWS = (
    Kind(
        token="aws:ec2/routeTable:RouteTable",
        create=_create_table,
        read=_read_table,
        update=_update_table,
        delete=_delete_table,
        fixed=frozenset({"vpcId"}),
    ),
    Kind(
        token="aws:ec2/route:Route",
        create=_create_route,
        read=_read_route,
        update=_update_route,
        delete=_delete_route,
        fixed=frozenset({"routeTableId", *DESTINATIONS}),
        check=_check_route,
    ),
    Kind(
        token="aws:ec2/routeTableAssociation:RouteTableAssociation",
        create=_associate,
        read=_read_association,
        delete=_dissociate,
        fixed=None,
    ),
)
