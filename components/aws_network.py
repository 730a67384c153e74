"""The network of the pools: a VPC of our own, or subnets that are there; and what their machines may send."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network

import pulumi
from pulumi_aws import ec2, vpc

from keystone.aws import network as plan
from keystone.settings import AwsNetwork as Choice
from keystone.settings import Settings


@dataclass(frozen=True, kw_only=True)
class AwsNetworkArgs:
    settings: Settings
    network: Choice


class AwsNetwork(pulumi.ComponentResource):
    subnets: Mapping[str, pulumi.Output[str]]
    """By availability zone; each once its machines reach the world."""
    vpc_id: pulumi.Output[str]
    security_group: pulumi.Output[str]
    """Lets nothing in."""

    def __init__(self, name: str, args: AwsNetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("keystone:components:AwsNetwork", name, None, opts)
        self._name, self._cluster = name, args.settings.cluster.name
        if args.network.cidr:
            self.vpc_id = self._vpc(args.settings, args.network.cidr, args.network)
        else:
            assert args.network.vpc_id, "the settings want a VPC or a range for one"
            self.vpc_id = pulumi.Output.from_input(args.network.vpc_id)
            self.subnets = {zone: pulumi.Output.from_input(it) for zone, it in args.network.subnet_ids.items()}
        self.security_group = self._security_group(self.vpc_id, plan.exits(args.settings))
        self.register_outputs({"subnets": self.subnets, "securityGroup": self.security_group})

    def _opts(self, *after: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=list(after))

    def _tags(self, what: str) -> dict[str, str]:
        return {"Name": f"{self._cluster}-{what}"}

    def _vpc(self, settings: Settings, cidr: IPv4Network, choice: Choice) -> pulumi.Output[str]:
        ours = ec2.Vpc(
            f"{self._name}-vpc",
            cidr_block=str(cidr),
            enable_dns_support=True,
            enable_dns_hostnames=True,
            tags=self._tags("pools"),
            opts=self._opts(),
        )
        door = ec2.InternetGateway(f"{self._name}-door", vpc_id=ours.id, tags=self._tags("pools"), opts=self._opts())
        outside = self._table("public", ours.id, gateway_id=door.id)
        zones = plan.zones(settings)
        if choice.public_addresses:
            self.subnets = {zone: self._subnet(zone, "public", cidr, ours.id, outside) for zone in zones}
            return ours.id
        nats = {
            zone: self._nat(zone, self._subnet(zone, "public", cidr, ours.id, outside), door)
            for zone in plan.nat_zones(settings, choice)
        }
        tables = {zone: self._table(zone, ours.id, nat_gateway_id=nat.id) for zone, nat in nats.items()}
        self.subnets = {
            # Where one gateway serves all, its zone is the first.
            zone: self._subnet(zone, "private", cidr, ours.id, tables[zone if zone in tables else zones[0]])
            for zone in zones
        }
        return ours.id

    def _table(
        self,
        what: str,
        vpc_id: pulumi.Output[str],
        *,
        gateway_id: pulumi.Input[str] | None = None,
        nat_gateway_id: pulumi.Input[str] | None = None,
    ) -> pulumi.Output[str]:
        """A route table with its way out; its id once the way is there."""
        table = ec2.RouteTable(f"{self._name}-{what}", vpc_id=vpc_id, tags=self._tags(what), opts=self._opts())
        way = ec2.Route(
            f"{self._name}-{what}-out",
            route_table_id=table.id,
            destination_cidr_block="0.0.0.0/0",
            gateway_id=gateway_id,
            nat_gateway_id=nat_gateway_id,
            opts=self._opts(),
        )
        return way.route_table_id

    def _subnet(
        self, zone: str, what: str, cidr: IPv4Network, vpc_id: pulumi.Output[str], table: pulumi.Output[str]
    ) -> pulumi.Output[str]:
        """A subnet; its id once it is in its route table."""
        subnet = ec2.Subnet(
            f"{self._name}-{what}-{zone}",
            vpc_id=vpc_id,
            availability_zone=zone,
            cidr_block=str(plan.subnet(cidr, zone, public=what == "public")),
            # Who wants a public address says so itself.
            map_public_ip_on_launch=False,
            tags=self._tags(f"{what}-{zone}"),
            opts=self._opts(),
        )
        joined = ec2.RouteTableAssociation(
            f"{self._name}-{what}-{zone}-table", subnet_id=subnet.id, route_table_id=table, opts=self._opts()
        )
        return pulumi.Output.all(subnet.id, joined.id).apply(lambda values: values[0])

    def _nat(self, zone: str, subnet: pulumi.Output[str], door: pulumi.Resource) -> ec2.NatGateway:
        address = ec2.Eip(
            f"{self._name}-nat-{zone}-address",
            domain="vpc",
            tags=self._tags(f"nat-{zone}"),
            opts=self._opts(door),  # an address is of use where the VPC has a door
        )
        return ec2.NatGateway(
            f"{self._name}-nat-{zone}",
            subnet_id=subnet,
            allocation_id=address.id,
            tags=self._tags(f"nat-{zone}"),
            opts=self._opts(door),
        )

    def _security_group(self, vpc_id: pulumi.Input[str], exits: list[plan.Exit]) -> pulumi.Output[str]:
        group = ec2.SecurityGroup(
            f"{self._name}-group",
            name=f"{self._cluster}-pools",
            description="Machines of pools: nothing comes in, the mesh runs over connections from inside",
            vpc_id=vpc_id,
            tags=self._tags("pools"),
            opts=self._opts(),
        )
        rules = [
            vpc.SecurityGroupEgressRule(
                f"{self._name}-out-{one.protocol}-{one.first}",
                security_group_id=group.id,
                description=one.reason,
                ip_protocol=one.protocol,
                from_port=one.first,
                to_port=one.last,
                cidr_ipv4="0.0.0.0/0",
                opts=self._opts(),
            )
            for one in exits
        ]
        return pulumi.Output.all(group.id, *(rule.id for rule in rules)).apply(lambda values: values[0])
