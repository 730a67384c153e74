"""The programs of a twin machine: one function per program, registered by name and by the state of the machine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from twin.record import State

if TYPE_CHECKING:
    from twin.machine import Machine

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
