"""`keystone doctor`: what it says about tools, disk and certificates, and when it fails."""

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from keystone.cli import main
from keystone.commands import doctor
from keystone.commands.doctor import Finding
from keystone.errors import KeystoneError
from keystone.hosts.kubeconfig import ends

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def kubeconfig(end: datetime) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "admin")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(end - timedelta(days=365))
        .not_valid_after(end)
        .sign(key, hashes.SHA256())
    )
    data = base64.b64encode(certificate.public_bytes(Encoding.PEM)).decode()
    return yaml.safe_dump({"users": [{"name": "admin", "user": {"client-certificate-data": data}}]})


@pytest.mark.parametrize(("days", "status"), [(365, "ok"), (60, "ok"), (59, "warning"), (0, "warning"), (-1, "fault")])
def test_a_certificate_that_ends_soon_is_a_warning_and_names_the_setting(days: int, status: str) -> None:
    finding = doctor.certificate_finding(ends(kubeconfig(NOW + timedelta(days=days))), NOW)

    assert finding.status == status
    assert f"in {days} days" in finding.value
    assert ("keystone:cluster.kubeconfigGeneration" in finding.cure) == (status != "ok")


def test_a_kubeconfig_without_certificate_has_no_end() -> None:
    with pytest.raises(KeystoneError, match="kubeconfig: it holds no client certificate"):
        ends("users: [{name: a, user: {token: x}}]")


def test_a_missing_program_is_a_fault_with_its_cure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    needed = doctor._program("ssh", "-V", needed=True)
    assert (needed.status, needed.value, needed.cure) == ("fault", "not on PATH", "Install ssh")
    assert doctor._program("nix", "--version", needed=False).status == "ok"


def test_the_passphrase_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "canary-51c0")

    assert doctor._variable("PULUMI_CONFIG_PASSPHRASE").value == "set"


def test_every_tool_is_listed_with_its_version_and_where_it_comes_from() -> None:
    findings = {finding.subject: finding for finding in doctor._tools()}

    assert {"pulumi", "etcd", "kube-apiserver", "headscale", "tailscaled", "kwok"} <= findings.keys()
    for finding in findings.values():
        assert any(word in finding.value for word in ("built (", "from PATH (", "not built")), finding


@pytest.mark.parametrize(("status", "code"), [("ok", 0), ("warning", 0), ("fault", 1)])
def test_only_a_fault_makes_it_fail(
    status: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "examine", lambda _: [Finding(subject="ssh", status=status, value="x", cure="Do y")])

    assert main(["doctor", "--json"]) == code
    assert json.loads(capsys.readouterr().out) == [{"subject": "ssh", "status": status, "value": "x", "cure": "Do y"}]
