"""What every command knows: the stack, its settings, the identities, where machines are, and one lock per host."""

import asyncio
import fcntl
import hashlib
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from keystone.errors import KeystoneError
from keystone.hosts import ssh
from keystone.identities import Identities
from keystone.settings import Host, Settings

LOCK_SECONDS = 3600.0
RUNTIME = "KEYSTONE_RUNTIME"
"""Where the engine's driver has our temporary folder; what it runs gets a TMPDIR that ends with the run."""


def progress(name: str, text: str) -> None:
    """One line for people, on standard error: standard output belongs to the result."""
    print(f"{name}: {text}", file=sys.stderr, flush=True)


def note(name: str, text: str) -> None:
    """A line that asks a person to do something: `keystone up` shows it always, and other progress only on demand."""
    print(f"note: {name}: {text}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Context:
    """One stack as the commands see it. Holds the root secret inside `identities`: never print it."""

    stack: str
    settings: Settings
    identities: Identities
    project: Path

    @property
    def cluster(self) -> str:
        return self.settings.cluster.name

    def host(self, name: str) -> Host:
        """The settings of a host. Raises KeystoneError when there is none of this name."""
        try:
            return self.settings.hosts[name]
        except KeyError:
            known = ", ".join(sorted(self.settings.hosts))
            raise KeystoneError(f"hosts.{name}", "no such host in the stack file", f"Known: {known}") from None

    def target(self, name: str) -> ssh.Target:
        host = self.host(name)
        return ssh.Target(name, str(host.address), host.ssh.port, host.ssh.user)

    def dial(self, name: str, *, limit: float | None = None) -> AbstractAsyncContextManager[ssh.Machine]:
        """A session to an installed host that shows the host key of its current generation, and no other."""
        return self.dial_target(self.target(name), self.host(name).install_generation, limit=limit)

    def dial_target(
        self, target: ssh.Target, generation: int, *, limit: float | None = None
    ) -> AbstractAsyncContextManager[ssh.Machine]:
        key = self.identities.ssh_host_key(target.name, generation).public
        return ssh.dial(target, {key: "pinned key"}, self.identities.operator_key().private, limit=limit)


def runtime_folder(stack: str) -> Path:
    """This user's folder for locks and short-lived key files, 0700. Raises KeystoneError when another user holds it."""
    own = _runtime_path(stack, Path.cwd())
    for folder in (own.parent, own):
        # Not `exist_ok`: that looks again after a collision and fails when the folder has gone in between.
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            raise KeystoneError(str(folder), f"is no folder of ours (user {status.st_uid})", "Remove it and try again")
    return own


def _runtime_path(stack: str, project: Path) -> Path:
    base = Path(os.environ.get(RUNTIME) or tempfile.gettempdir()) / f"keystone-hosts-{os.getuid()}"
    # Commands run in the project's folder; another clone's stack of the same name is another site.
    return base / f"{stack}-{hashlib.sha256(bytes(project.resolve())).hexdigest()[:10]}"


def sweep(stack: str, project: Path) -> None:
    """Removes what killed commands have left in the folder of `runtime_folder`; what is in use stays."""
    own = _runtime_path(stack, project)
    if own.is_symlink() or not own.is_dir():
        return
    for path in own.glob("*.lock"):
        with suppress(OSError), path.open("rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path.with_suffix(".work"), ignore_errors=True)
            path.unlink()
    with suppress(OSError):
        own.rmdir()
        own.parent.rmdir()


@dataclass(frozen=True)
class Lock:
    """A held lock: its descriptor (children that inherit it keep the lock held) and a private work folder."""

    descriptor: int
    folder: Path


@asynccontextmanager
async def host_lock(stack: str, name: str, *, limit: float = LOCK_SECONDS) -> AsyncIterator[Lock]:
    """Holds the lock of one host, so that two commands never work on one machine at once.

    A killed command leaves its lock file and its work folder: the next holder starts with an empty folder.
    Raises KeystoneError when another command holds the lock for longer than `limit` seconds.
    """
    descriptor, path = await _acquire(stack, name, limit)
    work = path.with_suffix(".work")
    try:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(mode=0o700)
        yield Lock(descriptor, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        path.unlink(missing_ok=True)
        os.close(descriptor)
        for folder in (path.parent, path.parent.parent):
            try:
                folder.rmdir()
            except OSError:
                break


async def _acquire(stack: str, name: str, limit: float) -> tuple[int, Path]:
    deadline = time.monotonic() + limit
    told = False
    while True:
        try:
            path = runtime_folder(stack) / f"{name}.lock"
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:  # another command has just removed the empty folder
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The holder before us may have unlinked this file between our open and our lock.
            if os.fstat(descriptor).st_nlink == 1:
                return descriptor, path
        except BlockingIOError:
            if not told:
                progress(name, "waiting: another command works on this host")
                told = True
        os.close(descriptor)
        if time.monotonic() > deadline:
            raise KeystoneError(
                f"hosts.{name}", f"another command has been working on it for {limit:.0f} s", "Wait or end that command"
            )
        await asyncio.sleep(0.2)
