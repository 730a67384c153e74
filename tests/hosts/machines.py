"""Scripted machines: SSH servers on loopback that answer commands from a table and note what they were asked."""

import asyncio
import shlex
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh

from keystone.hosts.context import Context
from keystone.identities import Identities
from keystone.settings import parse
from tests import networks
from tests.recording import ROOT_SECRET, document

NETWORK = networks.fresh()
Answer = str | tuple[int, str]
Script = dict[str, Answer | Callable[[str], Answer]]


@dataclass
class Fake:
    """One machine. `script` maps the start of a command line to standard output, or to status and standard error.

    A callable gets the standard input. The longest start wins; an unknown command ends with 127.
    """

    name: str
    address: str
    key: str
    script: Script = field(default_factory=dict)
    port: int = 2222
    authorized: str | None = None
    calls: list[str] = field(default_factory=list)
    inputs: dict[str, str] = field(default_factory=dict)

    def called(self, start: str) -> bool:
        return any(call.startswith(start) for call in self.calls)

    async def _handle(self, process: asyncssh.SSHServerProcess[str]) -> None:
        line = shlex.join(shlex.split(process.command or ""))
        given = await process.stdin.read()
        self.calls.append(line)
        self.inputs[line] = given
        found = max((start for start in self.script if line.startswith(start)), key=len, default=None)
        answer = self.script[found] if found is not None else (127, f"{line.split()[0]}: command not found")
        if callable(answer):
            answer = answer(given)
        status, out = (0, answer) if isinstance(answer, str) else answer
        (process.stderr if status else process.stdout).write(out)
        process.exit(status)

    def serve(self) -> Awaitable[asyncssh.SSHAcceptor]:
        fake = self

        class Server(asyncssh.SSHServer):
            def begin_auth(self, username: str) -> bool:  # noqa: ARG002
                return True

            def public_key_auth_supported(self) -> bool:
                return True

            def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:  # noqa: ARG002
                text = " ".join(key.export_public_key("openssh").decode().split()[:2])
                return fake.authorized is None or text == fake.authorized

        return asyncssh.listen(
            self.address,
            self.port,
            server_factory=Server,
            server_host_keys=[asyncssh.import_private_key(self.key)],
            process_factory=self._handle,
        )


def context(project: Path = Path(), **shape: Any) -> Context:
    """A site of a Primer and workers on NETWORK."""
    settings = parse(document(base=NETWORK.base, **shape))
    return Context("site", settings, Identities(ROOT_SECRET, settings.cluster.name), project)


def installed(given: Context, name: str, script: Script | None = None, generation: int | None = None) -> Fake:
    """A machine with the pinned host key of a generation; the settings' one when left out."""
    host = given.settings.hosts[name]
    key = given.identities.ssh_host_key(name, generation or host.install_generation).private
    return Fake(name, str(host.address), key, dict(script or {}))


def play(work: Callable[[], Coroutine[Any, Any, Any]], *fakes: Fake) -> Any:
    """Runs a coroutine while the machines serve."""

    async def scene() -> Any:
        async with AsyncExitStack() as stack:
            for fake in fakes:
                await stack.enter_async_context(await fake.serve())
            return await asyncio.wait_for(work(), 30)

    return asyncio.run(scene())
