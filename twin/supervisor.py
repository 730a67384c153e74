"""Runs the twin's child processes: own process groups, log files, bounded starts and stops, and crashes by name."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from keystone.errors import KeystoneError
from twin import processes

LAUNCH = Path(__file__).with_name("launch.py")
LOG_LIMIT = 8 * 1024 * 1024
"""Bytes; a longer log is cut to its second half when its process starts."""
TAIL = 12
"""Log lines in a report."""
CRASHES_KEPT = 20
RESTARTS = 5
RESTART_WINDOW = 60.0

log = logging.getLogger("twin.supervisor")
Ready = Callable[[], Awaitable[bool]]


@dataclass(frozen=True)
class Spec:
    """One program to keep running; `argv[0]` is its full path, the environment is the whole environment."""

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str]
    cwd: Path
    ready: Ready | None = None
    """Answers True once the program serves; an exception counts as `not yet`."""
    ready_limit: float = 60.0
    stop_limit: float = 10.0
    restart: bool = True


@dataclass(frozen=True)
class Crash:
    """A child that ended although nobody stopped it."""

    name: str
    when: str
    how: str
    lines: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.name} ended by itself at {self.when} ({self.how}); last log lines:\n  " + "\n  ".join(self.lines)


class Child:
    """One running program; made by `Supervisor.start`."""

    def __init__(self, spec: Spec, supervisor: Supervisor) -> None:
        self.spec = spec
        self._supervisor = supervisor
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._stopping = False
        self._restarts: list[float] = []
        self.failed = False

    @property
    def pid(self) -> int | None:
        return self._process.pid if self.running and self._process else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def launch(self) -> None:
        """Start the process and, when the spec says how, wait until it serves."""
        await self._spawn()
        try:
            await self._wait_ready()
        except BaseException:
            await self.stop()
            raise
        self._watch = asyncio.create_task(self._watch_over(), name=f"watch {self.spec.name}")

    async def stop(self) -> None:
        """End the process group: SIGTERM, `stop_limit` seconds, SIGKILL."""
        self._stopping = True
        if self._watch is not None and self._watch is not asyncio.current_task():
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
        process = self._process
        if process is not None and process.returncode is None:
            for number, limit in ((signal.SIGTERM, self.spec.stop_limit), (signal.SIGKILL, 5.0)):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), limit)
                    break
            if process.returncode is None:
                log.error("%s (process %s) survived SIGKILL", self.spec.name, process.pid)
        processes.forget(self._supervisor.pids, self.spec.name)
        self._supervisor.children.pop(self.spec.name, None)

    async def _spawn(self) -> None:
        spec, supervisor = self.spec, self._supervisor
        with supervisor.open_log(spec.name) as stream:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-I", "-S", str(LAUNCH), str(os.getpid())),
                *spec.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                cwd=spec.cwd,
                env=dict(spec.environment),
                start_new_session=True,
            )
        with contextlib.suppress(ProcessLookupError):
            processes.record(supervisor.pids, spec.name, self._process.pid, spec.argv[0])

    async def _wait_ready(self) -> None:
        spec, process = self.spec, self._process
        assert process is not None
        deadline = time.monotonic() + spec.ready_limit
        last = "nothing"
        while spec.ready is not None:
            if process.returncode is not None:
                raise KeystoneError(
                    spec.name, f"{_how(process.returncode)} while it started; {self._supervisor.tail(spec.name)}"
                )
            try:
                if await asyncio.wait_for(spec.ready(), 5.0):
                    return
                last = "it answers but is not ready"
            except Exception as error:
                last = f"{type(error).__name__} {error}".strip()
            if time.monotonic() > deadline:
                raise KeystoneError(
                    spec.name,
                    f"not ready after {spec.ready_limit:.0f} s (last: {last}); {self._supervisor.tail(spec.name)}",
                )
            await asyncio.sleep(0.1)

    async def _watch_over(self) -> None:
        while True:
            assert self._process is not None
            code = await self._process.wait()
            if self._stopping:
                return
            crash = Crash(
                self.spec.name,
                datetime.now(UTC).strftime("%H:%M:%S"),
                _how(code),
                self._supervisor.last_lines(self.spec.name),
            )
            self._supervisor.crashes.append(crash)
            del self._supervisor.crashes[:-CRASHES_KEPT]
            log.error("%s", crash)
            now = time.monotonic()
            self._restarts = [moment for moment in self._restarts if now - moment < RESTART_WINDOW]
            if not self.spec.restart or len(self._restarts) >= RESTARTS:
                self.failed = True
                processes.forget(self._supervisor.pids, self.spec.name)
                log.error("%s stays down", self.spec.name)
                return
            self._restarts.append(now)
            await asyncio.sleep(1.0)
            try:
                await self._spawn()
            except OSError as error:
                self.failed = True
                log.error("%s cannot be started again: %s", self.spec.name, error)
                return


class Supervisor:
    """All children of one twin; lives in one event loop."""

    def __init__(self, logs: Path, pids: Path) -> None:
        self.logs = logs
        self.pids = pids
        self.children: dict[str, Child] = {}
        self.crashes: list[Crash] = []

    async def start(self, spec: Spec) -> Child:
        """Start one child; raises KeystoneError naming it, with its last log lines, when it does not come up."""
        if spec.name in self.children:
            raise KeystoneError(spec.name, "runs already")
        child = self.children[spec.name] = Child(spec, self)
        try:
            await child.launch()
        except BaseException:
            self.children.pop(spec.name, None)
            raise
        return child

    async def stop(self) -> None:
        """Stop what still runs, the youngest first."""
        for child in reversed(list(self.children.values())):
            await child.stop()

    def open_log(self, name: str):
        """The log of a child, opened for appending in binary mode."""
        path = self.log_path(name)
        if path.exists() and path.stat().st_size > LOG_LIMIT:
            text = path.read_bytes()
            path.write_bytes(text[len(text) // 2 :])
        return path.open("ab")

    def log_path(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def last_lines(self, name: str, count: int = TAIL) -> list[str]:
        """The last lines of a child's log, each cut to 400 characters."""
        try:
            with self.log_path(name).open("rb") as stream:
                stream.seek(max(0, os.fstat(stream.fileno()).st_size - 65536))
                text = stream.read().decode(errors="replace")
        except FileNotFoundError:
            return []
        return [line[:400] for line in text.splitlines()[-count:]]

    def tail(self, name: str) -> str:
        """The last log lines as the end of a one-line message."""
        lines = self.last_lines(name, 3)
        return f"last log lines: {' | '.join(lines)}" if lines else f"its log {self.log_path(name)} is empty"

    async def run(
        self, argv: Sequence[str], environment: Mapping[str, str], *, stdin: bytes = b"", limit: float = 60.0
    ) -> tuple[int, bytes, bytes]:
        """Run a program to its end: exit code, output, errors. It is killed with its group at the limit (seconds)."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-I", "-S", str(LAUNCH), str(os.getpid())),
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(environment),
            start_new_session=True,
        )
        try:
            output, errors = await asyncio.wait_for(process.communicate(stdin), limit)
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            if isinstance(error, TimeoutError):
                raise KeystoneError(Path(argv[0]).name, f"did not end within {limit:.0f} s") from None
            raise
        return process.returncode or 0, output, errors


def _how(code: int) -> str:
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"
