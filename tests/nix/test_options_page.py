"""The options' reference page: generated from the modules, and every option says what it is."""

from typing import Any

import pytest

from keystone.nix_options import render
from tests.nix.evaluator import PROJECT, Flake

PAGE = PROJECT / "docs/reference/nixos-options.md"
COMMAND = (
    "nix eval --json path:./nix#optionsDoc | .venv/bin/python -m keystone.nix_options > docs/reference/nixos-options.md"
)


@pytest.fixture(scope="module")
def options(flake: Flake) -> list[dict[str, Any]]:
    return flake.value("legacyPackages.x86_64-linux.optionsDoc")


def test_the_page_is_what_the_modules_say(options: list[dict[str, Any]]):
    assert PAGE.read_text() == render(options), f"render it again: {COMMAND}"


def test_every_option_is_described_in_sentences(options: list[dict[str, Any]]):
    assert len(options) > 100
    assert [o["name"] for o in options if not o["description"].strip().endswith(".")] == []


def test_every_option_has_an_example_and_a_default(options: list[dict[str, Any]]):
    silent = [o["name"] for o in options if o["example"] is None and not o["readOnly"]]
    assert silent == []
    without = [o["name"] for o in options if o["default"] is None and not o["readOnly"] and not required(o)]
    assert without == []


def required(option: dict[str, Any]) -> bool:
    """Facts and the fields of a pool or backend that nobody can guess have no default."""
    name = option["name"]
    return "facts.nix" in option["declared"] or ".<name>." in name or name == "keystone.secrets.folder"


def test_no_default_names_a_path_of_the_store_or_a_host(options: list[dict[str, Any]]):
    found = [o["name"] for o in options if any(w in str(o["default"]) for w in ("/nix/store", "dev-", "127.79"))]
    assert found == []


def test_a_value_of_several_lines_becomes_a_block():
    option = {
        "name": "keystone.a",
        "type": "list",
        "description": "Two\nlines.",
        "default": "[\n  1\n]",
        "example": None,
        "readOnly": False,
        "declared": ["a.nix"],
    }
    page = render([option])
    assert "### `keystone.a`\n\nTwo lines.\n\n- Type: list\n- Default:\n\n  ```nix\n  [\n    1\n  ]\n  ```\n" in page
