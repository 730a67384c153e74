"""Every Nix file parses, says what it is, and holds nothing that no one uses."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import tree_sitter_nix
from tree_sitter import Language, Node, Parser

from tests.nix.evaluator import BUILDERS, NIX, PACKAGES, mentioned_packages

FILES = sorted(file for file in NIX.rglob("*.nix") if ".git" not in file.parts)
PARSER = Parser(Language(tree_sitter_nix.language()))


def name(file: Path) -> str:
    return str(file.relative_to(NIX))


def test_every_file_parses(nix: object):
    del nix
    done = subprocess.run(["nix-instantiate", "--parse", *map(str, FILES)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def below(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from below(child)


def text(node: Node | None) -> str:
    return node.text.decode() if node is not None and node.text is not None else ""


def uses(node: Node) -> set[str]:
    """Every name that is read somewhere in the node: variables, and what `inherit` takes from the surroundings."""
    found = set()
    for inner in below(node):
        if inner.type == "variable_expression":
            found.add(text(inner))
        elif inner.type == "inherit":
            found |= {text(name) for name in below(inner) if name.type == "identifier"}
    return found


def faults(source: bytes) -> list[str]:
    """Syntax errors, unused arguments and bindings, and `with` around more than a list."""
    root = PARSER.parse(source).root_node
    found = []
    for node in below(root):
        line = node.start_point[0] + 1
        if node.type == "ERROR" or (node.is_missing and not after_last_comma(node)):
            found.append(f"line {line}: syntax error")
        elif node.type == "function_expression":
            read = uses(node)
            arguments = [child for child in below(node.children[0]) if child.type == "formal" and text(child)]
            found += [
                f"line {argument.start_point[0] + 1}: unused argument {text(argument.children[0])}"
                for argument in arguments
                if text(argument.children[0]) not in read
            ]
        elif node.type == "let_expression":
            found += unused_bindings(node)
        elif node.type == "with_expression":
            found.append(f"line {line}: with hides where names come from")
    return found


def after_last_comma(node: Node) -> bool:
    """Whether the grammar misses an argument that Nix does not: `{ a, b, }:` may end with a comma."""
    formal = node.parent
    return formal is not None and formal.type == "formal" and text(formal) == ""


def unused_bindings(node: Node) -> list[str]:
    bound = [child for child in node.children if child.type == "binding_set"]
    found = []
    read = uses(node)
    for binding in bound[0].children if bound else []:
        if binding.type == "binding":
            key = text(binding.children[0]).split(".")[0]
            if key not in read:
                found.append(f"line {binding.start_point[0] + 1}: unused binding {key}")
        elif binding.type in ("inherit", "inherit_from"):
            outside = {name for child in node.children if child not in bound for name in uses(child)}
            others = {name for other in bound[0].children if other != binding for name in uses(other)}
            for identifier in (item for item in below(binding) if item.type == "identifier"):
                source = binding.child_by_field_name("expression")
                if source is not None and source.start_byte <= identifier.start_byte < source.end_byte:
                    continue
                if text(identifier) not in outside | others:
                    found.append(f"line {identifier.start_point[0] + 1}: unused inherited {text(identifier)}")
    return found


@pytest.mark.parametrize("file", FILES, ids=name)
def test_nothing_is_unused_and_no_name_comes_from_with(file: Path):
    assert faults(file.read_bytes()) == []


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        (b"{ lib, pkgs }: lib.id 1", "line 1: unused argument pkgs"),
        (b"let\n a = 1;\n b = 2;\nin b", "line 2: unused binding a"),
        (b"{ lib }: let inherit (lib) id const; in id 1", "line 1: unused inherited const"),
        (b"{ pkgs }: with pkgs; [ jq ]", "line 1: with hides where names come from"),
        (b"{ a = ; }", "line 1: syntax error"),
    ],
)
def test_the_lint_finds_what_it_looks_for(source: bytes, fault: str):
    assert fault in faults(source)


@pytest.mark.parametrize("file", [file for file in FILES if "modules" in file.parts], ids=name)
def test_a_module_reads_options_then_assertions_then_config(file: Path):
    content = file.read_text()
    assert content.startswith("#"), "the first line says what the module is"
    options, config = (re.search(rf"(?m)^  {part}[ .]", content) for part in ("options", "config"))
    if options and config:
        assert options.start() < config.start()
    assert "builtins.getEnv" not in content
    assert "builtins.fetch" not in content


def test_every_line_fits_and_no_file_is_too_long():
    long = [f"{name(file)}: {len(file.read_text().splitlines())}" for file in FILES]
    assert [entry for entry in long if int(entry.split(": ")[1]) > 420] == []


def test_package_names_are_known(flake):
    unknown = mentioned_packages() - flake.known_packages() - PACKAGES - BUILDERS
    assert unknown == set(), "misspelt, or add it to PACKAGES after looking it up in the release"
