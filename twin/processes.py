"""What a process leaves on disk so that a later run can find it: its id, start time and executable.

A process id alone may belong to somebody else by the time it is read again, so nothing is ended unless all three agree.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Record:
    """One process; `started` is in clock ticks since boot (field 22 of /proc/PID/stat)."""

    name: str
    pid: int
    started: int
    executable: str

    def alive(self) -> bool:
        """True when the very process that was recorded still runs (a zombie does not)."""
        return start_time(self.pid) == self.started and _executable(self.pid) in (self.executable, None)


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None when there is none or only a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The second field is the program's name in brackets and may itself hold spaces and brackets.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])


def record(folder: Path, name: str, pid: int, executable: str) -> Record:
    """Write the record of a running process; raises ProcessLookupError when it is gone."""
    started = start_time(pid)
    if started is None:
        raise ProcessLookupError(f"{name}: process {pid} is gone")
    entry = Record(name=name, pid=pid, started=started, executable=str(Path(executable).resolve()))
    temporary = folder / f".{name}.tmp"
    temporary.write_text(json.dumps(asdict(entry)))
    temporary.replace(folder / f"{name}.json")
    return entry


def forget(folder: Path, name: str) -> None:
    (folder / f"{name}.json").unlink(missing_ok=True)


def records(folder: Path) -> list[Record]:
    """All records of a folder; a half-written one (a run killed in the middle) is left out."""
    found: list[Record] = []
    for path in sorted(folder.glob("*.json")):
        with contextlib.suppress(ValueError, TypeError, OSError):
            found.append(Record(**json.loads(path.read_text())))
    return found


def end(entries: list[Record], limit: float = 10.0) -> list[Record]:
    """End the recorded processes that still run with their groups: SIGTERM, then SIGKILL. Returns survivors."""
    alive = [entry for entry in entries if entry.alive()]
    for number, seconds in ((signal.SIGTERM, limit), (signal.SIGKILL, 5.0)):
        for entry in alive:
            _signal(entry, number)
        deadline = time.monotonic() + seconds
        while alive and time.monotonic() < deadline:
            time.sleep(0.05)
            alive = [entry for entry in alive if entry.alive()]
    return alive


def _signal(entry: Record, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.getpgid(entry.pid) == entry.pid:
            os.killpg(entry.pid, number)
        else:
            os.kill(entry.pid, number)


def _executable(pid: int) -> str | None:
    try:
        # A binary that was rebuilt meanwhile shows as "PATH (deleted)".
        return str(Path(f"/proc/{pid}/exe").readlink()).removesuffix(" (deleted)")
    except OSError:
        return None
