"""Bounded waiting for tests without an event loop; those of the twin have tests/twin/waiting.py."""

import time
from collections.abc import Callable

import psutil


def until(holds: Callable[[], object], what: str, limit: float = 60.0) -> None:
    """Wait until something holds; past `limit` seconds the test fails and says what it waited for."""
    deadline = time.monotonic() + limit
    while not holds():
        assert time.monotonic() < deadline, f"not within {limit:g} s: {what}"
        time.sleep(0.05)


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has asked about counts too."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
