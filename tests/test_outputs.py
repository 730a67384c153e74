"""The outputs as an interface: schema, reader and program say the same."""

import json
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pulumi
import pulumi.runtime
import pytest
import yaml

from keystone import outputs
from keystone.errors import KeystoneError
from keystone.outputs import Node, Outputs, StackOutputs, parse
from keystone.settings import parse as parse_settings
from tests.recording import ROOT_SECRET, document, run

PROJECT = Path(__file__).resolve().parents[1]
STACKS = sorted(file.name.removeprefix("Pulumi.").removesuffix(".yaml") for file in PROJECT.glob("Pulumi.*.yaml"))
SECRET = "keystone:rootSecret"


@pytest.fixture(autouse=True)
def _config() -> Iterator[None]:
    yield
    pulumi.runtime.set_all_config({})


def exports(stack: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the program exports, as its stack's outputs would hold it."""
    monkeypatch.chdir(PROJECT)
    config: dict[str, Any] = yaml.safe_load((PROJECT / f"Pulumi.{stack}.yaml").read_text())["config"]
    values = {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}
    secrets = [key for key, value in config.items() if isinstance(value, dict) and "secure" in value]
    pulumi.runtime.set_all_config({**values, **dict.fromkeys(secrets, ROOT_SECRET)}, secrets)
    found: dict[str, Any] = {}
    secret: set[str] = set()

    async def collect(values: dict[str, Any]) -> bool:
        for name, value in values.items():
            output = pulumi.Output.from_input(value)
            found[name] = await output.future()
            if await output.is_secret():
                secret.add(name)
        return True

    def build() -> None:
        runpy.run_path(str(PROJECT / "__main__.py"))
        root = pulumi.runtime.get_root_resource()
        assert isinstance(root, pulumi.runtime.stack.Stack)
        pulumi.export("collected", pulumi.Output.from_input(collect(dict(root.outputs))))

    run(build, stack=stack)
    assert secret == set(outputs.SECRET)
    return found


@pytest.mark.parametrize("stack", STACKS)
def test_the_programs_exports_fit_the_schema_and_the_reader(stack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = exports(stack, monkeypatch)

    assert set(found) == {field.alias for field in Outputs.model_fields.values()}
    jsonschema.validate(found, json.loads((PROJECT / outputs.PATH).read_text()))
    read = parse(found)
    assert read.nodes["primer"] == Node(lan=found["nodes"]["primer"]["lan"], mesh="100.64.0.1", role="primer")
    assert read.mesh_ca.startswith("-----BEGIN CERTIFICATE-----")


def test_the_schema_in_the_documents_is_the_models() -> None:
    assert (PROJECT / outputs.PATH).read_text() == outputs.text(), "write keystone.outputs.text() to it"


def test_every_output_is_documented() -> None:
    text = (PROJECT / "docs/reference/outputs.md").read_text()
    for field in Outputs.model_fields.values():
        assert f"`{field.alias}`" in text
        assert field.description
        assert field.description in text


def test_the_schema_refuses_what_the_reader_refuses() -> None:
    schema = outputs.schema()
    good = sample()
    jsonschema.validate(good, schema)
    for broken in (
        {**good, "outputsVersion": 2},
        {key: value for key, value in good.items() if key != "kubeconfig"},
        {**good, "nodes": {"w1": {"lan": "127.0.0.1", "mesh": "100.64.0.1", "role": "king"}}},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, schema)
        with pytest.raises(KeystoneError):
            parse(broken)


def test_what_a_later_release_adds_is_ignored() -> None:
    assert parse({**sample(), "moreToCome": 1}).outputs_version == 1


def test_a_fault_names_the_output_and_never_its_value() -> None:
    with pytest.raises(KeystoneError) as caught:
        parse({**sample(), "kubeconfig": {"token": "canary"}})
    assert str(caught.value).startswith("outputs: kubeconfig: Input should be a valid string. ")
    assert "canary" not in str(caught.value)


def test_another_version_is_refused_before_anything_else() -> None:
    with pytest.raises(
        KeystoneError, match=r"^outputsVersion: the stack has 7, this reader knows 1\. Update the stack"
    ):
        parse({"outputsVersion": 7})


def test_the_settings_decide_what_applications_find() -> None:
    changed = document()
    changed["network"] = {"loadBalancer": {"pools": {"ingress": "127.78.5.200-127.78.5.209"}}}
    assert outputs.plain(parse_settings(document()), "site")["services"] == {"dashboardLabel": "grafana_dashboard"}
    assert outputs.plain(parse_settings(changed), "site")["services"]["gateway"] == {
        "namespace": "gateway",
        "name": "public",
        "listener": "http",
    }


def test_a_gateway_with_a_certificate_says_which_names_it_serves() -> None:
    network = {"loadBalancer": {"pools": {"ingress": "127.78.5.200-127.78.5.209"}}}
    changed = {**document(), "network": network, "platform": {"certManager": {}}}
    found = outputs.plain(parse_settings(changed), "site")["services"]["gateway"]
    assert (found["listener"], found["hostname"]) == ("https", "*.keystone.test")

    gateway = outputs.Gateway.model_validate(found)
    served = {host: gateway.serves(host) for host in ("hello.keystone.test", "a.b.keystone.test", "hello.example.org")}
    assert served == {"hello.keystone.test": True, "a.b.keystone.test": False, "hello.example.org": False}
    assert gateway.model_copy(update={"hostname": None}).serves("hello.example.org")


@pytest.mark.parametrize(
    ("grafana", "url"), [({}, "https://grafana.keystone.test"), ({"host": "g.example.org"}, "https://g.example.org")]
)
def test_grafana_is_named_where_there_is_one(grafana: dict[str, str], url: str) -> None:
    watched = parse_settings({**document(), "storage": {"localPath": {}}, "observability": {"grafana": grafana}})
    assert outputs.plain(watched, "site")["services"]["grafanaUrl"] == url


def test_reading_outputs_needs_neither_pulumi_nor_the_settings() -> None:
    heavy = "{'pulumi', 'keystone.settings', 'cryptography'}"
    code = f"import sys, keystone.outputs; sys.exit(str({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "set()"


class Reference:
    """A stack reference that answers from a document."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def get_output(self, name: pulumi.Input[str]) -> pulumi.Output[Any]:
        assert isinstance(name, str)
        value = pulumi.Output.from_input(self.values.get(name))
        return pulumi.Output.secret(value) if name in outputs.SECRET else value


def test_a_stack_reference_is_read_with_types_and_only_the_kubeconfig_is_secret() -> None:
    seen: dict[str, Any] = {}
    names = ("api_endpoint", "kubeconfig", "mesh_url", "mesh_ca", "nodes", "versions", "services")

    async def collect(read: StackOutputs) -> bool:
        for name in names:
            value: pulumi.Output[Any] = getattr(read, name)
            seen[name] = (await value.future(), await value.is_secret())
        return True

    def build() -> None:
        # Numbers of another stack arrive as floating point.
        read = StackOutputs(Reference({**sample(), "outputsVersion": 1.0}))
        pulumi.export("collected", pulumi.Output.from_input(collect(read)))

    run(build)
    assert {name for name, (_, secret) in seen.items() if secret} == {"kubeconfig"}
    assert seen["api_endpoint"][0] == "https://127.0.0.1:6443"
    assert seen["nodes"][0]["primer"].role == "primer"
    assert seen["services"][0].gateway is None


def test_a_reference_to_a_stack_of_another_version_fails_with_the_cure() -> None:
    def build() -> None:
        pulumi.export("url", StackOutputs(Reference({**sample(), "outputsVersion": 2})).mesh_url)

    with pytest.raises(KeystoneError, match="the stack has 2, this reader knows 1"):
        run(build)


def test_a_reference_to_a_stack_from_before_the_interface_fails_with_the_cure() -> None:
    def build() -> None:
        old = {name: value for name, value in sample().items() if name not in ("outputsVersion", "meshCa")}
        pulumi.export("url", StackOutputs(Reference(old)).mesh_ca)

    with pytest.raises(KeystoneError, match="the stack has None, this reader knows 1"):
        run(build)


def sample() -> dict[str, Any]:
    return {
        "outputsVersion": 1,
        "apiEndpoint": "https://127.0.0.1:6443",
        "kubeconfig": "apiVersion: v1",
        "meshUrl": "https://127.0.0.1:8443",
        "meshCa": "",
        "nodes": {"primer": {"lan": "127.0.0.1", "mesh": "100.64.0.1", "role": "primer"}},
        "versions": {"kubernetes": "1.36.2", "headscale": "0.29.2"},
        "services": {"dashboardLabel": "grafana_dashboard"},
    }
