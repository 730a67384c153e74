"""The JSON schema for editors: it equals the model, takes every valid file and refuses what it can see."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from keystone.settings import schema

HERE = Path(__file__).parent
ROOT = Path(__file__).parents[2]
STACKS = sorted(ROOT.glob("Pulumi.*.yaml"))


def faults(document: Any) -> list[str]:
    return [error.message for error in jsonschema.Draft7Validator(schema.document()).iter_errors(document)]


def test_the_checked_in_schema_is_that_of_the_model() -> None:
    assert (ROOT / schema.PATH).read_text() == schema.text(), "run `keystone schema`"


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft7Validator.check_schema(schema.document())


@pytest.mark.parametrize("file", [*STACKS, *(HERE / "valid").glob("*.yaml")], ids=lambda file: file.name)
def test_the_schema_takes_every_valid_stack_file(file: Path) -> None:
    assert faults(yaml.safe_load(file.read_text())) == []


@pytest.mark.parametrize("file", STACKS, ids=lambda file: file.name)
def test_a_stack_file_tells_editors_where_its_schema_is(file: Path) -> None:
    assert file.read_text().splitlines()[0] == schema.MODELINE


@pytest.mark.parametrize(
    "name",
    [
        "unknown-key",
        "unknown-section",
        "snake-case-key",
        "missing-key",
        "missing-section",
        "not-a-choice",
        "bool-as-text",
        "number-as-text",
        "not-a-list",
        "no-nameserver",
        "port-too-big",
        "host-name-upper-case",
        "mac-bad",
        "disk-by-letter",
        "url-plain-http",
        "secret-missing",
        "secret-in-plain-text",
    ],
)
def test_the_schema_refuses_what_an_editor_can_see(name: str) -> None:
    assert faults(yaml.safe_load((HERE / "invalid" / f"{name}.yaml").read_text()))


def test_keys_of_other_namespaces_are_left_alone() -> None:
    document = yaml.safe_load((HERE / "valid" / "small.yaml").read_text())
    document["config"] |= {"aws:region": "eu-central-1", "twin:network": "127.79.0.0/24", "pulumi:tags": {}}
    assert faults(document) == []
