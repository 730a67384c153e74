"""keystone/aws/leftovers.py, against the twin's AWS: what others made for the cluster is found by its tags."""

from collections.abc import Iterator
from typing import Any

import pytest

from keystone.aws import leftovers as module
from keystone.aws.leftovers import Leftovers
from keystone.errors import KeystoneError
from keystone.settings import Settings
from tests.aws.sites import site
from tests.clouds.aws import ACCOUNT, AwsCloud, running
from twin.clouds.aws import ACCESS_KEY, SECRET_KEY

OWNED = {"Key": "kubernetes.io/cluster/site", "Value": "owned"}
ELSEWHERE = {"Key": "kubernetes.io/cluster/other", "Value": "owned"}
BALANCED = {"Key": "elbv2.k8s.aws/cluster", "Value": "site"}
BALANCED_ELSEWHERE = {"Key": "elbv2.k8s.aws/cluster", "Value": "other"}


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsCloud]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    with running() as one:
        yield one


def leftovers(cloud: AwsCloud) -> Leftovers:
    settings: Settings = site(accountId=ACCOUNT, endpoints={"default": cloud.url})
    assert settings.aws
    return Leftovers(settings, settings.aws)


def make(cloud: AwsCloud, tag: dict[str, str]) -> dict[str, str]:
    """One of each: their ids by kind."""
    ec2, balancing = cloud.client("ec2"), cloud.client("elbv2")
    subnets = ec2.describe_subnets()["Subnets"]

    def tagged(kind: str) -> list[dict[str, Any]]:
        return [{"ResourceType": kind, "Tags": [tag]}]

    [machine] = ec2.run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1, TagSpecifications=tagged("instance"))[
        "Instances"
    ]
    volume = ec2.create_volume(AvailabilityZone="eu-central-1a", Size=8, TagSpecifications=tagged("volume"))
    snapshot = ec2.create_snapshot(VolumeId=volume["VolumeId"], TagSpecifications=tagged("snapshot"))
    interface = ec2.create_network_interface(
        SubnetId=subnets[0]["SubnetId"], TagSpecifications=tagged("network-interface")
    )["NetworkInterface"]
    name = f"lb-{tag['Key'][-4:]}-{tag['Value']}"
    group = ec2.create_security_group(
        GroupName=name, Description="x", VpcId=subnets[0]["VpcId"], TagSpecifications=tagged("security-group")
    )["GroupId"]
    [balancer] = balancing.create_load_balancer(
        Name=name, Subnets=[one["SubnetId"] for one in subnets[:2]], SecurityGroups=[group], Tags=[tag]
    )["LoadBalancers"]
    classic = cloud.client("elb")
    classic.create_load_balancer(
        LoadBalancerName=name,
        AvailabilityZones=["eu-central-1a"],
        Listeners=[{"Protocol": "tcp", "LoadBalancerPort": 80, "InstancePort": 80}],
        Tags=[tag],
    )
    [target] = balancing.create_target_group(
        Name=name.replace("lb-", "tg-"), Protocol="TCP", Port=80, VpcId=subnets[0]["VpcId"], Tags=[tag]
    )["TargetGroups"]
    return {
        "instance": machine["InstanceId"],
        "volume": volume["VolumeId"],
        "snapshot": snapshot["SnapshotId"],
        "network interface": interface["NetworkInterfaceId"],
        "security group": group,
        "classic load balancer": name,
        "load balancer": balancer["LoadBalancerArn"],
        "target group": target["TargetGroupArn"],
    }


@pytest.mark.parametrize(("own", "other"), [(OWNED, ELSEWHERE), (BALANCED, BALANCED_ELSEWHERE)])
def test_what_the_cluster_made_is_found_and_of_another_cluster_nothing(
    cloud: AwsCloud, own: dict[str, str], other: dict[str, str]
) -> None:
    ours, theirs = make(cloud, own), make(cloud, other)
    found = leftovers(cloud).find()
    assert {one.kind: one.identity for one in found} == ours
    assert not {one.identity for one in found} & set(theirs.values())


def test_a_sweep_leaves_what_may_hold_data(cloud: AwsCloud) -> None:
    ours, theirs = make(cloud, OWNED), make(cloud, ELSEWHERE)
    given = leftovers(cloud)
    kept = given.sweep(given.find())
    assert {one.kind: one.identity for one in kept} == {kind: ours[kind] for kind in ("volume", "snapshot")}
    assert given.find() == kept
    states = cloud.client("ec2").describe_instances(InstanceIds=[theirs["instance"]])["Reservations"][0]["Instances"]
    assert states[0]["State"]["Name"] == "running"


def test_a_machine_of_a_group_is_left_to_its_group(cloud: AwsCloud) -> None:
    grouped = {"Key": "aws:autoscaling:groupName", "Value": "site-spot"}
    ec2 = cloud.client("ec2")
    [machine] = ec2.run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1)["Instances"]
    ec2.create_tags(Resources=[machine["InstanceId"]], Tags=[OWNED, grouped])
    assert leftovers(cloud).find() == []


def test_a_refusal_is_one_line(cloud: AwsCloud) -> None:
    cloud.fail({"service": "ec2", "code": "UnauthorizedOperation", "message": "You may not.", "status": 403})
    with pytest.raises(KeystoneError, match=r"^AWS account \d+: leftovers: .*You may not.*Look in the account"):
        leftovers(cloud).find()


def test_a_security_group_that_our_own_lets_in_goes_and_our_own_stays(cloud: AwsCloud) -> None:
    theirs, ec2 = make(cloud, BALANCED)["security group"], cloud.client("ec2")
    mark = [{"ResourceType": "security-group", "Tags": [{"Key": "keystone-cluster", "Value": "site"}]}]
    ours = ec2.create_security_group(GroupName="site-pools", Description="x", TagSpecifications=mark)["GroupId"]
    rule = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "UserIdGroupPairs": [{"GroupId": theirs}]}
    kept = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "192.0.2.0/24"}]}
    ec2.authorize_security_group_ingress(GroupId=ours, IpPermissions=[rule, kept])
    given = leftovers(cloud)
    given.sweep(given.find())
    [left] = ec2.describe_security_groups(GroupIds=[ours])["SecurityGroups"]
    assert [(one["FromPort"], one["IpRanges"]) for one in left["IpPermissions"]] == [(443, kept["IpRanges"])]
    assert theirs not in [one["GroupId"] for one in ec2.describe_security_groups()["SecurityGroups"]]


def test_a_security_group_that_a_balancer_still_holds_is_waited_for(
    cloud: AwsCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RELEASE_POLL_SECONDS", 0.01)
    make(cloud, BALANCED)
    held = {"service": "ec2", "action": "DeleteSecurityGroup", "code": "DependencyViolation", "status": 400}
    cloud.fail({**held, "times": 3})
    given = leftovers(cloud)
    given.sweep(given.find())
    assert {one.kind for one in given.find()} == {"volume", "snapshot"}


def test_a_security_group_that_stays_in_use_is_told(cloud: AwsCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RELEASE_POLL_SECONDS", 0.01)
    monkeypatch.setattr(module, "RELEASE_SECONDS", 0.1)
    make(cloud, BALANCED)
    held = {"service": "ec2", "action": "DeleteSecurityGroup", "code": "DependencyViolation", "status": 400}
    cloud.fail({**held, "message": "resource has a dependent object"})
    given = leftovers(cloud)
    with pytest.raises(KeystoneError, match=r"is in use for 0 s .*dependent object.*Look at AWS what uses it"):
        given.sweep(given.find())
