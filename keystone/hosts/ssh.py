"""SSH with pinned host keys and limits on everything. Never asks, never trusts on first use, never uses an agent."""

import asyncio
import shlex
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NoReturn, TypeVar

import asyncssh

from keystone.errors import KeystoneError

CONNECT_SECONDS = 10.0
COMMAND_SECONDS = 60.0
# A machine that dies in the middle of a command is noticed after about this long.
KEEPALIVE_SECONDS = 5
KEEPALIVE_MISSES = 3


T = TypeVar("T")


@dataclass(frozen=True)
class Target:
    """Where a machine's SSH server is expected."""

    name: str
    address: str
    port: int
    user: str = "root"

    def __str__(self) -> str:
        return f"{self.name} ({self.user}@{self.address} port {self.port})"


class Unreachable(KeystoneError):
    """No SSH session came up: nothing listens, no answer in time, or the login was refused."""


class LoginRefused(Unreachable):
    """The host key was right and the operator key was not accepted."""


class WrongHostKey(KeystoneError):
    """The server showed a key that is none of the expected ones; `seen` is it in OpenSSH's public form."""

    def __init__(self, place: str, problem: str, cure: str, seen: str) -> None:
        super().__init__(place, problem, cure)
        self.seen = seen


class CommandFailed(KeystoneError):
    """A program on the machine ended with another status than 0."""

    def __init__(self, place: str, problem: str, status: int | None, stderr: str) -> None:
        super().__init__(place, problem)
        self.status = status
        self.stderr = stderr


@dataclass(frozen=True)
class Result:
    stdout: str
    stderr: str
    status: int | None


def public(key: str) -> str:
    """The first two fields of an OpenSSH public key: type and data, without the comment."""
    return " ".join(key.split()[:2])


def last_line(text: str) -> str:
    """What a failing program said last, for a one-line error."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"


class _Client(asyncssh.SSHClient):
    """Accepts exactly the given keys and remembers what it was shown."""

    def __init__(self, accepted: Mapping[str, str]) -> None:
        self._accepted = accepted
        self.seen: str | None = None
        self.label: str | None = None

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:  # noqa: ARG002
        self.seen = public(key.export_public_key("openssh").decode())
        self.label = self._accepted.get(self.seen)
        return self.label is not None


class Machine:
    """An open session. `label` says which of the accepted keys the machine has shown."""

    def __init__(self, target: Target, connection: asyncssh.SSHClientConnection, label: str) -> None:
        self.target = target
        self.label = label
        self._connection = connection

    async def run(
        self, *argv: str, stdin: str | None = None, limit: float = COMMAND_SECONDS, check: bool = True
    ) -> Result:
        """Runs one program with arguments. `stdin` is the way for secrets; the arguments may be shown in errors.

        Raises CommandFailed on another status than 0 (unless `check` is false), Unreachable when the session
        breaks, KeystoneError when `limit` seconds have passed.
        """
        result = await self._run(shlex.join(argv), shlex.join(argv), stdin, limit)
        if check and result.status != 0:
            self._raise(shlex.join(argv), result)
        return result

    async def login(self, stdin: str, limit: float = COMMAND_SECONDS) -> None:
        """Logs in without a command and gives what the login shell reads; raises as `run` does."""
        result = await self._run(None, "the login shell", stdin, limit)
        if result.status not in (0, None):
            self._raise("the login shell", result)

    def _raise(self, command: str, result: Result) -> NoReturn:
        ending = f"status {result.status}" if result.status is not None else "a signal"
        raise CommandFailed(
            str(self.target),
            f"`{command}` ended with {ending}: {last_line(result.stderr or result.stdout)}",
            result.status,
            result.stderr,
        )

    async def _run(self, line: str | None, command: str, stdin: str | None, limit: float) -> Result:
        try:
            async with asyncio.timeout(limit):
                # Without input the far end must see its end at once: a program that reads would wait for ever.
                source = asyncssh.PIPE if stdin else asyncssh.DEVNULL
                done = await self._connection.run(line, stdin=source, input=stdin, check=False)
        except TimeoutError:
            raise KeystoneError(
                str(self.target), f"`{command}` did not end within {limit:.0f} s", "Look at the machine and try again"
            ) from None
        except (OSError, asyncssh.Error) as fault:
            raise Unreachable(
                str(self.target), f"the session broke while `{command}` ran ({_reason(fault)})", "Try again"
            ) from None
        return Result(_text(done.stdout), _text(done.stderr), done.exit_status)


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")


def _reason(fault: BaseException) -> str:
    return str(fault) or type(fault).__name__


@asynccontextmanager
async def dial(
    target: Target, accepted: Mapping[str, str], operator_key: str, *, limit: float | None = None
) -> AsyncIterator[Machine]:
    """Opens a session to a machine that shows one of the `accepted` host keys (public key -> label).

    Raises Unreachable, LoginRefused or WrongHostKey; each says host, address, port, what was expected and seen.
    """
    limit = CONNECT_SECONDS if limit is None else limit
    client = _Client({public(key): label for key, label in accepted.items()})
    place = str(target)
    try:
        async with asyncio.timeout(limit):
            connection, _ = await asyncssh.create_connection(
                lambda: client,
                target.address,
                target.port,
                username=target.user,
                client_keys=[asyncssh.import_private_key(operator_key)],
                # Three empty lists: no key is trusted by itself, so each one goes through _Client.
                known_hosts=([], [], []),
                server_host_key_algs=["ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512", "rsa-sha2-256"],
                preferred_auth="publickey",
                agent_path=None,
                config=None,
                keepalive_interval=KEEPALIVE_SECONDS,
                keepalive_count_max=KEEPALIVE_MISSES,
            )
    except TimeoutError:
        raise Unreachable(
            place, f"no SSH session within {limit:g} s", "Switch the machine on and check address, port and cable"
        ) from None
    except asyncssh.PermissionDenied:
        raise LoginRefused(
            place,
            "the host key is right, but the operator key of this stack was not accepted",
            "Authorise the key in nix/secrets/STACK/operator.pub there",
        ) from None
    except (OSError, asyncssh.Error) as fault:
        if client.seen is not None and client.label is None:
            wanted = " or ".join(sorted({f"{fingerprint(key)} ({label})" for key, label in accepted.items()})[:3])
            raise WrongHostKey(
                place,
                f"it shows the host key {fingerprint(client.seen)}, expected {wanted or 'none'}",
                "Another machine answers there, or the key in the stack file is out of date",
                client.seen,
            ) from None
        raise Unreachable(
            place, f"no SSH session ({_reason(fault)})", "Switch the machine on and check address, port and cable"
        ) from None
    try:
        yield Machine(target, connection, client.label or "")
    finally:
        connection.abort()


def fingerprint(key: str) -> str:
    """SHA256 fingerprint of a public key, as `ssh-keygen -l` shows it."""
    return asyncssh.import_public_key(key).get_fingerprint()


async def until(
    what: str, attempt: Callable[[], Awaitable[T | None]], *, place: str, limit: float, pause: float = 1.0
) -> T:
    """Repeats `attempt` until it gives a value. KeystoneErrors count as "not yet".

    Raises KeystoneError after `limit` seconds, naming `what` was waited for and what was seen last.
    """
    deadline = time.monotonic() + limit
    seen = "nothing"
    while True:
        try:
            value = await attempt()
            if value is not None:
                return value
        except KeystoneError as fault:
            seen = str(fault)
        if time.monotonic() + pause > deadline:
            raise KeystoneError(place, f"waited {limit:.0f} s for {what}; last seen: {seen}", "Try again")
        await asyncio.sleep(pause)
