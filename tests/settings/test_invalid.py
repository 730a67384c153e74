"""Each file below invalid/ breaks one rule and names, in its first line, the message that it must get, and no other."""

import inspect
from pathlib import Path

import pytest
import yaml

from keystone.settings import SettingsError, read, rules
from keystone.settings.parsing import examine
from keystone.settings.stackfile import settings_of

HERE = Path(__file__).parent
INVALID = sorted((HERE / "invalid").glob("*.yaml"))
VALID = sorted((HERE / "valid").glob("*.yaml"))
MARK = "# expect: "


def names(files: list[Path]) -> list[str]:
    return [file.stem for file in files]


@pytest.mark.parametrize("file", INVALID, ids=names(INVALID))
def test_a_file_with_one_fault_gets_this_message_and_no_other(file: Path, tmp_path: Path) -> None:
    text = file.read_text()
    assert text.startswith(MARK)
    expected = text.splitlines()[0].removeprefix(MARK)
    assert len(expected) > 20, "the expected message is too short to prove anything"
    (tmp_path / "Pulumi.it.yaml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        read("it", tmp_path)
    [fault] = caught.value.faults
    assert expected in str(fault)
    assert str(caught.value) == f"Pulumi.it.yaml: {fault}"
    assert fault.cure, "a fault without a cure helps nobody"


@pytest.mark.parametrize("file", VALID, ids=names(VALID))
def test_a_valid_file_is_read(file: Path, tmp_path: Path) -> None:
    (tmp_path / "Pulumi.it.yaml").write_text(file.read_text())
    assert read("it", tmp_path).primer[1].role == "primer"


def test_every_rule_is_broken_by_a_file() -> None:
    broken = set()
    for file in INVALID:
        sections, _ = examine(settings_of(yaml.safe_load(file.read_text())["config"]))
        for rule in rules.RULES:
            needs = inspect.signature(rule).parameters
            if set(needs) <= set(sections) and list(rule(**{name: sections[name] for name in needs})):
                broken.add(rule.__name__)
    assert {rule.__name__ for rule in rules.RULES} - broken == set()


def test_every_rule_function_is_in_the_list() -> None:
    written = {
        name
        for module in (
            rules.ranges,
            rules.machines,
            rules.mesh,
            rules.choices,
            rules.platform,
            rules.observability,
            rules.tunnel,
            rules.aws,
            rules.backup,
            rules.clouds,
            rules.operators,
        )
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    }
    assert written == {rule.__name__ for rule in rules.RULES}


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    text = (HERE / "valid" / "small.yaml").read_text()
    for old, new in (
        ("address: 192.168.1.21", "address: 192.168.1.1"),
        ("gateway: 10.9.0.1", "gateway: 10.8.0.1"),
        ("domain: mesh.example.org", "domain: mesh.example.org, prefix: 10.0.0.0/8, extra: 1"),
        ("sans: [192.168.1.10]", "sans: []"),
    ):
        text = text.replace(old, new)
    (tmp_path / "Pulumi.it.yaml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        read("it", tmp_path)
    # The section `mesh` is faulty by itself (mesh.extra), so its rules wait; those of the sound sections do not.
    places = [fault.place for fault in caught.value.faults]
    assert places == ["cluster.api.sans", "hosts.w1.address", "mesh.extra", "sites.away.gateway"]
    assert len(str(caught.value).splitlines()) == len(places)
