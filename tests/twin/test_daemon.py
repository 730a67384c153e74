"""Promises about `python -m twin`, tried as a user runs it: real processes, a project folder of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from keystone import agefiles, facts
from keystone.identities import Identities
from keystone.settings import parse
from tests import networks
from tests.twin import sites
from tests.twin.projects import REPOSITORY, STACK, Project, eventually, make
from twin import control, processes
from twin.cli import outdated
from twin.ports import wanted
from twin.ssh_keys import installer_public_key

pytestmark = [pytest.mark.twin, pytest.mark.timeout(400)]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A stack of three blank machines; whatever a test started is ended."""
    one = make(tmp_path)
    yield one
    site = one.site
    if site.root.exists() or site.run.exists():
        one.run("down", check=False)
    assert not site.run.exists()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A running twin of three blank machines, for tests that leave it as they find it."""
    one = make(tmp_path_factory.mktemp("running"))
    one.run("up")
    yield one
    one.run("down", check=False)


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Project]:
    """A running twin whose primer and worker were installed as Keystone does it, with all units active."""
    one = make(tmp_path, workers=1)
    (tmp_path / "nix").mkdir()
    (tmp_path / "nix/flake.nix").write_text("{ outputs = _: { }; }\n")
    identities = Identities(sites.ROOT_SECRET, STACK)
    facts.write(one.site.settings, STACK, tmp_path)
    agefiles.render(one.site.settings, identities, STACK, tmp_path)
    one.run("up")
    try:
        for name in ("primer", "w1"):
            one.install(name)
        assert eventually(lambda: one.units() == {"active"}, 60), one.status()
        yield one
    finally:
        one.run("down", check=False)


def test_up_makes_blank_machines_that_answer_over_ssh_and_down_leaves_nothing(project: Project) -> None:
    before = set(Path(tempfile.gettempdir()).iterdir())
    done = project.run("up")
    assert "3 machines on" in done.stderr
    assert project.states() == {"primer": "installer", "w1": "installer", "w2": "installer"}
    with socket.create_connection((project.network.at(10), 2222), 5) as connection:
        assert connection.recv(8).startswith(b"SSH-2.0")
    assert project.site.run in set(Path(tempfile.gettempdir()).iterdir()) - before
    pid = project.status()["pid"]
    ended = project.run("down")
    assert "nothing is left over" in ended.stderr
    assert not (project.folder / ".twin").exists()
    assert not project.site.run.exists()
    assert processes.start_time(pid) is None


def test_a_stack_without_a_twin_is_left_alone_without_a_word(project: Project) -> None:
    path = project.folder / f"Pulumi.{STACK}.yaml"
    document = yaml.safe_load(path.read_text())
    del document["config"]["twin:network"]
    path.write_text(yaml.safe_dump(document))
    try:
        for command in ("up", "stop", "down"):
            done = project.run(command)
            assert (done.stdout, done.stderr) == ("", "")
        assert not (project.folder / ".twin").exists()
        lines = project.run("env").stdout
        assert "PULUMI_HOME" not in lines
        assert "PULUMI_BACKEND_URL" not in lines
    finally:
        project.write()


def test_a_second_up_changes_nothing(running: Project) -> None:
    pid = running.status()["pid"]
    running.run("up")
    assert running.status()["pid"] == pid


def test_a_twin_that_runs_older_code_than_there_is_is_told_apart(tmp_path: Path) -> None:
    socket_, code = tmp_path / "control", tmp_path / "package/part/code.py"
    socket_.touch()
    code.parent.mkdir(parents=True)
    code.touch()
    os.utime(socket_, (1000, 1000))
    os.utime(code, (999, 999))
    assert not outdated(socket_, [tmp_path / "package"])
    os.utime(code, (1001, 1001))
    assert outdated(socket_, [tmp_path / "package"])


def test_two_starts_at_once_make_one_twin_and_a_killed_one_is_cleaned_away(project: Project) -> None:
    command = [sys.executable, "-m", "twin", "up", "--stack", STACK, "--project", str(project.folder)]
    both = [subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [one.wait(90) for one in both] == [0, 0]

    # By the next start.
    first = project.status()["pid"]
    os.kill(first, signal.SIGKILL)
    assert eventually(lambda: processes.start_time(first) is None)
    assert project.run("status", check=False).returncode == 3
    project.run("up")
    assert project.status()["pid"] != first
    assert set(project.states().values()) == {"installer"}

    # By the end.
    os.kill(project.status()["pid"], signal.SIGKILL)
    assert "nothing is left over" in project.run("down").stderr


def test_a_busy_port_is_named_with_its_owner_in_one_line(project: Project) -> None:
    with socket.socket() as taken:
        taken.bind((project.network.at(10), 6443))
        taken.listen()
        done = project.run("up", check=False)
    assert done.returncode == 1
    name = psutil.Process().name()
    expected = f"tcp {project.network.at(10)}:6443: is taken by {name} (process {os.getpid()}). End that program"
    assert done.stderr.startswith(expected)
    assert len(done.stderr.splitlines()) == 1
    assert project.run("status", check=False).returncode == 3


def test_missing_tools_are_named_with_the_command_that_builds_them(project: Project, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    done = project.run("up", check=False, KEYSTONE_TOOLS=str(empty))
    assert done.returncode == 1
    assert "etcd, kube-apiserver" in done.stderr
    assert f"not in {empty}. Build the tools with `python -m toolchain`." in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_too_little_room_is_refused(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from keystone.errors import KeystoneError
    from twin import cli

    monkeypatch.setattr(cli, "SPACE_NEEDED", 1024**6)
    with pytest.raises(KeystoneError, match=r"MiB free, the twin needs \d+. Make room"):
        cli.check_space(project.site)


def test_a_machine_can_be_switched_off_and_on(running: Project) -> None:
    running.run("power-off", "w1")
    assert running.states()["w1"] == "off"
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((running.network.at(11), 2222), 5)
    running.run("power-on", "w1")
    assert running.states()["w1"] == "installer"
    done = running.run("power-off", "w9", check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == "host 'w9': is no machine of this twin. Known: primer, w1, w2."


def test_a_host_added_to_the_stack_file_gets_a_machine_and_one_taken_out_stays_until_removed(project: Project) -> None:
    project.run("up")
    hosts = project.document["hosts"]
    address = project.network.at(20)
    hosts["w3"] = {
        **hosts["w1"],
        "address": address,
        "mac": "02:00:00:78:99:20",
        "disk": "/dev/disk/by-id/virtio-w3-system",
        "diskSerial": "w3-system",
        "machineSerial": "twin-w3",
    }
    gone = hosts.pop("w2")
    project.write()
    own = installer_public_key(str(project.network), "w3")
    assert f"\ntwin: the screen of w3 shows installerHostKey: {own}\n" in project.run("up").stderr
    hosts["w3"]["installerHostKey"] = own
    project.write()
    assert "shows installerHostKey" not in project.run("up").stderr
    found = project.status()["machines"]
    assert sorted(found) == ["primer", "w1", "w2", "w3"]
    assert not found["w2"]["inStackFile"]
    assert found["w2"]["powered"]
    hosts["w4"] = gone
    project.write()
    message = f"hosts.w4.address: {gone['address']} is that of the machine w2, which is no longer in the stack file."
    assert message in project.run("up", check=False).stderr
    assert sorted(project.status()["machines"]) == ["primer", "w1", "w2", "w3"]
    del hosts["w4"]
    project.write()
    project.run("stop")
    project.run("up")
    assert sorted(project.status()["machines"]) == ["primer", "w1", "w2", "w3"]
    assert "is in the stack file" in project.run("remove", "w3", check=False).stderr
    project.run("remove", "w2")
    assert sorted(project.status()["machines"]) == ["primer", "w1", "w3"]
    assert not (project.site.machines / "w2").exists()
    hosts["w2"] = gone
    project.write()


def test_commands_to_a_twin_that_does_not_run_say_so_in_one_line(project: Project) -> None:
    done = project.run("power-off", "w1", check=False)
    assert (done.returncode, done.stderr) == (1, "twin: is not running. Start it with `twin up`.\n")


def test_logs_prints_the_end_of_a_log_and_names_those_that_there_are(running: Project) -> None:
    assert "installer: SSH on" in running.run("logs", "w1").stdout
    assert "3 machines on" in running.run("logs", "daemon").stdout
    done = running.run("logs", "nothing", check=False)
    assert done.stderr.strip() == "log 'nothing': there is none. Known: daemon, primer, w1, w2."


def test_env_gives_the_variables_of_a_hermetic_engine_and_installs_the_plugins(project: Project) -> None:
    lines = project.run("env").stdout
    shell = subprocess.run(
        ["/bin/sh", "-c", f"{lines}\nenv"], capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin"}
    )
    found: dict[str, str] = {}
    for line in shell.stdout.splitlines():
        name, _, found[name] = line.partition("=")
    assert found["PULUMI_HOME"] == str(project.site.pulumi_home)
    assert found["PULUMI_BACKEND_URL"] == f"file://{project.site.state}"
    assert found["PULUMI_CONFIG_PASSPHRASE"] == os.environ.get("PULUMI_CONFIG_PASSPHRASE", "keystone-twin")
    assert found["PULUMI_SKIP_UPDATE_CHECK"] == "true"
    assert str(REPOSITORY / "twin/bin") in found["PATH"].split(":")
    assert found["PATH"].endswith("/usr/bin:/bin") or "/usr/bin" in found["PATH"]
    programs = {path.name for path in (project.site.pulumi_home / "plugins").glob("*/*")}
    assert programs >= {"pulumi-resource-command", "pulumi-resource-kubernetes"}
    again = project.run("env", PATH=found["PATH"]).stdout
    assert again.splitlines()[0].count("twin/bin") == 1


def test_env_without_tools_gives_the_variables_and_makes_nothing(project: Project, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "PULUMI_HOME" in project.run("env", KEYSTONE_TOOLS=str(empty)).stdout
    assert not (project.folder / ".twin").exists()


def test_the_users_own_passphrase_wins(project: Project) -> None:
    assert "PULUMI_CONFIG_PASSPHRASE=mine" in project.run("env", PULUMI_CONFIG_PASSPHRASE="mine").stdout


def test_the_control_socket_answers_nonsense_with_an_error(running: Project) -> None:
    for sent in (b"nonsense\n", b'{"op": "explode"}\n', b"[]\n"):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(running.site.control_socket))
            connection.sendall(sent)
            assert "error" in json.loads(connection.makefile().readline())
    assert control.running(running.site.control_socket)


def test_an_installed_site_survives_kill_stop_and_power_cuts_and_goes_without_a_trace(installed: Project) -> None:
    assert installed.kubectl("create", "configmap", "kept").returncode == 0
    assert (installed.ready("primer"), installed.ready("w1")) == ("True", "True")

    # The twin is killed: all its processes go with it, and the next start finds the data.
    running = installed.status()["processes"]
    assert {"primer-etcd", "primer-kube-apiserver", "primer-headscale", "w1-tailscaled"} <= set(running)
    os.kill(running["daemon"]["pid"], signal.SIGKILL)
    assert eventually(lambda: not any(processes.start_time(one["pid"]) for one in running.values()))
    installed.run("up")
    assert installed.units() == {"active"}
    assert installed.kubectl("get", "configmap", "kept").returncode == 0
    assert eventually(lambda: installed.ready("w1") == "True")

    # A machine loses its power.
    installed.run("power-off", "w1")
    assert installed.ready("w1") == "Unknown"
    installed.run("power-on", "w1")
    assert eventually(lambda: installed.ready("w1") == "True", 30)

    # Without the primer, a worker that starts cannot join; the next `up` says so and does not wait for it.
    for command, name in (("power-off", "primer"), ("power-off", "w1"), ("power-on", "w1")):
        installed.run(command, name)
    said = installed.run("up").stderr
    assert "w1: k3s is activating: All connection attempts failed" in said
    assert "waiting for" not in said
    assert "1 installed, primer is off\n" in said
    installed.run("power-on", "primer")
    assert eventually(lambda: installed.units() == {"active"}, 60)

    # A process crashes: it is named with its last log lines, and comes back.
    os.kill(installed.status()["processes"]["primer-kube-scheduler"]["pid"], signal.SIGKILL)
    assert eventually(lambda: bool(installed.status()["crashes"]))
    shown = installed.run("status").stdout
    assert "primer-kube-scheduler ended by itself" in shown
    assert "(ended by SIGKILL); last log lines:\n  " in shown
    said = installed.run("up").stderr
    assert "twin: primer-kube-scheduler ended by itself" in said
    assert "(ended by SIGKILL); last log lines:\ntwin:   " in said
    assert eventually(lambda: "primer-kube-scheduler" in installed.status()["processes"])

    # An orderly stop keeps the data too.
    installed.run("stop")
    assert installed.kubectl("get", "nodes").returncode != 0
    installed.run("up")
    assert installed.kubectl("get", "configmap", "kept").returncode == 0

    memory = sum(one["memory"] for one in installed.status()["processes"].values())
    assert memory < 2 * 1024**3
    site, running = installed.site, installed.status()["processes"]
    assert "nothing is left over" in installed.run("down").stderr
    assert not any(processes.start_time(one["pid"]) for one in running.values())
    assert not site.run.exists()
    assert not (installed.folder / ".twin").exists()


def test_every_port_of_a_site_is_on_its_own_network() -> None:
    network = networks.fresh()
    settings = parse(sites.document(network, 3))
    found = list(wanted(settings))
    assert {address.rpartition(".")[0] for address, _, _ in found} == {network.base}
    assert len(found) == len(set(found))
    assert (network.at(10), 6443, False) in found
    assert (network.at(10), 3478, True) in found
