"""`keystone up`, `preview`, `destroy` and `refresh`: the engine's runs, made safe for a run without a person."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keystone.commands.options import Stack
from keystone.errors import KeystoneError

if TYPE_CHECKING:
    from keystone.checks.around import Around

Limit = Annotated[float, typer.Option("--limit", help="Seconds after which the run is stopped; 0 is the usual limit.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show what commands print, too.")]
Target = Annotated[list[str] | None, typer.Option("--target", help="Only this resource (a URN). May be repeated.")]
Adopt = Annotated[
    list[str] | None,
    typer.Option("--adopt", help="URN=ID of something that an interrupted update has made. May be repeated."),
]
Pack = Annotated[list[str] | None, typer.Option("--policy-pack", help="A further policy pack. May be repeated.")]


def _run(
    verb: str,
    stack: str,
    limit: float,
    verbose: bool,
    targets: list[str] | None = None,
    packs: list[str] | None = None,
    expect_no_changes: bool = False,
    checks: "Around | None" = None,
    adopt: list[str] | None = None,
    silent: Callable[[list[str]], None] | None = None,
) -> None:
    from keystone.engine import Run, execute

    reporter = execute(
        Run(
            verb=verb,
            stack=stack,
            project=Path.cwd(),
            limit=limit,
            verbose=verbose,
            targets=tuple(targets or ()),
            policy_packs=tuple(packs or ()),
            adopt=dict(map(_pair, adopt or ())),
            expect_no_changes=expect_no_changes,
            before=checks.owned if checks else None,
            planned=checks.planned if checks else None,
            heard=checks.heard if checks else None,
            silent=silent,
            last_words=lambda urns: _last_words(stack, urns),
        )
    )
    for line in reporter.results():
        typer.echo(line)
    typer.echo(f"{verb} {stack}: {reporter.summary()}")


def _last_words(stack: str, urns: list[str]) -> dict[str, str]:
    import asyncio

    from keystone import applications
    from keystone.commands.verify import context_of

    if not applications.among(urns):
        return {}
    try:
        return asyncio.run(applications.last_words(context_of(stack), urns))
    except KeystoneError:
        return {}  # the failure itself is told anyway, with the command that tells more


def _pair(text: str) -> tuple[str, str]:
    urn, equals, identity = text.partition("=")
    if not (urn.startswith("urn:pulumi:") and equals and identity):
        raise KeystoneError("--adopt", f"{text!r} is not URN=ID", "Copy the URN from the error")
    return urn, identity


def up(
    stack: Stack = "dev", limit: Limit = 0, verbose: Verbose = False, target: Target = None, policy_pack: Pack = None
) -> None:
    """Make the cluster as the stack file says."""
    from keystone.checks.around import around

    with around(stack, Path.cwd()) as checks:
        _run("up", stack, limit, verbose, target, policy_pack, checks=checks)
    from keystone.commands.doctor import kubeconfig_finding

    finding = kubeconfig_finding(stack)
    if finding.status != "ok":
        typer.echo(f"warning: kubeconfig: {finding.value}. {finding.cure}")


def preview(
    stack: Stack = "dev",
    limit: Limit = 0,
    verbose: Verbose = False,
    target: Target = None,
    policy_pack: Pack = None,
    expect_no_changes: Annotated[bool, typer.Option(help="Fail when there is anything to do.")] = False,
) -> None:
    """Say what `up` would do. Changes nothing."""
    _run("preview", stack, limit, verbose, target, policy_pack, expect_no_changes)


def policy(stack: Stack = "dev", limit: Limit = 0, target: Target = None, policy_pack: Pack = None) -> None:
    """Judge what `up` would do by the policies, and say nothing but their verdict. Changes nothing."""
    import io

    from keystone.engine import Run, execute, policies
    from keystone.engine.events import Reporter

    project, packs = Path.cwd(), tuple(policy_pack or ())
    if not policies.packs(project, packs):
        raise KeystoneError(f"{policies.FOLDER}/", "holds no policy pack", "Name one with --policy-pack")
    quiet = Reporter(preview=True, stream=io.StringIO())
    run = Run(
        verb="preview", stack=stack, project=project, limit=limit, targets=tuple(target or ()), policy_packs=packs
    )
    for line in execute(run, quiet).advice:
        typer.echo(line)
    typer.echo(f"policy {stack}: no violation in the plan")


def destroy(stack: Stack = "dev", limit: Limit = 0, verbose: Verbose = False, target: Target = None) -> None:
    """Take everything down that the stack has made. The stack file stays."""
    if not target:
        _sweep(stack)  # a network that others use cannot go
    _run("destroy", stack, limit, verbose, target, silent=None if target else lambda names: _give_up(stack, names))
    if not target:
        from keystone.hosts.context import sweep

        sweep(stack, Path.cwd())
        # A controller may have made something anew before it went itself.
        if left := _sweep(stack):
            raise KeystoneError(
                f"stack {stack}",
                f"left at AWS, for it may hold data: {', '.join(left)}",
                "Remove it there when nobody needs it",
            )


def _give_up(stack: str, names: list[str]) -> None:
    import asyncio

    from keystone.commands.verify import context_of
    from keystone.hosts import remove

    asyncio.run(remove.give_up(context_of(stack), names))


def _sweep(stack: str) -> list[str]:
    """Remove what the cluster itself has made at AWS; returns what a person has to decide about."""
    from keystone.settings import read, stackfile

    try:
        chosen = stackfile.settings_of(stackfile.config_of(stack))
    except KeystoneError:
        return []  # the run itself says so; a project of plain Pulumi has no settings
    if "aws" not in chosen:
        return []
    settings = read(stack)
    assert settings.aws
    from keystone.aws.leftovers import Leftovers

    # An empty variable stands for none, which AWS' Python client takes for a name.
    for name in [name for name, value in os.environ.items() if name.startswith("AWS_") and not value]:
        del os.environ[name]
    leftovers = Leftovers(settings, settings.aws)
    found = leftovers.find()
    kept = leftovers.sweep(found)
    for one in (one for one in found if one not in kept):
        typer.echo(f"Removed at AWS, which the cluster had made by itself: {one}")
    return [str(one) for one in kept]


def refresh(
    stack: Stack = "dev", limit: Limit = 0, verbose: Verbose = False, target: Target = None, adopt: Adopt = None
) -> None:
    """Read the real things into the state. Changes nothing else."""
    _run("refresh", stack, limit, verbose, target, adopt=adopt)
