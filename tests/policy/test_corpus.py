"""The corpus: each bad case is refused by the rule that it names and by no other, each look-alike passes."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.policy import court

HERE = Path(__file__).parent


def _cases(folder: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for file in sorted((HERE / folder).glob("*.yaml")):
        for name, entry in yaml.safe_load(file.read_text()).items():
            assert name not in found, f"{file.name}: {name} is there twice"
            found[name] = entry
    return found


BAD, GOOD = _cases("bad"), _cases("good")


def _shown(case: court.Case) -> list[court.Case]:
    """The resource after the components that its rules know."""
    parents = [court.catalogue()[case.parent]] if case.parent in court.catalogue() else []
    return [court.catalogue()["cluster"], *parents, case]


def _resources(entry: dict[str, Any]) -> tuple[list[court.Case], bool]:
    if "stack" in entry:
        return [court.varied(one) for one in entry["stack"]], True
    return _shown(court.varied(entry)), False


def test_there_are_eighty_of_each() -> None:
    assert len(BAD) >= 80
    assert len(GOOD) >= 80


@pytest.mark.parametrize("name", BAD)
def test_a_bad_one_is_refused_by_its_rule_alone(name: str) -> None:
    entry = BAD[name]
    cases, whole = _resources(entry)
    verdict = court.judge(cases, whole=whole)
    assert verdict.broken == {entry["rule"]}, verdict.violations
    assert not verdict.notes
    text = " ".join(message for _, message in verdict.violations)
    assert entry["says"] in text, text


@pytest.mark.parametrize("name", GOOD)
def test_a_look_alike_passes(name: str) -> None:
    cases, whole = _resources(GOOD[name])
    verdict = court.judge(cases, whole=whole)
    assert not verdict.violations
    assert not verdict.notes


@pytest.mark.parametrize("name", court.catalogue())
def test_every_good_resource_passes_every_rule(name: str) -> None:
    verdict = court.judge(_shown(court.catalogue()[name]))
    assert not verdict.violations
    assert not verdict.notes


@pytest.mark.parametrize("name", [one.name for one in court.rules()])
def test_every_rule_has_a_bad_case_and_a_look_alike(name: str) -> None:
    assert any(entry["rule"] == name for entry in BAD.values()), f"tests/policy/bad has no case for {name}"
    assert any(entry["rule"] == name for entry in GOOD.values()), f"tests/policy/good has no look-alike for {name}"


@pytest.mark.parametrize("name", BAD)
def test_a_bad_one_differs_from_a_good_one_in_what_it_says_alone(name: str) -> None:
    """The rule fires because of what the case changes: without the change nothing is wrong."""
    entry = BAD[name]
    if "stack" in entry or not court.rule(entry["rule"]).guards:
        return
    verdict = court.judge([court.catalogue()[entry["from"]]], only=[court.rule(entry["rule"])])
    assert not verdict.violations
