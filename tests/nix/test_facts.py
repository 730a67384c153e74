"""The facts: those of every stack are accepted, and each wrong one is refused with its file, its field and the cure."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from keystone import facts
from keystone.errors import KeystoneError
from keystone.facts import ClusterFacts, HostFacts
from keystone.settings import read
from tests.nix import stacks
from tests.nix.evaluator import NIX, PROJECT, NixError
from twin.factcheck import read_facts

CHECKED_IN = sorted(path.name for path in (NIX / "facts").iterdir() if path.is_dir())
KEY = {
    "region": "eu-central-1",
    "parameter": "/keystone/home/ci/mesh-key",
    "keyId": "alias/keystone-home",
    "roleArn": "arn:aws:iam::123456789012:role/keystone/home/home-pool-keys",
    "tags": ["tag:ci"],
    "keyHours": 24,
}
OFFSITE = {
    "bucket": "home-backup-123456789012",
    "region": "eu-central-1",
    "roleArn": "arn:aws:iam::123456789012:role/keystone/home/home-backup-hosts",
    "everyHours": 6,
    "zfsDays": 7,
    "datasets": ["etcd", "root"],
    "rclone": {"RCLONE_S3_PROVIDER": "AWS"},
}
EXPRESSION = "(import {library}).stack {folder}"


@pytest.mark.parametrize("stack", CHECKED_IN)
def test_checked_in_facts_are_those_of_the_settings(stack: str):
    assert facts.stale(read(stack, PROJECT), stack, PROJECT) == []


@pytest.mark.parametrize("stack", [*stacks.ALL, *CHECKED_IN])
def test_facts_of_every_stack_are_accepted(nix: Callable[[str], Any], tmp_path: Path, stack: str):
    folder = NIX / "facts" / stack if stack in CHECKED_IN else written(tmp_path, stacks.rendered(stack)) / stack
    accepted = nix(EXPRESSION.format(library=NIX / "lib/facts.nix", folder=folder))
    hosts = {file.stem: json.loads(file.read_bytes()) for file in folder.glob("*.json")}
    assert accepted == {"cluster": hosts.pop("cluster"), "hosts": hosts}


def written(folder: Path, files: dict[str, bytes]) -> Path:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder / "facts"


def put(*keys: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    """A change that sets one field."""

    def change(document: dict[str, Any]) -> None:
        place: Any = document
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


def drop(*keys: str) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        place: Any = document
        for key in keys[:-1]:
            place = place[key]
        del place[keys[-1]]

    return change


# file, change, what the message says
WRONG: list[tuple[str, Callable[[dict[str, Any]], None], str]] = [
    ("w1", put("stray", value=1), "w1.json: stray: unknown"),
    ("w1", drop("mac"), "w1.json: mac: missing"),
    ("w1", put("mac", value="52:54:00"), 'w1.json: mac: "52:54:00" is not a MAC address'),
    ("w1", put("schemaVersion", value=2), "w1.json: schemaVersion: 2 is not schema version 1"),
    ("w1", put("role", value="worker"), 'w1.json: role: "worker" is not one of primer, server, agent, edge'),
    ("w1", put("address", value="192.168.10.999"), 'w1.json: address: "192.168.10.999" is not an IPv4 address'),
    ("w1", put("remote", value="no"), 'w1.json: remote: "no" is not true or false'),
    ("w1", put("disk", value="/dev/sda"), 'w1.json: disk: "/dev/sda" is not a disk by its id'),
    ("w1", put("diskGuid", value="X"), 'w1.json: diskGuid: "X" is not a GUID in lower case'),
    (
        "w1",
        put("offsite", value=OFFSITE),
        "w1.json: offsite: is set on a agent, but only servers can get tokens for AWS",
    ),
    ("w1", put("offsite", value={**OFFSITE, "bucket": "A.b"}), 'w1.json: offsite.bucket: "A.b" is not a bucket'),
    ("w1", put("offsite", value={**OFFSITE, "everyHours": 24}), "w1.json: offsite.everyHours: 24 is not a number from"),
    ("w1", put("pools", value={"ci": KEY}), "w1.json: pools: are set on a agent, but only the primer can mint keys"),
    ("w1", put("pools", value={"ci": {**KEY, "keyHours": 1}}), "w1.json: pools.ci.keyHours: 1 is not a number from 13"),
    ("w1", put("pools", value={"ci": {**KEY, "keyId": "x"}}), 'w1.json: pools.ci.keyId: "x" is not a key'),
    ("w1", put("pools", value={"ci": {**KEY, "tags": []}}), "w1.json: pools.ci.tags: is empty"),
    ("w1", put("osdDisks", 0, value="/dev/sdb"), 'w1.json: osdDisks[0]: "/dev/sdb" is not a disk by its id'),
    ("w1", put("osdDisks", value="none"), 'w1.json: osdDisks: "none" is not a list'),
    ("w1", put("hostId", value="xyz"), "w1.json: hostId: "),
    ("w1", put("installGeneration", value=0), "w1.json: installGeneration: 0 is not a number from 1 to 1000000"),
    ("w1", put("layout", value="btrfs"), 'w1.json: layout: "btrfs" is not one of zfs-luks, ext4-luks'),
    ("w1", put("unlock", value="never"), 'w1.json: unlock: "never" is not one of tpm2, remote, both'),
    ("w1", put("ssh", "port", value=70000), "w1.json: ssh.port: 70000 is not a number from 1 to 65535"),
    ("w1", put("ssh", "initrdPort", value=22), "w1.json: ssh.initrdPort: equals ssh.port"),
    ("w1", put("site", value=[]), "w1.json: site: [] is not a set"),
    ("w1", put("site", "cidr", value="10.0.0.0"), 'w1.json: site.cidr: "10.0.0.0" is not an IPv4 range'),
    ("w1", put("site", "nameservers", value=[]), "w1.json: site.nameservers: is empty"),
    ("w1", put("site", "addressing", value="dhcp"), 'w1.json: site.addressing: "dhcp" is not one of'),
    ("w1", put("labels", value={"a": 1}), "w1.json: labels.a: 1 is not text"),
    ("w1", put("taints", value=[{"key": "a", "value": "b"}]), "w1.json: taints[0].effect: missing"),
    ("w1", put("meshRoutes", value=["10.0.0.0/99"]), "w1.json: meshRoutes[0]: "),
    ("w1", put("osdDisks", 0, value="/dev/disk/by-id/ata-SSD_21"), "w1.json: osdDisks: contains the system disk"),
    ("w1", put("name", value="w9"), "w1.json: name: is w9"),
    ("w1", put("role", value="server"), "w1.json: role: server and cluster.servers disagree"),
    ("s1", put("remote", value=True), "s1.json: remote: is set on a server, but etcd stays on one network"),
    ("cluster", put("cluster", "distribution", value="k0s"), 'cluster.json: cluster.distribution: "k0s" is not one of'),
    ("cluster", put("cluster", "podCidr", value="10.43.0.0/16"), "cluster.json: cluster.serviceCidr: equals podCidr"),
    ("cluster", put("cluster", "api", "endpoint", value="http://a"), "cluster.json: cluster.api.endpoint: "),
    ("cluster", put("cluster", "servers", value=[]), "cluster.json: cluster.servers: names 0 primers, not one"),
    ("cluster", put("cluster", "servers", 1, "name", value="gone"), "cluster.json: cluster.servers: gone has no facts"),
    (
        "cluster",
        put("mesh", "serverUrl", value="https://a.mesh.internal"),
        "cluster.json: mesh.serverUrl: a.mesh.internal lies inside",
    ),
    ("cluster", put("mesh", "derp", "regionId", value=1), "cluster.json: mesh.derp.regionId: 1 is not a number"),
    ("cluster", put("network", "cni", value="weave"), 'cluster.json: network.cni: "weave" is not one of cilium'),
    ("cluster", drop("gitops"), "cluster.json: gitops: missing"),
]


@pytest.mark.parametrize(("name", "change", "message"), WRONG, ids=[entry[2] for entry in WRONG])
def test_wrong_facts_are_refused(nix: Callable[[str], Any], tmp_path: Path, name: str, change: Any, message: str):
    files = dict(stacks.rendered("ten"))
    document = copy.deepcopy(json.loads(files[f"facts/ten/{name}.json"]))
    change(document)
    files[f"facts/ten/{name}.json"] = json.dumps(document).encode()
    folder = written(tmp_path, files) / "ten"
    with pytest.raises(NixError) as refused:
        nix(EXPRESSION.format(library=NIX / "lib/facts.nix", folder=folder))
    said = str(refused.value)
    assert message in said, said
    assert "Run `keystone facts`" in said


def test_all_faults_of_a_file_are_told_at_once(nix: Callable[[str], Any], tmp_path: Path):
    files = dict(stacks.rendered("ten"))
    document = json.loads(files["facts/ten/w1.json"]) | {"mac": "no", "stray": 1, "layout": "xfs"}
    files["facts/ten/w1.json"] = json.dumps(document).encode()
    with pytest.raises(NixError, match=r"layout: .*; mac: .*; stray: unknown"):
        nix(EXPRESSION.format(library=NIX / "lib/facts.nix", folder=written(tmp_path, files) / "ten"))


def test_a_wrong_fact_is_refused_by_the_typed_option_too(flake: Any):
    for field, value, said in (
        ("mac", '"zz"', "keystone.host.mac"),
        ("installGeneration", "0", "keystone.host.installGeneration"),
        ("site.nameservers", "[ ]", "keystone.host.site.nameservers"),
    ):
        module = f"{{ lib, ... }}: {{ keystone.host.{field} = lib.mkForce {value}; }}"
        with pytest.raises(NixError, match=f"A definition for option `{said}.* is not of type"):
            flake.changed("dev-w1", module, f"c: c.config.keystone.host.{field}")


def test_every_field_of_the_facts_has_a_typed_option_and_no_other(flake: Any):
    names = """c: let
      strip = o: if o ? _type then true else builtins.mapAttrs (_: strip) o;
    in builtins.mapAttrs (_: strip) { inherit (c.options.keystone) cluster host; }"""
    typed = flake.host("dev-w1", names)

    def shape(value: Any, like: Any) -> Any:
        return {key: shape(value[key], like[key]) for key in value} if isinstance(like, dict) else True

    cluster = json.loads((NIX / "facts/dev/cluster.json").read_bytes())["cluster"]
    host = json.loads((NIX / "facts/dev/w1.json").read_bytes())
    del host["schemaVersion"]
    assert shape(cluster, typed["cluster"]) == typed["cluster"]
    assert shape(host, typed["host"]) == typed["host"]


def mutants(document: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Every field once left out, once of another type; every set once with a field too many: (place, document)."""
    keys = list(document) if isinstance(document, dict) else range(len(document)) if isinstance(document, list) else []
    if isinstance(document, dict):
        yield (*place, "stray"), {**document, "stray": 1}
    for key in keys:
        if isinstance(document, dict):
            yield (*place, key), {name: value for name, value in document.items() if name != key}
        for other in (7, "7", True, None, [7], {"seven": 7}):
            if type(other) is not type(document[key]):
                yield (*place, key), with_value(document, key, other)
        for inner, changed in mutants(document[key], (*place, key)):
            yield inner, with_value(document, key, changed)


def with_value(document: Any, key: Any, value: Any) -> Any:
    changed = copy.copy(document)
    changed[key] = value
    return changed


@pytest.mark.parametrize(("name", "reader", "kind"), [("w1", "host", HostFacts), ("cluster", "cluster", ClusterFacts)])
def test_what_the_twins_machines_refuse_nix_refuses(
    nix: Callable[[str], Any], tmp_path: Path, name: str, reader: str, kind: Any
):
    document = json.loads(stacks.rendered("ten")[f"facts/ten/{name}.json"])
    refused: list[str] = []
    for number, (place, changed) in enumerate(mutants(document)):
        file = tmp_path / f"{number}.json"
        file.write_text(json.dumps(changed))
        try:
            read_facts(file, kind)
        except KeystoneError:
            refused.append(f"{number} {'.'.join(map(str, place))}")
    assert len(refused) > 100
    names = " ".join(f'"{entry.split()[0]}"' for entry in refused)
    taken = nix(
        f"let f = import {NIX}/lib/facts.nix; in"
        f' map (n: (builtins.tryEval (builtins.deepSeq (f.{reader} ({tmp_path} + "/${{n}}.json")) true)).success)'
        f" [ {names} ]"
    )
    assert [entry for entry, accepted in zip(refused, taken, strict=True) if accepted] == []
