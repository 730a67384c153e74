"""The facts: what they hold, that they are stable, and what a rebuild hash depends on."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from keystone import facts
from keystone.errors import KeystoneError
from keystone.identities import disk_guid
from keystone.settings import Settings, parse, read
from keystone.settings.stackfile import settings_of

ROOT = Path(__file__).parents[1]
SMALL = ROOT / "tests" / "settings" / "valid" / "small.yaml"
HOST = {"role": "agent", "site": "home", "disk": "/dev/disk/by-id/x", "diskSerial": "X"}


def document() -> dict[str, Any]:
    return settings_of(yaml.safe_load(SMALL.read_text())["config"])


def with_host(name: str, number: int, **changes: Any) -> Settings:
    """The small settings with one host more."""
    settings = document()
    host = HOST | {"address": f"192.168.1.{number}", "mac": f"52:54:00:00:00:{number}"} | changes
    settings["hosts"][name] = host
    return parse(settings)


def loaded(settings: Settings) -> dict[str, Any]:
    return {path: json.loads(content) for path, content in facts.render(settings, "it").items()}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with sources, facts and secrets of the small settings."""
    for path, text in (
        ("nix/flake.nix", "{ }"),
        ("nix/modules/base.nix", "{ }"),
        ("nix/secrets/it/w1/token.age", "bytes"),
        ("nix/secrets/it/primer/token.age", "bytes"),
        ("nix/secrets/it/mesh-ca.crt", "ca"),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    index = {"files": {f"{name}/token.age": {"recipient": "r", "fingerprint": name} for name in ("w1", "primer")}}
    (tmp_path / "nix/secrets/it/index.json").write_text(json.dumps(index))
    facts.write(parse(document()), "it", tmp_path)
    return tmp_path


def test_the_checked_in_facts_of_every_stack_are_those_of_its_settings() -> None:
    stacks = [file.name.split(".")[1] for file in ROOT.glob("Pulumi.*.yaml")]
    assert stacks
    for stack in stacks:
        assert facts.stale(read(stack, ROOT), stack, ROOT) == []


def test_the_files_are_sorted_end_with_a_newline_and_are_the_same_each_time() -> None:
    settings = parse(document())
    shuffled = document()
    shuffled["hosts"] = dict(reversed(shuffled["hosts"].items()))
    rendered = facts.render(settings, "it")
    assert rendered == facts.render(parse(shuffled), "it")
    assert list(rendered) == ["nix/facts/it/cluster.json", "nix/facts/it/primer.json", "nix/facts/it/w1.json"]
    for content in rendered.values():
        assert content.endswith(b"}\n")
        assert content == (json.dumps(json.loads(content), indent=2, sort_keys=True) + "\n").encode()


def test_a_host_knows_its_disk_its_network_and_its_names() -> None:
    host = loaded(parse(document()))["nix/facts/it/w1.json"]
    assert host["schemaVersion"] == 1
    assert host["role"] == "agent"
    assert host["diskGuid"] == disk_guid("home", "w1", 1)
    assert re.fullmatch("[0-9a-f]{8}", host["hostId"])
    assert host["meshName"] == "w1.mesh.example.org"
    assert host["zone"] == "home"
    assert host["address"] == "192.168.1.21"
    assert host["site"] == {
        "name": "home",
        "cidr": "192.168.1.0/24",
        "gateway": "192.168.1.1",
        "nameservers": ["192.168.1.1"],
        "addressing": "static",
    }


def test_a_new_generation_changes_the_disk_guid_and_not_the_host_id() -> None:
    first = loaded(with_host("w2", 22))["nix/facts/it/w2.json"]
    second = loaded(with_host("w2", 22, installGeneration=2))["nix/facts/it/w2.json"]
    assert first["diskGuid"] != second["diskGuid"]
    assert first["hostId"] == second["hostId"]


def test_host_ids_differ_from_host_to_host_and_cluster_to_cluster() -> None:
    ids = {facts.host_id(cluster, host) for cluster in ("a", "b") for host in ("p", "w1", "w2")}
    assert len(ids) == 6


def test_the_cluster_names_servers_with_the_primer_first_and_no_agents() -> None:
    settings = document()
    for index, name in enumerate(("a1", "z1")):
        settings["hosts"][name] = HOST | {
            "role": "server",
            "address": f"192.168.1.{30 + index}",
            "mac": f"52:54:00:00:00:{30 + index}",
        }
    cluster = loaded(parse(settings))["nix/facts/it/cluster.json"]
    assert [server["name"] for server in cluster["cluster"]["servers"]] == ["primer", "a1", "z1"]
    assert cluster["cluster"]["servers"][0]["meshName"] == "primer.mesh.example.org"
    assert cluster["cluster"]["clusterDns"] == "10.43.0.10"
    assert "w1" not in json.dumps(cluster)


def test_one_agent_more_adds_one_file_and_changes_no_other() -> None:
    before, after = facts.render(parse(document()), "it"), facts.render(with_host("w2", 22), "it")
    assert {path: after[path] for path in before} == before
    assert set(after) - set(before) == {"nix/facts/it/w2.json"}


def test_a_host_announces_the_routes_that_name_it() -> None:
    settings = document()
    settings["mesh"]["routes"] = {"lan": {"cidr": "192.168.1.0/24", "hosts": ["w1"]}}
    rendered = loaded(parse(settings))
    assert rendered["nix/facts/it/w1.json"]["meshRoutes"] == ["192.168.1.0/24"]
    assert rendered["nix/facts/it/primer.json"]["meshRoutes"] == []


def test_writing_is_needed_once_and_removes_the_facts_of_hosts_that_are_gone(tmp_path: Path) -> None:
    more, less = with_host("w2", 22), parse(document())
    assert len(facts.write(more, "it", tmp_path)) == 4
    assert facts.write(more, "it", tmp_path) == []
    assert facts.write(less, "it", tmp_path) == ["nix/facts/it/w2.json"]
    assert sorted(file.name for file in (tmp_path / "nix/facts/it").iterdir()) == [
        "cluster.json",
        "primer.json",
        "w1.json",
    ]


def test_wrong_facts_on_disk_are_refused_in_one_line(project: Path) -> None:
    settings = parse(document())
    facts.check(settings, "it", project)
    (project / "nix/facts/it/w1.json").write_text("{}\n")
    (project / "nix/facts/it/primer.json").unlink()
    (project / "nix/facts/it/old.json").write_text("{}\n")
    with pytest.raises(KeystoneError) as caught:
        facts.check(settings, "it", project)
    assert str(caught.value) == (
        "nix/facts/it: old.json, primer.json, w1.json differ from the settings. Run `keystone facts --stack it`."
    )


def test_facts_that_cannot_be_written_are_told_with_their_cure(tmp_path: Path) -> None:
    (tmp_path / "nix").mkdir()
    (tmp_path / "nix/facts").write_text("in the way")
    with pytest.raises(KeystoneError, match=r"nix/facts.*: cannot be written: .*Free the disk"):
        facts.write(parse(document()), "it", tmp_path)


CHANGES: dict[str, tuple[Callable[[Path], object], bool]] = {
    "a module": (lambda p: (p / "nix/modules/base.nix").write_text("{ a = 1; }"), True),
    "a new module": (lambda p: (p / "nix/modules/new.nix").write_text("{ }"), True),
    "its own facts": (lambda p: (p / "nix/facts/it/w1.json").write_text("{}"), True),
    "the cluster's facts": (lambda p: (p / "nix/facts/it/cluster.json").write_text("{}"), True),
    "the mesh's public CA": (lambda p: (p / "nix/secrets/it/mesh-ca.crt").write_text("other"), True),
    "a further secret of its own": (lambda p: (p / "nix/secrets/it/w1/more.age").write_text("x"), True),
    "its secret's text": (lambda p: _refingerprint(p, "w1"), True),
    "its secret encrypted again": (lambda p: (p / "nix/secrets/it/w1/token.age").write_text("other bytes"), False),
    "another host's facts": (lambda p: (p / "nix/facts/it/primer.json").write_text("{}"), False),
    "another host's secret": (lambda p: _refingerprint(p, "primer"), False),
    "another stack": (lambda p: shutil.copytree(p / "nix/facts/it", p / "nix/facts/other"), False),
    "a link to a build": (lambda p: (p / "nix/result").symlink_to("/nowhere"), False),
    "an editor's hidden file": (lambda p: (p / "nix/modules/.base.nix.swp").write_text("x"), False),
}


def _refingerprint(project: Path, host: str) -> None:
    file = project / "nix/secrets/it/index.json"
    index = json.loads(file.read_text())
    index["files"][f"{host}/token.age"]["fingerprint"] = "other"
    file.write_text(json.dumps(index))


@pytest.mark.parametrize("what", CHANGES)
def test_the_rebuild_hash_changes_with_what_the_host_is_built_from_and_nothing_else(what: str, project: Path) -> None:
    change, counts = CHANGES[what]
    before = facts.rebuild_hash("it", "w1", project)
    assert before == facts.rebuild_hash("it", "w1", project)
    change(project)
    assert (facts.rebuild_hash("it", "w1", project) != before) is counts


def test_the_rebuild_hash_does_not_depend_on_where_the_project_lies(project: Path, tmp_path_factory: Any) -> None:
    other = tmp_path_factory.mktemp("elsewhere") / "copy"
    shutil.copytree(project, other)
    assert facts.rebuild_hash("it", "w1", other) == facts.rebuild_hash("it", "w1", project)


def test_a_host_without_facts_has_no_rebuild_hash(project: Path) -> None:
    with pytest.raises(KeystoneError, match=r"nix/facts/it/w9.json: there is no such file"):
        facts.rebuild_hash("it", "w9", project)
