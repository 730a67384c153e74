"""The `keystone` command line: quick help, plain errors."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

from keystone import cli
from keystone.cli import COMMANDS, Command, main
from keystone.errors import KeystoneError

PROJECT = Path(__file__).resolve().parents[1]


def keystone(*arguments: str, folder: Path = PROJECT) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    environment.pop("PULUMI_BACKEND_URL", None)
    return subprocess.run(
        [sys.executable, "-m", "keystone", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_exists_and_explains_itself(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert inspect.getdoc(command.function())
    assert main([command.name, "--help"]) == 0
    assert f"keystone {command.name}" in capsys.readouterr().out


def test_help_lists_every_command_and_imports_none() -> None:
    code = (
        "import sys; from keystone.cli import main; status = main(['--help']); "
        "heavy = {'pydantic', 'pulumi', 'asyncssh', 'cryptography'} & set(sys.modules); "
        "sys.exit(f'imported: {heavy}' if heavy else status)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    for command in COMMANDS:
        assert command.name in done.stdout


def test_a_fault_that_a_user_can_mend_is_one_line_on_standard_error() -> None:
    done = keystone("preview", "--stack", "nowhere")

    assert done.returncode == 1
    assert done.stdout == ""
    cure = "Make it with `keystone init nowhere`, or correct the name"
    assert done.stderr == f"Pulumi.nowhere.yaml: there is no such stack file. {cure}.\n"


@pytest.mark.parametrize("words", [("facts",), ("check", "network"), ("preview",)])
def test_in_a_folder_within_the_project_the_projects_own_is_named(words: tuple[str, ...]) -> None:
    done = keystone(*words, folder=PROJECT / "docs")

    assert done.returncode == 1
    assert done.stderr == f"{PROJECT / 'docs'}: is not the project's folder. Type `cd {PROJECT}` first.\n"


def test_a_stack_file_is_made_in_the_projects_folder_alone() -> None:
    done = keystone("init", "trial", folder=PROJECT / "docs")

    assert done.returncode == 1
    file = PROJECT / "docs" / "Pulumi.yaml"
    assert done.stderr == f"{file}: is missing or has no name. Change to the project's folder.\n"


def test_an_unknown_command_is_refused() -> None:
    done = keystone("upp")

    assert done.returncode == 2
    assert "No such command 'upp'" in done.stderr
    assert "Traceback" not in done.stderr


def test_errors_with_several_lines_are_printed_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Several(KeystoneError):
        def __str__(self) -> str:
            return "first\nsecond"

    def fail(_: object) -> None:
        raise Several("a", "b")

    monkeypatch.setattr(cli, "application", lambda _: lambda *_, **__: fail(None))

    assert main([]) == 1
    assert capsys.readouterr().err == "first\nsecond\n"
