"""IAM documents as data: statements with a reason each, and the JSON that they become, the same bytes each time."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from keystone.errors import KeystoneError

AUDIENCE = "sts.amazonaws.com"
VERSION = "2012-10-17"
MAX_ROLE_NAME = 64

Conditions = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Statement:
    """What is allowed (or denied), and why. Resources and values of conditions may be Outputs of the engine.

    `principal` is for documents that lie at a resource; those of a role have none.
    """

    sid: str
    actions: Sequence[str]
    resources: Sequence[Any]
    reason: str
    conditions: Conditions = field(default_factory=dict)
    effect: Literal["Allow", "Deny"] = "Allow"
    principal: Mapping[str, Any] | None = None


def policy(statements: Iterable[Statement]) -> dict[str, Any]:
    """The policy document of the statements, which stands for JSON."""
    return {"Version": VERSION, "Statement": [_statement(one) for one in statements]}


def _statement(one: Statement) -> dict[str, Any]:
    return {
        "Sid": one.sid,
        "Effect": one.effect,
        **({"Principal": dict(one.principal)} if one.principal else {}),
        "Action": sorted(one.actions),
        "Resource": list(one.resources),
        **({"Condition": {name: dict(tests) for name, tests in one.conditions.items()}} if one.conditions else {}),
    }


def encoded(document: Mapping[str, Any]) -> str:
    """A document as IAM takes it: compact, keys sorted."""
    return json.dumps(document, separators=(",", ":"), sort_keys=True)


def document(statements: Iterable[Statement]) -> str:
    """The JSON of the statements. Their resources are plain texts."""
    return encoded(policy(statements))


def web_identity_trust(provider_arn: str, issuer_host: str, subjects: str | Sequence[str]) -> str:
    """Trust in tokens of an OIDC provider, by exact audience and subject."""
    named = [subjects] if isinstance(subjects, str) else sorted(subjects)
    if not named or any(not one or "*" in one or "?" in one for one in named):
        raise KeystoneError("trust", f"{named} does not name its subjects exactly", "Name each one, without wildcards")
    only = named[0] if len(named) == 1 else named
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": provider_arn},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {f"{issuer_host}:aud": AUDIENCE, f"{issuer_host}:sub": only}},
    }
    return encoded({"Version": VERSION, "Statement": [statement]})


def service_trust(service: str) -> str:
    """Trust in a service of AWS, such as ec2.amazonaws.com."""
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return encoded({"Version": VERSION, "Statement": [statement]})


def service_account(namespace: str, name: str) -> str:
    """The subject that Kubernetes writes into the tokens of a service account."""
    return f"system:serviceaccount:{namespace}:{name}"


def path(cluster: str) -> str:
    """The path of all our roles and policies: who runs the program needs rights below it alone."""
    return f"/keystone/{cluster}/"


def role_name(cluster: str, what: str) -> str:
    """A role's name, unique in the account. Raises KeystoneError for one that IAM would refuse."""
    name = f"{cluster}-{what}"
    if len(name) > MAX_ROLE_NAME:
        raise KeystoneError(
            f"role {name}", f"has {len(name)} characters, and IAM takes {MAX_ROLE_NAME}", "Shorten cluster.name"
        )
    return name


def role_arn(partition: str, account: str, cluster: str, what: str) -> str:
    """The ARN of one of our roles, before it is made."""
    return f"arn:{partition}:iam::{account}:role{path(cluster)}{role_name(cluster, what)}"
