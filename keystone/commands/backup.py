"""`keystone backup`: what a restore needs besides the bucket."""

import os
from pathlib import Path
from typing import Annotated

import typer

from keystone.backup.catalogue import text
from keystone.commands.options import Stack
from keystone.errors import KeystoneError
from keystone.identities import Identities
from keystone.root_secret import root_secret
from keystone.settings import Backup, Settings, read

backup = typer.Typer(help="Copies off the site: their key and their catalogue.", no_args_is_help=True)
OutputOption = Annotated[Path, typer.Option("--output", "-o", help="A new file, readable by you alone.")]
GenerationOption = Annotated[
    int | None, typer.Option("--generation", min=1, help="Of the key; the stack's own when left out.")
]


@backup.command()
def key(output: OutputOption, stack: Stack = "dev", generation: GenerationOption = None) -> None:
    """Derive the key that opens the copies and write it into a file, for `age --decrypt --identity`."""
    settings = read(stack)
    number = generation or (settings.backup.key_generation if settings.backup else 1)
    private = Identities(root_secret(stack), settings.cluster.name).backup_key(number).private
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise KeystoneError(str(output), f"cannot be made: {error.strerror}", "Name a file that is not there") from None
    with os.fdopen(descriptor, "w") as file:
        file.write(private)
    typer.echo(f"{output}: the key of generation {number}. Remove the file after the restore.")


@backup.command()
def catalogue(stack: Stack = "dev") -> None:
    """Print what is copied, where it lies and how it comes back."""
    settings = read(stack)
    typer.echo(text(settings, _chosen(settings, stack), stack), nl=False)


def _chosen(settings: Settings, stack: str) -> Backup:
    if settings.backup is None:
        raise KeystoneError(f"Pulumi.{stack}.yaml", "has no section keystone:backup", "Add it; {} takes the defaults")
    return settings.backup
