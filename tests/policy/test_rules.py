"""What holds for every rule of the pack: its type, its metadata, its guards, its place in the docs."""

import importlib
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from judging import kinds
from judging.rule import ABSENT, Rule
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_policy import EnforcementLevel

from tests.policy import court

RULES = court.rules()
NAMES = [one.name for one in RULES]


@pytest.mark.parametrize("token", sorted(kinds.SDK))
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_type_is_that_of_the_sdks_own_class(token: str) -> None:
    module, name = kinds.SDK[token]
    assert vars(getattr(importlib.import_module(module), name))["pulumi_type"] == token


def test_a_type_of_a_custom_resource_is_what_the_sdk_registers(deploy: Any) -> None:
    def build() -> None:
        for number, (version, kind) in enumerate(kinds.CUSTOM.values()):
            CustomResource(f"x{number}", api_version=version, kind=kind)

    assert {one.kind for one in deploy(build).resources} == set(kinds.CUSTOM)


def test_a_type_of_a_component_is_one_that_the_program_has() -> None:
    folder = Path(__file__).parents[2] / "components"
    text = "\n".join(file.read_text() for file in folder.glob("*.py"))
    assert {kind for kind in kinds.COMPONENTS if f'"{kind}"' not in text} == set()


def test_a_class_that_the_sdk_does_not_have_is_an_error() -> None:
    with pytest.raises(kinds.UnknownKind, match=r"pulumi_aws.ec2.LaunchTemplates: the installed package has no such"):
        kinds.sdk("pulumi_aws.ec2", "LaunchTemplates")


@pytest.mark.parametrize("name", NAMES)
def test_a_rule_knows_its_types(name: str) -> None:
    known = {*kinds.SDK, *kinds.CUSTOM, *kinds.COMPONENTS, kinds.ANY}
    assert court.rule(name).kinds
    assert set(court.rule(name).kinds) <= known


@pytest.mark.parametrize("name", NAMES)
def test_a_rule_says_all_that_a_reader_needs(name: str) -> None:
    one = court.rule(name)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", one.name)
    assert len(one.says) > 15
    assert len(one.cure) > 15
    assert not one.cure.endswith(".")
    assert one.reference
    assert one.policy().enforcement_level is EnforcementLevel.MANDATORY
    assert one.policy().remediation_steps == one.cure


def test_names_are_unique() -> None:
    assert len(set(NAMES)) == len(NAMES)


def _fits(one: Rule) -> list[court.Case]:
    return [case for case in court.catalogue().values() if case.kind in one.kinds]


@pytest.mark.parametrize(("name", "path"), [(one.name, path) for one in RULES for path in one.guards])
def test_a_guarded_property_is_noticed_in_a_good_resource(name: str, path: str) -> None:
    one = court.rule(name)
    for value in one.guards[path]:
        refused = [
            case.name for case in _fits(one) if court.judge([case.changed({path: value})], only=[one]).violations
        ]
        assert refused, f"{path} = {value!r} is refused in no resource of {[case.name for case in _fits(one)]}"


@pytest.mark.parametrize(("name", "path"), [(one.name, path) for one in RULES for path in one.guards])
def test_a_guarded_property_that_is_unknown_never_passes_an_update(name: str, path: str) -> None:
    one = court.rule(name)
    cases = [case.changed({path: court.UNKNOWN}) for case in _fits(one)]
    refused = [case for case in cases if court.judge([case], only=[one]).violations]
    noted = [case for case in cases if court.judge([case], only=[one], preview=True).notes]
    assert refused
    assert {case.name for case in noted} == {case.name for case in refused}


def test_every_topic_lists_every_rule_that_it_has() -> None:
    for module in (importlib.import_module(f"rules.{name}") for name, _, _ in _table()["topics"]()):
        made = {value.name for value in vars(module).values() if isinstance(value, Rule)}
        assert made == {one.name for one in module.RULES}, module.__name__


def _table() -> dict[str, Any]:
    return runpy.run_path(str(court.PACK / "table.py"), run_name="table")


def test_the_table_in_the_docs_is_the_rendered_one() -> None:
    table = _table()
    page = Path(__file__).parents[2] / "docs" / "reference" / "policies.md"
    assert page.read_text() == table["render"](table["topics"]()), (
        "run `.venv/bin/python policy/table.py > docs/reference/policies.md`"
    )
    assert all(f'<a id="{name}"></a>' in page.read_text() for name in NAMES)


def test_the_pack_imports_nothing_of_the_program_and_no_large_sdk() -> None:
    code = (
        "import runpy, sys\n"
        "runpy.run_path('__main__.py', run_name='pack')\n"
        "roots = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(roots & {'keystone', 'components', 'twin', 'toolchain', 'providers', 'versions', 'pulumi_aws',"
        " 'pulumi_kubernetes', 'pulumi_cloudflare', 'detect_secrets'}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=court.PACK, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_absent_is_no_value_that_a_resource_could_have() -> None:
    assert ABSENT not in {text for case in court.catalogue().values() for text in map(str, case.props.values())}
