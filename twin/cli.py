"""The `python -m twin` command: start, look at and end the local twin of a stack."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from keystone.errors import KeystoneError
from twin import control, env, ports, processes, tools
from twin.charts.orders import Order, Orders
from twin.services.layout import Layout
from twin.site import Place, Site

SPACE_NEEDED = 2 * 1024**3
"""Bytes free below the project: etcd, logs and root folders of a site of four machines take a fraction of it."""
START_SECONDS = 60.0
UNITS_SECONDS = control.UNITS_SECONDS + control.JOIN_SECONDS + 30.0
STOP_SECONDS = 150.0
PACKAGES = [Path(__file__).resolve().parents[1] / name for name in ("keystone", "twin")]
"""What the daemon runs."""
WAITING = {"off": "is off", "initrd": "waits for its passphrase"}
"""Words for machines that somebody has to do something for."""
NOT_RUNNING = 3
"""Exit status of `status` without a running twin, as of `systemctl status`."""

app = typer.Typer(
    help="The local twin of a stack: its machines, control plane and mesh on this computer.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Stack = Annotated[
    str, typer.Option("--stack", "-s", help="The stack, as in Pulumi.STACK.yaml.", envvar="KEYSTONE_STACK")
]
Project = Annotated[Path, typer.Option("--project", help="The folder of Pulumi.yaml.")]
HostName = Annotated[str, typer.Argument(help="A host of the stack file.")]


def say(text: str) -> None:
    """A line of progress; standard output is for what a program may read."""
    typer.echo(f"twin: {text}", err=True)


@app.command()
def up(stack: Stack = "dev", project: Project = Path()) -> None:
    """Start the twin, or bring a running one in line with the stack file. Does nothing for a stack without twin."""
    site = Site.read(stack, project)
    if site is None:
        return
    if missing := tools.missing():
        raise KeystoneError(
            ", ".join(missing), f"not in {tools.folder()}", "Build the tools with `python -m toolchain`"
        )
    check_space(site)
    if not env.install_plugins(site):
        raise KeystoneError(tools.KUBERNETES_PLUGIN, "is not built", "Build the tools with `python -m toolchain`")
    fetch_definitions(site)
    if control.running(site.control_socket):
        if outdated(site.control_socket, PACKAGES):
            say(
                f"its code has changed since it was started: `twin stop --stack {stack}` and `make up` take the new one"
            )
        control.request(site.control_socket, "reload", limit=START_SECONDS, say=say)
    else:
        start(site)
    for problem in control.request(site.control_socket, "wait", limit=UNITS_SECONDS, say=say):
        say(problem)
    found = control.request(site.control_socket, "status")
    for line in _crashes(found):
        say(line)
    for line in _screens(site, found["machines"]):
        say(line)
    say(_summary(site, found["machines"]))


def outdated(socket: Path, packages: Iterable[Path]) -> bool:
    """Whether a file of the packages is newer than the socket, which the daemon makes when it starts."""
    started = socket.stat().st_mtime
    return any(file.stat().st_mtime > started for folder in packages for file in folder.rglob("*.py"))


def _screens(site: Site, machines: dict[str, Any]) -> Iterator[str]:
    """What the screen of a machine in the installer shows, where the stack file says something else."""
    from twin.ssh_keys import installer_public_key  # it comes with cryptography, which takes its time

    for name, host in site.settings.hosts.items():
        shown = installer_public_key(str(site.network), name)
        if machines[name]["state"] == "installer" and not (host.installer_host_key or "").startswith(shown):
            yield f"the screen of {name} shows installerHostKey: {shown}"


def _summary(site: Site, machines: dict[str, Any]) -> str:
    states = {name: machine["state"] for name, machine in machines.items()}
    parts = [f"{len(machines)} machines on {site.network}"]
    parts.append(f"{sum(state == 'installed' for state in states.values())} installed")
    parts += [f"{name} {WAITING[state]}" for name, state in states.items() if state in WAITING]
    return ", ".join(parts)


def fetch_definitions(site: Site) -> None:
    """Get the definitions of custom resources that the stack's charts bring, before anything is touched."""
    from keystone.charts import releases
    from twin.charts import bootstrap, catalogue

    chosen = {release.chart for release in releases(site.settings).values()}
    catalogue.fetch(chosen | bootstrap.charts(site.settings), say)


@app.command()
def status(
    stack: Stack = "dev", project: Project = Path(), as_json: Annotated[bool, typer.Option("--json")] = False
) -> None:
    """Say which machines, units and processes there are; exit status 3 when the twin does not run."""
    site = _site(stack, project)
    if not control.running(site.control_socket):
        typer.echo(json.dumps({"stack": stack, "running": False}) if as_json else f"twin {stack}: not running")
        raise typer.Exit(NOT_RUNNING)
    found = control.request(site.control_socket, "status")
    typer.echo(json.dumps({"running": True, **found}, indent=2) if as_json else _table(found))


@app.command()
def logs(
    name: Annotated[str, typer.Argument(help="A machine, a process (see `status`) or `daemon`.")],
    stack: Stack = "dev",
    project: Project = Path(),
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as the log grows.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="Lines from the end.")] = 100,
) -> None:
    """Print the end of a log."""
    site = _site(stack, project)
    path = site.logs / f"{name}.log"
    if Path(name).name != name or not path.is_file():
        known = ", ".join(sorted(one.stem for one in site.logs.glob("*.log"))) or "none yet"
        raise KeystoneError(f"log {name!r}", "there is none", f"Known: {known}")
    with path.open(errors="replace") as stream:
        typer.echo("".join(stream.readlines()[-lines:]), nl=False)
        while follow:
            if text := stream.read():
                typer.echo(text, nl=False)
            time.sleep(0.3)


@app.command()
def stop(stack: Stack = "dev", project: Project = Path()) -> None:
    """Switch all machines off and end every process; disks, logs and state stay."""
    site = Site.read(stack, project)
    if site is not None:
        end(site)


@app.command()
def down(stack: Stack = "dev", project: Project = Path()) -> None:
    """Stop the twin and remove all of it; prints what is left over and exits 1 unless that is nothing."""
    site = Site.read(stack, project)
    if site is None:
        return
    end(site)
    recorded = processes.records(site.pids)
    shutil.rmtree(site.run, ignore_errors=True)
    shutil.rmtree(site.root, ignore_errors=True)
    from keystone.hosts.context import sweep  # it comes with asyncssh, which takes its time

    sweep(stack, project)
    with contextlib.suppress(OSError):
        # The folder of all twins; it stays while another stack has one.
        site.root.parent.rmdir()
    left = leftovers(site, recorded)
    for one in left:
        typer.echo(f"left over: {one}")
    if left:
        raise typer.Exit(1)
    say("nothing is left over")


@app.command("env")
def environment(stack: Stack = "dev", project: Project = Path()) -> None:
    """Print the shell lines that make plain `pulumi` use this stack: eval "$(python -m twin env)"."""
    if place := Place.read(stack, project):
        env.install_plugins(place)
    typer.echo(env.shell_lines(env.variables(stack, project)), nl=False)


@app.command("power-off")
def power_off(host: HostName, stack: Stack = "dev", project: Project = Path()) -> None:
    """Cut the power of a machine."""
    _ask(stack, project, "power-off", host)


@app.command("power-on")
def power_on(host: HostName, stack: Stack = "dev", project: Project = Path()) -> None:
    """Switch a machine on."""
    _ask(stack, project, "power-on", host)


@app.command()
def lock(host: HostName, stack: Stack = "dev", project: Project = Path()) -> None:
    """Restart a machine whose TPM refuses the disk's key: it waits in its initrd for the passphrase."""
    _ask(stack, project, "lock", host)


@app.command()
def remove(host: HostName, stack: Stack = "dev", project: Project = Path()) -> None:
    """Take a machine away that is no longer in the stack file, with its disks."""
    _ask(stack, project, "remove", host)


@app.command()
def chart(
    release: Annotated[str, typer.Argument(help="A release, as `kubectl get hr -A` names it.")],
    fail: Annotated[str, typer.Option(help="Let every attempt fail with this message.")] = "",
    hang: Annotated[bool, typer.Option("--hang", help="Let it never end.")] = False,
    slow: Annotated[float, typer.Option(help="Seconds that it takes longer.")] = 0.0,
    stack: Stack = "dev",
    project: Project = Path(),
) -> None:
    """Let a chart's installation fail, hang or take long; without an option it behaves again."""
    site = _site(stack, project)
    primer, _ = site.settings.primer
    Orders(Layout(site.machines / primer / "root").chart_orders).give(release, Order(fail=fail, hang=hang, slow=slow))


def check_space(site: Site) -> None:
    """Raise KeystoneError when there is not enough room for a site."""
    # The nearest folder that is there: .twin may be a disk of its own.
    folder = next(folder for folder in (site.root, *site.root.parents) if folder.exists())
    free = shutil.disk_usage(folder).free
    if free < SPACE_NEEDED:
        raise KeystoneError(
            str(folder), f"has {free // 1024**2} MiB free, the twin needs {SPACE_NEEDED // 1024**2}", "Make room"
        )


def start(site: Site) -> None:
    """Start the daemon on its own and wait, bounded, until every machine answers."""
    site.make_folders()
    listen, tell = os.pipe()
    package = Path(__file__).resolve().parent.parent
    command = [sys.executable, "-m", "twin.daemon", "--stack", site.stack, "--project", str(site.project)]
    # The daemon needs neither a secret nor any setting of the shell that happened to start it.
    kept = {
        key: value
        for key, value in os.environ.items()
        if key in ("PATH", "HOME", "TMPDIR", "KEYSTONE_TOOLS", "XDG_CACHE_HOME")
    }
    with (site.logs / "daemon.log").open("ab") as stream:
        process = subprocess.Popen(
            [*command, "--tell", str(tell)],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            cwd=site.project,
            env={**kept, "PYTHONPATH": str(package)},
            pass_fds=(tell,),
            start_new_session=True,
        )
    os.close(tell)
    word = _read(listen, START_SECONDS)
    if word == "ok":
        return
    if word == "busy":
        # Another `up` is at it: wait for its twin.
        if _until(lambda: control.running(site.control_socket), START_SECONDS):
            return
        raise KeystoneError(
            "twin", f"another start did not finish within {START_SECONDS:.0f} s", "See `twin logs daemon`"
        )
    if word.startswith("{"):
        raise control.Reported(json.loads(word)["error"])
    raise KeystoneError(
        "twin",
        f"did not start ({f'exit status {process.poll()}' if process.poll() is not None else 'no answer'})",
        f"See {site.logs / 'daemon.log'}",
    )


def end(site: Site) -> None:
    """Stop a running twin in order, or clean away what a killed one left."""
    if control.running(site.control_socket):
        pid = control.request(site.control_socket, "ping")["pid"]
        began = processes.start_time(pid)
        control.request(site.control_socket, "stop")
        if not _until(lambda: processes.start_time(pid) != began, STOP_SECONDS):
            raise KeystoneError(
                "twin", f"process {pid} did not end within {STOP_SECONDS:.0f} s", "See `twin logs daemon`"
            )
    from twin import daemon  # as above

    daemon.clean(site)
    shutil.rmtree(site.run, ignore_errors=True)


def leftovers(site: Site, recorded: list[processes.Record]) -> list[str]:
    """What still exists of a site that was taken down: processes, folders, listening ports."""
    found = [f"process {entry.pid} ({entry.name})" for entry in recorded if entry.alive()]
    found += [f"folder {folder}" for folder in (site.root, site.run) if folder.exists()]
    from twin.pools import network_of

    networks = (site.network, network_of(site.network))
    return found + [f"port {listener}" for network in networks for listener in ports.listeners(network)]


def _site(stack: str, project: Path) -> Site:
    site = Site.read(stack, project)
    if site is None:
        raise KeystoneError(f"stack {stack}", "has no twin:network, so there is no twin of it")
    return site


def _ask(stack: str, project: Path, op: str, host: str) -> None:
    control.request(_site(stack, project).control_socket, op, host=host, say=say)


def _until(true: Callable[[], bool], limit: float) -> bool:
    deadline = time.monotonic() + limit
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _read(descriptor: int, limit: float) -> str:
    """One line from a pipe; empty at its end or after `limit` seconds."""
    import select

    with os.fdopen(descriptor, "rb") as stream:
        ready, _, _ = select.select([stream], [], [], limit)
        return stream.readline().decode().strip() if ready else ""


def _table(found: dict[str, Any]) -> str:
    lines = [f"twin {found['stack']} on {found['network']}, process {found['pid']}"]
    for name, machine in found["machines"].items():
        note = "" if machine["inStackFile"] else "  (not in the stack file)"
        lines.append(f"{name:12} {machine['address']:15} {machine['state']}{note}")
        for unit, state in machine["units"].items():
            problem = f"  {state['problem']}" if state["problem"] else ""
            lines.append(f"  {unit:14} {state['state']}{problem}")
    for name, machine in found["instances"].items():
        problem = f"  {machine['problem']}" if machine["problem"] else ""
        lines.append(f"{name:20} {machine['address']:15} {machine['state']} in {machine['zone']}{problem}")
    total = sum(process["memory"] for process in found["processes"].values())
    lines.append(f"{len(found['processes'])} processes, {total // 1024**2} MiB")
    lines += [
        f"  {name:32} {process['pid']:>8} {process['memory'] // 1024**2:>6} MiB"
        for name, process in sorted(found["processes"].items())
    ]
    return "\n".join([*lines, *_crashes(found)])


def _crashes(found: dict[str, Any]) -> Iterator[str]:
    """Each process that has ended by itself since the twin was started, with its last log lines."""
    for crash in found["crashes"]:
        yield f"{crash['name']} ended by itself at {crash['when']} ({crash['how']}); last log lines:"
        yield from (f"  {line}" for line in crash["lines"])


def main() -> None:
    """Run a command; a fault is one line on standard error and exit status 1."""
    try:
        app(prog_name="twin")
    except KeystoneError as error:
        typer.echo(str(error), err=True)
        sys.exit(1)
