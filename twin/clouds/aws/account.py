"""Looks into moto's own objects: roles, sessions, distributions, buckets, instances."""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from twin.clouds.aws.access import Document, parse
from twin.clouds.aws.errors import Refused

PARTITION = "aws"
PROFILE_SECONDS = 6 * 3600


class Account:
    """One AWS account as moto holds it."""

    def __init__(self, number: str) -> None:
        self.number = number

    @property
    def iam(self) -> Any:
        from moto.iam.models import iam_backends

        return iam_backends[self.number][PARTITION]

    @property
    def sts(self) -> Any:
        from moto.sts.models import sts_backends

        return sts_backends[self.number][PARTITION]

    # --- roles and sessions ---

    def role(self, arn: str) -> Any | None:
        return next((role for role in self.iam.roles.values() if role.arn == arn), None)

    def session(self, access_key: str) -> Any | None:
        """The session of a role that an access key belongs to."""
        return self.sts.get_assumed_role_from_access_key(access_key)

    def open_session(self, role: Any, name: str, seconds: int) -> Any:
        """A session of a role, after all checks."""
        return self.sts.assume_role(
            region_name="us-east-1",
            role_session_name=name,
            role_arn=role.arn,
            policy=None,
            duration=seconds,
            external_id=None,
        )

    def policies(self, role: Any) -> list[Document]:
        """What a role may: its inline policies and those attached."""
        attached = [_document(policy) for policy in role.managed_policies.values()]
        return [parse(text) for text in [*role.policies.values(), *attached]]

    def boundary(self, role: Any) -> Document | None:
        """What a role may at most; None without a boundary. Raises Refused when its policy is gone."""
        arn = role.permissions_boundary_arn
        if not arn:
            return None
        policy = self.iam.managed_policies.get(arn)
        if policy is None:
            raise Refused("AccessDenied", f"the boundary {arn} of {role.name} does not exist", 403)
        return parse(_document(policy))

    def oidc_provider(self, arn: str) -> Any | None:
        return self.iam.open_id_providers.get(arn)

    # --- what the internet sees ---

    def published(self, host: str, path: str) -> bytes:
        """What `https://HOST/PATH` answers: the object behind the distribution of that name.

        Raises Refused (IDPCommunicationError) saying what is missing on the way.
        """
        distribution = self._distribution(host)
        config: Any = distribution.distribution_config
        if not config.Enabled:
            raise _unreachable(host, "its distribution is switched off")
        default = config.DefaultCacheBehavior.target_origin_id
        origin = next(one for one in config.Origins["Items"] if one.id == default)
        bucket = origin.domain_name.partition(".s3.")[0]
        key = f"{origin.origin_path.strip('/')}/{path}".strip("/")
        return self._read_for(distribution, host, bucket, key)

    def _distribution(self, host: str) -> Any:
        from moto.cloudfront.models import cloudfront_backends

        for one in cloudfront_backends[self.number][PARTITION].distributions.values():
            config: Any = one.distribution_config
            if host in (config.Aliases.get("Items") or []):
                return one
        raise _unreachable(host, "no distribution has that name")

    def _read_for(self, distribution: Any, host: str, bucket: str, key: str) -> bytes:
        from moto.s3.models import s3_backends

        backend = s3_backends[self.number][PARTITION]
        held = backend.buckets.get(bucket)
        if held is None:
            raise _unreachable(host, f"its bucket {bucket} does not exist")
        self._check_reader(held, distribution, host, key)
        found = backend.get_object(bucket, key)
        if found is None:
            raise _unreachable(host, f"{key} is not there (404)")
        return found.value

    def _check_reader(self, bucket: Any, distribution: Any, host: str, key: str) -> None:
        from twin.clouds.aws import access

        document = parse(bucket.policy.decode() if isinstance(bucket.policy, bytes) else bucket.policy or "{}")
        granted = [
            one
            for one in access.many(document.get("Statement"))
            if one.get("Effect") == "Deny" or "cloudfront.amazonaws.com" in access.many(_services(one))
        ]
        context = {"aws:sourcearn": distribution.arn, "aws:securetransport": "true", "s3:tlsversion": "1.3"}
        resource = f"arn:{PARTITION}:s3:::{bucket.name}/{key}"
        if not access.allowed([{"Statement": granted}], "s3:GetObject", resource, context):
            raise _unreachable(host, f"the bucket {bucket.name} does not let its distribution read {key} (403)")

    # --- machines ---

    def instances(self) -> Iterator[dict[str, Any]]:
        """Every instance of every region, as the twin's machines need it."""
        if "moto.ec2.models" not in sys.modules:
            return  # nobody has asked for a machine, and loading EC2 takes seconds
        from moto.ec2.models import ec2_backends

        for region, backend in list(ec2_backends[self.number].items()):
            for reservation in list(backend.reservations.values()):
                for one in reservation.instances:
                    data = one.user_data
                    profile = backend.iam_instance_profile_associations.get(one.id)
                    yield {
                        "id": one.id,
                        "state": one.state,
                        "region": region,
                        "zone": one.placement.zone,
                        "type": one.instance_type,
                        "privateAddress": one.private_ip,
                        "lifecycle": one.lifecycle or "on-demand",
                        "tags": {tag["key"]: tag["value"] for tag in one.get_tags()},
                        "userData": data.decode() if data is not None and hasattr(data, "decode") else _text(data),
                        "profile": profile.iam_instance_profile.arn if profile else None,
                    }

    def profile_session(self, instance: str) -> dict[str, Any]:
        """What the metadata service gives an instance: credentials of its profile's role."""
        found = next((one for one in self.instances() if one["id"] == instance), None)
        if found is None or found["state"] != "running":
            raise Refused("NotFound", f"there is no running instance {instance}", 404)
        profiles = self.iam.instance_profiles.values()
        profile = next((one for one in profiles if one.arn == found["profile"]), None)
        if profile is None or not profile.roles:
            raise Refused("NotFound", f"instance {instance} has no instance profile with a role", 404)
        role = profile.roles[0]
        _check_service(role, "ec2.amazonaws.com")
        session = self.open_session(role, instance, PROFILE_SECONDS)
        return {
            "AccessKeyId": session.access_key_id,
            "SecretAccessKey": session.secret_access_key,
            "Token": session.session_token,
            "Expiration": session.expiration.isoformat(),
            "Code": "Success",
            "RoleArn": role.arn,
            "LastUpdated": datetime.now(UTC).isoformat(),
        }


def _document(policy: Any) -> str:
    """The document of a managed policy's default version."""
    return next(one.document for one in policy.versions if one.version_id == policy.default_version_id)


def _services(statement: Document) -> Any:
    principal = statement.get("Principal")
    return principal.get("Service") if isinstance(principal, dict) else None


def _check_service(role: Any, service: str) -> None:
    from twin.clouds.aws import access

    for one in access.many(parse(role.assume_role_policy_document).get("Statement")):
        services, actions = access.many(_services(one)), access.many(one.get("Action"))
        if one.get("Effect") == "Allow" and service in services and "sts:AssumeRole" in actions:
            return
    raise Refused("AccessDenied", f"the role {role.name} does not trust {service}", 403)


def _text(data: Any) -> str:
    if data is None:
        return ""
    text = data if isinstance(data, str) else str(data)
    try:
        return base64.b64decode(text, validate=True).decode()
    except ValueError:
        return text


def _unreachable(host: str, why: str) -> Refused:
    return Refused(
        "IDPCommunicationError", f"Couldn't retrieve verification key from your identity provider {host}: {why}"
    )
