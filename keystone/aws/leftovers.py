"""What others have made at AWS for the cluster, and the program has never seen: found by its tags, removed or told.

Karpenter starts machines, drivers make volumes and their snapshots, controllers make load balancers with target groups
and security groups, and network interfaces. What holds data is only told: nobody but its owner knows whether it may go.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from keystone.aws import drivers, services
from keystone.errors import KeystoneError
from keystone.settings import Aws, Settings

GROUP_TAG = "aws:autoscaling:groupName"
BALANCERS_TAG = "elbv2.k8s.aws/cluster"
"""The AWS Load Balancer Controller's; its value is the `clusterName` that the controller was installed with."""
GONE = ("shutting-down", "terminated")
TAGS_AT_ONCE = 20
RELEASE_SECONDS = 300.0
"""A balancer's network interfaces hold its security groups for minutes after it is gone."""
RELEASE_POLL_SECONDS = 5.0
IN_USE = "DependencyViolation"


@dataclass(frozen=True, order=True)
class Leftover:
    """One object: what it is, its id, and whether it holds data."""

    kind: str
    identity: str
    data: bool = False

    def __str__(self) -> str:
        return f"{self.kind} {self.identity}"


def tags(cluster: str) -> dict[str, str]:
    """The tags by which things of a cluster are known, whoever made them."""
    return {
        services.CLUSTER_TAG: cluster,
        f"kubernetes.io/cluster/{cluster}": "owned",
        drivers.CLUSTER_TAG: cluster,
        BALANCERS_TAG: cluster,
    }


class Leftovers:
    """The account as its deployer sees it, with the credentials of the surroundings."""

    def __init__(self, settings: Settings, aws: Aws) -> None:
        self._aws, self._tags = aws, tags(settings.cluster.name)

    def find(self) -> list[Leftover]:
        """What is there beside the program's own. Raises KeystoneError when AWS does not tell."""
        return self._told(
            lambda: sorted(
                {
                    *self._machines(),
                    *self._interfaces(),
                    *self._volumes(),
                    *self._balancers(),
                    *self._classic_balancers(),
                    *self._security_groups(),
                }
            )
        )

    def sweep(self, found: list[Leftover]) -> list[Leftover]:
        """Remove what holds no data; returns the rest. Raises KeystoneError when AWS refuses.

        In the order of their kinds: balancers before the security groups and target groups that they use.
        """
        remove: Mapping[str, Callable[[str], Any]] = {
            "classic load balancer": lambda it: self._client("elb").delete_load_balancer(LoadBalancerName=it),
            "instance": lambda it: self._client("ec2").terminate_instances(InstanceIds=[it]),
            "network interface": lambda it: self._client("ec2").delete_network_interface(NetworkInterfaceId=it),
            "load balancer": lambda it: self._client("elbv2").delete_load_balancer(LoadBalancerArn=it),
            "security group": self._release,
            "target group": lambda it: self._client("elbv2").delete_target_group(TargetGroupArn=it),
        }
        for one in sorted(one for one in found if not one.data):
            self._told(lambda one=one: remove[one.kind](one.identity))
        return [one for one in found if one.data]

    def _machines(self) -> Iterator[Leftover]:
        """Those of our groups end with their group."""
        for page in self._pages("ec2", "describe_instances"):
            for one in (one for part in page["Reservations"] for one in part["Instances"]):
                grouped = any(tag["Key"] == GROUP_TAG for tag in one.get("Tags", []))
                if one["State"]["Name"] not in GONE and not grouped:
                    yield Leftover("instance", one["InstanceId"])

    def _interfaces(self) -> Iterator[Leftover]:
        """One in use goes with what it is attached to."""
        for page in self._pages("ec2", "describe_network_interfaces"):
            for one in page["NetworkInterfaces"]:
                if one["Status"] == "available":
                    yield Leftover("network interface", one["NetworkInterfaceId"])

    def _volumes(self) -> Iterator[Leftover]:
        for page in self._pages("ec2", "describe_volumes"):
            # A machine's own disk goes with the machine.
            yield from (Leftover("volume", one["VolumeId"], True) for one in page["Volumes"] if not one["Attachments"])
        for page in self._pages("ec2", "describe_snapshots", OwnerIds=["self"]):
            yield from (Leftover("snapshot", one["SnapshotId"], True) for one in page["Snapshots"])

    def _balancers(self) -> Iterator[Leftover]:
        client = self._client("elbv2")
        for kind, operation, place, key in (
            ("load balancer", "describe_load_balancers", "LoadBalancers", "LoadBalancerArn"),
            ("target group", "describe_target_groups", "TargetGroups", "TargetGroupArn"),
        ):
            found = [one[key] for page in client.get_paginator(operation).paginate() for one in page[place]]
            for start in range(0, len(found), TAGS_AT_ONCE):
                asked = client.describe_tags(ResourceArns=found[start : start + TAGS_AT_ONCE])["TagDescriptions"]
                for one in asked:
                    if any(self._tags.get(tag["Key"]) == tag["Value"] for tag in one["Tags"]):
                        yield Leftover(kind, one["ResourceArn"])

    def _classic_balancers(self) -> Iterator[Leftover]:
        client = self._client("elb")
        pages = client.get_paginator("describe_load_balancers").paginate()
        found = [one["LoadBalancerName"] for page in pages for one in page["LoadBalancerDescriptions"]]
        for start in range(0, len(found), TAGS_AT_ONCE):
            for one in client.describe_tags(LoadBalancerNames=found[start : start + TAGS_AT_ONCE])["TagDescriptions"]:
                if any(self._tags.get(tag["Key"]) == tag["Value"] for tag in one["Tags"]):
                    yield Leftover("classic load balancer", one["LoadBalancerName"])

    def _security_groups(self) -> Iterator[Leftover]:
        """One with our own tag is the program's."""
        for page in self._pages("ec2", "describe_security_groups"):
            for one in page["SecurityGroups"]:
                if not any(tag["Key"] == services.CLUSTER_TAG for tag in one["Tags"]):
                    yield Leftover("security group", one["GroupId"])

    def _release(self, group: str) -> None:
        """Delete a security group once nothing uses it; what other groups let in from it goes first."""
        from botocore.exceptions import ClientError

        client = self._client("ec2")
        for direction, field, revoke in (
            ("ip-permission", "IpPermissions", client.revoke_security_group_ingress),
            ("egress.ip-permission", "IpPermissionsEgress", client.revoke_security_group_egress),
        ):
            named = [{"Name": f"{direction}.group-id", "Values": [group]}]
            for one in client.describe_security_groups(Filters=named)["SecurityGroups"]:
                rules = [
                    {**rule, "UserIdGroupPairs": pairs, "IpRanges": [], "Ipv6Ranges": [], "PrefixListIds": []}
                    for rule in one[field]
                    if (pairs := [pair for pair in rule["UserIdGroupPairs"] if pair.get("GroupId") == group])
                ]
                if rules:
                    revoke(GroupId=one["GroupId"], IpPermissions=rules)
        deadline = time.monotonic() + RELEASE_SECONDS
        while True:
            try:
                client.delete_security_group(GroupId=group)
                return
            except ClientError as error:
                if error.response["Error"]["Code"] != IN_USE:
                    raise
                if time.monotonic() > deadline:
                    raise KeystoneError(
                        f"security group {group}",
                        f"is in use for {RELEASE_SECONDS:.0f} s after its load balancer went: {error}",
                        "Look at AWS what uses it, remove that, and destroy again",
                    ) from None
            time.sleep(RELEASE_POLL_SECONDS)

    def _pages(self, service: str, operation: str, **more: Any) -> Iterator[dict[str, Any]]:
        """The pages of a list, once for each of our tags: a filter of EC2 wants all of its tags at once."""
        paginator = self._client(service).get_paginator(operation)
        for key, value in self._tags.items():
            yield from paginator.paginate(Filters=[{"Name": f"tag:{key}", "Values": [value]}], **more)

    def _client(self, service: str) -> Any:
        url = self._aws.endpoints.get(service, self._aws.endpoints.get(services.DEFAULT))  # type: ignore[call-overload]
        return services.client(service, self._aws.region, url)

    def _told(self, work: Callable[[], Any]) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return work()
        except (BotoCoreError, ClientError) as error:
            cure = "Look in the account yourself, or give the deployer this right"
            raise KeystoneError(f"AWS account {self._aws.account_id}", f"leftovers: {error}", cure) from None
