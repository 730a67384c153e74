"""The only way round a rule: a dated exception in the pack's configuration.

    {"exceptions": {"list": [{"resource": "NAME or URN", "rule": "RULE", "reason": "...", "expires": "2027-01-31"}]}}

A faulty or expired entry fails the run before the engine judges anything.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

LONGEST = timedelta(days=366)
NOTICE = timedelta(days=30)
"""How long before its end an exception is spoken of: from its end on, every run fails."""
REASON_LENGTH = 15
NAME = "exceptions"
SCHEMA = {
    "list": {
        "type": "array",
        "description": "Resources that may break one rule until a day.",
        "items": {
            "type": "object",
            "additionalProperties": False,
            "required": ["resource", "rule", "reason", "expires"],
            "properties": {
                "resource": {"type": "string", "minLength": 1, "description": "name or URN of the resource"},
                "rule": {"type": "string", "minLength": 1, "description": "name of the rule"},
                "reason": {"type": "string", "minLength": REASON_LENGTH, "description": "why this is acceptable"},
                "expires": {
                    "type": "string",
                    "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
                    "description": "the last day on which it holds, at most a year ahead",
                },
            },
        },
    }
}


@dataclass(frozen=True)
class Exemption:
    """One entry."""

    resource: str
    rule: str
    reason: str
    expires: date

    def covers(self, rule: str, name: str, urn: str) -> bool:
        """Whether it lets this resource break this rule."""
        return self.rule == rule and self.resource in (name, urn)


def today() -> date:
    """The day by UTC, so that a run means the same everywhere."""
    return datetime.now(UTC).date()


def parse(entries: Any, rules: Collection[str], day: date) -> tuple[list[Exemption], list[str]]:
    """The entries, and all that is wrong with them, one line each."""
    kept: list[Exemption] = []
    faults: list[str] = []
    if entries is None:
        return kept, faults
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        return kept, ["exceptions: not a list. Give a list of {resource, rule, reason, expires}."]
    for index, entry in enumerate(entries):
        place = f"exceptions.list.{index}"
        wanted = SCHEMA["list"]["items"]["properties"].keys()
        if not isinstance(entry, Mapping) or set(entry) != set(wanted):
            faults.append(f"{place}: must have exactly resource, rule, reason and expires.")
            continue
        words = {key: entry[key] for key in wanted}
        if not all(isinstance(value, str) and value.strip() for value in words.values()):
            faults.append(f"{place}: resource, rule, reason and expires must be texts.")
            continue
        problem = _problem(words, rules, day)
        if problem:
            faults.append(f"{place}: {problem}")
        else:
            kept.append(Exemption(**{**words, "expires": date.fromisoformat(words["expires"])}))
    return kept, faults


def _problem(entry: Mapping[str, str], rules: Collection[str], day: date) -> str:
    what = f"{entry['rule']} on {entry['resource']}"
    if entry["rule"] not in rules:
        return f"there is no rule {entry['rule']}. Take a name of docs/reference/policies.md."
    if len(entry["reason"].strip()) < REASON_LENGTH:
        return f"the reason for {what} has less than {REASON_LENGTH} characters. Say why it is acceptable."
    try:
        expires = date.fromisoformat(entry["expires"])
    except ValueError:
        return f"expires is {entry['expires']}, which is no day. Write YEAR-MONTH-DAY."
    if expires < day:
        return f"{what} ended on {expires}. Mend the resource, or decide anew and set a later day."
    if expires - day > LONGEST:
        return f"{what} lasts until {expires}, more than a year. Set an earlier day."
    return ""
