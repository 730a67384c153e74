"""The root secret as Pulumi's passphrase provider encrypts it. The vectors were made by `pulumi` 3.259."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from keystone.errors import KeystoneError
from keystone.root_secret import root_secret

SECRET = "4eddbc18a6c0b8ff2ee42b0f9a8cb0bfd8ce0a5ab0e0f0d6a1b9d8f7c6e5a4b3"
SALT = "v1:Lmt+JNg/hYs=:v1:5NA0Mz2qGEqVHJnd:t+XyQ/EN2LOZaxQ8rjrRQ5pwFMPEPg=="
VALUE = (
    "v1:5kuOMrARuzyOudUZ:T6vVWG4azLsxK9i8pTfhsMDE0ruyWmdgeuWP4/eynAETo/LlQqA0lJ2sP1w3CWQf6GCp7A"
    "AhoJkT7nCBCNNFVsEAhG1ono6sghZgHkqYEAY="
)
PASSPHRASE = "keystone-twin"


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes a stack file and gives its project."""
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", PASSPHRASE)
    monkeypatch.delenv("PULUMI_CONFIG_PASSPHRASE_FILE", raising=False)

    def write(salt: str = SALT, value: str = VALUE, more: str = "") -> Path:
        (tmp_path / "Pulumi.it.yaml").write_text(
            f"{more}encryptionsalt: {salt}\nconfig:\n  keystone:rootSecret:\n    secure: {value}\n"
        )
        return tmp_path

    return write


def test_the_secret_that_pulumi_encrypted_is_read(stack: Callable[..., Path]) -> None:
    assert root_secret("it", stack()) == SECRET


def test_the_passphrase_may_lie_in_a_file(stack: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    project = stack()
    (project / "passphrase").write_text(f"{PASSPHRASE}\n")
    monkeypatch.delenv("PULUMI_CONFIG_PASSPHRASE")
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE_FILE", str(project / "passphrase"))
    assert root_secret("it", project) == SECRET


def test_without_a_passphrase_it_says_which_variable_to_set(
    stack: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PULUMI_CONFIG_PASSPHRASE")
    with pytest.raises(KeystoneError, match=r"^PULUMI_CONFIG_PASSPHRASE: is not set"):
        root_secret("it", stack())


def test_a_wrong_passphrase_is_refused(stack: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "wrong")
    with pytest.raises(
        KeystoneError, match=r"^PULUMI_CONFIG_PASSPHRASE: does not decrypt the secrets of Pulumi.it.yaml"
    ):
        root_secret("it", stack())


@pytest.mark.parametrize(
    ("salt", "value", "message"),
    [
        ("v9:x:y", VALUE, "encryptionsalt is not of the form"),
        ("v1", VALUE, "encryptionsalt is not of the form"),
        (SALT, "v1:abc", "an encrypted value is not of the form"),
        (SALT, "v1:!!:!!", "an encrypted value is not base64"),
        (SALT.replace("=:v1", "!:v1"), VALUE, "an encrypted value is not base64"),
    ],
)
def test_a_damaged_value_is_refused_in_one_line(
    stack: Callable[..., Path], salt: str, value: str, message: str
) -> None:
    with pytest.raises(KeystoneError, match=message) as caught:
        root_secret("it", stack(salt, value))
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_secret_in_plain_text_is_refused_and_not_shown(stack: Callable[..., Path]) -> None:
    project = stack()
    (project / "Pulumi.it.yaml").write_text(f"config:\n  keystone:rootSecret: {SECRET}\n")
    with pytest.raises(KeystoneError, match="is not an encrypted value") as caught:
        root_secret("it", project)
    assert SECRET not in str(caught.value)


def test_another_secrets_provider_is_asked_through_pulumi(
    stack: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "pulumi").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\necho {SECRET}\n')
    (tools / "pulumi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    assert subprocess.run(["pulumi"], check=True, capture_output=True, text=True).stdout.strip() == SECRET
    assert root_secret("it", stack(more="secretsprovider: awskms://alias/site\n")) == SECRET
    assert (tmp_path / "arguments").read_text().split() == [
        *("config", "get", "keystone:rootSecret", "--stack", "it", "--non-interactive")
    ]
