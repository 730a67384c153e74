"""Each property that a rule guards, set to each value that the rule must refuse, in recorded resources."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from judging.resource import read
from judging.rule import ABSENT, Rule

from tests.policy import court
from tests.recording import plain

Explained = dict[tuple[str, str, Callable[[court.Case], bool]], str]
"""What a rule rightly does not notice: (rule, guarded path or *, which resources) and why."""


def missed(
    cases: Iterable[court.Case], explained: Explained, shown: Callable[[court.Case], Sequence[court.Case]]
) -> tuple[int, list[str]]:
    """How many flips were tried, and those that the pack did not notice. `shown` is what it sees with a resource."""
    tried, found = 0, []
    for case, one in ((case, one) for case in cases for one in court.rules() if case.kind in one.kinds):
        for path, value in ((path, value) for path, values in one.guards.items() for value in values):
            if not _within(path, case) or not _changes_something(case, path, value) or _has(explained, one, path, case):
                continue
            tried += 1
            if one.name not in court.judge(shown(case.changed({path: value}))).broken:
                found.append(f"{one.name}: {case.kind} {case.name} {path} = {value!r}")
    return tried, found


def _has(explained: Explained, one: Rule, path: str, case: court.Case) -> bool:
    return any(name == one.name and where in ("*", path) and which(case) for name, where, which in explained)


def _within(path: str, case: court.Case) -> bool:
    """Whether the resource has what the guarded property lies in: one chart's values say nothing of another's."""
    parent = path.rpartition(".")[0]
    return not parent or read(case.props, parent) is not None


def _changes_something(case: court.Case, path: str, value: Any) -> bool:
    before = plain(read(case.props, path))
    return before != value and not (value == ABSENT and before is None)
