"""What a sound document becomes: defaults, helpers, frozen values; and how files and the engine hand it over."""

import copy
import json
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from keystone.errors import KeystoneError
from keystone.settings import Settings, SettingsError, load, parse, read
from keystone.settings.faults import did_you_mean
from keystone.settings.mesh import DEFAULT_RULES, MESH_TAGS
from keystone.settings.parsing import examine
from keystone.settings.stackfile import config_of, settings_of

ROOT = Path(__file__).parents[2]
SMALL = Path(__file__).parent / "valid" / "small.yaml"


TUNNEL = {
    "accountId": "a" * 32,
    "zone": "example.org",
    "zoneId": "b" * 32,
    "team": "home",
    "hostnames": {
        "app": {
            "origin": {"namespace": "apps", "service": "web", "port": 80},
            "access": {"emails": ["ada@example.org"]},
        }
    },
}


def small() -> dict[str, Any]:
    """The settings of the small valid file, free to change."""
    return settings_of(yaml.safe_load(SMALL.read_text())["config"])


def test_sections_left_out_hold_their_defaults() -> None:
    document = small()
    del document["network"]
    settings = parse(document)
    assert (settings.network.cni, settings.network.encryption, settings.network.gateway) == (
        "cilium",
        "wireguard",
        "cilium",
    )
    assert settings.network.default_deny
    assert settings.protect_hosts
    assert settings.mesh.tls == "private"
    assert str(settings.mesh.prefix) == "100.64.0.0/10"
    assert str(settings.cluster.pod_cidr) == "10.42.0.0/16"
    assert settings.hosts["w1"].ssh.port == 22


def test_the_helpers_sort_hosts_by_what_they_are() -> None:
    document = small()
    host = document["hosts"]["w1"]
    for index, (name, role) in enumerate((("a2", "server"), ("z1", "server"), ("edge", "edge"), ("a1", "agent"))):
        document["hosts"][name] = host | {
            "role": role,
            "address": f"192.168.1.{30 + index}",
            "mac": f"52:54:00:00:00:{30 + index}",
        }
    settings = parse(document)
    assert settings.primer[0] == "primer"
    assert list(settings.servers) == ["a2", "primer", "z1"]
    assert list(settings.agents) == ["a1", "w1"]
    assert list(settings.edges) == ["edge"]
    assert list(settings.nodes) == ["a1", "a2", "primer", "w1", "z1"]
    assert settings.tag_of("w1") == "tag:agent"
    assert settings.site_of("w1") is settings.sites["home"]
    assert settings.hosts["w1"].failure_domain == "home"


def test_settings_are_frozen() -> None:
    settings = parse(small())
    with pytest.raises(ValidationError, match="frozen"):
        settings.cluster.name = "other"  # pyright: ignore[reportAttributeAccessIssue]


def test_a_parsed_document_is_the_same_when_written_and_parsed_again() -> None:
    settings = parse(small())
    written = json.loads(settings.model_dump_json(by_alias=True))
    assert parse(written) == settings


def test_parsing_leaves_the_document_alone() -> None:
    document = small()
    before = copy.deepcopy(document)
    parse(document)
    assert document == before


def test_the_default_rules_let_nodes_work_and_nobody_else_in() -> None:
    rules = parse(small()).mesh.rules
    assert rules == DEFAULT_RULES
    for name, rule in rules.items():
        assert not any(port.startswith("tcp:1-") for port in rule.ports)
        if "tag:agent" in rule.sources:
            assert set(rule.ports) <= {"api", "cni"}, name
        if "tag:edge" in rule.sources:
            assert set(rule.ports) == {"tcp:80", "tcp:443"}, name
    assert {word for rule in rules.values() for word in (*rule.sources, *rule.targets)} <= {*MESH_TAGS, "group:admins"}


def test_rules_of_a_stack_file_are_added_to_the_defaults_and_replace_by_name() -> None:
    document = small()
    web = {"from": ["group:admins"], "to": ["tag:agent"], "ports": ["tcp:8080"]}
    document["mesh"]["rules"] = {"web": web, "edge-web": web}
    rules = parse(document).mesh.rules
    assert set(rules) == {*DEFAULT_RULES, "web"}
    assert rules["edge-web"].ports == ("tcp:8080",)
    assert rules["nodes-api"] == DEFAULT_RULES["nodes-api"]


def test_the_group_admins_is_always_there() -> None:
    document = small()
    document["mesh"] |= {"users": ["ada"], "groups": {"developers": ["ada"]}}
    assert parse(document).mesh.groups == {"admins": (), "developers": ("ada",)}


@pytest.mark.parametrize(
    ("cni", "encryption", "ports"),
    [
        ("cilium", "wireguard", ("tcp:4240", "tcp:4244", "udp:8472", "udp:51871")),
        ("cilium", "none", ("tcp:4240", "tcp:4244", "udp:8472")),
        ("flannel", "wireguard", ("udp:51820",)),
        ("flannel", "none", ("udp:8472",)),
        ("calico", "wireguard", ("udp:4789", "udp:51820")),
    ],
)
def test_the_network_plugins_ports_follow_from_the_choice(cni: str, encryption: str, ports: tuple[str, ...]) -> None:
    document = small()
    document["network"] = {
        "cni": cni,
        "encryption": encryption,
        "gateway": "traefik",
        "loadBalancer": {"provider": "metallb"},
    }
    settings = parse(document)
    assert settings.ports("cni") == ports
    assert settings.ports("tcp:443") == ("tcp:443",)
    assert settings.ports("ssh") == ("tcp:22",)


def test_the_stack_files_of_the_project_are_valid() -> None:
    files = sorted(ROOT.glob("Pulumi.*.yaml"))
    assert files
    for file in files:
        read(file.name.split(".")[1], ROOT)


def test_the_dev_stack_is_a_primer_and_three_workers_on_loopback() -> None:
    settings = read("dev", ROOT)
    assert list(settings.servers) == ["primer"]
    assert list(settings.agents) == ["w1", "w2", "w3"]
    assert all(host.address.is_loopback for host in settings.hosts.values())
    assert not settings.protect_hosts
    assert settings.mesh.server_port == 8443


def test_a_stack_without_a_file_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        KeystoneError, match=r"^Pulumi.no.yaml: there is no such stack file\. Make it with `keystone init"
    ):
        read("no", tmp_path)


@pytest.mark.parametrize("name", ["../dev", "a/b", "", ".."])
def test_a_stack_name_is_never_a_path(name: str, tmp_path: Path) -> None:
    with pytest.raises(KeystoneError, match="is not a stack's name"):
        config_of(name, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("config: {a: [}", "is not sound YAML: .* in line 1"),
        ("config:\n\ta: 1", r"is not sound YAML: found character '\\t' .* in line 2\. Indent by spaces, not tabs\."),
        ("config:\n  a: 1\n  a: 2", "is not sound YAML: the key a stands there twice in line 3"),
        ("config:\n  ? [a]\n  : 1", "is not sound YAML: found unhashable key in line 2"),
        ("{}", "has no `config:` with keys"),
        ("- a", "has no `config:` with keys"),
        ("config: {1: 2}", "has no `config:` with keys"),
    ],
)
def test_a_broken_file_is_refused_in_one_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "Pulumi.it.yaml").write_text(text)
    with pytest.raises(KeystoneError, match=message) as caught:
        config_of("it", tmp_path)
    assert "\n" not in str(caught.value)


def test_an_unknown_word_gets_the_nearest_known_one() -> None:
    assert did_you_mean("podCdir", ["podCidr", "name"]) == "Perhaps podCidr is meant"
    assert did_you_mean("zzz", ["b", "a"]) == "Known here: a, b"


def test_a_message_never_shows_the_inside_of_a_group() -> None:
    document = small()
    document["hosts"]["w1"]["disk"] = {"password": "hunter2"}
    document["cluster"]["name"] = ["hunter2"]
    with pytest.raises(SettingsError) as caught:
        parse(document)
    assert len(caught.value.faults) == 2
    assert "hunter2" not in str(caught.value)


def load_under_the_engine(document: dict[str, Any], secret: str | None) -> tuple[Settings, bool]:
    """What `load` gives a program with this configuration, and whether its root secret is secret."""

    class Nothing(pulumi.runtime.Mocks):
        def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[Any, Any]]:
            return args.name, args.inputs

        def call(self, args: pulumi.runtime.MockCallArgs) -> Any:
            raise AssertionError(args.token)

    plain = {
        f"keystone:{key}": value if isinstance(value, str) else json.dumps(value) for key, value in document.items()
    }
    hidden = {"keystone:rootSecret": secret} if secret else {}
    pulumi.runtime.set_all_config({**plain, **hidden, "twin:network": "127.79.0.0/24"}, [*hidden])
    pulumi.runtime.set_mocks(Nothing(), project="keystone", stack="it")
    found: list[Settings] = []
    is_secret: list[bool] = []

    @pulumi.runtime.test
    def program() -> pulumi.Output[None]:
        settings, secrets = load()
        found.append(settings)
        return pulumi.Output.from_input(secrets.root.is_secret()).apply(is_secret.append)

    program()
    return found[0], is_secret[0]


def test_the_program_gets_the_same_settings_as_the_file_and_the_root_as_a_secret() -> None:
    assert load_under_the_engine(small(), "00" * 32) == (parse(small()), True)


@pytest.mark.parametrize(
    ("change", "secret", "message"),
    [
        ({"storrage": {}}, "00", "Pulumi.it.yaml: storrage: this key is unknown"),
        ({}, None, "Pulumi.it.yaml: rootSecret: this secret is missing"),
        ({"mesh": "hello"}, "00", "Pulumi.it.yaml: mesh: 'hello' is not a group of keys"),
        ({"protectHosts": "maybe"}, "00", "Pulumi.it.yaml: protectHosts: 'maybe' is not true or false"),
        ({"tunnel": TUNNEL}, "00", "Pulumi.it.yaml: cloudflareToken: this secret is missing, and tunnel needs it"),
    ],
)
def test_the_program_refuses_a_wrong_configuration(change: dict[str, Any], secret: str | None, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_under_the_engine(small() | change, secret)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["10.0.0.0/8", "tag:agent", "w1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*(small()), "storage", "x"]), json_values), st.data())
def test_any_document_is_either_sound_or_gets_faults_with_a_place(changes: dict[str, Any], data: st.DataObject) -> None:
    document = small() | changes
    section = data.draw(st.sampled_from(["cluster", "mesh", "network"]))
    if isinstance(document.get(section), dict):
        document[section] = document[section] | data.draw(
            st.dictionaries(st.sampled_from(["domain", "cni", "x"]), json_values)
        )
    sections, faults = examine(document)
    assert all(fault.place and fault.problem and "\n" not in str(fault) for fault in faults)
    if not faults:
        assert parse(document) == Settings.model_construct(**sections)
