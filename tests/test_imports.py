"""Imports go one way: `__main__` -> clouds -> components -> keystone; twin -> keystone; policy stands apart."""

import ast
import graphlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
OURS = {path.stem for path in PROJECT.glob("*.py")} | {
    path.name for path in PROJECT.iterdir() if path.is_dir() and any(path.glob("*.py"))
}
# What each part may import of ours, besides itself. Nothing may import what is not listed.
ALLOWED: dict[str, set[str]] = {
    "__main__": {"clouds", "components", "keystone", "providers", "versions"},
    "clouds": {"components", "keystone", "providers"},
    "components": {"keystone", "versions"},
    "providers": {"keystone", "versions"},
    "keystone": {"versions", "toolchain"},
    "twin": {"keystone", "toolchain", "versions"},
    "toolchain": {"keystone.errors", "versions"},
    "bench": {"keystone", "toolchain", "twin", "versions"},
    "policy": set(),
    "versions": set(),
}
TOOLCHAIN_USERS = {"keystone/commands/doctor.py"}
# outputs.py names its types only; a test of its own holds that.
PULUMI_USERS = {"keystone/settings/__init__.py", "keystone/outputs.py"}
POLICY_OWN = {path.stem for path in (PROJECT / "policy").iterdir() if path.is_dir() or path.suffix == ".py"}


def imported(file: Path) -> Iterator[str]:
    """The dotted names of all modules that a file imports, wherever in the file; `from a import b` gives a and a.b."""
    for node in ast.walk(ast.parse(file.read_text(), str(file))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: relative import"
            assert node.module
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files_of(part: str) -> list[Path]:
    single = PROJECT / f"{part}.py"
    found = [single] if single.exists() else sorted((PROJECT / part).rglob("*.py"))
    return [path for path in found if "__pycache__" not in path.parts]


def module(file: Path) -> str:
    """The dotted name under which a file is imported."""
    return ".".join(file.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")


def test_every_part_of_the_tree_has_its_line_here() -> None:
    assert OURS - {"tests", "nix"} <= ALLOWED.keys() | {"bench", "policy", "examples"}


@pytest.mark.parametrize("part", ALLOWED)
def test_a_part_imports_only_what_lies_below_it(part: str) -> None:
    wrong = []
    for file in files_of(part):
        for name in imported(file):
            top = name.split(".")[0]
            if top not in OURS or top == part or (part == "policy" and top in POLICY_OWN):
                continue
            allowed = {
                one for one in ALLOWED[part] if name == one or name.startswith(f"{one}.") or one.startswith(f"{name}.")
            }
            if not allowed:
                wrong.append(f"{file.relative_to(PROJECT)} imports {name}")

    assert wrong == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    known = {module(file): file for part in ALLOWED for file in files_of(part)}
    arrows: dict[str, set[str]] = {}
    for name, file in known.items():
        # `from package import submodule` needs the submodule, not what the package's own file defines.
        names = {one for one in imported(file) if one in known}
        arrows[name] = {one for one in names if not any(other.startswith(f"{one}.") for other in names)} - {name}

    graphlib.TopologicalSorter(arrows).prepare()


def test_in_keystone_only_doctor_knows_the_toolchain() -> None:
    users = {
        str(file.relative_to(PROJECT))
        for file in files_of("keystone")
        if any(name.split(".")[0] == "toolchain" for name in imported(file))
    }

    assert users <= TOOLCHAIN_USERS


def test_in_keystone_only_the_loader_of_settings_knows_pulumi() -> None:
    users = {
        str(file.relative_to(PROJECT))
        for file in files_of("keystone")
        if any(name.split(".")[0].startswith("pulumi") for name in imported(file))
    }

    assert users <= PULUMI_USERS


def test_the_toolchain_needs_nothing_installed() -> None:
    wrong = {
        name
        for file in files_of("toolchain")
        for name in imported(file)
        if name.split(".")[0] not in sys.stdlib_module_names | {"toolchain", "keystone", "versions"}
    }

    assert wrong == set()


def test_the_program_never_reads_the_twins_namespace() -> None:
    wrong = [
        str(file.relative_to(PROJECT))
        for part in ("__main__", "clouds", "providers", "components")
        for file in files_of(part)
        if "twin" in file.read_text().lower()
    ]

    assert wrong == []


def test_only_the_loader_and_main_ask_pulumi_for_its_configuration() -> None:
    wrong = [
        f"{file.relative_to(PROJECT)}:{node.lineno}"
        for part in ("components", "providers", "keystone", "clouds", "__main__")
        for file in files_of(part)
        if str(file.relative_to(PROJECT)) not in PULUMI_USERS
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "Config" and ast.unparse(node.value) == "pulumi"
    ]

    assert wrong == []
