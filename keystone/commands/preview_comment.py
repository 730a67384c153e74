"""`keystone preview-comment`: reads what `pulumi preview --json` prints and writes it for a pull request."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from keystone.commands.options import Stack

Source = Annotated[
    str, typer.Option("--from", help="A file with the output of `pulumi preview --json`, or - for standard input.")
]
Base = Annotated[
    Path | None, typer.Option("--base", help="A checkout of the pull request's base: tells switch from reboot by Nix.")
]
Commit = Annotated[str, typer.Option("--commit", envvar="KEYSTONE_COMMIT", help="The commit, for the last line.")]
Request = Annotated[int | None, typer.Option("--pull-request", help="Write it there, in place of the last one.")]
Drift = Annotated[bool, typer.Option("--drift", help="Refresh instead of previewing: what was changed elsewhere.")]
Issue = Annotated[bool, typer.Option("--issue", help="With --drift: open an issue, or close it when nothing drifted.")]


def preview_comment(
    stack: Stack = "dev",
    source: Source = "",
    base: Base = None,
    commit: Commit = "",
    pull_request: Request = None,
    drift: Drift = False,
    issue: Issue = False,
) -> None:
    """Preview a stack and write the result as a comment: what is lost, machines, policies, costs. Shows no value.

    The engine's output stays in memory, since its debug messages hold secrets. Fails when the preview did.
    """
    from keystone.errors import KeystoneError
    from keystone.github import GitHub
    from keystone.preview_comment import Reboots, Subject, read, render
    from keystone.preview_comment.plan import Message, Plan
    from keystone.preview_comment.run import output

    subject = Subject(stack=stack, drift=drift, commit=commit)
    fault: KeystoneError | None = None
    try:
        match source:
            case "":
                text = output(stack, Path.cwd(), drift=drift)
            case "-":
                text = sys.stdin.read()
            case _:
                text = Path(source).read_text()
        plan = read(text)
    except OSError as error:
        raise KeystoneError(source, error.strerror or "cannot be read", "Give a file that is there, or -") from None
    except KeystoneError as error:
        # An old comment must not stand there as if it were about this commit.
        plan, fault = Plan(steps=(), errors=(Message(urn="", text=str(error)),), finished=False, failed=True), error
    body = render(plan, subject, Reboots(stack=stack, project=Path.cwd(), base=base))
    typer.echo(body, nl=False)
    if pull_request is not None:
        typer.echo(GitHub.from_environment().comment(pull_request, subject.marker, body), err=True)
    if drift and issue:
        hub = GitHub.from_environment()
        if plan.of("create", "update", "replace", "delete") or plan.failed:
            typer.echo(hub.issue(f"Drift of the stack {stack}", subject.marker, body), err=True)
        else:
            typer.echo(hub.settle(subject.marker, body) or "no drift", err=True)
    if fault:
        raise fault
    if plan.failed:
        raise KeystoneError(
            f"{'refresh' if drift else 'preview'} of {stack}", "failed or was refused", "The comment says why"
        )
