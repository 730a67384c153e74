"""`keystone doctor`: what this machine has, what it lacks, and what will soon need care."""

import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from keystone.commands.options import Stack
from keystone.errors import KeystoneError

# A preview runs Pulumi without its variables as well; these are the ones that people forget.
VARIABLES = ("PULUMI_BACKEND_URL", "PULUMI_HOME", "PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE")
HIDDEN = ("PULUMI_CONFIG_PASSPHRASE",)
PROGRAMS = (("git", "--version"), ("make", "--version"), ("ssh", "-V"))
OPTIONAL_PROGRAMS = (("nix", "--version"), ("nixos-anywhere", "--version"))
CERTIFICATE_DAYS = 60
FREE_GIGABYTES = 2.0


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the report."""

    subject: str
    status: str  # ok, warning or fault
    value: str
    cure: str = ""


def _program(name: str, argument: str, *, needed: bool) -> Finding:
    path = shutil.which(name)
    if not path:
        if needed:
            return Finding(subject=name, status="fault", value="not on PATH", cure=f"Install {name}")
        return Finding(subject=name, status="ok", value="not on PATH (a real site needs it, a twin brings its own)")
    try:
        done = subprocess.run(
            [path, argument], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding(subject=name, status="warning", value=f"{path}: {type(error).__name__}")
    said = (done.stdout + done.stderr).strip().splitlines()
    return Finding(subject=name, status="ok", value=f"{said[0] if said else 'unknown version'} ({path})")


def _python() -> Finding:
    return Finding(subject="python", status="ok", value=f"{platform.python_version()} ({sys.executable})")


def _disk(subject: str, folder: Path) -> Finding:
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e9
    if free < FREE_GIGABYTES:
        return Finding(
            subject=subject,
            status="warning",
            value=f"{free:.1f} GB free at {folder}",
            cure=f"Keep {FREE_GIGABYTES:.0f} GB free",
        )
    return Finding(subject=subject, status="ok", value=f"{free:.0f} GB free at {folder}")


def _variable(name: str) -> Finding:
    value = os.environ.get(name)
    if value is None:
        return Finding(subject=name, status="ok", value="not set")
    return Finding(subject=name, status="ok", value="set" if name in HIDDEN else value)


def _tools() -> list[Finding]:
    import toolchain

    findings = []
    for entry in toolchain.inventory():
        match entry.source:
            case "built":
                value, status = f"{entry.version}, built ({entry.path})", "ok"
            case "PATH":
                value, status = f"{entry.version}, from PATH ({entry.path})", "ok"
            case _:
                value, status = f"{entry.version}, not built", "warning"
        findings.append(
            Finding(
                subject=entry.name,
                status=status,
                value=f"{value}; {entry.note}" if entry.note else value,
                cure="" if status == "ok" else f"`python -m toolchain ensure {entry.name}` (a twin needs it)",
            )
        )
    return findings


def certificate_finding(end: datetime, now: datetime) -> Finding:
    """Whether the kubeconfig's certificate needs care; the setting that renews it is named."""
    days = (end - now).days
    value = f"the client certificate ends on {end:%Y-%m-%d}, in {days} days"
    if days >= CERTIFICATE_DAYS:
        return Finding(subject="kubeconfig", status="ok", value=value)
    return Finding(
        subject="kubeconfig",
        status="warning" if days >= 0 else "fault",
        value=value,
        cure="Raise keystone:cluster.kubeconfigGeneration and run `keystone up`, or `keystone kubeconfig --renew`",
    )


def kubeconfig_finding(stack: str) -> Finding:
    """How long the certificate of the stack's own kubeconfig still holds."""
    from keystone.engine import process
    from keystone.hosts import kubeconfig

    try:
        text = process.quick(["stack", "output", "kubeconfig", "--show-secrets", "--stack", stack], Path.cwd())
        end = kubeconfig.ends(text)
    except KeystoneError as error:
        return Finding(subject="kubeconfig", status="ok", value=f"not looked at: {error.problem}")
    return certificate_finding(end, datetime.now(UTC))


def _settings(stack: str) -> Finding:
    from keystone.settings import read

    try:
        settings = read(stack)
    except KeystoneError as error:
        return Finding(subject=f"stack {stack}", status="fault", value=str(error))
    return Finding(subject=f"stack {stack}", status="ok", value=f"{len(settings.hosts)} hosts")


def examine(stack: str) -> list[Finding]:
    """Everything that doctor looks at."""
    import toolchain.cache

    return [
        _python(),
        *(_program(name, argument, needed=True) for name, argument in PROGRAMS),
        *(_program(name, argument, needed=False) for name, argument in OPTIONAL_PROGRAMS),
        *_tools(),
        _disk("disk of the project", Path.cwd()),
        _disk("disk of the cache", toolchain.cache.root()),
        *(_variable(name) for name in VARIABLES),
        _settings(stack),
        kubeconfig_finding(stack),
    ]


def doctor(
    stack: Stack = "dev",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look at this machine: tools and where they come from, disk, variables, settings, certificates."""
    findings = examine(stack)
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in findings], indent=2))
    else:
        for one in findings:
            mark = {"ok": " ", "warning": "?", "fault": "!"}[one.status]
            typer.echo(f"{mark} {one.subject:<30} {one.value}{'. ' + one.cure if one.cure else ''}")
    if any(one.status == "fault" for one in findings):
        raise typer.Exit(1)
