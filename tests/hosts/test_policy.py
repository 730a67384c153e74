"""keystone/hosts/policy.py and keystone/hosts/kubeconfig.py against a scripted Primer."""

import base64
import datetime
import json
from dataclasses import replace

import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from keystone import mesh_policy
from keystone.errors import KeystoneError
from keystone.hosts import kubeconfig, policy
from tests.hosts.machines import NETWORK, Script, context, installed, play

BASE: Script = {"systemctl is-active": "active\n", "headscale users list": "[]", "headscale policy set": ""}
SET = "headscale policy set --file /dev/stdin"
NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)


def test_the_policy_goes_in_by_standard_input() -> None:
    given = context()
    primer = installed(given, "primer", BASE | {"headscale policy get": (1, "acl policy not found")})
    play(lambda: policy.policy(given), primer)
    assert json.loads(primer.inputs[SET]) == mesh_policy.policy(given.settings)
    assert "tests" not in json.loads(primer.inputs[SET])


def test_people_of_the_stack_file_whom_the_controller_does_not_know_are_made_before_the_policy() -> None:
    given = context()
    people = given.settings.mesh.model_copy(update={"users": ("bob", "ann", "eve")})
    given = replace(given, settings=given.settings.model_copy(update={"mesh": people}))
    known = json.dumps([{"id": 1, "name": "bob"}, {"id": 2, "name": "left"}])
    script: Script = {"headscale users list": known, "headscale users create": "", "headscale policy get": "{}"}
    primer = installed(given, "primer", BASE | script)
    play(lambda: policy.policy(given), primer)
    changes = [call for call in primer.calls if call.startswith(("headscale users create", "headscale policy set"))]
    assert changes == ["headscale users create ann", "headscale users create eve", SET]


def test_an_equal_policy_is_not_sent_again() -> None:
    given = context()
    held = json.dumps(mesh_policy.policy(given.settings))
    primer = installed(given, "primer", BASE | {"headscale policy get": held})
    play(lambda: policy.policy(given), primer)
    assert not primer.called("headscale policy set")


def test_the_services_that_a_destroy_has_stopped_start_with_the_controller_first() -> None:
    given = context()
    held = json.dumps(mesh_policy.policy(given.settings))
    stopped: Script = {"systemctl is-active": (3, "inactive\n"), "systemctl start": "", "rm -f": ""}
    primer = installed(given, "primer", BASE | stopped | {"headscale policy get": held})
    play(lambda: policy.policy(given), primer)
    assert [call for call in primer.calls if call.startswith(("rm", "systemctl start"))] == [
        line
        for unit in ("headscale", "tailscaled", "k3s")
        for line in ("rm -f /var/lib/keystone/removed", f"systemctl start {unit}")
    ]


def test_a_refused_policy_says_what_the_controller_said() -> None:
    given = context()
    refused: Script = {"headscale policy get": "{}", "headscale policy set": (1, "Error: unknown tag")}
    with pytest.raises(KeystoneError, match=r"^mesh: the controller refuses the policy: Error: unknown tag\.$"):
        play(lambda: policy.policy(given), installed(given, "primer", BASE | refused))


def test_a_controller_that_does_not_answer_is_given_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "CONTROLLER_SECONDS", 1.0)
    given = context()
    down: Script = {"headscale users list": (1, "connection refused")}
    with pytest.raises(KeystoneError, match=r"waited 1 s for the mesh controller; .*connection refused"):
        play(lambda: policy.policy(given), installed(given, "primer", BASE | down))


SERVER = {"server": "https://127.0.0.1:6443", "certificate-authority-data": "Q0E="}
RAW = yaml.safe_dump(
    {
        "clusters": [{"name": "default", "cluster": SERVER}],
        "users": [{"name": "default", "user": {"client-certificate-data": "Q0VSVA==", "client-key-data": "S0VZ"}}],
        "contexts": [{"name": "default", "context": {"cluster": "default", "user": "default"}}],
    }
)


def test_the_kubeconfig_names_the_cluster_and_its_endpoint() -> None:
    given = context()
    script: Script = {"systemctl is-active": "active", "kubectl get --raw /readyz": "ok", "kubectl config view": RAW}
    text = play(lambda: kubeconfig.kubeconfig(given), installed(given, "primer", script))
    document = yaml.safe_load(text)
    assert document["current-context"] == "site"
    assert document["clusters"][0]["cluster"]["server"] == f"https://{NETWORK.at(10)}:6443"
    assert document["users"] == [
        {"name": "site", "user": {"client-certificate-data": "Q0VSVA==", "client-key-data": "S0VZ"}}
    ]


def test_the_kubeconfig_waits_for_the_api_and_says_what_it_saw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubeconfig, "READY_SECONDS", 1.0)
    given = context()
    script: Script = {"systemctl is-active": "active", "kubectl get --raw /readyz": (1, "[-]etcd failed")}
    with pytest.raises(KeystoneError, match=r"waited 1 s for the Kubernetes API to be ready; .*\[-\]etcd failed"):
        play(lambda: kubeconfig.kubeconfig(given), installed(given, "primer", script))


def test_a_kubeconfig_without_embedded_certificates_is_refused() -> None:
    with pytest.raises(KeystoneError, match="lacks embedded certificates"):
        kubeconfig.rewrite("clusters: []", "site", "https://api")


def test_a_renewed_kubeconfig_is_signed_by_the_clusters_client_authority() -> None:
    given = context()
    document = yaml.safe_load(kubeconfig.renewed(given, NOW))
    user = document["users"][0]["user"]
    certificate = x509.load_pem_x509_certificate(base64.b64decode(user["client-certificate-data"]))
    authority = x509.load_pem_x509_certificate(given.identities.cluster_cas()["client-ca.crt"].encode())
    certificate.verify_directly_issued_by(authority)
    names = {attribute.oid: attribute.value for attribute in certificate.subject}
    assert names == {NameOID.ORGANIZATION_NAME: "system:masters", NameOID.COMMON_NAME: "system:admin"}
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert kubeconfig.ends(yaml.safe_dump(document)) == NOW + datetime.timedelta(days=365)
