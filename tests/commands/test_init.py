"""`keystone init` with the real `pulumi`: what it makes, that nothing half-made stays, no secret in argv."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from keystone import cli
from keystone.errors import KeystoneError
from keystone.root_secret import root_secret
from keystone.settings import SettingsError, read
from keystone.settings.blank import Answers, document, host_of
from tests.engine import binaries

ROOT = Path(__file__).parents[2]
PRIMER = "p:role=primer,address=10.0.0.5,mac=52:54:00:12:34:56,disk=/dev/disk/by-id/a,diskSerial=abc,sshPort=2222"
WORKER = "w1:role=agent,address=10.0.0.6,mac=52:54:00:12:34:57,disk=/dev/disk/by-id/a,diskSerial=def"
FLAGS = ("--domain", "home.example.org", "--cidr", "10.0.0.0/24", "--host", PRIMER, "--host", WORKER)

Keystone = Callable[..., int]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, a backend of its own, and a `pulumi` that notes its arguments before it does its work."""
    tools, home = tmp_path / "tools", tmp_path / "project"
    for folder in (tools, home, tmp_path / "state"):
        folder.mkdir()
    shutil.copy(ROOT / "Pulumi.yaml", home)
    real = binaries() / "pulumi"
    (tools / "pulumi").write_text(
        "#!/bin/sh\n"
        f'echo "$@" >> {tmp_path}/arguments\n'
        f'if [ "$1 $2" = "$FAIL_AT" ]; then echo "error: it fails here" >&2; exit 1; fi\n'
        f'exec {real} "$@"\n'
    )
    (tools / "pulumi").chmod(0o755)
    for name, value in {
        "PATH": f"{tools}:{real.parent}:{os.environ['PATH']}",
        "PULUMI_HOME": str(tmp_path / "home"),
        "PULUMI_BACKEND_URL": f"file://{tmp_path}/state",
        "PULUMI_CONFIG_PASSPHRASE": "correct horse",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(home)
    return home


def stacks() -> list[str]:
    listed = subprocess.run(["pulumi", "stack", "ls", "--json"], check=True, capture_output=True, text=True)
    return [stack["name"] for stack in json.loads(listed.stdout)]


def test_a_new_stack_file_is_valid_and_its_secret_never_was_an_argument(project: Path) -> None:
    assert cli.main(["init", "home", *FLAGS]) == 0
    settings = read("home", project)
    assert settings.primer[0] == "p"
    assert settings.primer[1].ssh.port == 2222
    assert settings.cluster.name == "home"
    assert settings.protect_hosts
    secret = root_secret("home", project)
    assert len(bytes.fromhex(secret)) == 32
    assert secret not in (project.parent / "arguments").read_text()
    assert secret not in (project / "Pulumi.home.yaml").read_text()
    assert stacks() == ["home"]
    assert sorted(file.name for file in project.iterdir()) == ["Pulumi.home.yaml", "Pulumi.yaml"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "PULUMI_BACKEND_URL",
            "file:///keystone/.twin/dev/state",
            "PULUMI_BACKEND_URL: file:///keystone/.twin/dev/state is another stack's twin's, "
            "which is removed with the twin. ",
        ),
        (
            "PULUMI_CONFIG_PASSPHRASE",
            "keystone-twin",
            "PULUMI_CONFIG_PASSPHRASE: is that of twins, which is published. ",
        ),
    ],
)
def test_in_the_shell_of_a_twin_no_stack_of_ones_own_is_made(
    name: str,
    value: str,
    message: str,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as shell:
        shell.setenv(name, value)
        assert cli.main(["init", "home", *FLAGS]) == 1
    assert capsys.readouterr().err == f"{message}Open a new shell, and use the Pulumi of your own.\n"
    assert [file.name for file in project.iterdir()] == ["Pulumi.yaml"]
    assert stacks() == []


def test_two_stacks_get_two_secrets(project: Path) -> None:
    assert cli.main(["init", "one", *FLAGS]) == cli.main(["init", "two", *FLAGS]) == 0
    assert root_secret("one", project) != root_secret("two", project)


def test_pulumi_reads_the_secret_that_keystone_reads(project: Path) -> None:
    cli.main(["init", "home", *FLAGS])
    shown = subprocess.run(
        ["pulumi", "config", "get", "keystone:rootSecret", "--stack", "home"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert shown.stdout.strip() == root_secret("home", project)


def test_an_existing_file_is_never_overwritten(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "Pulumi.home.yaml").write_text("precious")
    assert cli.main(["init", "home", *FLAGS]) == 1
    assert "Pulumi.home.yaml: exists already" in capsys.readouterr().err
    assert (project / "Pulumi.home.yaml").read_text() == "precious"


@pytest.mark.parametrize("step", ["stack init", "config set"])
def test_a_failure_leaves_neither_file_nor_stack(
    step: str, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAIL_AT", step)
    assert cli.main(["init", "home", *FLAGS]) == 1
    assert capsys.readouterr().err == f"pulumi {step}: it fails here.\n"
    assert [file.name for file in project.iterdir()] == ["Pulumi.yaml"]
    assert stacks() == []
    monkeypatch.delenv("FAIL_AT")
    assert cli.main(["init", "home", *FLAGS]) == 0


def test_a_stack_that_only_the_backend_knows_is_left_alone(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["init", "home", *FLAGS])
    (project / "Pulumi.home.yaml").unlink()
    assert cli.main(["init", "home", *FLAGS]) == 1
    assert "already exists" in capsys.readouterr().err
    assert stacks() == ["home"]


def test_wrong_answers_are_told_all_at_once_before_anything_is_made(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = PRIMER.replace("10.0.0.5", "10.0.1.5").replace("52:54:00:12:34:56", "52:54")
    assert cli.main(["init", "home", "--domain", "x y", "--cidr", "10.0.0.0/24", "--host", wrong]) == 1
    places = [line.split(": ")[1] for line in capsys.readouterr().err.splitlines()]
    assert places == ["cluster.api.sans[1]", "cluster.domain", "hosts.p.mac", "mesh.domain"]
    assert not (project.parent / "arguments").exists()


@pytest.mark.parametrize("left_out", ["--domain", "--cidr", "--host"])
def test_without_a_terminal_a_missing_flag_is_named(
    left_out: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = [pair for pair in zip(FLAGS[::2], FLAGS[1::2], strict=True) if pair[0] != left_out]
    assert cli.main(["init", "home", "--no-ask", *(word for pair in pairs for word in pair)]) == 1
    assert f"{left_out}: is missing" in capsys.readouterr().err
    assert [file.name for file in project.iterdir()] == ["Pulumi.yaml"]


def test_questions_make_the_same_file_as_flags(project: Path) -> None:
    answers = [
        *("home.example.org", "10.0.0.0/24", ""),
        *("p", "10.0.0.5", "52:54:00:12:34:56", "/dev/disk/by-id/a", "abc", "", "y"),
        *("w1", "agent", "10.0.0.6", "52:54:00:12:34:57", "/dev/disk/by-id/a", "def", "", "n"),
    ]
    done = CliRunner().invoke(cli.application(["init"]), ["init", "asked", "--ask"], input="\n".join(answers) + "\n")
    assert done.exit_code == 0, done.output
    assert cli.main(["init", "flags", "--name", "asked", *FLAGS]) == 0
    asked, given = (
        yaml.safe_load((project / f"Pulumi.{name}.yaml").read_text())["config"] for name in ("asked", "flags")
    )
    del asked["keystone:rootSecret"], given["keystone:rootSecret"], given["keystone:hosts"]["p"]["ssh"]
    assert asked == given


def test_without_pulumi_nothing_is_asked(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert cli.main(["init", "home", "--ask"]) == 1
    assert "pulumi: is not on PATH" in capsys.readouterr().err
    assert [file.name for file in project.iterdir()] == ["Pulumi.yaml"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("w1", "'w1' is not NAME:key=value"),
        (":role=agent", "is not NAME:key=value"),
        ("w1:role", "'role' is not understood"),
        ("w1:rule=agent", "'rule=agent' is not understood. Known keys: role, site, address"),
    ],
)
def test_a_host_flag_that_is_not_understood_is_refused(text: str, message: str) -> None:
    with pytest.raises(KeystoneError, match=message):
        host_of(text)


def test_a_mac_address_keeps_its_colons_and_numbers_are_numbers() -> None:
    assert host_of("w1:mac=52:54:00:12:34:56,sshPort=22,initrdPort=2200,remote=true") == (
        "w1",
        {"mac": "52:54:00:12:34:56", "ssh": {"port": 22, "initrdPort": 2200}, "remote": True},
    )


def test_what_is_not_said_keeps_its_default() -> None:
    made = document(Answers(name="a", domain="a.org", cidr="10.0.0.0/24", gateway="10.0.0.1", pool="10.0.0.9-10.0.0.9"))
    assert made["sites"]["home"]["nameservers"] == ["10.0.0.1"]
    assert made["network"] == {"loadBalancer": {"pools": {"ingress": "10.0.0.9-10.0.0.9"}}}
    assert "protectHosts" not in made


def test_a_settings_error_names_the_file_that_was_to_be_made(project: Path) -> None:
    from keystone.commands.init import create

    with pytest.raises(SettingsError, match=r"^Pulumi.x.yaml: cluster: this key is missing"):
        create("x", {}, project)
