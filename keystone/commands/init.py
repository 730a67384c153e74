"""`keystone init STACK`: makes a new stack file with its secrets, from questions or from flags."""

import contextlib
import secrets
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
import yaml

from keystone.engine.process import binary, quick
from keystone.engine.state import refuse_other_twin
from keystone.errors import KeystoneError
from keystone.files import write_file
from keystone.published import TWIN_PASSPHRASE
from keystone.root_secret import passphrase
from keystone.settings import SettingsError, read
from keystone.settings.blank import Answers, document, first_address, host_of, text
from keystone.settings.parsing import examine
from keystone.settings.stackfile import NAMESPACE, ROOT_SECRET, path_of

_SECRET_BYTES = 32

_HOST_QUESTIONS = (
    ("address", "address", ""),
    ("mac", "MAC address", ""),
    ("disk", "system disk (/dev/disk/by-id/...)", ""),
    ("diskSerial", "serial number of that disk (lsblk -o SERIAL)", ""),
    ("installerHostKey", "the installer's public SSH host key (empty: not recorded)", "-"),
)

Option = typer.Option


def init(
    stack: Annotated[str, typer.Argument(help="Name of the new stack.")],
    name: Annotated[str | None, Option(help="Name of the cluster; the stack's name when left out.")] = None,
    domain: Annotated[str | None, Option(help="DNS domain of the site, such as home.example.org.")] = None,
    cidr: Annotated[str | None, Option(help="Range of the local network, such as 192.168.1.0/24.")] = None,
    gateway: Annotated[str | None, Option(help="Address of the router; the range's first when left out.")] = None,
    nameserver: Annotated[list[str] | None, Option(help="DNS server; the router when left out. Repeatable.")] = None,
    dhcp_range: Annotated[str, Option(help="Addresses that the router gives away: first-last.")] = "",
    pool: Annotated[str, Option(help="Addresses for LoadBalancer services: first-last.")] = "",
    mesh_url: Annotated[str, Option(help="URL of the mesh's controller; https://PRIMER:8443 when left out.")] = "",
    mesh_domain: Annotated[str, Option(help="DNS domain of the mesh; mesh.DOMAIN when left out.")] = "",
    authorized_key: Annotated[list[str] | None, Option(help="Public SSH key of a person. Repeatable.")] = None,
    host: Annotated[
        list[str] | None, Option(help="NAME:role=primer,address=...,mac=...,disk=...,diskSerial=... Repeatable.")
    ] = None,
    protect_hosts: Annotated[bool, Option(help="Whether installed hosts refuse removal and reinstallation.")] = True,
    secrets_provider: Annotated[str | None, Option(help="Pulumi's secrets provider, such as awskms://...")] = None,
    ask: Annotated[
        bool | None,
        Option("--ask/--no-ask", help="Whether to ask for what no flag says; only on a terminal by default."),
    ] = None,
) -> None:
    """Make a new stack file: Pulumi.STACK.yaml."""
    file = path_of(stack)
    refuse_existing(file)
    refuse_twin(stack, secrets_provider)
    binary()  # before a question is asked
    asking = sys.stdin.isatty() if ask is None else ask
    question: Callable[[str, str, str], str] = _ask if asking else _missing
    domain = domain or question("--domain", "DNS domain of the site", "")
    cidr = cidr or question("--cidr", "range of the local network", "192.168.1.0/24")
    hosts = dict(map(host_of, host or ()))
    answers = Answers(
        name=name or stack,
        domain=domain,
        cidr=cidr,
        gateway=gateway or (_ask("", "address of the router", first_address(cidr)) if asking else first_address(cidr)),
        nameservers=nameserver or (),
        dhcp_range=dhcp_range,
        pool=pool,
        mesh_url=mesh_url,
        mesh_domain=mesh_domain,
        authorized_keys=authorized_key or (),
        protect_hosts=protect_hosts,
        hosts=hosts or (_asked_hosts() if asking else _missing("--host", "at least the primer", "")),
    )
    create(stack, document(answers), secrets_provider=secrets_provider)
    typer.echo(f"written  {file.name}")
    typer.echo(f"Next: keystone facts --stack {stack}, look at the file, then make up STACK={stack}")


def refuse_existing(file: Path) -> None:
    """Raise KeystoneError when the file exists: it may be the only copy of a root secret."""
    if file.exists():
        raise KeystoneError(file.name, "exists already, and its root secret may be the only one", "Take another name")


def refuse_twin(stack: str, secrets_provider: str | None) -> None:
    """Raise KeystoneError when the shell is a twin's: what it keeps is published, and goes with the twin."""
    refuse_other_twin(stack, Path())
    published = False
    if secrets_provider in (None, "default", "passphrase"):
        with contextlib.suppress(KeystoneError):  # pulumi itself says what is missing
            published = passphrase() == TWIN_PASSPHRASE
    if published:
        raise KeystoneError(
            "PULUMI_CONFIG_PASSPHRASE",
            "is that of twins, which is published",
            "Open a new shell, and use the Pulumi of your own",
        )


def create(
    stack: str, settings: dict[str, Any], project: Path = Path(), *, secrets_provider: str | None = None
) -> None:
    """Make the stack in Pulumi's backend, its root secret and its file; on any failure neither of them stays.

    The settings are checked before anything is made. Raises SettingsError with their faults, KeystoneError otherwise.
    """
    file = path_of(stack, project)
    refuse_existing(file)
    _, faults = examine(settings)
    if faults:
        raise SettingsError(faults, file.name)
    provider = ["--secrets-provider", secrets_provider] if secrets_provider else []
    with _removed_on_failure(file.unlink):
        quick(["stack", "init", stack, "--no-select", *provider], project)
        with _removed_on_failure(lambda: quick(["stack", "rm", stack, "--yes", "--preserve-config"], project)):
            key = f"{NAMESPACE}:{ROOT_SECRET}"
            secret = secrets.token_hex(_SECRET_BYTES)
            quick(["config", "set", "--secret", key, "--stack", stack], project, given=secret)
            written = yaml.safe_load(file.read_text(encoding="utf-8"))
            write_file(file, text(settings, written).encode())
            read(stack, project)


@contextlib.contextmanager
def _removed_on_failure(undo: Callable[[], object]) -> Iterator[None]:
    try:
        yield
    except BaseException:  # an interrupt too must leave nothing half-made
        with contextlib.suppress(OSError, KeystoneError):
            undo()
        raise


def _ask(_flag: str, words: str, default: str) -> str:
    return typer.prompt(words, default=default or None)


def _missing(flag: str, words: str, _default: str) -> NoReturn:
    raise KeystoneError(flag, f"is missing ({words}), and there is nobody to ask", "Give the flag")


def _asked_hosts() -> dict[str, dict[str, Any]]:
    hosts: dict[str, dict[str, Any]] = {}
    while not hosts or typer.confirm("another host?", default=False):
        name = typer.prompt("name of the host", default=None if hosts else "primer")
        role = typer.prompt("role (server, agent, edge)", default="agent") if hosts else "primer"
        answers = {
            key: typer.prompt(f"{name}: {words}", default=default or None) for key, words, default in _HOST_QUESTIONS
        }
        hosts[name] = {"role": role, **{key: value for key, value in answers.items() if value != "-"}}
    return hosts
