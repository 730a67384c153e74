"""Age files: each host reads its own secrets and no other's; a second run changes no byte."""

import base64
import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from keystone import agefiles
from keystone.errors import KeystoneError
from keystone.identities import Identities
from keystone.settings import Settings, parse, stackfile
from tests.recording import document

PROJECT = Path(__file__).parent.parent
DOCUMENT = stackfile.settings_of(stackfile.config_of("dev", PROJECT))
ROOT = "11" * 32
FOLDER = "nix/secrets/dev"

identities = Identities(ROOT, "dev")


def settings(**changes: Any) -> Settings:
    """The dev stack's settings with whole host sections changed, removed (None) or added, or another mesh.tls."""
    document = copy.deepcopy(DOCUMENT)
    if tls := changes.pop("tls", None):
        document["mesh"]["tls"] = tls
    for host, change in changes.items():
        if change is None:
            del document["hosts"][host]
        else:
            document["hosts"][host] = {**document["hosts"].get(host, {}), **change}
    return parse(document)


def render(project: Path, chosen: Settings | None = None, keys: Identities = identities) -> list[str]:
    return agefiles.render(chosen or settings(), keys, "dev", project)


def check(project: Path, chosen: Settings | None = None, keys: Identities = identities) -> list[str]:
    return agefiles.check(chosen or settings(), keys, "dev", project)


def contents(project: Path) -> dict[str, bytes]:
    return {str(f.relative_to(project)): f.read_bytes() for f in project.rglob("*") if f.is_file()}


def test_each_host_decrypts_exactly_what_its_role_may_hold(tmp_path):
    render(tmp_path)
    texts = agefiles.texts(settings(), identities)
    for name, host in settings().hosts.items():
        key = identities.ssh_host_key(name, host.install_generation).private
        files = {file.stem: file.read_bytes() for file in (tmp_path / FOLDER / name).iterdir()}
        assert set(files) == set(agefiles.SECRETS_BY_ROLE[host.role])
        assert {secret: agefiles.decrypt(file, key) for secret, file in files.items()} == {
            secret: texts[secret] for secret in files
        }


def test_the_primer_holds_the_files_that_its_services_read(tmp_path):
    render(tmp_path)
    key = identities.ssh_host_key("primer", 1).private

    def read(name: str) -> str:
        return agefiles.decrypt((tmp_path / FOLDER / "primer" / f"{name}.age").read_bytes(), key).decode()

    assert read("server-token") == identities.server_token()
    assert read("agent-token") == identities.agent_token()
    assert read("headscale-noise-key") == identities.headscale_noise_key()
    assert read("headscale-derp-key") == identities.headscale_derp_key()
    assert read("service-account-key") == read("service.key") == identities.service_account_key()
    for path, pem in identities.cluster_cas().items():
        assert read(path.replace("/", "--")) == pem
    leaf = x509.load_pem_x509_certificate(read("mesh-tls.crt").encode())
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate((tmp_path / FOLDER / "mesh-ca.crt").read_bytes()))


def test_the_operators_public_key_lies_beside_the_files(tmp_path):
    render(tmp_path)
    assert (tmp_path / FOLDER / "operator.pub").read_text() == f"{identities.operator_key().public}\n"


def test_the_public_key_of_the_copies_lies_there_while_there_is_a_backup(tmp_path):
    file = tmp_path / FOLDER / "backup.pub"
    given = document()
    given["cluster"]["issuerHost"] = "oidc.example.org"
    given["aws"] = {"region": "eu-central-1", "accountId": "123456789012"}
    given["platform"] = {"certManager": {}}
    agefiles.render(parse({**given, "backup": {"keyGeneration": 2}}), identities, "dev", tmp_path)
    assert file.read_text() == f"{identities.backup_key(2).public}\n"
    render(tmp_path)
    assert not file.exists()


def test_an_agent_has_the_agent_token_alone_and_a_server_the_tokens():
    assert agefiles.SECRETS_BY_ROLE["agent"] == ("agent-token",)
    assert agefiles.SECRETS_BY_ROLE["server"] == ("server-token", "agent-token")
    assert agefiles.SECRETS_BY_ROLE["edge"] == ()


def test_no_host_can_read_another_hosts_file(tmp_path):
    render(tmp_path)
    file = (tmp_path / FOLDER / "w1" / "agent-token.age").read_bytes()
    with pytest.raises(KeystoneError, match="age file: cannot be decrypted with this host key"):
        agefiles.decrypt(file, identities.ssh_host_key("w2", 1).private)


def test_no_private_text_and_no_passphrase_is_in_the_folder(tmp_path):
    render(tmp_path)
    everything = b"\n".join(contents(tmp_path).values())
    for text in agefiles.texts(settings(), identities).values():
        assert text not in everything
    assert b"PRIVATE KEY" not in everything
    assert not [path for path in contents(tmp_path) if "passphrase" in path]


def test_a_second_run_changes_no_byte_and_says_so(tmp_path):
    changed = render(tmp_path)
    before = contents(tmp_path)
    assert changed == sorted(before)
    assert render(tmp_path) == []
    assert check(tmp_path) == []
    assert contents(tmp_path) == before


def test_check_names_what_render_would_write_and_writes_nothing(tmp_path):
    stale = check(tmp_path)
    assert contents(tmp_path) == {}
    assert stale == render(tmp_path)


def test_a_reinstalled_host_gets_new_files_and_no_other_host_does(tmp_path):
    render(tmp_path)
    before = contents(tmp_path)
    newer = settings(w1={"installGeneration": 2})
    expected = [f"{FOLDER}/index.json", f"{FOLDER}/w1/agent-token.age"]
    assert check(tmp_path, newer) == expected
    assert render(tmp_path, newer) == expected
    after = contents(tmp_path)
    assert set(before) == set(after)
    assert sorted(path for path in before if before[path] != after[path]) == expected
    key = identities.ssh_host_key("w1", 2).private
    assert agefiles.decrypt(after[expected[1]], key).decode() == identities.agent_token()


def test_a_changed_text_rewrites_that_file_alone(tmp_path):
    render(tmp_path)
    document = copy.deepcopy(DOCUMENT)
    document["mesh"]["serverUrl"] = "https://mesh.example.org:8443"
    assert render(tmp_path, parse(document)) == [f"{FOLDER}/index.json", f"{FOLDER}/primer/mesh-tls.crt.age"]


def test_another_root_secret_makes_every_file_stale(tmp_path):
    render(tmp_path)
    assert check(tmp_path, keys=Identities("22" * 32, "dev")) == sorted(contents(tmp_path))


def test_a_removed_host_loses_its_files_and_an_added_one_gets_its_own(tmp_path):
    render(tmp_path)
    before = contents(tmp_path)
    removed = [f"{FOLDER}/index.json", f"{FOLDER}/w2/agent-token.age"]
    assert render(tmp_path, settings(w2=None)) == removed
    assert not (tmp_path / FOLDER / "w2").exists()
    assert render(tmp_path) == removed
    after = contents(tmp_path)
    assert sorted(path for path in before if before[path] != after[path]) == removed


def test_a_file_that_we_did_not_write_is_left_alone(tmp_path):
    render(tmp_path)
    own = tmp_path / FOLDER / "w2" / "mine.age"
    own.write_bytes(b"own secret")
    render(tmp_path, settings(w2=None))
    assert own.read_bytes() == b"own secret"


@pytest.mark.parametrize("damage", [b"", b"age-encryption.org/v1\n", None])
def test_a_damaged_or_missing_file_is_written_again(tmp_path, damage):
    render(tmp_path)
    file = tmp_path / FOLDER / "w3" / "agent-token.age"
    if damage is None:
        file.unlink()
    else:
        file.write_bytes(damage)
    assert check(tmp_path) == [f"{FOLDER}/index.json", f"{FOLDER}/w3/agent-token.age"]
    render(tmp_path)
    assert agefiles.decrypt(file.read_bytes(), identities.ssh_host_key("w3", 1).private)
    assert check(tmp_path) == []


@pytest.mark.parametrize("index", ["", "<<<<<<< HEAD", "[]", '{"schemaVersion": 2, "files": {}}', '{"files": 3}'])
def test_a_broken_index_costs_a_new_rendering_and_nothing_else(tmp_path, index):
    render(tmp_path)
    (tmp_path / FOLDER / "index.json").write_text(index)
    assert f"{FOLDER}/w1/agent-token.age" in check(tmp_path)
    render(tmp_path)
    assert check(tmp_path) == []


def test_an_index_cannot_have_files_elsewhere_removed(tmp_path):
    render(tmp_path)
    victim = tmp_path / "victim.age"
    victim.write_text("keep")
    file = tmp_path / FOLDER / "index.json"
    index = json.loads(file.read_text())
    entry = next(iter(index["files"].values()))
    for path in ("../../../victim.age", str(victim), "../victim.age", "w1/../../victim.age"):
        index["files"][path] = entry
    file.write_text(json.dumps(index))
    render(tmp_path)
    assert victim.read_text() == "keep"
    assert check(tmp_path) == []


def test_without_the_private_ca_there_is_no_mesh_ca_and_no_mesh_key(tmp_path):
    render(tmp_path)
    changed = render(tmp_path, settings(tls="acmeDns"))
    assert changed == [
        f"{FOLDER}/index.json",
        f"{FOLDER}/mesh-ca.crt",
        f"{FOLDER}/primer/mesh-tls-key.age",
        f"{FOLDER}/primer/mesh-tls.crt.age",
    ]
    assert not (tmp_path / FOLDER / "mesh-ca.crt").exists()


def test_a_folder_that_cannot_be_written_is_one_plain_error(tmp_path):
    (tmp_path / "nix").write_text("a file where the folder should be")
    with pytest.raises(KeystoneError, match=r"cannot be read or written: .*\. Free the disk or correct the path\."):
        render(tmp_path)


def published_root_secret() -> str:
    """The dev stack's root secret: pulumi's passphrase provider (PBKDF2 and AES-GCM), with its published passphrase."""
    document = yaml.safe_load((PROJECT / "Pulumi.dev.yaml").read_text())
    salt = base64.b64decode(document["encryptionsalt"].split(":")[1])
    key = hashlib.pbkdf2_hmac("sha256", b"keystone-twin", salt, 1_000_000, 32)
    _, nonce, sealed = document["config"]["keystone:rootSecret"]["secure"].split(":")
    return AESGCM(key).decrypt(base64.b64decode(nonce), base64.b64decode(sealed), None).decode()


def test_the_checked_in_files_of_the_dev_stack_are_current():
    root = published_root_secret()
    assert agefiles.check(settings(), Identities(root, "dev"), "dev", PROJECT) == []
