"""The documents are true: what they name exists, and decisions are numbered without gaps."""

import re
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(
    [*(PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")), *(PROJECT / "docs").rglob("*.md")]
)
IDS = [str(path.relative_to(PROJECT)) for path in DOCUMENTS]
# A word in code style that looks like a path of the project: it begins with one of its folders, or is one of its files.
TOP = {path.name for path in PROJECT.iterdir() if not path.name.startswith(".")} | {".ci"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_every_link_leads_to_a_file(document: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", document.read_text())
    broken = [
        link
        for link in links
        if not link.startswith(("http://", "https://", "#")) and not (document.parent / link.split("#")[0]).exists()
    ]

    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_every_path_in_the_text_exists(document: Path) -> None:
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    words = re.findall(r"`([\w.-]+(?:/[\w./-]*)?)`", text)
    paths = [word for word in words if word.split("/")[0] in TOP and ("/" in word or "." in word)]
    # Capital letters stand for a name that the reader puts in.
    missing = [word for word in paths if not re.search(r"[A-Z]{4}", word) and not (PROJECT / word).exists()]

    assert missing == []


def test_decisions_are_numbered_without_gaps_and_have_three_parts() -> None:
    files = sorted((PROJECT / "docs" / "adr").glob("*.md"))

    assert [int(file.name[:4]) for file in files] == list(range(1, len(files) + 1))
    for file in files:
        text = file.read_text()
        assert re.match(rf"# {int(file.name[:4])}\. \S", text), file.name
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Price"], file.name


def test_the_commands_that_the_documents_name_exist() -> None:
    from keystone.cli import COMMANDS

    known = {command.name for command in COMMANDS}
    for document in DOCUMENTS:
        # The words after `keystone` in code style, at the begin of a line or behind a pipe, and after `-m keystone`.
        text = document.read_text()
        named = set(re.findall(r"(?:`|^ *|\| |bin/|-m )keystone ([a-z][a-z-]*)", text, re.MULTILINE))
        assert named <= known, document.name


def test_the_commands_that_messages_name_exist() -> None:
    from keystone.cli import COMMANDS
    from twin.cli import app

    twins = {one.name or one.callback.__name__ for one in app.registered_commands if one.callback}
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    known = {"keystone": {command.name for command in COMMANDS}, "twin": twins, "make": targets}
    wrong = [
        f"{file.relative_to(PROJECT)}: {program} {command}"
        for part in ("keystone", "twin", "components", "toolchain", "nix")
        for file in [*(PROJECT / part).rglob("*.py"), *(PROJECT / part).rglob("*.nix")]
        for program, command in re.findall(r"`(?:python -m )?(keystone|twin|make) ([a-z][a-z-]*)", file.read_text())
        if command not in known[program]
    ]

    assert wrong == []


@pytest.mark.parametrize("program", ["keystone", "twin"])
def test_a_command_runs_in_any_folder_and_says_its_name(program: str, tmp_path: Path) -> None:
    line = [PROJECT / "bin" / program, "--help"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr
    assert f"Usage: {program} " in done.stdout


def test_the_readme_has_the_two_commands_and_the_order_of_reading() -> None:
    text = (PROJECT / "README.md").read_text()

    assert "\nmake up " in text
    assert "\nmake test " in text
    for heading in ("## The two commands", "## Read first", "## Glossary"):
        assert heading in text
