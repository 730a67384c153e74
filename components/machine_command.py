"""How the program runs `keystone.hosts`: the one place that decides on secrets, logging and time limits of commands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
from pulumi_command import local

PROGRAM = ".venv/bin/python -m keystone.hosts"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What every command of one host needs: stack, host name and the root secret for its standard input."""

    stack: str
    name: str
    root: pulumi.Input[str]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One command: `create` also serves as `update` when that is not given, for commands that may run again."""

    create: str
    update: str | None = None
    delete: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    triggers: Sequence[int] | None = None


def machine_command(name: str, machine: Machine, line: Line, opts: pulumi.ResourceOptions) -> local.Command:
    """A `command:local:Command` with the root secret on standard input and only progress in the log.

    `update` is always set: without it the provider creates again on any changed input. A changed trigger replaces.
    """
    return local.Command(
        name,
        create=f"{PROGRAM} {line.create}",
        update=f"{PROGRAM} {line.update or line.create}",
        delete=f"{PROGRAM} {line.delete}" if line.delete else None,
        environment={"KEYSTONE_STACK": machine.stack, **line.environment},
        stdin=pulumi.Output.secret(machine.root),
        triggers=line.triggers,
        # Results may be secret; progress never is, and a user wants to see it.
        logging=local.Logging.STDERR,
        add_previous_output_in_env=False,
        opts=opts,
    )
