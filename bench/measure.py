"""Runs a command and measures it: seconds, and the peak of the memory of everything that belongs to it."""

import os
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

SAMPLE_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Result:
    """One measured run."""

    seconds: float
    megabytes: float  # resident memory, summed: pages that processes share count once for each
    output: str
    status: int

    def need(self) -> "Result":
        """Itself, or RuntimeError with the end of the output when the command failed."""
        if self.status:
            raise RuntimeError("\n".join(["the measured command failed:", *self.output.splitlines()[-25:]]))
        return self


def _belongs(process: psutil.Process, folder: str) -> bool:
    try:
        place = process.cwd()
    except (psutil.AccessDenied, psutil.NoSuchProcess):
        return False
    return place == folder or place.startswith(folder + os.sep)


def resident(folder: Path, root: int) -> float:
    """Megabytes of all processes that work in the folder (the twin's too), or descend from `root`."""
    members: dict[int, float] = {}
    children: dict[int, list[int]] = {}
    sizes: dict[int, float] = {}
    todo = [root]
    for process in psutil.process_iter(["ppid", "memory_info"]):
        memory = process.info["memory_info"]
        if memory is None:
            continue
        sizes[process.pid] = memory.rss / 1e6
        children.setdefault(process.info["ppid"], []).append(process.pid)
        if _belongs(process, str(folder)):
            todo.append(process.pid)
    while todo:
        pid = todo.pop()
        if pid not in members:
            members[pid] = sizes.get(pid, 0.0)
            todo += children.get(pid, [])
    return sum(members.values())


def run(line: list[str], folder: Path, environment: dict[str, str], limit: float = 900) -> Result:
    """Run a command in a folder under a time limit, sampling memory until it ends."""
    started = time.monotonic()
    process = subprocess.Popen(
        line,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    peak = 0.0
    done = threading.Event()

    def sample() -> None:
        nonlocal peak
        while not done.wait(SAMPLE_SECONDS):
            peak = max(peak, resident(folder, process.pid))

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    try:
        output, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.terminate()
        output, _ = process.communicate(timeout=300)
        output += f"\nended after {limit:.0f} s"
    finally:
        seconds = time.monotonic() - started
        done.set()
        sampler.join()
    return Result(seconds=seconds, megabytes=peak, output=output, status=process.returncode)
