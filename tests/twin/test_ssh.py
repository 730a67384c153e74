"""The machines' SSH server, with asyncssh and with the OpenSSH client of this computer."""

import asyncio
import os

import asyncssh
import pytest

from tests.twin.lab import PORT, Lab
from twin.machine import Machine
from twin.ssh_keys import installer_key, installer_public_key, random_key

pytestmark = pytest.mark.asyncio


async def openssh(lab: Lab, machine: Machine, *command: str, key: str | None = None, stdin: bytes = b""):
    """Run the real ssh client with strict host-key checking."""
    known = lab.project / "known_hosts"
    known.write_text(f"[{machine.address}]:{PORT} {key or lab.installer_key()}\n")
    argv = ["ssh", "-v", "-F", "none", "-p", str(PORT), "-i", "operator_key", "-o", "BatchMode=yes"]
    argv += ["-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={known}", f"root@{machine.address}"]
    return await lab.program(*argv, *command, stdin=stdin)


async def blank(lab: Lab) -> Machine:
    machine = lab.machine()
    await machine.power_on()
    return machine


async def test_the_real_ssh_client_runs_a_command_with_its_input_output_and_status(lab: Lab):
    machine = await blank(lab)
    done = await openssh(lab, machine, "cat", "-", stdin=b"hello\n")
    assert (done.status, done.stdout) == (0, "hello\n")
    done = await openssh(lab, machine, "cat", "/nowhere")
    assert done.status == 1
    assert "cat: /nowhere: No such file or directory" in done.stderr


async def test_the_real_ssh_client_refuses_a_machine_with_another_host_key(lab: Lab):
    machine = await blank(lab)
    done = await openssh(lab, machine, "true", key=lab.pinned_key())
    assert done.status == 255
    assert "Host key verification failed" in done.stderr


async def test_an_input_of_many_megabytes_arrives_whole(lab: Lab):
    machine = await blank(lab)
    content = os.urandom(5_000_000).hex().encode()
    done = await openssh(lab, machine, "cat", stdin=content)
    assert done.stdout.encode() == content


async def test_only_the_operator_and_the_people_of_the_settings_may_log_in(lab: Lab):
    person = asyncssh.import_private_key(random_key())
    lab.config["keystone:cluster"]["authorizedKeys"] = [person.export_public_key().decode().strip()]
    lab.render()
    machine = await blank(lab)
    private = person.export_private_key().decode()
    (await lab.connect(machine, lab.installer_key(), key=private)).abort()
    with pytest.raises(asyncssh.PermissionDenied):
        await lab.connect(machine, lab.installer_key(), key=random_key().decode())
    with pytest.raises(asyncssh.PermissionDenied):
        await lab.connect(machine, lab.installer_key(), user="somebody")


async def test_an_installed_machine_authorises_the_keys_of_its_system(lab: Lab):
    person = asyncssh.import_private_key(random_key())
    lab.config["keystone:cluster"]["authorizedKeys"] = [person.export_public_key().decode().strip()]
    lab.render()
    machine = await lab.installed()
    lab.config["keystone:cluster"]["authorizedKeys"] = []
    lab.render()
    (await lab.connect(machine, lab.pinned_key(), key=person.export_private_key().decode())).abort()
    with pytest.raises(asyncssh.PermissionDenied):
        await lab.connect(machine, lab.pinned_key(), key=random_key().decode())


async def test_without_the_operator_key_in_the_project_nobody_gets_in(lab: Lab):
    (lab.project / "nix/secrets/lab/operator.pub").unlink()
    machine = await blank(lab)
    with pytest.raises(asyncssh.PermissionDenied):
        await lab.connect(machine, lab.installer_key())


async def test_an_unknown_command_ends_as_in_bash(lab: Lab):
    machine = await blank(lab)
    done = await lab.ssh(machine, lab.installer_key(), "frobnicate", "--now")
    assert (done.status, done.stderr) == (127, "bash: frobnicate: command not found\n")
    done = await lab.ssh(machine, lab.installer_key(), "kubectl", "get", "nodes")
    assert done.status == 127


@pytest.mark.parametrize(
    "line", ["cat /etc/os-release | grep ID", "true && reboot", 'cat "$HOME"', "true; true", "cat < x", "cat `x`"]
)
async def test_shell_syntax_is_refused_and_not_half_run(lab: Lab, line: str):
    machine = await blank(lab)
    connection = await lab.connect(machine, lab.installer_key())
    done = await connection.run(line)
    connection.abort()
    assert done.exit_status == 2
    assert "the twin's machines run plain programs, not shell syntax" in str(done.stderr)
    assert done.stdout == ""


async def test_quoted_words_stay_together(lab: Lab):
    machine = await blank(lab)
    done = await lab.ssh(machine, lab.installer_key(), "cat", "/a b;c$d'e")
    assert done.stderr == "cat: /a b;c$d'e: No such file or directory\n"


async def test_an_unclosed_quote_is_one_line(lab: Lab):
    machine = await blank(lab)
    connection = await lab.connect(machine, lab.installer_key())
    done = await connection.run("cat 'x")
    connection.abort()
    assert (done.exit_status, done.stderr) == (2, "bash: No closing quotation\n")


async def test_there_is_no_login_shell_no_file_transfer_and_no_forwarding(lab: Lab):
    machine = await blank(lab)
    connection = await lab.connect(machine, lab.installer_key())
    done = await connection.run()
    assert done.exit_status == 1
    assert "no login shell" in str(done.stderr)
    with pytest.raises(asyncssh.ChannelOpenError):
        await connection.start_sftp_client()
    with pytest.raises(asyncssh.ChannelOpenError):
        await connection.open_connection("127.0.0.1", 80)
    connection.abort()


async def test_client_programs_get_input_and_give_output_errors_and_status(lab: Lab):
    machine = await lab.installed()
    done = await lab.ssh(machine, lab.pinned_key(), "tailscale", "up", "--status", "7", stdin="a key")
    assert done.status == 7
    assert done.stdout == "args ['up', '--status', '7']\nstdin a key\n"
    assert done.stderr == "oops\n"
    assert (await lab.ssh(machine, lab.pinned_key(), "k3s", "kubectl", "version")).stdout.startswith("args ['version']")


async def test_hanging_up_ends_the_command(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    machine = await lab.installed()
    mark = lab.project / "pid"
    sleeper = ["/bin/sh", "-c", f"echo $$ > {mark}; exec sleep 60"]
    monkeypatch.setattr(machine.units.services["k3s"], "client", lambda _: (sleeper, {"PATH": os.environ["PATH"]}))
    connection = await lab.connect(machine, lab.pinned_key())
    await connection.create_process("kubectl get nodes --watch")
    await lab.until(lambda: mark.exists() and mark.read_text().strip().isdecimal())
    connection.abort()
    process = int(mark.read_text())
    await lab.until(lambda: not running(process))


async def test_a_switch_goes_on_when_the_session_that_asked_for_it_breaks(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    machine = await lab.installed()
    asked, go_on = asyncio.Event(), asyncio.Event()
    service = machine.units.services["k3s"]
    start = service.start

    async def slow() -> None:
        asked.set()
        await go_on.wait()
        await start()

    monkeypatch.setattr(service, "start", slow)
    connection = await lab.connect(machine, lab.pinned_key())
    await connection.create_process("systemctl restart k3s")
    await asyncio.wait_for(asked.wait(), 30)
    connection.abort()
    await asyncio.sleep(0.1)
    go_on.set()
    await lab.until(service.active)


async def test_a_fault_of_the_twin_itself_is_told_with_a_status(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    machine = await lab.installed()

    def broken(_: list[str]) -> None:
        raise ZeroDivisionError("by hand")

    monkeypatch.setattr(machine.units.services["k3s"], "client", broken)
    done = await lab.ssh(machine, lab.pinned_key(), "kubectl", "version")
    assert (done.status, done.stderr) == (70, "the twin failed: ZeroDivisionError('by hand')\n")
    assert (await lab.ssh(machine, lab.pinned_key(), "true")).status == 0


async def test_cutting_the_power_ends_sessions_and_commands(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    machine = await lab.installed()
    mark = lab.project / "pid"
    sleeper = ["/bin/sh", "-c", f"echo $$ > {mark}; exec sleep 60"]
    monkeypatch.setattr(machine.units.services["k3s"], "client", lambda _: (sleeper, {"PATH": os.environ["PATH"]}))
    connection = await lab.connect(machine, lab.pinned_key())
    await connection.create_process("kubectl get nodes --watch")
    await lab.until(lambda: mark.exists() and mark.read_text().strip().isdecimal())
    await machine.power_off()
    await asyncio.wait_for(connection.wait_closed(), 30)
    await lab.until(lambda: not running(int(mark.read_text())))


async def test_installer_keys_are_the_same_each_time_and_differ_by_machine_and_network():
    key = asyncssh.import_private_key(installer_key("127.79.0.0/24", "w1"))
    assert key.export_public_key().decode().split()[:2] == installer_public_key("127.79.0.0/24", "w1").split()
    keys = {installer_public_key(net, name) for net in ("127.79.0.0/24", "127.80.0.0/24") for name in ("w1", "w2")}
    assert len(keys) == 4


async def test_the_dev_stack_names_the_installer_keys_of_its_twin():
    from keystone.settings import read
    from tests.twin.lab import REPOSITORY
    from twin.site import twin_options

    network = twin_options("dev", REPOSITORY)["network"]
    for name, host in read("dev", REPOSITORY).hosts.items():
        assert host.installer_host_key == installer_public_key(network, name)


def running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
