"""`keystone check network`: combinations of network settings that are known not to work, before any host is touched.

What a single value, or two of the stack file, may not be is refused by `keystone.settings` already; its faults are
findings here too. These rules add what only shows in combination, and what other files of a project say.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from keystone.checks.findings import Finding
from keystone.checks.network import on_files, on_settings
from keystone.checks.network.plan import Plan, read
from keystone.settings import SettingsError
from keystone.settings import read as read_settings

Rule = Callable[[Plan], Iterator[Finding]]

RULES: tuple[Rule, ...] = (*on_settings.RULES, *on_files.RULES)

__all__ = ["RULES", "Plan", "broken", "check"]


def broken(plan: Plan) -> list[Finding]:
    """The findings of every rule, sorted."""
    return sorted({*plan.faults, *(finding for rule in RULES for finding in rule(plan))})


def check(stack: str, project: Path = Path(), sources: Iterable[Path] = ()) -> list[Finding]:
    """The findings for a stack; faults of its file alone, when it has any. Raises KeystoneError when it has no file."""
    try:
        settings = read_settings(stack, project)
    except SettingsError as error:
        return sorted(Finding("settings", one.place, one.problem, one.cure) for one in error.faults)
    return broken(read(settings, stack, project, sources))
