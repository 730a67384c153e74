"""What a resource's life is to the tests of the aws plugin, and the policies that they use."""

import json
from dataclasses import dataclass, field
from typing import Any

Inputs = dict[str, Any]


@dataclass(frozen=True)
class Life:
    """`changed` and `replaced` are inputs over the first ones; None takes one away."""

    token: str
    name: str
    first: Inputs
    changed: Inputs = field(default_factory=dict)
    replaced: Inputs = field(default_factory=dict)
    imported: str = "${self}"
    """The id to import it by."""
    told: tuple[str, ...] = ()
    """Inputs that no answer tells, so that an import misses them."""


def document(action: str, **more: Any) -> str:
    """A policy of one statement."""
    statement = {"Effect": "Allow", "Action": [action], "Resource": ["*"], **more}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def trust(service: str) -> str:
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
