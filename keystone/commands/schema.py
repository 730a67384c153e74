"""`keystone schema`: the JSON schema of a stack file, for editors."""

from pathlib import Path
from typing import Annotated

import typer

from keystone.errors import KeystoneError
from keystone.settings.schema import PATH, text

CheckOption = Annotated[bool, typer.Option("--check", help="Write nothing; fail when the checked-in file differs.")]
PrintOption = Annotated[bool, typer.Option("--print", help="Print it instead of writing the file.")]


def schema(check: CheckOption = False, print_it: PrintOption = False) -> None:
    """Write the JSON schema of stack files to docs/reference."""
    if print_it:
        typer.echo(text(), nl=False)
        return
    file = Path(PATH)
    present = file.read_text(encoding="utf-8") if file.exists() else None
    if present == text():
        typer.echo("unchanged")
    elif check:
        raise KeystoneError(str(PATH), "differs from the settings' model", "Run `keystone schema`")
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text(), encoding="utf-8")
        typer.echo(f"written  {PATH}")
