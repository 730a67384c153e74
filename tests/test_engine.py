"""`keystone.engine` against the real Pulumi, with a small program of sleeping resources."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import toolchain
from keystone.engine import Run, adoption, execute, process, state
from keystone.engine.events import Reporter
from keystone.errors import KeystoneError

PROJECT = Path(__file__).resolve().parents[1]
PROGRAM = '''
"""Resources that take the seconds that their file says, and fail where it says so; `kept` ones are protected."""
import json
import time
from pathlib import Path

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider


class Sleeper(ResourceProvider):
    def create(self, props):
        time.sleep(props["seconds"])
        if props["problem"]:
            raise Exception(props["problem"])
        return CreateResult("id", props)

    def diff(self, _id, olds, news):
        changed = olds["seconds"] != news["seconds"]
        return DiffResult(changes=changed, replaces=["seconds"] if changed else [])


class Sleep(Resource):
    def __init__(self, name, seconds, problem):
        kept = pulumi.ResourceOptions(protect=name.startswith("kept"))
        super().__init__(Sleeper(), name, {"seconds": seconds, "problem": problem}, kept)


for name, (seconds, problem) in json.loads(Path("resources.json").read_text()).items():
    Sleep(name, seconds, problem)
pulumi.export("password", pulumi.Output.secret("canary-7f3a"))
pulumi.export("address", "127.0.0.1")
'''
SALT = next(
    line for line in (PROJECT / "Pulumi.dev.yaml").read_text().splitlines() if line.startswith("encryptionsalt")
)
TYPE = "pulumi-python:dynamic:Resource"


def shown(reporter: Reporter) -> str:
    assert isinstance(reporter.stream, io.StringIO)
    return reporter.stream.getvalue()


class Project:
    """A Pulumi project with a backend of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self.backend = folder / "state"
        self.running: list[subprocess.Popen[str]] = []
        self.folder.mkdir()
        self.backend.mkdir()
        runtime = {"name": "python", "options": {"virtualenv": sys.prefix}}
        (self.folder / "Pulumi.yaml").write_text(json.dumps({"name": "probe", "runtime": runtime}))
        (self.folder / "Pulumi.dev.yaml").write_text(f"# a comment that stays\nconfig:\n    probe:a:   'b'\n{SALT}\n")
        (self.folder / "__main__.py").write_text(PROGRAM)
        self.resources()

    def resources(self, **these: tuple[float, str]) -> None:
        (self.folder / "resources.json").write_text(json.dumps(these))

    def run(self, verb: str, limit: float = 120) -> str:
        """Do a run in this process; returns what was shown."""
        reporter = Reporter(preview=verb == "preview", stream=io.StringIO())
        execute(Run(verb=verb, stack="dev", project=self.folder, limit=limit), reporter)
        return "\n".join([shown(reporter), *reporter.results(), reporter.summary()])

    def start(self) -> "subprocess.Popen[str]":
        """`keystone up` as a process of its own."""
        self.running.append(
            subprocess.Popen(
                [sys.executable, "-m", "keystone", "up", "--stack", "dev"],
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": str(PROJECT)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return self.running[-1]

    def locks(self) -> list[Path]:
        return sorted((self.backend / ".pulumi" / "locks").rglob("*.json"))

    def exported(self) -> dict[str, list[dict[str, object]]]:
        return json.loads(process.quick(["stack", "export", "--stack", "dev"], self.folder))["deployment"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    toolchain.ensure(["pulumi", "pulumi-language-python"])
    project = Project(tmp_path)
    monkeypatch.setenv("PATH", f"{toolchain.bin_dir()}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{project.backend}")
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "keystone-twin")
    for name in ("PULUMI_STACK", "PULUMI_CONFIG_PASSPHRASE_FILE", "KEYSTONE_STACK"):
        monkeypatch.delenv(name, raising=False)
    yield project
    for pid in leaders(project):
        os.killpg(pid, signal.SIGKILL)
    for one in project.running:
        one.kill()
        one.communicate(timeout=30)


def leaders(project: Project) -> list[int]:
    """The `pulumi` processes that work in the project."""
    return [
        one.pid
        for one in psutil.process_iter(["name", "cwd"])
        if one.info["name"] == "pulumi" and one.info["cwd"] == str(project.folder)
    ]


def session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def wait_for(what: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def test_up_shows_what_was_made_and_a_second_one_changes_nothing(project: Project) -> None:
    project.resources(a=(0, ""))
    before = (project.folder / "Pulumi.dev.yaml").read_bytes()
    preview, first, second = project.run("preview"), project.run("up"), project.run("up")

    assert f"+ a{' ' * 27} {TYPE:<40} would be created" in preview
    assert f"+ a{' ' * 27} {TYPE:<40} created" in first
    assert "1 created;" in first
    assert "no changes;" in second
    assert "address:                 127.0.0.1" in first
    assert "password:                [secret]" in first
    assert "canary-7f3a" not in preview + first + second
    assert (project.folder / "Pulumi.dev.yaml").read_bytes() == before


def test_a_failed_resource_comes_last_with_its_whole_message(project: Project) -> None:
    project.resources(a=(0, ""), broken=(0, "it broke\nin two lines, the second " + "long " * 100 + "END"))
    with pytest.raises(KeystoneError) as caught:
        project.run("up")
    lines = str(caught.value).splitlines()

    assert lines[0].startswith("pulumi up: failed: 1 created, 1 failed;")
    assert lines[1] == f"broken ({TYPE}):"
    assert lines[2].endswith("it broke")
    assert lines[-1].endswith("long END")
    assert f"- a{' ' * 27} {TYPE:<40} deleted" in project.run("destroy")


@pytest.mark.parametrize(
    ("verb", "wanted", "freed"),
    [
        ("preview", {}, "1 would be deleted"),
        ("destroy", {}, "1 deleted"),
        ("up", {"kept-disk": (0.1, "")}, "1 created anew, 1 old one deleted"),
    ],
)
def test_a_protected_resource_stays_and_the_command_that_frees_it_is_named(
    project: Project, verb: str, wanted: dict[str, tuple[float, str]], freed: str
) -> None:
    project.resources(**{"kept-disk": (0, "")})
    project.run("up")
    project.resources(**wanted)
    with pytest.raises(KeystoneError) as caught:
        project.run(verb)
    urn = f"urn:pulumi:dev::probe::{TYPE}::kept-disk"
    assert str(caught.value).splitlines()[1:] == [
        f"kept-disk ({TYPE}):",
        f"  it is protected. If it may go: `pulumi state unprotect '{urn}' --stack dev`, then try again.",
    ]
    process.quick(["state", "unprotect", urn, "--stack", "dev", "--yes"], project.folder)
    assert freed in project.run(verb)


def test_destroy_of_a_stack_that_was_never_made_does_nothing(project: Project) -> None:
    assert "Stack dev has no state: nothing to do" in project.run("destroy")


def test_an_update_that_was_killed_is_taken_up_again_without_hand_work(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.resources(slow=(100, ""))
    running = project.start()
    wait_for(lambda: bool(project.locks()))
    wait_for(lambda: bool(project.exported().get("pending_operations")))
    [leader] = leaders(project)
    os.kill(leader, signal.SIGKILL)
    _, said = running.communicate(timeout=30)
    assert "pulumi up: was killed by signal 9. Run it again: it goes on from here." in said
    assert not [one for one in psutil.pids() if leader == session_of(one)]

    project.resources(slow=(0, ""))
    monkeypatch.setattr(adoption, "REPEATED", (*adoption.REPEATED, "pulumi-python:"))
    again = project.run("up")

    assert f"Removed the state lock of a dead process (process {leader}" in again
    assert "The last update was interrupted; doing again: slow (creating)" in again
    assert "1 created" in again
    assert not project.exported().get("pending_operations")


def test_the_state_is_read_although_an_update_writes_it_at_this_moment(project: Project) -> None:
    """What describes the state's file is cut short by hand, as it is for the time of one write."""
    state.load("dev", project.folder, create=True)
    path = project.backend / ".pulumi" / "stacks" / "probe" / "dev.json.attrs"
    whole = path.read_text()
    path.write_text("")
    with pytest.raises(KeystoneError, match="failed to load checkpoint: EOF"):
        project.exported()
    threading.Timer(0.3, path.write_text, [whole]).start()

    assert "manifest" in project.exported()


def test_an_interrupted_create_of_a_type_that_is_not_adopted_is_left_to_a_person(project: Project) -> None:
    state.load("dev", project.folder, create=True)
    urn = "urn:pulumi:dev::probe::aws:s3/bucket:Bucket::logs"
    resource = {"urn": urn, "custom": True, "type": "aws:s3/bucket:Bucket"}
    path = project.backend / ".pulumi" / "stacks" / "probe" / "dev.json"
    document = json.loads(path.read_text())
    manifest = {"time": "2026-01-01T00:00:00Z", "magic": "", "version": ""}
    pending = [{"resource": resource, "type": "creating"}]
    document["checkpoint"]["latest"] = {"manifest": manifest, "resources": [], "pending_operations": pending}
    path.write_text(json.dumps(document))
    with pytest.raises(KeystoneError) as caught:
        state.settle("dev", project.folder, print)

    assert f"{urn}: was being created when the last update was interrupted, and may exist." in str(caught.value)
    assert f"`keystone refresh --adopt {urn}=ITS-ID`" in str(caught.value)

    wrong = f"{urn}-of-somebody"
    message = rf"^--adopt: {wrong} is not what an interrupted update has left half made\. Left: {urn}\.$"
    with pytest.raises(KeystoneError, match=message):
        state.settle("dev", project.folder, print, {wrong: "its-id"})


def test_nothing_is_adopted_where_no_update_was_interrupted(project: Project) -> None:
    state.load("dev", project.folder, create=True)
    with pytest.raises(KeystoneError, match=r"^--adopt: urn:pulumi:x is not .*\. Nothing is left: type it without\.$"):
        state.settle("dev", project.folder, print, {"urn:pulumi:x": "its-id"})


def test_without_a_passphrase_there_is_one_line(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PULUMI_CONFIG_PASSPHRASE")
    message = r"^PULUMI_CONFIG_PASSPHRASE: is not set, and the stack's secrets are encrypted with it\. Set it"
    with pytest.raises(KeystoneError, match=message):
        project.run("up")


def test_a_wrong_passphrase_is_one_line(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "wrong")
    with pytest.raises(KeystoneError, match=r"^PULUMI_CONFIG_PASSPHRASE: does not decrypt the stack's secrets"):
        project.run("up")


def test_a_stack_without_a_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(KeystoneError, match=r"^Pulumi\.other\.yaml: there is no such stack file\. Make it with"):
        execute(Run(verb="up", stack="other", project=tmp_path))
