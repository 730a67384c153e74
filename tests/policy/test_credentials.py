"""The detector: each known format is found, and what only looks random is not."""

import base64

import pytest
from judging.credentials import FORMATS, decoded, find, given, known, named

from tests.credential_samples import LETTERS, SAMPLES


@pytest.mark.parametrize(("kind", "text"), SAMPLES)
def test_a_known_format_is_found_in_the_middle_of_a_text(kind: str, text: str) -> None:
    assert known(f"# a file\nkey: {text}\nmore") == kind


def test_every_format_has_a_sample() -> None:
    assert {kind for kind, _ in SAMPLES} == set(FORMATS)


@pytest.mark.parametrize(
    "text",
    [
        "ghp_" + "A1b2C3d4E5f6" * 3,
        "https://user:" + "s3cr3tvalue@example.org/",
        "xoxb-" + "123456789012-123456789012-abcdefABCDEF0123456789ab",
        "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc",
        "glpat-" + "A1b2C3d4E5f6A1b2C3d4",
        'password = "hunter2-hunter2"',
        "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxIn0.c2lnbmF0dXJlLXNpZ25hdHVyZQ",
    ],
)
def test_the_librarys_formats_are_found(text: str) -> None:
    assert known(text)


@pytest.mark.parametrize(
    "text",
    [
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGbKyEMyfnSVH8DBadvLEuD4i0L8sgvt2+80A+2q5gAg",
        "quay.io/ceph/ceph@sha256:" + "0f" * 32,
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "nodekey:" + "0f" * 32,
        ".venv/bin/python -m keystone.hosts remove w1 --role agent --address 127.79.0.11 --port 2222 --generation 1",
        "-----BEGIN CERTIFICATE-----\nMIIBdzCCAR2gAwIBAgIBADAKBggqhkjOPQQDAjAj\n-----END CERTIFICATE-----",
        "arn:aws:kms:eu-central-1:123456789012:key/7d0e2b1c-1111-2222-3333-444455556666",
        "age1qqpzry9x8gf2tvdw0s3jn54khce6mua7lqqpzry9x8gf2tvdw0s3jn54kh",
        "",
    ],
)
def test_what_is_public_is_not_taken_for_a_credential(text: str) -> None:
    assert known(text) == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("password", "hunter2"),
        ("adminPassword", "correct horse"),
        ("DB_PASSWORD", "x"),
        ("api-token", "9f86d081884c7d659a2feaa0"),
        ("CLOUDFLARE_API_TOKEN", "A1b2C3d4E5f6A1b2C3d4E5f6A1b2C3d4E5f6A1b2"),
        ("globalKey", "0123456789abcdef0123456789abcdef01234"),
        ("clientSecret", "A1b2C3d4E5f6A1b2"),
    ],
)
def test_a_value_under_a_credentials_name_is_found(name: str, value: str) -> None:
    assert named(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("existingSecret", "grafana-admin-credentials"),
        ("secretName", "wildcard-tls"),
        ("passwordFile", "/etc/grafana/password"),
        ("passwordKey", "admin-password"),
        ("token", "${TOKEN}"),
        ("password", ""),
        ("password", "$(FROM_SECRET)"),
        ("TUNNEL_TOKEN_FILE", "/etc/tunnel/token"),
        ("secret", "grafana-admin"),
        ("secretKey", "AWS_SECRET_ACCESS_KEY"),
        ("KEYSTONE_REBUILD_HASH", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
        ("automountServiceAccountToken", "false"),
        ("kmsKey", "arn:aws:kms:eu-central-1:1:key/1"),
        ("publicKey", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGbKyEMyfnSVH8DBadvLEuD4i0L8sgvt2"),
    ],
)
def test_a_reference_under_a_credentials_name_is_none(name: str, value: str) -> None:
    assert find(name, value) == ""


@pytest.mark.parametrize(
    "line",
    [
        "login --password=hunter2-hunter2",
        "login --user admin --password hunter2-hunter2 --verbose",
        "psql -password 'hunter2 hunter2'",
        "DB_PASSWORD=hunter2-hunter2 psql",
        "curl --token " + LETTERS[:24],
        "export CF_API_TOKEN=" + LETTERS[:40],
        "rclone --s3-secret-access-key " + LETTERS[:40],
    ],
)
def test_a_credential_on_a_command_line_is_found_by_its_option_or_variable(line: str) -> None:
    assert given(line)


@pytest.mark.parametrize(
    "line",
    [
        "login --password-stdin < /run/password",
        "login --password-file /run/password",
        "login --password $PASSWORD",
        'login --password "$password"',
        "login --password --verbose",
        "run --token=$(cat /run/token)",
        "run --token /run/token --secret grafana-admin",
        "PASSWORD=$(cat /run/password) run",
        ".venv/bin/python -m keystone.hosts system w1 --generation 1 --key /run/key",
    ],
)
def test_a_reference_on_a_command_line_is_none(line: str) -> None:
    assert given(line) == ""


def test_base64_is_read_and_other_text_is_left() -> None:
    assert decoded(base64.b64encode(b"plain").decode()) == "plain"
    assert decoded("not base64!") == "not base64!"
    assert decoded("/w==") == "/w=="
