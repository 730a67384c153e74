"""`python -m keystone.hosts`: the command line, its exit statuses and where its output goes."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from keystone.errors import KeystoneError
from keystone.hosts import __main__ as hosts
from keystone.hosts import observation
from keystone.identities import Identities
from tests import networks
from tests.recording import ROOT_SECRET, document

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    sections = document(base=networks.fresh().base)
    config = {f"keystone:{key}": value for key, value in sections.items()}
    config["keystone:rootSecret"] = {"secure": "v1:AAAA"}
    (tmp_path / "Pulumi.site.yaml").write_text(yaml.safe_dump({"encryptionsalt": "v1:x", "config": config}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KEYSTONE_STACK", "site")
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{ROOT_SECRET}\n"))
    return tmp_path


def test_a_refusal_has_its_own_exit_status(
    project: Path,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(observation, "CONNECT_TRIES_SECONDS", 0.1)
    assert hosts.main(["install", "w1"]) == hosts.REFUSED
    said = capsys.readouterr()
    assert "refused to install: the machine cannot be reached" in said.err
    assert said.out == ""


def test_a_fault_is_one_line_and_status_1(project: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: ARG001
    assert hosts.main(["join", "w9"]) == 1
    assert capsys.readouterr().err == "hosts.w9: no such host in the stack file. Known: primer, w1, w2.\n"


def test_the_passphrase_of_a_host_is_printed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: ARG001
    assert hosts.main(["passphrase", "w1"]) == 0
    assert capsys.readouterr().out.strip() == Identities(ROOT_SECRET, "site").recovery_passphrase("w1", 1)


def test_no_stack_is_said(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    monkeypatch.delenv("KEYSTONE_STACK")
    with pytest.raises(KeystoneError, match=r"stack: not given\. Set KEYSTONE_STACK or pass --stack"):
        hosts.context_of(None)


def test_an_empty_root_secret_is_said(
    project: Path,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert hosts.main(["join", "w1"]) == 1
    assert "rootSecret" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", ["install", "system", "join", "remove", "stop", "kubeconfig", "policy", "passphrase"]
)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        hosts.main([command, "--help"])
    assert ended.value.code == 0
    assert "NAME" in capsys.readouterr().out


def test_a_terminated_command_says_so_and_leaves_no_files(project: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(project / "tmp"), "PYTHONPATH": str(PROJECT)}
    (project / "tmp").mkdir()
    running = subprocess.Popen(
        [sys.executable, "-m", "keystone.hosts", "install", "w1"],
        cwd=project,
        env=environment,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stdin is not None
    running.stdin.write(f"{ROOT_SECRET}\n")
    running.stdin.close()
    deadline = time.monotonic() + 20
    while not list((project / "tmp").rglob("*.lock")) and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGTERM)
    assert running.wait(30) == 1
    assert running.stderr is not None
    with running.stderr as stream:
        assert stream.read() == "hosts.w1: install was interrupted. Run it again.\n"
    assert list((project / "tmp").iterdir()) == []
