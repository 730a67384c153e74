"""The commands `facts` and `schema`: what they write, when they fail, and what they say."""

import shutil
from pathlib import Path

import pytest

from keystone import cli

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the dev stack's file, and nothing rendered yet."""
    shutil.copy(ROOT / "Pulumi.dev.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KEYSTONE_STACK", raising=False)
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "keystone-twin")
    return tmp_path


def test_facts_and_secrets_are_written_once(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["facts"]) == 0
    said = capsys.readouterr().out
    assert "written  nix/facts/dev/w3.json\n" in said
    assert "written  nix/secrets/dev/w3/agent-token.age\n" in said
    assert cli.main(["facts", "--stack", "dev"]) == 0
    assert capsys.readouterr().out == "facts: unchanged\n"
    assert cli.main(["facts", "--check"]) == 0
    assert (project / "nix/facts/dev/w3.json").read_bytes() == (ROOT / "nix/facts/dev/w3.json").read_bytes()


def test_a_check_names_what_differs_and_writes_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["facts"])
    (project / "nix/facts/dev/w1.json").write_text("{}\n")
    (project / "nix/secrets/dev/w2/agent-token.age").write_text("x")
    capsys.readouterr()
    assert cli.main(["facts", "--check"]) == 1
    error = capsys.readouterr().err
    assert "differ from the settings: nix/facts/dev/w1.json, nix/secrets/dev/" in error
    assert error.endswith("Run `keystone facts --stack dev`.\n")
    assert (project / "nix/facts/dev/w1.json").read_text() == "{}\n"


def test_without_a_passphrase_nothing_is_written_unless_secrets_are_left_out(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PULUMI_CONFIG_PASSPHRASE")
    assert cli.main(["facts"]) == 1
    assert capsys.readouterr().err.startswith("PULUMI_CONFIG_PASSPHRASE: is not set")
    assert not (project / "nix").exists()
    assert cli.main(["facts", "--no-secrets"]) == 0
    assert not (project / "nix/secrets").exists()


def test_a_faulty_stack_file_renders_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = project / "Pulumi.dev.yaml"
    file.write_text(file.read_text().replace("role: primer", "role: server").replace("dhcpRange", "dhcprange"))
    assert cli.main(["facts"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "Pulumi.dev.yaml: hosts: no host has the role primer. Give it to the host that is installed first.",
        "Pulumi.dev.yaml: sites.home.dhcprange: this key is unknown. Perhaps dhcpRange is meant.",
    ]
    assert not (project / "nix").exists()


def test_the_checked_in_facts_and_secrets_of_the_dev_stack_are_current(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del project
    monkeypatch.chdir(ROOT)
    assert cli.main(["facts", "--stack", "dev", "--check"]) == 0


def test_the_schema_is_written_checked_and_printed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = project / "docs/reference/settings.schema.json"
    assert cli.main(["schema", "--check"]) == 1
    assert "docs/reference/settings.schema.json: differs from the settings' model" in capsys.readouterr().err
    assert cli.main(["schema"]) == 0
    assert cli.main(["schema", "--check"]) == 0
    capsys.readouterr()
    assert cli.main(["schema", "--print"]) == 0
    assert capsys.readouterr().out == file.read_text()
