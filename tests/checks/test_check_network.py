"""Each file below network/bad is one combination that does not work, with the message it must get, and no other.

A file's `settings` are laid over a small site, its `files` are a project's. `also` names a second message where
two rules see the same fault. The files below network/good look alike and have no finding.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from keystone.checks.findings import Finding
from keystone.checks.network import RULES, check
from tests.recording import document

HERE = Path(__file__).parent / "network"
BAD, GOOD = sorted((HERE / "bad").glob("*.yaml")), sorted((HERE / "good").glob("*.yaml"))
MARK = "# expect: "


def laid_over(base: Any, change: Any) -> Any:
    if isinstance(base, Mapping) and isinstance(change, Mapping):
        return {**base, **{key: laid_over(base.get(key), value) for key, value in change.items()}}
    return change


def findings(file: Path, folder: Path) -> list[Finding]:
    fixture = yaml.safe_load(file.read_text()) or {}
    settings = laid_over(document(), fixture.get("settings") or {})
    keys = ["rootSecret", *(["cloudflareToken"] if "tunnel" in settings else [])]
    config: dict[str, Any] = {f"keystone:{key}": {"secure": "v1:AAAA:AAAA"} for key in keys}
    config |= {f"keystone:{k}": v for k, v in settings.items()}
    (folder / "Pulumi.it.yaml").write_text(yaml.safe_dump({"config": config}))
    for name, text in (fixture.get("files") or {}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    sources = [folder / top for top in {name.split("/")[0] for name in fixture.get("files") or {}} - {"nix"}]
    return check("it", folder, sources)


@pytest.mark.parametrize("file", BAD, ids=lambda file: file.stem)
def test_a_bad_combination_gets_its_message_and_no_other(file: Path, tmp_path: Path) -> None:
    text = file.read_text()
    assert text.startswith(MARK)
    expected = {text.splitlines()[0].removeprefix(MARK)}
    expected |= {(yaml.safe_load(text) or {}).get("also")} - {None}
    assert {str(one) for one in findings(file, tmp_path)} == expected


@pytest.mark.parametrize("file", GOOD, ids=lambda file: file.stem)
def test_a_good_look_alike_has_no_finding(file: Path, tmp_path: Path) -> None:
    assert findings(file, tmp_path) == []


def test_every_rule_is_broken_by_a_file() -> None:
    named = {file.read_text().split("[", 1)[1].split("]")[0].replace("-", "_") for file in BAD}
    rules = {rule.__name__ for rule in RULES}
    assert rules <= named


def test_the_overheads_are_those_of_the_host_layer() -> None:
    text = Path("nix/modules/cni.nix").read_text()
    for line in (
        "cilium = 50 + (if encrypted then 80 else 0);",
        "flannel = if encrypted then 80 else 50;",
        "calico = if encrypted then 80 else 50;",
    ):
        assert line in text


@pytest.mark.parametrize("stack", sorted(path.name.split(".")[1] for path in Path().glob("Pulumi.*.yaml")))
def test_our_own_stacks_have_no_finding(stack: str) -> None:
    assert check(stack, Path()) == []


def test_a_policy_with_comments_and_trailing_commas_is_read(tmp_path: Path) -> None:
    policy = '{\n  // "not": this\n  "autoApprovers": {"routes": {"192.168.0.0/16": ["tag:agent",],},}, /* end */\n}\n'
    (tmp_path / "policy.hujson").write_text(policy)
    facts = tmp_path / "nix/facts/it/w1.json"
    facts.parent.mkdir(parents=True)
    facts.write_text(json.dumps({"name": "w1", "role": "agent", "meshRoutes": ["192.168.7.0/24"]}))
    config = {"keystone:rootSecret": {"secure": "v1:AAAA:AAAA"}} | {f"keystone:{k}": v for k, v in document().items()}
    (tmp_path / "Pulumi.it.yaml").write_text(yaml.safe_dump({"config": config}))
    assert check("it", tmp_path, [tmp_path]) == []
