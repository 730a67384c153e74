"""The `keystone` command: `python -m keystone`. Plain errors on standard error, exit status 1, no tracebacks."""

import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import typer

from keystone.errors import KeystoneError


@dataclass(frozen=True)
class Command:
    """A sub-command: its name, where it is (module:function), and its line in the help."""

    name: str
    place: str
    help: str

    def function(self) -> Callable[..., None] | typer.Typer:
        """Import it: a function, or a group of commands."""
        module, _, name = self.place.partition(":")
        return getattr(importlib.import_module(module), name)


COMMANDS = (
    Command("init", "keystone.commands.init:init", "Make a new stack file with its secrets."),
    Command("schema", "keystone.commands.schema:schema", "Write the JSON schema of stack files to docs/reference."),
    Command("facts", "keystone.commands.facts:facts", "Render facts, and secrets encrypted to each machine."),
    Command("preview", "keystone.commands.engine:preview", "Say what `up` would do. Changes nothing."),
    Command(
        "preview-comment",
        "keystone.commands.preview_comment:preview_comment",
        "Write a preview as a comment on a pull request.",
    ),
    Command("up", "keystone.commands.engine:up", "Make the cluster as the stack file says."),
    Command("policy", "keystone.commands.engine:policy", "Judge what `up` would do by the policies alone."),
    Command("refresh", "keystone.commands.engine:refresh", "Read the real things into the state."),
    Command("destroy", "keystone.commands.engine:destroy", "Take everything down that the stack has made."),
    Command("check", "keystone.commands.check:check", "Look for known faults in settings, manifests and state."),
    Command("verify", "keystone.commands.verify:verify", "Check mesh, cluster and names against the settings."),
    Command("kubeconfig", "keystone.commands.kubeconfig:kubeconfig", "Print the kubeconfig, or merge it into yours."),
    Command("backup", "keystone.commands.backup:backup", "Copies off the site: their key and their catalogue."),
    Command("doctor", "keystone.commands.doctor:doctor", "Look at this machine: tools, disk, variables, certificates."),
)


def _elsewhere() -> None:
    """Stands for a command that this call does not need: `--help` shows its name without importing it."""


def application(arguments: Sequence[str]) -> typer.Typer:
    """The Typer application; only the command that `arguments` name is imported."""
    app = typer.Typer(
        name="keystone",
        help="One Kubernetes cluster from machines you own, as a Pulumi program.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    wanted = next((word for word in arguments if not word.startswith("-")), "")
    for command in COMMANDS:
        if command.name == wanted:
            function = command.function()
            if isinstance(function, typer.Typer):
                app.add_typer(function, name=command.name)
            else:
                app.command(command.name)(function)
        else:
            app.command(command.name, help=command.help)(_elsewhere)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        application(given)(given, prog_name="keystone")
    except KeystoneError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("keystone: stopped", file=sys.stderr)
        return 130
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 1 if done.code else 0
    return 0
