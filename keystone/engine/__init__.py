"""Runs Pulumi for a stack: settles what an earlier run left, shows progress, bounds the time, passes Ctrl-C on.

Nothing here knows the program's resources. Plain `pulumi up` does the same to the cluster; this adds what makes a run
without a person at the keyboard safe.
"""

import contextlib
import io
import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from keystone.engine import adoption, policies, process, reach, state
from keystone.engine.events import Reporter
from keystone.engine.interruption import Interruptions
from keystone.errors import KeystoneError, no_stack_file

# Seconds. An update installs machines; a preview only asks.
LIMITS = {"up": 5400.0, "preview": 600.0, "destroy": 3600.0, "refresh": 1800.0}
CANCEL_SECONDS = 300
JUDGED = ("up", "preview")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of the engine."""

    verb: str  # up, preview, destroy or refresh
    stack: str
    project: Path = Path()
    limit: float = 0.0  # seconds; 0 is the verb's own
    verbose: bool = False
    targets: tuple[str, ...] = ()
    expect_no_changes: bool = False
    policy_packs: tuple[str, ...] = ()
    adopt: Mapping[str, str] = field(default_factory=dict)  # ids of what an interrupted update has made, by URN
    # The checks around an update: called with the state and, once the plan is known, before anything is touched; and
    # with each event.
    before: Callable[[state.State], None] | None = None
    planned: Callable[[], None] | None = None
    heard: Callable[[str], None] | None = None
    # Called with the names of installed hosts that do not answer.
    silent: Callable[[list[str]], None] | None = None
    # What failed resources say by themselves, by URN, where the engine knows only that it waited in vain.
    last_words: Callable[[list[str]], Mapping[str, str]] | None = None

    @property
    def seconds(self) -> float:
        """The time limit."""
        return self.limit or LIMITS[self.verb]

    def line(self) -> list[str]:
        """The command line. Events come as JSON on standard output, in memory only: debug events hold secrets."""
        line = [process.binary(), self.verb, "--stack", self.stack, "--json", "--non-interactive"]
        if self.verb != "preview":
            line += ["--yes", "--skip-preview"]
        if self.expect_no_changes:
            line.append("--expect-no-changes")
        for target in self.targets:
            line += ["--target", target]
        line += policies.arguments(self.project, self.stack, self.policy_packs) if self.verb in JUDGED else []
        return line


class Failure(KeystoneError):
    """The engine ended with an error; prints the errors of the failed resources in full."""

    def __init__(self, place: str, problem: str, cure: str, details: list[str]) -> None:
        super().__init__(place, problem, cure)
        self.details = details

    def __str__(self) -> str:
        return "\n".join([self.args[0], *self.details])


def execute(run: Run, reporter: Reporter | None = None) -> Reporter:
    """Do a run; returns what was reported. Raises KeystoneError (Failure when the engine itself failed)."""
    reporter = reporter or Reporter(preview=run.verb == "preview", verbose=run.verbose)
    if not (run.project / f"Pulumi.{run.stack}.yaml").exists():
        raise no_stack_file(run.stack, run.project)
    state.release(run.stack, run.project, reporter.line)
    held = state.load(run.stack, run.project, create=False)
    if run.before is not None:
        run.before(held)
    if not held.exists and run.verb in ("up", "preview"):
        held = state.load(run.stack, run.project, create=True)
    if not held.exists:
        reporter.line(f"Stack {run.stack} has no state: nothing to do")
        return reporter
    if run.verb != "preview":
        state.settle(run.stack, run.project, reporter.line, run.adopt)
    silent = reach.require(run.stack, run.project, held.names(reach.HOST_COMMAND))
    for line in silent.values():
        reporter.line(f"warning: {line}")
    if silent and run.silent is not None:
        run.silent(list(silent))
    if run.verb == "up" and policies.packs(run.project, run.policy_packs):
        plan = _judge(run, reporter)
        if run.planned is not None:
            run.planned()
        if not plan.changed:
            # An update would do the same work again and find the same.
            reporter.outputs, reporter.unchanged = plan.outputs, plan.unchanged
            return reporter
    status, said = _drive(run, reporter)
    if status == 0 and not reporter.failed and not reporter.errors:
        return reporter
    raise _failure(run, reporter, said, status)


def _judge(run: Run, reporter: Reporter) -> Reporter:
    """A preview under the policies, before anything is made; returns what it reported.

    The update judges each resource again, with all values known; but the rules over the whole stack speak at its end,
    when everything is there already. Raises the preview's Failure.
    """
    plan = replace(run, verb="preview", limit=0.0, expect_no_changes=False)
    quiet = Reporter(preview=True, stream=io.StringIO())
    status, said = _drive(plan, quiet)
    if status or quiet.failed or quiet.errors:
        raise _failure(plan, quiet, said, status)
    reporter.line("Policies: no violation in the plan")
    return quiet


def _failure(run: Run, reporter: Reporter, said: str, status: int) -> KeystoneError:
    for one in state.asked_for(run.stack, run.project, reporter.taken()):
        # The command is of use without the id too.
        with contextlib.suppress(KeystoneError):
            if identity := adoption.owner(one):
                reporter.owners[one.urn] = identity
    if run.last_words is not None and run.verb == "up" and reporter.failed:
        reporter.warnings |= run.last_words(reporter.failed)
    details = reporter.faults()
    if status < 0:
        return KeystoneError(
            f"pulumi {run.verb}", f"was killed by signal {-status}", "Run it again: it goes on from here"
        )
    if not details:
        return process.explained(f"pulumi {run.verb}", said or f"ended with status {status}")
    cure = "Mend the cause below and run it again: it goes on from here" if run.verb != "preview" else ""
    return Failure(f"pulumi {run.verb}", f"failed: {reporter.summary()}", cure, details)


def _lines(stream: IO[str], into: "queue.Queue[str | None]") -> None:
    for line in stream:
        into.put(line)
    into.put(None)


def _tail(stream: IO[str], into: list[str]) -> None:
    for line in stream:
        into.append(line)
        del into[:-200]


@contextlib.contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM instead of dying of them, so that the engine can come to a clean stop."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    before = {
        one: signal.signal(one, lambda number, _: caught.append(number)) for one in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield caught
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _drive(run: Run, reporter: Reporter) -> tuple[int, str]:
    """Run pulumi to its end; returns its exit status and what it said outside of events."""
    with _interrupts() as caught, process.started(run.line(), run.stack, run.project) as engine:
        assert engine.stdout
        assert engine.stderr
        events: queue.Queue[str | None] = queue.Queue()
        lost = Interruptions()
        said: list[str] = []
        readers = [
            threading.Thread(target=_lines, args=(engine.stdout, events), daemon=True),
            threading.Thread(target=_tail, args=(engine.stderr, said), daemon=True),
        ]
        for reader in readers:
            reader.start()
        try:
            stopped = _watch(run, reporter, engine, events, said, caught, lost)
        finally:
            if engine.poll() is None:
                _kill(engine)
            state.end_session(engine.pid, reporter.line)
        readers[1].join(timeout=5)
    if run.verb == "up":
        lost.look(run.stack, run.project, reporter.line)
    if stopped:
        raise stopped
    return engine.returncode, "".join(said)


def _kill(engine: "subprocess.Popen[str]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(engine.pid, signal.SIGKILL)
    engine.wait(timeout=30)


def _watch(
    run: Run,
    reporter: Reporter,
    engine: "subprocess.Popen[str]",
    events: "queue.Queue[str | None]",
    said: list[str],
    caught: list[int],
    lost: Interruptions,
) -> KeystoneError | None:
    """Feed the reporter until the engine ends. Returns the error to raise when a person or the clock stopped it."""
    deadline = time.monotonic() + run.seconds
    reason: KeystoneError | None = None
    ended = False
    while True:
        try:
            line = events.get(timeout=0.5)
        except queue.Empty:
            # A killed engine's children may hold its output open for ever; its own last words may come after its end.
            line = None if ended else ""
            ended = engine.poll() is not None
        if line is None:
            engine.wait(timeout=60)
            return reason
        if line.strip():
            _feed(line, reporter, said, lost)
            if run.heard is not None:
                run.heard(line)
        reporter.tick()
        if reason is None and caught:
            reason = KeystoneError(f"pulumi {run.verb}", "stopped by you", "Run it again: it goes on from here")
            reporter.line("Stopping: waiting for what is running to end")
        elif reason is None and time.monotonic() > deadline:
            reason = KeystoneError(
                f"pulumi {run.verb}",
                f"not done within {run.seconds:.0f} s; still running: {reporter.busy()}",
                "Look at what is still running; then run it again, or raise --limit",
            )
        else:
            if reason is not None and time.monotonic() > deadline:
                reporter.line(f"It did not stop within {CANCEL_SECONDS} s: killing it")
                _kill(engine)
                return reason
            continue
        with contextlib.suppress(ProcessLookupError):
            os.kill(engine.pid, signal.SIGINT)
        deadline = time.monotonic() + CANCEL_SECONDS


def _feed(line: str, reporter: Reporter, said: list[str], lost: Interruptions) -> None:
    try:
        event = json.loads(line)
    except ValueError:
        said.append(line)
        return
    if isinstance(event, dict):
        reporter.take(event)
        lost.take(event)
