"""Canaries: every secret of a stack, in every encoding, in every place, is found; its value is never shown."""

import base64
import gzip
import hashlib
import inspect
import json
import random
import re
import shutil
import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from keystone.checks.secrets import ALLOWED, Place, Scanner, allowances, formats, material, places
from keystone.checks.secrets.material import Secret, configured, derived
from keystone.errors import KeystoneError
from keystone.identities import Identities
from keystone.settings import parse
from tests.credential_samples import SAMPLES
from tests.recording import ROOT_SECRET, document
from twin import store

SETTINGS = parse(document())
IDENTITIES = Identities(ROOT_SECRET, SETTINGS.cluster.name)
PASSWORD = 'p@ss/w0rd+of&a "database"\\'
FOREIGN = "Größe-Übermut-Straße-🦉7"
CONFIGURED = {
    "keystone:tunnelToken": "zJ8-vQ2_nL5xR7tY0wK3mB6c",
    "keystone:smtpPassword": PASSWORD,
    "keystone:proxyPassword": FOREIGN,
}
SCANNER = Scanner([*derived(SETTINGS, IDENTITIES), *configured(CONFIGURED)])


def canaries() -> dict[str, str]:
    """The texts as machines and users have them, by the names that the check gives them."""
    certificates = IDENTITIES.cluster_cas()
    return {
        "root secret": ROOT_SECRET,
        "operator key": IDENTITIES.operator_key().private,
        "SSH host key of w1": IDENTITIES.ssh_host_key("w1", 1).private,
        "initrd host key of primer": IDENTITIES.initrd_host_key("primer", 1).private,
        "recovery passphrase of w2": IDENTITIES.recovery_passphrase("w2", 1),
        "server token": IDENTITIES.server_token(),
        "agent token": IDENTITIES.agent_token(),
        "headscale noise key": IDENTITIES.headscale_noise_key(),
        "headscale derp key": IDENTITIES.headscale_derp_key(),
        "mesh CA key": IDENTITIES.mesh_ca()[1],
        "mesh TLS key": IDENTITIES.mesh_certificate([SETTINGS.mesh.server_host])[1],
        "cluster CA key etcd/peer-ca.key": certificates["etcd/peer-ca.key"],
        "service-account key": IDENTITIES.service_account_key(),
        "object store TLS key": IDENTITIES.object_store_certificate(["store.example.org"])[1],
        "Linkerd trust anchor key": IDENTITIES.linkerd_anchor("cluster.local")[1],
        "Grafana password": IDENTITIES.grafana_password(),
        "secret keystone:tunnelToken": CONFIGURED["keystone:tunnelToken"],
        "secret keystone:smtpPassword": PASSWORD,
        "secret keystone:proxyPassword": FOREIGN,
    }


def split(text: str) -> str:
    return "\n".join(f"      {line}" for line in textwrap.wrap(text, 10, break_on_hyphens=False))


def base64_of(text: str, before: int = 0) -> str:
    return base64.b64encode(b"#" * before + text.encode() + b"#").decode()


ENCODINGS: dict[str, Callable[[str], str]] = {
    "exact": str,
    "base64": base64_of,
    "base64, one byte later": lambda text: base64_of(text, 1),
    "base64, two bytes later": lambda text: base64_of(text, 2),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "base64 over lines": lambda text: base64.encodebytes(text.encode()).decode(),
    "base64 of JSON": lambda text: base64_of(json.dumps({"data": text})),
    "base64 twice": lambda text: base64_of(base64_of(text, 1), 2),
    "URL": lambda text: quote(text, safe=""),
    "URL form": quote_plus,
    "URL, every character": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "JSON": json.dumps,
    "JSON in JSON": lambda text: json.dumps(json.dumps({"key": text})),
    "JSON, every character": lambda text: re.sub("(....)", r"\\u\1", text.encode("utf-16-be").hex()),
    "hex": lambda text: text.encode().hex(),
    "HEX": lambda text: text.encode().hex().upper(),
    "hex with colons": lambda text: text.encode().hex(":"),
    "over lines": split,
    "over lines of JSON": lambda text: json.dumps(textwrap.wrap(text, 12, break_on_hyphens=False), indent=1),
}


def noise(size: int = 4000) -> bytes:
    """Text as logs and states have it."""
    dice = random.Random(1)
    words = [f"{dice.choice(('urn', 'host', 'created', 'nodes', 'the'))}{dice.randrange(99)}" for _ in range(size // 6)]
    return " ".join(words).encode()


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", canaries())
def test_every_secret_is_found_in_every_encoding(name: str, encoding: str) -> None:
    planted = ENCODINGS[encoding](canaries()[name])
    before = noise() + b"\nvalue: "
    data = before + planted.encode() + b"\n" + noise()
    found = SCANNER.scan([Place("a log", data)])

    own = [finding for finding in found if finding.rule == "own-secret"]
    assert [finding.problem for finding in own] == [f"holds the {name}"]
    line = int(own[0].place.removeprefix("a log:"))
    assert 2 <= line <= 2 + planted.count("\n"), "the place is where the secret stands"


def test_the_raw_bytes_behind_a_key_are_found() -> None:
    seed = bytes.fromhex(ROOT_SECRET)
    for planted in (base64.b64encode(seed), base64.b64encode(b"x" + seed), seed.hex().upper().encode()):
        assert "holds the root secret" in [one.problem for one in SCANNER.scan([Place("x", planted)])]


def test_a_password_inside_a_token_is_found_without_its_prefix() -> None:
    password = IDENTITIES.agent_token().rpartition(":")[2]
    [found] = SCANNER.scan([Place("x", f"--token {password}".encode())])
    assert found.problem == "holds the agent token"


def test_values_are_never_shown() -> None:
    texts = canaries()
    data = "\n".join(texts.values()).encode()
    shown = "\n".join(str(one) + repr(one) for one in SCANNER.scan([Place("x", data)]))
    for text in texts.values():
        assert not any(line in shown for line in text.splitlines() if len(line) > 6 and "-----" not in line)
    assert repr(Secret("name", (b"value",))) == "Secret(name='name')"


def test_every_secret_that_the_identities_make_is_searched_for() -> None:
    # A new method of Identities that returns a secret must be added to `derived`, and here.
    public = {"age_recipient", "fingerprint", "headscale_noise_public_key"}
    known = {"ssh_host_key", "initrd_host_key", "operator_key", "server_token", "agent_token", "cluster_cas"}
    known |= {"service_account_key", "headscale_noise_key", "headscale_derp_key", "mesh_ca", "mesh_certificate"}
    known |= {"recovery_passphrase", "grafana_password", "object_store_certificate", "backup_key", "linkerd_anchor"}
    methods = {name for name, _ in inspect.getmembers(Identities, inspect.isfunction) if not name.startswith("_")}
    assert methods == public | known


def test_keys_of_earlier_generations_are_searched_for_too() -> None:
    raised = document()
    raised["hosts"]["w1"]["installGeneration"] = 2
    scanner = Scanner(derived(parse(raised), IDENTITIES))
    [found] = scanner.scan([Place("x", IDENTITIES.recovery_passphrase("w1", 1).encode())])
    assert found.problem == "holds the recovery passphrase of w1, generation 1"


def test_a_secret_that_is_too_short_to_search_for_is_named() -> None:
    scanner = Scanner(configured({"keystone:pin": "1234"}))
    assert scanner.unsearchable == ["secret keystone:pin"]


def test_public_halves_are_no_findings() -> None:
    certificates = [text for name, text in IDENTITIES.cluster_cas().items() if name.endswith(".crt")]
    public = [IDENTITIES.operator_key().public, IDENTITIES.age_recipient("w1", 1), *certificates]
    public += [IDENTITIES.mesh_ca()[0], IDENTITIES.headscale_noise_public_key(), IDENTITIES.fingerprint("a", b"b")]
    assert SCANNER.scan([Place("x", "\n".join(public).encode())]) == []


def test_encrypted_values_are_no_findings() -> None:
    cipher = base64.b64encode(random.Random(2).randbytes(90_000)).decode()
    mark = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": f"v1:abc:{cipher}"}
    resource = {"urn": "urn:pulumi:dev::keystone::command:local:Command::install-w1", "inputs": {"stdin": mark}}
    state = json.dumps({"deployment": {"resources": [resource] * 5}}).encode()
    stack_file = f"config:\n  keystone:rootSecret:\n    secure: v1:O68nInLAGSaIKUtl:{cipher[:120]}\n".encode()
    assert SCANNER.scan([Place("state", state), Place("Pulumi.dev.yaml", stack_file)]) == []


def test_a_secret_in_the_state_is_placed_by_resource_and_property() -> None:
    urn = "urn:pulumi:dev::keystone::command:local:Command::join-w1"
    resource = {"urn": urn, "inputs": {"environment": {"TOKEN": f"x {IDENTITIES.agent_token()}"}}}
    state = json.dumps({"deployment": {"resources": [resource]}}, indent=4).encode()
    [found] = SCANNER.scan([Place("state", state)])
    assert found.place == "state: join-w1 inputs.environment.TOKEN"
    assert str(found).startswith("[own-secret] state: join-w1 inputs.environment.TOKEN: holds the agent token. Take it")


@pytest.mark.parametrize(("name", "text"), SAMPLES)
def test_every_format_of_credentials_is_found_plain_and_in_json(name: str, text: str) -> None:
    for planted in (text, json.dumps({"it": text})):
        found = SCANNER.scan([Place("a log", noise() + b"\n" + planted.encode() + b"\n" + noise())])
        assert [str(one) for one in found] == [
            f"[credential-format] a log:2: holds what looks like a {name}. Revoke it."
        ]


def test_every_format_has_a_sample() -> None:
    assert {name for name, _ in SAMPLES} == set(formats.FORMATS)


@pytest.mark.parametrize(
    "text",
    [
        "AKIAIOSFODNN7EXAMPLE",
        "privkey:" + "0" * 64,
        "cloudflare_api_token: ${CLOUDFLARE_API_TOKEN}",
        "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
        "commit 0f3c2ab1d5e6f708192a3b4c5d6e7f8091a2b3c4",
        "sha256-pnffpsp+n5px/pv1TqhqkBHVx9uOE3xRceeMRJOvIOU=",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGbKyEMyfnSVH8DBadvLEuD4i0L8sgvt2+80A+2q5gAg",
        "nodekey:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "github_pattern_of_some_sort, ghp_short",
    ],
)
def test_examples_and_look_alikes_are_no_credentials(text: str) -> None:
    assert SCANNER.scan([Place("x", text.encode())]) == []


def test_a_listed_look_alike_in_the_git_tree_is_no_finding_but_an_own_secret_there_is(tmp_path: Path) -> None:
    (tmp_path / ALLOWED).write_text("# a comment\ntests/* | GitHub token | made up\n")
    scanner = Scanner(derived(SETTINGS, IDENTITIES), allowances(tmp_path))
    fake, own = dict(SAMPLES)["GitHub token"].encode(), ROOT_SECRET.encode()
    assert scanner.scan([Place("tests/a/b.py", fake, listed=True)]) == []
    assert len(scanner.scan([Place("tests/a/b.py", own, listed=True)])) == 1
    assert len(scanner.scan([Place("tests/a/b.py", fake)])) == 1, "only the git tree has a list"
    assert len(scanner.scan([Place("src/b.py", fake, listed=True)])) == 1


def test_a_published_value_may_stand_where_it_is_listed_and_no_other_value_of_that_secret_may(tmp_path: Path) -> None:
    published, real = "keystone-twin-token-that-is-published", "a-real-token-that-nobody-may-know"
    digest = hashlib.sha256(published.encode()).hexdigest()
    (tmp_path / ALLOWED).write_text(f"docs/*.md | sha256:{digest} | the double's token\n")

    def found(value: str, name: str, *, listed: bool = True) -> list[str]:
        scanner = Scanner(material.configured({"keystone:cloudflareToken": value}), allowances(tmp_path))
        return [one.problem for one in scanner.scan([Place(name, f"Take {value}.".encode(), listed=listed)])]

    leak = ["holds the secret keystone:cloudflareToken"]
    assert found(published, "docs/twin.md") == []
    assert found(real, "docs/twin.md") == leak
    assert found(published, "src/a.py") == leak
    assert found(published, "docs/twin.md", listed=False) == leak, "in state and logs it is a leak too"


def test_a_listed_look_alike_without_a_reason_is_refused(tmp_path: Path) -> None:
    (tmp_path / ALLOWED).write_text("tests/* | GitHub token |\n")
    with pytest.raises(KeystoneError, match=r"\.secrets-allowed:1: is not `PATH \| FORMAT \| REASON`"):
        allowances(tmp_path)


DERIVATIONS = (".twin/dev/store/x-nixos-system-w1-26.05.drv", "nix-store/y-nixos-system-w1-26.05.drv")
LOGS = (".pulumi/logs/pulumi-resource-command.1.log", ".twin/dev/pulumi/logs/pulumi-resource-kubernetes.2.log")


def planted_places(folder: Path, text: str) -> dict[str, list[Place]]:
    """The same canary in each place that the check reads."""
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    (folder / ".gitignore").write_text(".twin/\n.pulumi/\nnix-store/\n")
    for path in ("nix/facts/dev/w1.json", ".twin/dev/logs/k3s.log", *DERIVATIONS, *LOGS, "docs/note.md"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(f"first\n{text}\n")
    (folder / "events.json").write_text(json.dumps({"diagnosticEvent": {"message": text}}))
    return {
        "usual": list(places.usual("dev", folder)),
        "git tree": list(places.git_tree(folder)),
        "given": list(places.of_paths([folder / "events.json", folder / ".twin/dev/store"])),
    }


def test_a_canary_is_found_in_every_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PULUMI_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(places, "STORE", tmp_path / "nix-store")
    planted = planted_places(tmp_path, IDENTITIES.recovery_passphrase("w1", 1))
    found = {
        where: [one.place.replace(f"{tmp_path}/", "") for one in SCANNER.scan(them)] for where, them in planted.items()
    }
    assert found == {
        "usual": [
            f"{path}:2" for path in sorted([".twin/dev/logs/k3s.log", "nix/facts/dev/w1.json", *DERIVATIONS, *LOGS])
        ],
        "git tree": ["docs/note.md:2", "events.json:1", "nix/facts/dev/w1.json:2"],
        "given": [f"{DERIVATIONS[0]}:2", "events.json:1"],
    }


def test_the_engines_own_folder_is_searched_where_its_variable_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "elsewhere/logs/plugin.log"
    log.parent.mkdir(parents=True)
    log.write_text(IDENTITIES.agent_token())
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "elsewhere"))
    assert [one.problem for one in SCANNER.scan(places.usual("dev", tmp_path))] == ["holds the agent token"]
    of_the_twin = tmp_path / ".twin/dev/pulumi"
    of_the_twin.parent.mkdir(parents=True)
    (tmp_path / "elsewhere").rename(of_the_twin)
    monkeypatch.setenv("PULUMI_HOME", str(of_the_twin))
    monkeypatch.chdir(tmp_path)
    assert len(SCANNER.scan(places.usual("dev", Path()))) == 1, "one folder under two names is read once"
    shutil.rmtree(of_the_twin)
    monkeypatch.delenv("PULUMI_HOME")
    assert SCANNER.scan(places.usual("dev", tmp_path)) == []


def test_the_twin_leaves_a_derivation_that_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    facts = tmp_path / "nix/facts/dev/w1.json"
    facts.parent.mkdir(parents=True)
    facts.write_text("{}")
    planted = {"facts/host.json": IDENTITIES.agent_token().encode()}
    path = store.store_path(planted, "nixos-system-w1-26.05")
    store.add(tmp_path / ".twin/dev/store", path, planted)
    store.derive(tmp_path / ".twin/dev/store", path, planted)
    [found] = SCANNER.scan(places.usual("dev", tmp_path))
    assert found.place.endswith("-nixos-system-w1-26.05.drv:1")
    assert found.problem == "holds the agent token"


def test_what_cannot_be_read_does_not_count_as_clean(tmp_path: Path) -> None:
    with pytest.raises(KeystoneError, match="cannot be read: No such file or directory"):
        list(places.of_paths([tmp_path / "gone"]))


def test_a_large_file_is_searched_in_pieces_and_of_a_log_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "none"))
    monkeypatch.setattr(places, "PIECE", 5000)
    monkeypatch.setattr(places, "OVERLAP", 500)
    log = tmp_path / ".twin/dev/logs/a.log"
    log.parent.mkdir(parents=True)
    secret = IDENTITIES.recovery_passphrase("w1", 1).encode()
    log.write_bytes(noise(4480) + b" " + secret + b" " + noise(9000))
    assert {one.problem for one in SCANNER.scan(places.of_paths([log]))} == {"holds the recovery passphrase of w1"}
    assert SCANNER.scan(places.usual("dev", tmp_path)) == []
    log.write_bytes(noise(9000) + b" " + secret)
    assert len(SCANNER.scan(places.usual("dev", tmp_path))) == 1


def test_the_forms_of_a_foreign_key_hold_no_public_part() -> None:
    body = [base64.b64encode(random.Random(n).randbytes(48)).decode() for n in range(24)]
    text = "-----BEGIN RSA PRIVATE KEY-----\n" + "\n".join(body) + "\n-----END RSA PRIVATE KEY-----\n"
    kept = material.forms(text)
    assert body[20].encode() in kept
    assert body[0].encode() not in kept


@pytest.mark.parametrize("white", list(" \t\n\r\f\v"))
def test_any_white_space_may_break_a_long_run(white: str) -> None:
    text = base64.b64encode(b"of a document " + ROOT_SECRET.encode() + b" and more").decode()
    [finding] = SCANNER.scan([Place("x", f"{text[:30]}{white}{text[30:]}".encode())])
    assert "root secret" in str(finding)


def test_random_bytes_are_no_secret() -> None:
    assert SCANNER.scan([Place("x", gzip.compress(random.Random(4).randbytes(200_000)))]) == []
