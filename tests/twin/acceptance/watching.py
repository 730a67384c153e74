"""What tests of whole clusters look at: the command lines of all processes, and what became of each resource."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LOOKS = 10


@dataclass
class Argv:
    """Watches the command lines of all processes of this user while it runs."""

    seen: set[str] = field(default_factory=set)
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def watching(self) -> Iterator[Argv]:
        watcher = threading.Thread(target=self._watch, daemon=True)
        watcher.start()
        try:
            yield self
        finally:
            self._stop.set()
            watcher.join(timeout=10)

    def _watch(self) -> None:
        # A process takes on its program, and so its command line, some time after it has got its number.
        looks: dict[str, int] = {}
        while not self._stop.wait(0.05):
            now = {name for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208
            looks = {name: count for name, count in looks.items() if name in now}
            for name in now:
                if looks.setdefault(name, 0) < LOOKS:
                    looks[name] += 1
                    with suppress(OSError):
                        line = Path(f"/proc/{name}/cmdline").read_bytes()
                        self.seen.add(line.replace(b"\0", b" ").decode(errors="replace"))


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, str]:
    """What became of each resource between two states: made, gone, or touched (updated or replaced)."""
    found = dict.fromkeys(after.keys() - before.keys(), "made") | dict.fromkeys(before.keys() - after.keys(), "gone")
    for name in before.keys() & after.keys():
        if any(before[name].get(key) != after[name].get(key) for key in ("id", "created", "modified")):
            found[name] = "touched"
    return found
