"""`keystone facts`: renders nix/facts and nix/secrets of a stack from its settings."""

from pathlib import Path
from typing import Annotated

import typer

from keystone import agefiles
from keystone import facts as rendering
from keystone.commands.options import Stack
from keystone.errors import KeystoneError
from keystone.identities import Identities
from keystone.root_secret import root_secret
from keystone.settings import Settings, read

CheckOption = Annotated[bool, typer.Option("--check", help="Write nothing; fail when a file differs.")]
SecretsOption = Annotated[
    bool, typer.Option("--secrets/--no-secrets", help="Whether to render the age files too; they need the root secret.")
]


def facts(stack: Stack = "dev", check: CheckOption = False, secrets: SecretsOption = True) -> None:
    """Render what the machines are built from: facts, and secrets encrypted to each machine."""
    changed = render(stack, check=check, secrets=secrets)
    if check and changed:
        raise KeystoneError(
            f"nix/ of the stack {stack}",
            f"{len(changed)} files differ from the settings: {', '.join(changed[:5])}{' ...' if changed[5:] else ''}",
            f"Run `keystone facts --stack {stack}`",
        )
    for path in changed:
        typer.echo(f"written  {path}")
    if not changed:
        typer.echo("facts: unchanged")


def render(stack: str, project: Path = Path(), *, check: bool = False, secrets: bool = True) -> list[str]:
    """Write facts and age files (or, with `check`, only compare them); return the paths that differed, sorted.

    The root secret is opened before the first byte is written.
    """
    settings = read(stack, project)
    identities = Identities(root_secret(stack, project), settings.cluster.name) if secrets else None
    changed = (rendering.stale if check else rendering.write)(settings, stack, project)
    return sorted(changed + _secrets(settings, identities, stack, project, check=check))


def _secrets(settings: Settings, identities: Identities | None, stack: str, project: Path, *, check: bool) -> list[str]:
    if identities is None:
        return []
    return (agefiles.check if check else agefiles.render)(settings, identities, stack, project)
