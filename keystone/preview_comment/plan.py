"""What `pulumi preview --json` printed, as one value: the steps, what policies said, what went wrong.

Both forms are read: the digest (one object), and the event stream that PULUMI_ENABLE_STREAMING_JSON_PREVIEW=true asks
for. Only the stream tells what policies said. Of a resource, the names of changed properties are kept for all to see;
values are kept too, and whoever shows one answers for it.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from keystone.errors import KeystoneError
from keystone.wire import kind_of, name_of

STACK_TYPE = "pulumi:pulumi:Stack"
PROVIDER = "pulumi:providers:"
REPLACES = ("replace", "create-replacement", "delete-replaced")
# Words of the engine -> the five kinds of change that a reader needs.
KINDS = {
    "create": "create",
    "import": "create",
    "update": "update",
    "replace": "replace",
    "import-replacement": "replace",
    "read-replacement": "replace",
    "delete": "delete",
    "discard": "delete",
    "same": "same",
    "read": "same",
    "refresh": "same",
}


@dataclass(frozen=True, kw_only=True)
class Step:
    """What happens to one resource. `kind` is create, update, replace, delete or same."""

    kind: str
    urn: str
    parent: str = ""
    old: Mapping[str, Any] = field(default_factory=dict)
    new: Mapping[str, Any] = field(default_factory=dict)
    changed: tuple[str, ...] = ()
    """Paths of the changed properties, or their names where the provider tells no more."""
    protected: bool = False

    @property
    def name(self) -> str:
        """The name at the end of the URN."""
        return name_of(self.urn)

    @property
    def type(self) -> str:
        """The type token, without those of its parents."""
        return kind_of(self.urn)


@dataclass(frozen=True, kw_only=True)
class Message:
    """What the engine or a provider said about a resource, or (no URN) about the run."""

    urn: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Violation:
    """What a policy said about a resource."""

    policy: str
    urn: str
    text: str
    mandatory: bool
    severity: str = ""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One preview. `finished` is false when the output ends before the engine did."""

    steps: tuple[Step, ...]
    errors: tuple[Message, ...] = ()
    warnings: tuple[Message, ...] = ()
    violations: tuple[Violation, ...] = ()
    packs: Mapping[str, str] | None = None
    """Policy packs by name with their version; None when the output does not tell (a digest)."""
    finished: bool = True
    failed: bool = False
    unchanged: int | None = None
    """How many stay the same, where the output counts them without naming them (a digest)."""

    def of(self, *kinds: str) -> list[Step]:
        """The steps of some kinds."""
        return [step for step in self.steps if step.kind in kinds]

    @property
    def counts(self) -> dict[str, int]:
        """How many of each kind; the engine's own summary counts the same."""
        found: dict[str, int] = dict.fromkeys(("replace", "delete", "update", "create", "same"), 0)
        for step in self.steps:
            found[step.kind] += 1
        if self.unchanged is not None:
            found["same"] = self.unchanged
        return found


def read(text: str) -> Plan:
    """The plan of a preview's output. Raises KeystoneError when it is neither a digest nor an event stream."""
    stripped = text.strip()
    if not stripped:
        raise KeystoneError("preview", "printed nothing", "Give the output of `pulumi preview --json`")
    try:
        document = json.loads(stripped)
    except ValueError:
        return _stream(stripped.splitlines())
    if isinstance(document, dict) and ("steps" in document or "changeSummary" in document):
        return _digest(document)
    if isinstance(document, dict) and "sequence" in document:
        return _stream([stripped])
    raise KeystoneError("preview", "is JSON, but not that of a preview", "Give the output of `pulumi preview --json`")


def _digest(document: Mapping[str, Any]) -> Plan:
    steps = [
        _step(one["op"], one["urn"], one.get("oldState"), one.get("newState"), one)
        for one in document.get("steps") or []
        if one["op"] in KINDS
    ]
    diagnostics = document.get("diagnostics") or []
    errors, warnings = _messages(diagnostics)
    # A policy that refuses leaves no more than "preview failed" here, which is no message worth showing.
    failed = any(one.get("severity") == "error" for one in diagnostics)
    unchanged = (document.get("changeSummary") or {}).get("same", 0)
    return Plan(steps=_sorted(steps), errors=errors, warnings=warnings, failed=failed, unchanged=unchanged)


def _stream(lines: Iterable[str]) -> Plan:
    pre: dict[str, Step] = {}
    said, violations, packs = [], [], {}
    finished = failed = False
    for number, line in enumerate(lines):
        try:
            event = json.loads(line)
        except ValueError:
            if not number:
                raise KeystoneError(
                    "preview",
                    "is not JSON",
                    "Give the standard output of `pulumi preview --json`",
                ) from None
            break  # cut off: what came before still counts, and `finished` says the rest
        if one := event.get("resourcePreEvent"):
            _take(pre, one["metadata"])
        elif (one := event.get("resOutputsEvent")) and one["metadata"]["urn"] in pre:
            # A refresh knows only afterwards whether there was a difference.
            _refreshed(pre, one["metadata"])
        elif one := event.get("diagnosticEvent"):
            # Debug messages hold the values of secrets, and status lines are of the moment.
            if one.get("severity") in ("error", "warning") and not one.get("ephemeral"):
                said.append(one)
        elif one := event.get("policyEvent"):
            violations.append(_violation(one))
        elif one := event.get("summaryEvent"):
            finished, failed = True, one.get("result", "succeeded") != "succeeded"
            packs = one.get("PolicyPacks") or {}
    errors, warnings = _messages(said)
    return Plan(
        steps=_sorted(pre.values()),
        errors=errors,
        warnings=warnings,
        violations=tuple(sorted(violations, key=lambda one: (not one.mandatory, one.policy, one.urn))),
        packs={name.split("|")[0]: version for name, version in packs.items()},
        finished=finished,
        failed=failed or bool(errors) or not finished or any(one.mandatory for one in violations),
    )


def _take(pre: dict[str, Step], metadata: Mapping[str, Any]) -> None:
    op = metadata["op"]
    # A replacement comes as three events, of which one is the logical step.
    if op in KINDS and (op not in REPLACES or op == "replace"):
        pre[metadata["urn"]] = _step(op, metadata["urn"], metadata.get("old"), metadata.get("new"), metadata)


def _refreshed(pre: dict[str, Step], metadata: Mapping[str, Any]) -> None:
    op = metadata["op"]
    if op in ("update", "delete") and pre[metadata["urn"]].kind == "same":
        pre[metadata["urn"]] = _step(op, metadata["urn"], metadata.get("old"), metadata.get("new"), metadata)


def _step(
    op: str, urn: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None, about: Mapping[str, Any]
) -> Step:
    old, new = old or {}, new or {}
    paths = set(about.get("detailedDiff") or {})
    changed = paths or set(about.get("replaceReasons") or about.get("keys") or [])
    changed = changed or set(about.get("diffReasons") or about.get("diffs") or [])
    return Step(
        kind=KINDS[op],
        urn=urn,
        parent=new.get("parent") or old.get("parent") or "",
        old=old.get("inputs") or {},
        new=new.get("inputs") or {},
        changed=tuple(sorted(changed)),
        protected=bool(old.get("protect")),
    )


def _sorted(steps: Iterable[Step]) -> tuple[Step, ...]:
    return tuple(sorted(steps, key=lambda step: (step.type, step.name, step.urn)))


def _messages(diagnostics: Iterable[Mapping[str, Any]]) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    found: dict[str, dict[Message, None]] = {"error": {}, "warning": {}}
    for one in diagnostics:
        severity, text = one.get("severity", ""), one.get("message", "").strip()
        text = text.removeprefix(f"{severity}:").strip()
        if severity in found and text and text != "preview failed":
            found[severity][Message(urn=one.get("urn", ""), text=text)] = None
    return tuple(found["error"]), tuple(found["warning"])


def _violation(event: Mapping[str, Any]) -> Violation:
    # The first line is the rule's own description, the others say what is wrong here.
    first, _, rest = event.get("message", "").strip().partition("\n")
    return Violation(
        policy=event.get("policyName", ""),
        urn=event.get("resourceUrn", ""),
        text=rest.strip() or first,
        mandatory=event.get("enforcementLevel") == "mandatory",
        severity=event.get("severity", ""),
    )
