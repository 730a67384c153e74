"""The frame holds: tests are collected, pins are whole, files stay small, and make offers what the README promises."""

import ast
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[1]
LINES = 400


def tracked(*patterns: str) -> list[Path]:
    """Tracked files, or new ones that are not ignored."""
    line = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    done = subprocess.run(line, cwd=PROJECT, capture_output=True, text=True, check=True)
    return [path for name in done.stdout.splitlines() if (path := PROJECT / name).is_file()]


def test_every_file_with_tests_is_collected() -> None:
    lost = [
        str(file.relative_to(PROJECT))
        for file in tracked("tests/*.py")
        if not file.name.startswith("test_")
        and any(
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
            for node in ast.walk(ast.parse(file.read_text()))
        )
    ]

    assert lost == []


def test_every_test_file_has_a_test() -> None:
    empty = [
        str(file.relative_to(PROJECT))
        for file in tracked("tests/*test_*.py")
        if not re.search(r"def test_", file.read_text())
    ]

    assert empty == []


def test_every_component_has_a_test_file_of_its_name() -> None:
    components = {file.stem for file in (PROJECT / "components").glob("*.py")} - {"__init__", "machine_command"}
    tests = {file.stem.removeprefix("test_") for file in (PROJECT / "tests" / "components").glob("test_*.py")}

    assert components <= tests


def test_no_file_is_too_long() -> None:
    long = {
        str(file.relative_to(PROJECT)): count
        for file in tracked("*.py", "*.nix")
        if (count := len(file.read_text().splitlines())) > LINES
    }

    assert long == {}


def test_main_stays_short() -> None:
    assert len((PROJECT / "__main__.py").read_text().splitlines()) < 120


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_every_requirement_is_pinned_and_hashed(name: str) -> None:
    text = (PROJECT / name).read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith(("#", " "))]

    assert lines
    for line in lines:
        assert re.match(r"[A-Za-z0-9._\[\],-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", line), line


def test_the_requirements_to_check_hold_those_to_run() -> None:
    def pins(name: str) -> set[str]:
        return set(re.findall(r"^([A-Za-z0-9._-]+==[^ \\]+)", (PROJECT / name).read_text(), re.MULTILINE))

    assert pins("requirements.txt") <= pins("requirements-dev.txt")


def test_every_direct_requirement_is_locked() -> None:
    for name in ("requirements", "requirements-dev"):
        locked = (PROJECT / f"{name}.txt").read_text().lower().replace("_", "-")
        for line in (PROJECT / f"{name}.in").read_text().splitlines():
            match = re.match(r"[A-Za-z0-9._-]+", line)
            if match and not line.startswith("-"):
                assert f"\n{match[0].lower().replace('_', '-')}==" in f"\n{locked}", f"{name}.in: {match[0]}"


@pytest.mark.parametrize("file", sorted(path.name for path in PROJECT.glob("Pulumi.*.yaml")))
def test_every_stack_file_disables_the_default_providers(file: str) -> None:
    config = yaml.safe_load((PROJECT / file).read_text())["config"]
    disabled = config["pulumi:disable-default-providers"]

    assert disabled == "*" or {"kubernetes", "aws", "cloudflare"} <= set(disabled)


def test_make_has_the_targets_that_the_documents_name() -> None:
    makefile = (PROJECT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = {
        word
        for file in [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *(PROJECT / "docs").rglob("*.md")]
        for words in re.findall(r"(?:^|`)make (?:-s )?([a-z][a-z -]*)", file.read_text(), re.MULTILINE)
        for word in words.split()[: 2 if words.startswith("check test") else 1]
    }

    assert named <= targets
    assert {"up", "preview", "destroy", "verify", "test", "check", "bench", "clean", "env"} <= targets


def test_make_help_lists_every_target() -> None:
    done = subprocess.run(["make", "--silent", "help"], cwd=PROJECT, capture_output=True, text=True, check=True)
    listed = set(re.findall(r"^  make ([a-z-]+)", done.stdout, re.MULTILINE))
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))

    assert listed == targets


WITHOUT_PIP = """#!/bin/sh
case "$*" in
-c*) ;;
"-m venv .venv") mkdir -p .venv/bin; echo '#!/bin/sh\nexit 1' > .venv/bin/python; chmod +x .venv/bin/python
  echo "The virtual environment was not created successfully"; echo "ensurepip is not available"; exit 1 ;;
esac
"""
SOUND = """#!/bin/sh
case "$*" in
"-m venv .venv") mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
"-m pip --version") exit 0 ;;
"-m pip install "*) echo "$*" >> installed ;;
esac
"""


def make_the_environment(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """`make .venv/.runtime` in a folder with the Makefile, with a stand-in for Python."""
    for name in ("Makefile", "requirements.txt"):
        shutil.copy(PROJECT / name, folder)
    python = folder / "python3"
    python.write_text(script)
    python.chmod(0o755)
    line = ["make", "--silent", f"PYTHON={python}", ".venv/.runtime"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(line, cwd=folder, env=clean, capture_output=True, text=True, check=False)


def test_a_python_without_venv_is_one_line_with_the_cure_and_leaves_nothing(tmp_path: Path) -> None:
    done = make_the_environment(tmp_path, WITHOUT_PIP)

    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert said == [
        f"python: {tmp_path}/python3 makes no virtual environment (ensurepip is not available). "
        "Install its venv module (Debian: apt install python3-venv), "
        "or name another Python: make PYTHON=/path/to/python3."
    ]
    assert not (tmp_path / ".venv").exists()


def test_an_environment_that_was_broken_off_is_made_anew(tmp_path: Path) -> None:
    half = tmp_path / ".venv/bin/python"
    half.parent.mkdir(parents=True)
    half.write_text("#!/bin/sh\nexit 1\n")
    half.chmod(0o755)
    done = make_the_environment(tmp_path, SOUND)

    assert done.returncode == 0, done.stderr
    assert "--require-hashes -r requirements.txt" in (tmp_path / "installed").read_text()
    assert (tmp_path / ".venv/.runtime").exists()


def test_the_strictness_of_the_tools_is_as_agreed() -> None:
    tools = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]

    assert tools["pytest"]["ini_options"]["filterwarnings"][0] == "error"
    assert "--strict-markers" in tools["pytest"]["ini_options"]["addopts"]
    # Folders of tests are no packages; in any other mode two test files of one name could not be collected.
    assert "--import-mode=importlib" in tools["pytest"]["ini_options"]["addopts"]
    assert tools["pyright"]["typeCheckingMode"] == "standard"
    assert tools["ruff"]["line-length"] == 120


def test_pyright_sees_the_whole_tree() -> None:
    excluded = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["pyright"]["exclude"]

    assert set(excluded) <= {".venv", ".twin", "**/__pycache__", "nix/tests"}
