"""Options that several sub-commands have."""

from typing import Annotated

import typer

Stack = Annotated[
    str, typer.Option("--stack", "-s", envvar="KEYSTONE_STACK", help="The stack, as in Pulumi.STACK.yaml.")
]
