"""What a preview says of machines, bills and reboots, case by case."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from keystone import facts
from keystone.errors import KeystoneError
from keystone.preview_comment import Reboots, Subject, read, render, run
from keystone.preview_comment.costs import costs
from keystone.preview_comment.machines import fates
from keystone.preview_comment.mask import mask
from keystone.preview_comment.reboot import APPLY, evaluate
from keystone.settings import parse
from tests.preview import plans
from tests.recording import document

HOST = plans.urn("keystone:components:Host", "w1")


def fate(*steps: dict[str, Any]) -> tuple[str, str]:
    [found] = fates(read(plans.events(*steps)))
    return found.what, found.detail


def command(
    purpose: str,
    op: str,
    *,
    old: dict[str, Any] | None = None,
    new: dict[str, Any] | None = None,
    protect: bool = False,
) -> dict[str, Any]:
    line = {"create": f".venv/bin/python -m keystone.hosts {purpose} w1"}
    both = {"old": {**line, **(old or {})}, "new": {**line, **(new or {})}}
    return plans.step(op, plans.COMMAND, f"{purpose}-w1", parent=HOST, protect=protect, **both)


def hashed(value: str) -> dict[str, Any]:
    return {"environment": {"KEYSTONE_REBUILD_HASH": value}}


def test_a_raised_generation_is_a_reinstall_that_erases_the_disk() -> None:
    steps = plans.host_steps("w1", "replace", generation=(3, 4))
    assert fate(*steps) == ("reinstalled", "installGeneration 3 -> 4; its disk is erased")


def test_a_protected_host_that_would_be_reinstalled_says_that_the_update_refuses() -> None:
    step = command("install", "replace", old={"triggers": [1]}, new={"triggers": [2]}, protect=True)
    assert fate(step)[1].endswith("; it is protected, so the update will refuse")


def test_a_replaced_install_of_the_same_generation_is_called_out() -> None:
    step = command("install", "replace", old={"triggers": [2]}, new={"triggers": [2]})
    assert fate(step) == ("reinstalled", "not by its generation: look before you approve; its disk is erased")


def test_an_equal_hash_is_nothing_even_when_a_command_runs_again() -> None:
    steps = [command("install", "same"), command("system", "update", old=hashed("a"), new=hashed("a"))]
    assert fate(*steps) == ("checked", "the command runs again, the system is the same")


def test_another_hash_is_a_switch_whose_reboot_is_not_determined_without_nix() -> None:
    steps = [command("install", "same"), command("system", "update", old=hashed("a"), new=hashed("b"))]
    assert fate(*steps) == ("switched", "switch; reboot not determined")


@pytest.mark.parametrize(
    ("install", "join", "what"),
    [
        ("create", "create", "installed"),
        ("delete", "delete", "removed"),
        ("same", "create", "joined"),
        ("same", "update", "joined again"),
        ("update", "same", "checked"),
        ("same", "same", "unchanged"),
    ],
)
def test_every_other_change_has_its_word(install: str, join: str, what: str) -> None:
    assert fate(command("install", install), command("join", join))[0] == what


def test_the_worst_comes_first_and_a_command_that_is_no_machine_is_left_out() -> None:
    steps = [
        *plans.host_steps("a", "same"),
        *plans.host_steps("b", "create"),
        *plans.host_steps("c", "delete"),
        *plans.host_steps("d", "replace", generation=(1, 2)),
        plans.step("create", plans.COMMAND, "system-check"),
    ]
    assert [(one.host, one.what) for one in fates(read(plans.events(*steps)))] == [
        ("d", "reinstalled"),
        ("c", "removed"),
        ("b", "installed"),
        ("a", "unchanged"),
    ]


def test_the_digest_and_the_stream_tell_the_same_about_machines_and_bills() -> None:
    one, other = (read((plans.FOLDER / f"hosts-change.{form}").read_text()) for form in ("digest.json", "stream.jsonl"))
    assert fates(one) == [fate for fate in fates(other) if fate.what != "unchanged"]
    assert costs(one) == costs(other)


GROUP = "aws:autoscaling/group:Group"
NODE_POOL = "kubernetes:karpenter.sh/v1:NodePool"
VOLUME = "kubernetes:core/v1:PersistentVolumeClaim"


def claim(size: str) -> dict[str, Any]:
    return {"spec": {"resources": {"requests": {"storage": size}}}}


def group(*types: str) -> dict[str, Any]:
    shares = {"onDemandPercentageAboveBaseCapacity": 100.0 if len(types) == 1 else 0.0}
    overrides = [{"instanceType": one} for one in types]
    return {"mixedInstancesPolicy": {"launchTemplate": {"overrides": overrides}, "instancesDistribution": shares}}


def node_pool(nodes: str, *types: str) -> dict[str, Any]:
    wanted = {"karpenter.sh/capacity-type": ["spot"], "node.kubernetes.io/instance-type": list(types)}
    requirements = [{"key": key, "operator": "In", "values": values} for key, values in wanted.items()]
    return {"spec": {"limits": {"nodes": nodes}, "template": {"spec": {"requirements": requirements}}}}


@pytest.mark.parametrize(
    ("step", "what"),
    [
        (plans.step("update", GROUP, "g", old={"maxSize": 3}, new={"maxSize": 6.0}), "maxSize 3 -> 6"),
        (plans.step("update", GROUP, "g", old={"maxSize": 3, "tags": 1}, new={"maxSize": 3, "tags": 2}), None),
        (
            plans.step("update", GROUP, "g", old=group("t3.medium", "t3a.medium"), new=group("m5.24xlarge")),
            "instanceType t3.medium/t3a.medium -> m5.24xlarge, onDemandPercentageAboveBaseCapacity 0 -> 100",
        ),
        (
            plans.step("update", NODE_POOL, "n", old=node_pool("4", "t3.medium"), new=node_pool("9", "t3.medium")),
            "nodes 4 -> 9",
        ),
        (
            plans.step("update", NODE_POOL, "n", old=node_pool("4", "t3.medium"), new=node_pool("4", "m5.24xlarge")),
            "values spot/t3.medium -> spot/m5.24xlarge",
        ),
        (plans.step("create", "aws:kms/key:Key", "k"), ""),
        (plans.step("delete", VOLUME, "v", old=claim("20Gi")), "storage 20Gi"),
        (plans.step("update", VOLUME, "v", old=claim("20Gi"), new=claim("40Gi")), "storage 20Gi -> 40Gi"),
        (plans.step("create", "kubernetes:core/v1:Service", "s", new={"spec": {"type": "ClusterIP"}}), None),
        (
            plans.step("create", "kubernetes:core/v1:Service", "s", new={"spec": {"type": "LoadBalancer"}}),
            "type LoadBalancer",
        ),
        (
            plans.step("create", GROUP, "g", new={"maxSize": "04da6b54-80e4-46f7-96ec-b56ff0331ba9"}),
            "maxSize known later",
        ),
        (plans.step("create", GROUP, "g", new={"maxSize": "[secret]"}), "maxSize [not shown]"),
        (plans.step("create", "kubernetes:core/v1:ConfigMap", "c"), None),
        (plans.step("same", "aws:kms/key:Key", "k"), None),
    ],
)
def test_a_bill_changes_only_by_what_is_billed(step: dict[str, Any], what: str | None) -> None:
    assert [one.what for one in costs(read(plans.events(step)))] == ([] if what is None else [what])


def test_masking_keeps_names_paths_and_addresses() -> None:
    for text in (
        "urn:pulumi:dev::keystone::keystone:components:Host$command:local:Command::install-w1",
        "/dev/disk/by-id/virtio-primer-system is not there",
        "https://127.79.0.10:6443/api/v1/namespaces/keystone-system refused",
        "Label it pod-security.kubernetes.io/enforce: restricted or baseline",
    ):
        assert mask(text) == text


class TestReboots:
    """Two trees of a stack with real facts, and what Nix would say of them."""

    @pytest.fixture
    def trees(self, tmp_path: Path) -> tuple[Path, Path]:
        for name in ("old", "new"):
            (tmp_path / name / "nix").mkdir(parents=True)
            (tmp_path / name / "nix/flake.nix").write_text(f"# {name}\n")
            facts.write(parse(document()), "dev", tmp_path / name)
        return tmp_path / "old", tmp_path / "new"

    def judge(self, trees: tuple[Path, Path], *, deployed: str = "", **changed: str) -> str:
        old, new = trees
        same = {"kernel": "/nix/store/k", "initrd": "/nix/store/i", "modules": "/nix/store/m"}
        said = {old: same, new: {**same, **changed}}
        reboots = Reboots(stack="dev", project=new, base=old, evaluate=lambda tree, _: said[tree])
        return reboots("w1", deployed or facts.rebuild_hash("dev", "w1", old))

    def test_equal_kernel_initrd_and_modules_need_no_reboot(self, trees: tuple[Path, Path]) -> None:
        assert self.judge(trees) == "switch without a reboot"

    def test_what_wants_the_reboot_is_named(self, trees: tuple[Path, Path]) -> None:
        changed = {"kernel": "/nix/store/k2", "modules": "/nix/store/m2"}
        assert self.judge(trees, **changed) == "switch; reboot for the new kernel, modules"

    def test_a_base_that_is_not_what_runs_determines_nothing(self, trees: tuple[Path, Path]) -> None:
        said = self.judge(trees, deployed="another")
        assert said == "switch; reboot not determined (the running system was not built from the base)"

    def test_without_nix_or_a_base_nothing_is_determined(
        self, trees: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old, new = trees
        monkeypatch.setenv("PATH", "")
        assert Reboots(stack="dev", project=new, base=None)("w1", "a") == "switch; reboot not determined"
        said = Reboots(stack="dev", project=new, base=old)("w1", facts.rebuild_hash("dev", "w1", old))
        assert said == "switch; reboot not determined (nix is not on PATH)"

    def test_nix_is_asked_for_three_paths_and_builds_nothing(
        self, trees: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        nix = tmp_path / "bin/nix"
        nix.parent.mkdir()
        answer = {"kernel": "/nix/store/k", "initrd": "/nix/store/i", "modules": "/nix/store/m"}
        nix.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" > {tmp_path}/asked\necho '{json.dumps(answer)}'\n")
        nix.chmod(0o755)
        monkeypatch.setenv("PATH", f"{nix.parent}:/usr/bin:/bin")

        assert evaluate(trees[0], "dev-w1") == answer
        asked = (tmp_path / "asked").read_text().splitlines()
        assert asked[2:5] == ["eval", "--json", "--apply"]
        assert asked[5] == APPLY
        assert asked[6] == f"path:{trees[0]}/nix#nixosConfigurations.dev-w1.config"

    def test_a_failing_evaluation_is_told_in_the_comment_and_fails_nothing(
        self, trees: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        nix = tmp_path / "bin/nix"
        nix.parent.mkdir()
        nix.write_text("#!/bin/sh\necho error: secret words >&2\nexit 1\n")
        nix.chmod(0o755)
        monkeypatch.setenv("PATH", f"{nix.parent}:/usr/bin:/bin")
        old, new = trees
        with pytest.raises(KeystoneError, match="cannot evaluate dev-w1"):
            evaluate(old, "dev-w1")
        deployed = facts.rebuild_hash("dev", "w1", old)
        steps = [command("install", "same"), command("system", "update", old=hashed(deployed), new=hashed("b"))]
        judge = Reboots(stack="dev", project=new, base=old)
        text = render(read(plans.events(*steps)), Subject(stack="dev"), judge)
        assert "| `w1` | switched | switch; reboot not determined (nix cannot evaluate dev-w1) |" in text


def test_what_the_providers_write_for_a_comment_lies_in_a_folder_that_ends_with_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "pulumi"
    program.write_text('#!/bin/sh\ntouch "$TMPDIR/credentials"\necho "$TMPDIR $(stat -c %a "$TMPDIR")"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(run.state, "load", lambda *_, **__: None)
    (tmp_path / "Pulumi.dev.yaml").touch()
    folder, mode = run.output("dev", tmp_path).split()
    assert (mode, Path(folder).exists()) == ("700", False)
    assert Path(folder) != Path(tempfile.gettempdir())
