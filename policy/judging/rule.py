"""A rule: a function with a name, types, a limit and a cure. The decorators below make one of a generator function."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pulumi_policy import EnforcementLevel, ResourceValidationPolicy, Severity, StackValidationPolicy
from pulumi_policy.policy import Policy, PolicyComplianceFramework

from judging.resource import Resource

ABSENT = "<absent>"
"""In `guards`: the property left out."""
DOCUMENTATION = "docs/reference/policies.md"
_USER = re.compile(r"://[^/\s@]*@")
LOW, MEDIUM, HIGH, CRITICAL = Severity.LOW, Severity.MEDIUM, Severity.HIGH, Severity.CRITICAL


@dataclass(frozen=True)
class Finding:
    """What is wrong with a resource: the place in it, the value there, and the limit that it breaks.

    `value` never shows a credential. `on` is the resource, where a stack rule speaks of one.
    """

    place: str
    value: str
    limit: str
    on: Resource | None = None


Findings = Iterator[Finding]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """`guards` names the properties that the rule is about, each with values that it must refuse: tests set them."""

    name: str
    says: str
    kinds: tuple[str, ...]
    severity: Severity
    cure: str
    reference: str = ""
    guards: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    check: Callable[[Resource], Findings] | None = None
    check_stack: Callable[[list[Resource]], Findings] | None = None

    def message(self, name: str, finding: Finding) -> str:
        """Resource, value, limit and cure in one line; a URL without its user and password."""
        value = _USER.sub("://", finding.value)
        return f"{name}: {finding.place} is {value}; {finding.limit}. {self.cure}."

    def policy(self) -> Policy:
        """The rule as the SDK has it. Its own judging replaces the SDK's, which reads each resource once per rule."""
        common: dict[str, Any] = {
            "name": self.name,
            "description": self.says,
            "enforcement_level": EnforcementLevel.MANDATORY,
            "severity": self.severity,
            "remediation_steps": self.cure,
            "framework": PolicyComplianceFramework(name=self.reference) if self.reference else None,
            "url": f"{DOCUMENTATION}#{self.name}",
        }
        if self.check_stack:
            return StackValidationPolicy(validate=_never, **common)
        return ResourceValidationPolicy(validate=_never, **common)


def _never(*_: object) -> None:
    raise AssertionError("the judge judges, not the SDK")


def rule(
    name: str,
    says: str,
    kinds: tuple[str, ...],
    severity: Severity,
    *,
    cure: str,
    reference: str = "",
    guards: Mapping[str, tuple[Any, ...]] | None = None,
) -> Callable[[Callable[[Resource], Findings]], Rule]:
    """Make a rule of a generator that yields what is wrong with one resource."""

    def made(check: Callable[[Resource], Findings]) -> Rule:
        return Rule(
            name=name,
            says=says,
            kinds=kinds,
            severity=severity,
            cure=cure,
            reference=reference,
            guards=guards or {},
            check=check,
        )

    return made


def stack_rule(
    name: str, says: str, kinds: tuple[str, ...], severity: Severity, *, cure: str, reference: str = ""
) -> Callable[[Callable[[list[Resource]], Findings]], Rule]:
    """Make a rule of a generator that yields what is wrong with the whole graph. `kinds` are those it looks for."""

    def made(check: Callable[[list[Resource]], Findings]) -> Rule:
        return Rule(
            name=name, says=says, kinds=kinds, severity=severity, cure=cure, reference=reference, check_stack=check
        )

    return made


def show(value: Any) -> str:
    """A value for a message."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, str | int | float) else "a list or map"
