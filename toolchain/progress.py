"""What the builder says: one line per tool, kept up to date on a terminal, plain lines elsewhere. On standard error."""

import os
import sys
import time
from typing import TextIO

from toolchain.tools import Tool

HEARTBEAT_SECONDS = 60


def span(seconds: float) -> str:
    """A duration for people: 45 s, 3 min."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def guess(tool: Tool) -> float:
    """Seconds that a build will take here: what was measured on 2 cores, scaled to the cores of this machine."""
    return tool.seconds * 2 / max(1, min(os.cpu_count() or 2, 8))


class Progress:
    """Reports the building of `total` tools."""

    def __init__(self, total: int = 0, stream: TextIO | None = None) -> None:
        self.total = total
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty()
        self.number = 0
        self.label = ""
        self.expected = 0.0
        self.started = 0.0
        self.last = 0.0

    def say(self, line: str) -> None:
        """A line of its own."""
        self.stream.write(f"{line}\n")
        self.stream.flush()

    def begin(self, tool: Tool) -> None:
        """The next tool is being built."""
        self.number += 1
        width = len(str(self.total))
        self.label = f"[{self.number:>{width}}/{self.total}] {tool.name} {tool.version}"
        self.expected = guess(tool)
        self.started = self.last = time.monotonic()
        if not self.live:
            self.say(f"{self.label}: building, about {span(self.expected)}")
        self.tick()

    def tick(self) -> None:
        """Call it about once a second while the build runs."""
        now = time.monotonic()
        line = f"{self.label}: building, {now - self.started:.0f} s of about {span(self.expected)}"
        if self.live:
            self.stream.write(f"\r{line}\x1b[K")
            self.stream.flush()
        elif now - self.last >= HEARTBEAT_SECONDS:
            # A run that is silent for minutes is taken for hung, by people and by some CI services.
            self.last = now
            self.say(line)

    def end(self, word: str) -> None:
        """The tool is done, or failed."""
        if self.live:
            self.stream.write("\r\x1b[K")
        self.say(f"{self.label}: {word} in {span(time.monotonic() - self.started)}")
