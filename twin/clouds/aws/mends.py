"""What moto 5.2.5 gets wrong and the twin needs: mended here, in one place, before it serves.

Each function says what moto does; a test shows that the mend is still needed, so that it goes when moto is fixed.
"""

from __future__ import annotations

import json
from typing import Any

ISSUE_SECONDS = 1
"""How long a certificate is pending: long enough to be seen so, too short to be waited for."""


def apply() -> None:
    """Mend moto; doing so twice changes nothing."""
    _template_versions()
    _origins()
    _groups()
    _locks()
    _queues()
    _bucket_policies()
    _certificates()


def _template_versions() -> None:
    """A further version of a launch template keeps user data as plain text, by which every group then fails."""
    from moto.core.types import Base64EncodedString
    from moto.ec2.models.launch_templates import LaunchTemplateVersion

    made = LaunchTemplateVersion.__init__

    def init(self: Any, template: Any, number: int, data: dict[str, Any], description: str) -> None:
        if isinstance(data.get("UserData"), str):
            data = {**data, "UserData": Base64EncodedString(data["UserData"])}
        made(self, template, number, data, description)

    _replace(LaunchTemplateVersion, "__init__", init)


def _origins() -> None:
    """An origin of a distribution forgets its access control."""
    from moto.cloudfront.models import Origin

    made = Origin.__init__

    def init(self: Any, origin: dict[str, Any]) -> None:
        made(self, origin)
        self.origin_access_control_id = origin.get("OriginAccessControlId") or ""

    _replace(Origin, "__init__", init)


def _groups() -> None:
    """A group starts all its instances in its first subnet and without the template's instance profile."""
    from moto.autoscaling.models import FakeAutoScalingGroup

    start = FakeAutoScalingGroup.replace_autoscaling_group_instances

    def replace(self: Any, count_needed: int, propagated_tags: dict[str, str]) -> None:
        subnets = [one for one in (self.vpc_zone_identifier or "").split(",") if one]
        for _ in range(count_needed):
            before = len(self.instance_states)
            emptiest = min(subnets, key=lambda one: _inside(self, one), default=None)
            _start_one(self, start, emptiest, dict(propagated_tags))
            for state in self.instance_states[before:]:
                _give_profile(self, state.instance)

    _replace(FakeAutoScalingGroup, "replace_autoscaling_group_instances", replace)


def _inside(group: Any, subnet: str) -> int:
    return sum(state.instance.subnet_id == subnet for state in group.instance_states)


def _start_one(group: Any, start: Any, subnet: str | None, tags: dict[str, str]) -> None:
    """One instance in this subnet: moto takes the first of the group's list, and a zone by chance."""
    subnets, zones = group.vpc_zone_identifier, group.availability_zones
    try:
        if subnet is not None:
            group.vpc_zone_identifier = subnet
            group.availability_zones = [group.autoscaling_backend.ec2_backend.get_subnet(subnet).availability_zone]
        start(group, 1, tags)
    finally:
        group.vpc_zone_identifier, group.availability_zones = subnets, zones


def _give_profile(group: Any, instance: Any) -> None:
    template = group.ec2_launch_template
    if template is None:
        return
    data = template.get_version(group.launch_template_version).data
    profile = data.get("IamInstanceProfile") or {}
    backend = group.autoscaling_backend.ec2_backend
    if profile and instance.id not in backend.iam_instance_profile_associations:
        backend.associate_iam_instance_profile(
            instance_id=instance.id,
            iam_instance_profile_name=profile.get("Name"),
            iam_instance_profile_arn=profile.get("Arn"),
        )
    policy = group.mixed_instances_policy or {}
    share = policy.get("InstancesDistribution", {}).get("OnDemandPercentageAboveBaseCapacity")
    if share is not None and int(share) == 0:
        instance.lifecycle = "spot"


def _bucket_policies() -> None:
    """A statement of a bucket's policy counts whatever its conditions say, so "no plain HTTP" denies everything.

    Those with conditions are left out: the front itself holds the one reader of a bucket against them.
    """
    from moto.s3.models import FakeBucket

    judge = FakeBucket.get_permission

    def permission(self: Any, action: str, resource: str) -> Any:
        whole = self.policy
        if whole is None:
            return judge(self, action, resource)
        document = json.loads(whole)
        plain = [one for one in document["Statement"] if not one.get("Condition")]
        try:
            self.policy = json.dumps({**document, "Statement": plain}).encode() if plain else None
            return judge(self, action, resource)
        finally:
            self.policy = whole

    _replace(FakeBucket, "get_permission", permission)


def _locks() -> None:
    """The lock of a bucket cannot be changed once the bucket holds something; AWS changes it for what comes later."""
    from moto.s3.models import S3Backend

    put = S3Backend.put_object_lock_configuration

    def put_lock(self: Any, bucket_name: str, lock_enabled: bool, mode: Any, days: Any, years: Any) -> None:
        bucket = self.get_bucket(bucket_name)
        if not (bucket.object_lock_enabled and bucket.is_versioned):
            put(self, bucket_name, lock_enabled, mode, days, years)
        else:
            bucket.default_lock_mode, bucket.default_lock_days, bucket.default_lock_years = mode, days, years

    _replace(S3Backend, "put_object_lock_configuration", put_lock)


def _queues() -> None:
    """A queue forgets its policy when any other attribute is set."""
    from moto.sqs.models import Queue

    take = Queue._set_attributes

    def take_attributes(self: Any, attributes: dict[str, Any], now: float | None = None) -> None:
        kept = getattr(self, "policy", None)
        take(self, attributes, now)
        if "Policy" not in attributes:
            self.policy = kept

    _replace(Queue, "_set_attributes", take_attributes)


def _certificates() -> None:
    """A certificate is issued a minute after it was asked for, whatever its records say."""
    from moto import settings

    settings.ACM_VALIDATION_WAIT = ISSUE_SECONDS


def _replace(owner: Any, name: str, function: Any) -> None:
    """Put a function in the place of a method, once."""
    if not getattr(getattr(owner, name), "mended", False):
        function.mended = True
        setattr(owner, name, function)
