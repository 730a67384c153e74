"""What `keystone up` does around an update, with a `pulumi` that only says what it is told."""

import base64
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from keystone.cli import main
from keystone.identities import Identities
from keystone.root_secret import config_secrets
from tests.recording import ROOT_SECRET, document

PASSPHRASE, TOKEN = "a passphrase", "zJ8-vQ2_nL5xR7tY0wK3mB6c"
MARK = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270"}
PULUMI = """#!/bin/sh
echo "$*" >> "$FAKE/calls"
case "$1 $2" in
"stack export") cat "$FAKE/state.json" ;;
"preview "*) cat "$FAKE/plan.jsonl" ;;
"up "*)
  [ ! -f "$FAKE/left.md" ] || cp "$FAKE/left.md" notes.md
  cat "$FAKE/events.jsonl"
  exit "$(cat "$FAKE/status")"
  ;;
*) exit 1 ;;
esac
"""


class Fake:
    """A project, and the `pulumi` beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = folder / "project"
        self.project.mkdir()
        (folder / "bin").mkdir()
        (folder / "bin/pulumi").write_text(PULUMI)
        (folder / "bin/pulumi").chmod(0o755)
        (self.project / "Pulumi.yaml").write_text("name: probe\n")
        self.settings = document()
        self.write()
        self.state()
        self.events()

    def write(self, **more: str) -> None:
        """The stack file with its secrets, encrypted as Pulumi does."""
        salt = b"saltsalt"
        key = hashlib.pbkdf2_hmac("sha256", PASSPHRASE.encode(), salt, 1_000_000, 32)

        def sealed(text: str) -> str:
            nonce = hashlib.sha256(text.encode()).digest()[:12]
            cipher = AESGCM(key).encrypt(nonce, text.encode(), None)
            return f"v1:{base64.b64encode(nonce).decode()}:{base64.b64encode(cipher).decode()}"

        config: dict[str, Any] = {f"keystone:{name}": value for name, value in self.settings.items()}
        config |= {f"other:{name}": {"secure": sealed(text)} for name, text in more.items()}
        config["keystone:rootSecret"] = {"secure": sealed(ROOT_SECRET)}
        config["other:list"] = ["plain", {"deep": {"secure": sealed(TOKEN)}}]
        file = {"encryptionsalt": f"v1:{base64.b64encode(salt).decode()}:{sealed('pulumi')}", "config": config}
        (self.project / "Pulumi.dev.yaml").write_text(yaml.safe_dump(file))

    def state(self, *resources: dict[str, Any]) -> None:
        (self.folder / "state.json").write_text(json.dumps({"deployment": {"resources": list(resources)}}))

    def events(self, *events: dict[str, Any], status: int = 0) -> None:
        (self.folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
        (self.folder / "status").write_text(str(status))

    def calls(self) -> list[str]:
        file = self.folder / "calls"
        return [" ".join(line.split()[:2]) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    made = Fake(tmp_path)
    monkeypatch.chdir(made.project)
    monkeypatch.setenv("FAKE", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{tmp_path}/backend")
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", PASSPHRASE)
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "engine"))
    for name in ("PULUMI_CONFIG_PASSPHRASE_FILE", "KEYSTONE_STACK"):
        monkeypatch.delenv(name, raising=False)
    return made


def resource(kind: str, name: str, /, **inputs: Any) -> dict[str, Any]:
    return {"urn": f"urn:pulumi:dev::probe::{kind}::{name}", "type": kind, "inputs": inputs}


def own_cilium() -> dict[str, Any]:
    return resource("kubernetes:helm.sh/v3:Release", "network", name="cilium", namespace="kube-system", chart="cilium")


def test_a_sound_update_runs_and_is_searched_afterwards(fake: Fake) -> None:
    fake.state(resource("command:local:Command", "join-w1", stdin={**MARK, "ciphertext": "v1:abc:def"}))
    assert main(["up"]) == 0
    # The state is exported once more at the end, for the secrets.
    assert fake.calls().count("up --stack") == 1
    assert fake.calls().index("up --stack") < len(fake.calls()) - 1 - fake.calls()[::-1].index("stack export")


def test_a_bad_network_stops_the_update_before_pulumi_is_called(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    fake.settings["hosts"]["w1"]["ssh"]["port"] = 30022
    fake.write()
    assert main(["up"]) == 1
    assert fake.calls() == []
    assert capsys.readouterr().err.splitlines() == [
        "[port-taken] hosts.w1.ssh.port: port 30022 belongs to services (node ports 30000-32767) on the agent w1. Take "
        "another port.",
        "check network: 1 finding. Mend what is listed; docs/reference/checks.md explains each rule.",
    ]


def test_a_second_owner_stops_the_update_before_anything_is_touched(
    fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.state(own_cilium())
    assert main(["up"]) == 1
    assert set(fake.calls()) == {"stack export"}
    assert capsys.readouterr().err.startswith(
        "[cni-owner] nix/modules/cni.nix: Helm release kube-system/cilium of the host layer is also installed by "
        "Pulumi resource network (state: network). The network plugin belongs to the host layer"
    )


def test_a_second_owner_in_the_plan_stops_the_update_before_it_begins(
    fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    # With a policy pack every update is planned first, and so is a resource that the state does not hold yet.
    (fake.project / "policy").mkdir()
    (fake.project / "policy/PulumiPolicy.yaml").write_text("runtime: python\n")
    event = {
        "resourcePreEvent": {"metadata": {"op": "create", "urn": own_cilium()["urn"], "type": "x", "new": own_cilium()}}
    }
    (fake.folder / "plan.jsonl").write_text(json.dumps(event) + "\n")
    assert main(["up"]) == 1
    assert "preview --stack" in fake.calls()
    assert "up --stack" not in fake.calls()
    assert "Pulumi resource network (the program: network)" in capsys.readouterr().err


def test_a_second_owner_in_the_projects_own_manifests_is_found(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    fake.settings["gitops"] = {"repository": {"url": "https://git.example.org/a.git", "path": "./clusters/home"}}
    fake.write()
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"a": "1"}}}
    folder = fake.project / "clusters/home"
    folder.mkdir(parents=True)
    (folder / "shop.yaml").write_text(yaml.safe_dump(namespace))
    fake.state(
        resource(
            "kubernetes:core/v1:Namespace", "shop", **{**namespace, "metadata": {"name": "shop", "labels": {"a": "2"}}}
        )
    )
    assert main(["up"]) == 1
    assert "[field-fight] clusters/home/shop.yaml:1: Namespace shop of Flux clusters/home" in capsys.readouterr().err


@pytest.mark.parametrize("where", ["state", "events", "git", "git, at last", "logs", "facts"])
def test_a_secret_that_an_update_leaves_behind_fails_it(
    where: str, fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = Identities(ROOT_SECRET, "site").recovery_passphrase("w1", 1)
    if where == "state":
        fake.state(resource("command:local:Command", "install-w1", environment={"PASS": secret}))
    elif where == "events":
        fake.events({"diagnosticEvent": {"urn": "", "severity": "info", "message": f"unlocking with {secret}"}})
    elif where == "git":
        os.system("git init -q .")
        (fake.project / "notes.md").write_text(secret)
    elif where == "git, at last":
        os.system("git init -q .")
        (fake.project / "notes.md").write_text("nothing yet")
        (fake.folder / "left.md").write_text(secret)
    else:
        file = fake.project / {"logs": ".twin/dev/logs/a.log", "facts": "nix/facts/dev/w1.json"}[where]
        file.parent.mkdir(parents=True)
        file.write_text(secret)
        written_by_the_update = time.time() + 60
        os.utime(file, (written_by_the_update, written_by_the_update))
    assert main(["up"]) == 1
    said = capsys.readouterr().err
    assert "holds the recovery passphrase of w1. Take it out, then rotate it" in said
    assert "check secrets: 1 finding." in said
    assert secret not in said
    assert "up --stack" in fake.calls()


def test_the_logs_of_earlier_runs_are_left_to_the_check_alone(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    log = fake.project / ".twin/dev/logs/a.log"
    log.parent.mkdir(parents=True)
    log.write_text(ROOT_SECRET)
    an_hour_ago = time.time() - 3600
    os.utime(log, (an_hour_ago, an_hour_ago))
    assert main(["up"]) == 0
    assert main(["check", "secrets"]) == 1
    assert f"[own-secret] {log}:1: holds the root secret." in capsys.readouterr().err


def test_debug_events_go_nowhere_and_are_no_findings(fake: Fake) -> None:
    fake.events({"diagnosticEvent": {"urn": "", "severity": "debug", "message": f"stdin={ROOT_SECRET}"}})
    assert main(["up"]) == 0


def test_a_failed_update_is_searched_too_and_its_own_error_comes_last(
    fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.events({"diagnosticEvent": {"urn": "", "severity": "error", "message": f"no login with {TOKEN}"}}, status=255)
    assert main(["up"]) == 1
    said = capsys.readouterr().err
    assert said.index("holds the secret other:list[1].deep") < said.index("pulumi up: failed")


def test_a_secret_too_short_to_search_for_is_named(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    fake.write(pin="1234")
    assert main(["up"]) == 0
    assert "warning: check secrets: secret other:pin is too short to be searched for" in capsys.readouterr().err


def test_a_project_without_keystones_settings_is_not_checked(fake: Fake) -> None:
    (fake.project / "Pulumi.dev.yaml").write_text("config: {probe:a: b}\n")
    fake.state(own_cilium())
    assert main(["up"]) == 0


def test_every_encrypted_value_of_a_stack_file_is_read(fake: Fake) -> None:
    fake.write(tunnelToken=TOKEN)
    assert config_secrets("dev", fake.project) == {
        "keystone:rootSecret": ROOT_SECRET,
        "other:tunnelToken": TOKEN,
        "other:list[1].deep": TOKEN,
    }


def test_check_secrets_alone_says_how_many_places_it_searched(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    drv = fake.project / "a.drv"
    drv.write_text("Derive([])")
    assert main(["check", "secrets", str(drv)]) == 0
    assert capsys.readouterr().out == "check secrets: nothing found in 2 places\n"
    drv.write_text(f"Derive([({ROOT_SECRET})])")
    assert main(["check", "secrets", "--state", str(fake.folder / "state.json"), str(drv)]) == 1
    assert f"[own-secret] {drv}:1: holds the root secret." in capsys.readouterr().err


def test_check_ownership_alone_takes_sources_and_refuses_unknown_kinds(
    fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    (fake.project / "a.yaml").write_text("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n")
    assert main(["check", "ownership", "k3s:a.yaml"]) == 0
    assert capsys.readouterr().out == "check ownership: nothing found, 1 objects\n"
    assert main(["check", "ownership", "k3s:a.yaml", "helm:a.yaml"]) == 1
    assert "[two-owners] a.yaml:1: Namespace shop of Helm release" in capsys.readouterr().err
    assert main(["check", "ownership", "salt:a.yaml"]) == 1
    assert "salt:a.yaml: 'salt' is not a kind of source. Write gitops:PATH" in capsys.readouterr().err
    fake.state(own_cilium())
    assert main(["check", "ownership"]) == 1
    assert main(["check", "ownership", "--together", "a.yaml"]) == 1
    assert main(["check", "ownership", "a.yaml"]) == 0


def test_check_network_alone_reads_the_given_folders(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    (fake.project / "k3s.yaml").write_text("cluster-init: true\nflannel-iface: tailscale0\n")
    assert main(["check", "network"]) == 0
    assert main(["check", "network", "k3s.yaml"]) == 1
    assert "[etcd-on-mesh] k3s.yaml:1" in capsys.readouterr().err
    assert main(["check", "network", "nowhere"]) == 1
    assert "nowhere: there is no such file or folder. Correct the path." in capsys.readouterr().err
