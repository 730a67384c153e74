"""Rules that hold between sections. Each is one function that yields faults.

A rule's parameters name the sections that it needs; it runs when these are sound by themselves, so that a fault in one
section does not hide the faults between the others.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from keystone.settings.faults import Fault
from keystone.settings.rules import (
    aws,
    backup,
    choices,
    clouds,
    machines,
    mesh,
    observability,
    operators,
    platform,
    ranges,
    tunnel,
)

Rule = Callable[..., Iterator[Fault]]

RULES: tuple[Rule, ...] = (
    *ranges.RULES,
    *machines.RULES,
    *mesh.RULES,
    *choices.RULES,
    *platform.RULES,
    *observability.RULES,
    *tunnel.RULES,
    *aws.RULES,
    *backup.RULES,
    *clouds.RULES,
    *operators.RULES,
)


def broken(sections: Mapping[str, Any]) -> Iterator[Fault]:
    """The faults between the given sections, by their attribute names."""
    for rule in RULES:
        needs = inspect.signature(rule).parameters
        if all(name in sections for name in needs):
            yield from rule(**{name: sections[name] for name in needs})
