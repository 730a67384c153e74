"""The whole program, once for every stack file, under the recording engine."""

import json
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pulumi
import pulumi.runtime
import pytest
import yaml
from pulumi_command import local
from pulumi_kubernetes.core.v1 import NodePatch, Secret

from keystone import facts
from keystone.outputs import Outputs
from keystone.settings import read
from tests.recording import ROOT_SECRET, Engine, is_secret, plain, run

PROJECT = Path(__file__).parents[1]
STACKS = sorted(file.name.removeprefix("Pulumi.").removesuffix(".yaml") for file in PROJECT.glob("Pulumi.*.yaml"))
SECRETS = {
    "keystone:rootSecret": ROOT_SECRET,
    "keystone:cloudflareToken": "cloudflare-token-made-up-for-this-test-x",
    "keystone:alertHeartbeatUrl": "https://heartbeat.example.org/made-up-for-this-test",
    "keystone:acmeToken": "acme-token-made-up-for-this-test",
    "keystone:externalDnsKey": "dns-key-made-up-for-this-test",
    "keystone:hetznerToken": "hetzner-token-made-up-for-this-test",
    "keystone:proxmoxConfig": "proxmox-config-made-up-for-this-test",
    "keystone:repositoryKey": "repository-key-made-up-for-this-test",
}
FOR_CHARTS = {
    "acmeToken": "network-acme-dns-provider",
    "externalDnsKey": "network-dns-provider",
    "hetznerToken": "pools-hetzner",
    "proxmoxConfig": "storage-proxmox",
    "repositoryKey": "gitops-login",
}
"""Keys of the stack file that the program hands on to charts, and the Secrets that hold them."""
CHOOSING_THEM: dict[str, Any] = {
    "keystone:platform": {
        "certManager": {"acme": {"email": "ops@example.org"}},
        "externalDns": {"provider": "cloudflare", "domains": ["example.org"]},
    },
    "keystone:storage": {"proxmox": {"storageId": "zfs", "encryptedByHost": True}},
    "keystone:gitops": {"repository": {"url": "https://git.example.org/team/cluster.git", "login": {}}},
    "keystone:clouds": {
        "hetzner": {"pools": {"hz": {"machineType": "cx32", "max": 3, "zones": ["nbg1"], "image": "1234"}}}
    },
}

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
"""The Cloudflare SDK warns as it is imported."""


@pytest.fixture(autouse=True)
def _config() -> Iterator[None]:
    yield
    pulumi.runtime.set_all_config({})


def _configure(stack: str) -> None:
    config: dict[str, Any] = yaml.safe_load((PROJECT / f"Pulumi.{stack}.yaml").read_text())["config"]
    _set(config)


def _set(config: dict[str, Any]) -> None:
    values = {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}
    secrets = {key: text for key, text in SECRETS.items() if key in config}
    pulumi.runtime.set_all_config({**values, **secrets}, list(secrets))


def _program(stack: str, *, preview: bool = False) -> Engine:
    _configure(stack)
    return run(lambda: runpy.run_path(str(PROJECT / "__main__.py")) and None, preview=preview, stack=stack)


def _program_of(config: dict[str, Any], folder: Path) -> Engine:
    """The program with another stack file for `dev` and its facts, both in this folder."""
    (folder / "Pulumi.dev.yaml").write_text(yaml.safe_dump({"config": config}))
    facts.write(read("dev", folder), "dev", folder)
    _set(config)
    return run(lambda: runpy.run_path(str(PROJECT / "__main__.py")) and None, stack="dev")


@pytest.fixture(params=STACKS)
def stack(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(PROJECT)
    return request.param


def test_there_is_a_stack_file_to_try() -> None:
    assert {"dev", "dev-cloud"} <= set(STACKS)


def test_every_host_is_installed_switched_and_joined(stack: str) -> None:
    names = {command.name for command in _program(stack).of(local.Command)}
    for host in read(stack, PROJECT).hosts:
        assert {f"install-{host}", f"system-{host}", f"join-{host}"} <= names


def test_a_preview_of_nothing_built_yet_shows_every_resource(stack: str) -> None:
    made, previewed = _program(stack), _program(stack, preview=True)
    assert {r.name for r in previewed.resources} == {r.name for r in made.resources}


def test_a_host_costs_at_most_eight_resources(stack: str) -> None:
    engine = _program(stack)
    for host in read(stack, PROJECT).hosts:
        own = [r for r in engine.resources if r.name == host or r.name.endswith(f"-{host}")]
        assert len(own) <= 8, [r.name for r in own]


def test_the_stacks_secrets_are_nowhere_but_in_secret_inputs(stack: str) -> None:
    for resource in _program(stack).resources:
        shown = json.dumps({key: value for key, value in resource.inputs.items() if not is_secret(value)})
        assert [key for key, secret in SECRETS.items() if secret in shown] == [], resource.name


def test_what_charts_want_lies_in_their_secrets_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config: dict[str, Any] = yaml.safe_load((PROJECT / "Pulumi.dev.yaml").read_text())["config"]
    config["keystone:hosts"]["w1"]["labels"] = {"topology.kubernetes.io/region": "pve"}  # of Proxmox
    encrypted = {f"keystone:{key}": {"secure": "v1:bm9uY2Vub25jZQ==:c2VjcmV0"} for key in FOR_CHARTS}
    monkeypatch.chdir(tmp_path)
    engine = _program_of({**config, **CHOOSING_THEM, **encrypted}, tmp_path)
    held = {one.name: json.dumps(plain(one.inputs.get("stringData"))) for one in engine.of(Secret)}
    shown = json.dumps(
        [{key: value for key, value in one.inputs.items() if not is_secret(value)} for one in engine.resources]
    )
    for key, holder in FOR_CHARTS.items():
        secret = SECRETS[f"keystone:{key}"]
        assert [name for name, data in held.items() if secret in data] == [holder]
        assert secret not in shown, key


def test_every_secret_of_a_stack_file_has_a_value_here(stack: str) -> None:
    config = yaml.safe_load((PROJECT / f"Pulumi.{stack}.yaml").read_text())["config"]
    assert {key for key, value in config.items() if isinstance(value, dict) and "secure" in value} <= set(SECRETS)


def test_every_kubernetes_resource_uses_the_programs_own_provider(stack: str) -> None:
    engine = _program(stack)
    used = {r.provider for r in engine.resources if r.kind.startswith("kubernetes:")}
    assert used == {"kubernetes"}
    assert engine.named("kubernetes").inputs["clusterIdentifier"] == read(stack, PROJECT).cluster.name
    assert is_secret(engine.named("kubernetes").inputs["kubeconfig"])


def test_the_exports_are_what_people_and_other_projects_need(stack: str) -> None:
    engine = _program(stack)
    assert set(engine.exports) == {field.alias for field in Outputs.model_fields.values()}
    assert set(engine.exports["nodes"]) == set(read(stack, PROJECT).hosts)


def test_worker_installs_wait_for_nobody_and_their_switch_waits_for_the_servers(stack: str) -> None:
    engine, settings = _program(stack), read(stack, PROJECT)
    for name in settings.agents:
        install, system = engine.named(f"install-{name}"), engine.named(f"system-{name}")
        assert not {d for d in install.dependencies if d.startswith(("install-", "system-", "kubeconfig-"))}
        assert {d for d in system.dependencies if d.startswith("system-")} <= {f"system-{s}" for s in settings.servers}
        assert {d for d in system.dependencies if d.startswith("system-")}
    assert len(engine.of(NodePatch)) == len(settings.nodes)


def test_facts_that_differ_from_the_settings_are_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Pulumi.dev.yaml").write_bytes((PROJECT / "Pulumi.dev.yaml").read_bytes())
    facts.write(read("dev", PROJECT), "dev", tmp_path)
    (tmp_path / "nix/facts/dev/w1.json").write_text("{}\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(pulumi.RunError, match=r"w1\.json differ from the settings\. Run `keystone facts --stack dev`"):
        _program("dev")


def test_servers_are_installed_and_switched_one_after_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack_file = yaml.safe_load((PROJECT / "Pulumi.dev.yaml").read_text())
    for name in ("w1", "w2"):
        stack_file["config"]["keystone:hosts"][name]["role"] = "server"
    monkeypatch.chdir(tmp_path)
    engine = _program_of(stack_file["config"], tmp_path)
    assert "kubeconfig-primer" in engine.named("install-w1").dependencies
    assert "system-w1" in engine.named("install-w2").dependencies
    assert "system-w2" in engine.named("system-w3").dependencies
    assert len((PROJECT / "__main__.py").read_text().splitlines()) < 120


def test_the_repository_comes_after_all_that_makes_things_for_its_objects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = yaml.safe_load((PROJECT / "Pulumi.dev-cloud.yaml").read_text())["config"]
    config["keystone:gitops"] = {"repository": {"url": "https://git.example.org/team/cluster.git"}}
    config["keystone:operators"] = {"ack": {"services": ["s3"]}, "crossplane": {"aws": ["rds"]}}
    monkeypatch.chdir(tmp_path)
    source = _program_of(config, tmp_path).named("gitops-gitrepository-cluster")
    # A destroy goes the other way: a bucket of the user's repository needs the controller that removes it.
    assert {"chart-ack-s3-release", "chart-crossplane-release", "chart-cert-manager-release"} <= source.dependencies
