"""Answers of a double that tests hold back."""

from __future__ import annotations

import threading
from collections.abc import Callable

HOLD_SECONDS = 300.0
"""How long an answer is held back at most."""


class Gate:
    """Closed for the requests whose fault says `hold`, until tests give other orders. Used under the double's lock."""

    def __init__(self) -> None:
        self.waiting: list[str] = []
        self._opened = threading.Event()

    def enter(self, what: str) -> Callable[[], object]:
        """Note a request that waits; what is returned waits, and is to be called without the lock."""
        self.waiting.append(what)
        opened = self._opened
        return lambda: opened.wait(HOLD_SECONDS)

    def leave(self, what: str) -> None:
        """The request goes on."""
        self.waiting.remove(what)

    def open(self) -> None:
        """Let all go on that wait by now."""
        self._opened.set()
        self._opened = threading.Event()
