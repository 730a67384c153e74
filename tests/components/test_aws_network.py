"""components/aws_network.py"""

from collections.abc import Callable

import pytest
from pulumi_aws import autoscaling, ec2, vpc

from keystone.aws import network
from keystone.settings import parse
from tests.aws.programs import only, the_account
from tests.aws.sites import document_of, site
from tests.recording import Engine, plain

Deploy = Callable[..., Engine]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_a_pools_machines_let_nothing_in_and_send_what_the_mesh_needs(deploy: Deploy) -> None:
    engine = deploy(the_account(site()))
    [group] = engine.of(ec2.SecurityGroup)
    assert "ingress" not in group.inputs
    assert engine.of(vpc.SecurityGroupIngressRule) == []
    rules = {
        (one.inputs["ipProtocol"], one.inputs["fromPort"], one.inputs["toPort"])
        for one in engine.of(vpc.SecurityGroupEgressRule)
    }
    assert rules == {("tcp", 443, 443), ("tcp", 8443, 8443), ("udp", 1024, 65535)}


def test_machines_reach_the_file_systems_that_their_pods_mount() -> None:
    plain, shared = site(), parse({**document_of(), "storage": {"efs": {"fileSystemId": "fs-0123456789abcdef0"}}})
    [more] = [one for one in network.exits(shared) if one not in network.exits(plain)]
    assert (more.protocol, more.first, more.last) == ("tcp", 2049, 2049)


def test_subnets_follow_from_their_zone_and_reach_the_world_by_nat(deploy: Deploy) -> None:
    engine = deploy(the_account(site()))
    subnets = {one.name: (one.inputs["cidrBlock"], one.inputs["availabilityZone"]) for one in engine.of(ec2.Subnet)}
    assert subnets == {
        "aws-network-private-eu-central-1a": ("10.60.0.0/20", "eu-central-1a"),
        "aws-network-private-eu-central-1b": ("10.60.16.0/20", "eu-central-1b"),
        "aws-network-public-eu-central-1a": ("10.60.128.0/20", "eu-central-1a"),
    }
    assert len(engine.of(ec2.NatGateway)) == 1
    [network] = plain(only(engine, ec2.LaunchTemplate, "pool-spot-template").inputs["networkInterfaces"])
    assert network["associatePublicIpAddress"] == "false"


def test_a_gateway_per_zone_and_none_at_all_are_choices(deploy: Deploy) -> None:
    each = deploy(the_account(site(network={"cidr": "10.60.0.0/16", "nat": "perZone"})))
    assert len(each.of(ec2.NatGateway)) == 2
    none = deploy(the_account(site(network={"cidr": "10.60.0.0/16", "nat": "none"})))
    assert none.of(ec2.NatGateway) == []
    [network] = only(none, ec2.LaunchTemplate, "pool-spot-template").inputs["networkInterfaces"]
    assert network["associatePublicIpAddress"] == "true"


def test_given_subnets_are_taken_and_no_network_is_made(deploy: Deploy) -> None:
    given = {"vpcId": "vpc-0123456789abcdef0", "subnetIds": {f"eu-central-1{z}": f"subnet-0123456{z}" for z in "ab"}}
    engine = deploy(the_account(site(network=given)))
    assert [one.kind for one in engine.resources if one.kind.startswith("aws:ec2/vpc:")] == []
    [group] = engine.of(autoscaling.Group)
    assert group.inputs["vpcZoneIdentifiers"] == ["subnet-0123456a", "subnet-0123456b"]
