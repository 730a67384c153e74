"""Where two owners are in each other's way.

Server-side apply lets owners share an object: each has its fields, and a field that both set to the same value belongs
to both (Kubernetes documentation, Server-Side Apply, "Conflicts"). So two owners are in conflict when they set one
field to different values, or when both make and remove the object and one of them writes in another way.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Any

from keystone.checks.findings import Finding
from keystone.checks.ownership.objects import RELEASE_GROUP, Claim, Key
from keystone.wire import SIGNATURE

SHOWN_FIELDS = 3
CNI_RELEASES = frozenset(
    {"cilium", "calico", "tigera-operator", "flannel", "canal", "antrea", "kube-router", "weave-net"}
)
CURES = {
    "defined-twice": "Delete one of the two",
    "release-twice": "Let one of them install it",
    "cni-owner": (
        "The network plugin belongs to the host layer: what runs on the network cannot own it. Take it out of the other"
    ),
    "two-owners": "Let one of them own it; the other may set single fields by server-side apply",
    "field-fight": "Leave each field to one of them, or give it the same value in both",
}


def conflicts(claims: Iterable[Claim]) -> list[Finding]:
    """One finding for each object that two owners fight over, sorted."""
    by_key: dict[Key, list[Claim]] = defaultdict(list)
    for claim in claims:
        by_key[claim.key].append(claim)
    return sorted(finding for group in by_key.values() if len(group) > 1 for finding in _judge(group))


def _judge(group: list[Claim]) -> Iterator[Finding]:
    """The worst conflict among the claims on one object, with both places; further owners are counted."""
    unique = sorted({(one.owner, one.place): one for one in group}.values(), key=lambda one: (one.place, one.owner))
    found = [(rule, one, two, fields) for one, two in combinations(unique, 2) for rule, fields in _between(one, two)]
    if not found:
        return
    rule, one, two, fields = min(found, key=lambda item: list(CURES).index(item[0]))
    others = {claim.owner for pair in found for claim in pair[1:3]} - {one.owner, two.owner}
    shown = ", ".join(fields[:SHOWN_FIELDS]) + (
        f" and {len(fields) - SHOWN_FIELDS} more" if len(fields) > SHOWN_FIELDS else ""
    )
    words = {
        "defined-twice": f"is defined a second time at {two.place}, for the same owner ({one.owner})",
        "release-twice": f"of {one.owner} is also installed by {two.owner} ({two.place})",
        "cni-owner": f"of {one.owner} is also installed by {two.owner} ({two.place})",
        "two-owners": f"of {one.owner} is also made and removed by {two.owner} ({two.place})",
        "field-fight": f"of {one.owner} is also written by {two.owner} ({two.place}), with other values in {shown}",
    }
    more = f"; {len(others)} more" if others else ""
    yield Finding(rule, one.place, f"{one.key} {words[rule]}{more}", CURES[rule])


def _between(one: Claim, two: Claim) -> Iterator[tuple[str, list[str]]]:
    """The rule that two claims break, and the fields in question."""
    if one.key.group == RELEASE_GROUP:
        if one.owner != two.owner:
            yield ("cni-owner" if one.key.name in CNI_RELEASES else "release-twice"), []
        return
    if one.owner == two.owner:
        if one.creates and two.creates:
            yield "defined-twice", []
        return
    fields = [path for path in one.fields if path in two.fields and not _same(one.fields[path], two.fields[path])]
    fields += [path for path in _nested(one, two) if path not in fields]
    if one.creates and two.creates and "client-side" in (one.method, two.method):
        yield "two-owners", fields
    elif fields:
        yield "field-fight", fields


def _same(one: Any, two: Any) -> bool:
    if isinstance(one, dict) and SIGNATURE in one:
        return False  # encrypted: cannot be compared, and two writers of a secret are two too many
    return one == two


def _nested(one: Claim, two: Claim) -> Iterator[str]:
    """Paths that one owner sets as a whole and the other one inside."""
    for left, right in ((one.fields, two.fields), (two.fields, one.fields)):
        if not left or not right:
            continue
        for path, value in left.items():
            if value in ({}, []) or path in right:
                continue
            if any(other.startswith((f"{path}.", f"{path}[")) for other in right):
                yield path
