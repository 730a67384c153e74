"""`keystone verify`: a table of what holds and what does not; exit status 0 only when all does."""

import asyncio
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from keystone import verify as verification
from keystone.commands.options import Stack
from keystone.hosts.context import Context
from keystone.identities import Identities
from keystone.root_secret import root_secret
from keystone.settings import read

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def context_of(stack: str, project: Path = Path()) -> Context:
    """The stack as the checks see it. Raises KeystoneError when its secrets cannot be opened."""
    settings = read(stack, project)
    return Context(stack, settings, Identities(root_secret(stack, project), settings.cluster.name), project)


def verify(stack: Stack = "dev", as_json: JsonOption = False) -> None:
    """Check mesh, cluster and names against the settings. Changes nothing."""
    began = time.monotonic()
    report = asyncio.run(verification.verify(context_of(stack)))
    if as_json:
        print(report.as_json())
    else:
        Console().print(table(report))
        for line in report.not_run:
            print(line)
        good = sum(check.ok for check in report.checks)
        print(f"{good} of {len(report.checks)} checks hold, {time.monotonic() - began:.1f} s")
    if not report.ok:
        raise typer.Exit(1)


def table(report: verification.Report) -> Table:
    """One line per group that holds; every check of a group that does not."""
    made = Table("check", "", "of", "longest", "seen", box=None, pad_edge=False)
    for group, checks in report.groups():
        bad = [check for check in checks if not check.ok]
        longest = f"{max(check.seconds for check in checks):.1f} s"
        sample = checks[0].detail if len(checks) == 1 and not bad else ""
        made.add_row(group, "ok" if not bad else "FAILED", f"{len(checks) - len(bad)}/{len(checks)}", longest, sample)
        for check in bad:
            made.add_row(f"  {check.name}", "FAILED", "", f"{check.seconds:.1f} s", check.detail)
    return made
