"""The programs of a twin machine: one function per program, found by name and by the state of the machine.

A command line is split as a shell would split it, but no shell runs it: machines take plain programs with arguments.
"""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from keystone.errors import KeystoneError

if TYPE_CHECKING:
    from twin.machine import Machine

State = Literal["installer", "initrd", "installed"]
NOT_FOUND = 127
UPLOAD_LIMIT = 256 * 1024**2


class Reader(Protocol):
    """Standard input of a command."""

    async def read(self, n: int = -1) -> bytes: ...


class Failed(Exception):
    """Ends a command with this text on standard error and this exit status."""

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.text = text
        self.status = status


@dataclass
class Call:
    """One command on one machine: `argv[0]` is the program; `out` and `err` take what it prints."""

    machine: Machine
    argv: list[str]
    stdin: Reader
    out: Callable[[bytes], None]
    err: Callable[[bytes], None]

    @property
    def args(self) -> list[str]:
        return self.argv[1:]

    def print(self, text: str) -> None:
        self.out(f"{text}\n".encode())

    def warn(self, text: str) -> None:
        self.err(f"{text}\n".encode())

    async def read_all(self) -> bytes:
        """Return all of standard input. Raises Failed past the limit (a machine's memory is not endless)."""
        content = bytearray()
        while chunk := await self.stdin.read(65536):
            content += chunk
            if len(content) > UPLOAD_LIMIT:
                raise Failed(f"{self.argv[0]}: standard input is longer than {UPLOAD_LIMIT} bytes")
        return bytes(content)


Command = Callable[[Call], Awaitable[int]]


@dataclass
class Registry:
    """The commands of each state, by the name of the program."""

    commands: dict[tuple[State, str], Command] = field(default_factory=dict)

    def program(self, name: str, *states: State) -> Callable[[Command], Command]:
        """Register a function as the program `name`; without states, for the installer and the installed system."""

        def register(command: Command) -> Command:
            for state in states or ("installer", "installed"):
                self.commands[state, name] = command
            return command

        return register


REGISTRY = Registry()
program = REGISTRY.program


def split(line: str) -> list[str]:
    """Split a command line into words. Raises Failed for what only a shell could run, so that nothing half-works."""
    quote = ""
    escaped = False
    for letter in line:
        if escaped:
            escaped = False
        elif letter == "\\" and quote != "'":
            escaped = True
        elif quote:
            if letter == quote:
                quote = ""
            elif quote == '"' and letter in "$`":
                raise Failed(f"bash: {letter!r}: the twin's machines run plain programs, not shell syntax", 2)
        elif letter in "'\"":
            quote = letter
        elif letter in "$`;&|<>()\n":
            raise Failed(f"bash: {letter!r}: the twin's machines run plain programs, not shell syntax", 2)
    try:
        return shlex.split(line)
    except ValueError as error:
        raise Failed(f"bash: {error}", 2) from None


async def run(call: Call) -> int:
    """Run one command and return its exit status; every fault becomes text on its standard error."""
    # Imported here: the command modules register themselves with this one.
    from twin.commands import clients, disks, files, install, nix, system, tpm

    _ = (clients, disks, files, nix, system, tpm)
    machine = call.machine
    name = call.argv[0]
    command = REGISTRY.commands.get((machine.state, name)) or install.in_store(machine.state, name)
    if command is None:
        call.warn(f"bash: {name}: No such file or directory" if "/" in name else f"bash: {name}: command not found")
        return NOT_FOUND
    try:
        return await command(call)
    except Failed as failed:
        call.warn(failed.text)
        return failed.status
    except KeystoneError as error:
        call.warn(f"{name}: {error}")
        return 1
    except OSError as error:
        call.warn(f"{name}: {error.strerror}: {error.filename}" if error.strerror else f"{name}: {error}")
        return 1
