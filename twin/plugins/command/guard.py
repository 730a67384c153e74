"""A small process beside the plugin that ends the commands' process groups when the plugin dies without doing so.

The plugin ends its children itself when it is told to stop. A plugin that is killed cannot, and the engine does kill:
its last resort is SIGKILL to the plugin's group, in which the commands are not. The guard notices by the end of a pipe.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time

TERM_SECONDS = 2.0
"""How long a group has between SIGTERM and SIGKILL."""


class Guard:
    """Tell it each process group when it starts and ends. Make it before any thread exists: it forks."""

    def __init__(self) -> None:
        reading, self._pipe = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                os.close(self._pipe)
                _keep_watch(reading)
                status = 0
            finally:
                os._exit(status)
        os.close(reading)

    def watch(self, group: int) -> None:
        """End this process group if the plugin dies from now on."""
        self._say(f"+{group}\n")

    def forget(self, group: int) -> None:
        """The command of this group has ended; what it left running on purpose stays."""
        self._say(f"-{group}\n")

    def _say(self, line: str) -> None:
        # A guard that somebody killed must not take the commands with it.
        with contextlib.suppress(OSError):
            os.write(self._pipe, line.encode())


def _keep_watch(pipe: int) -> None:
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # the engine waits until nobody holds the plugin's output any more
        os.dup2(nowhere, stream)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    groups: set[int] = set()
    rest = b""
    while data := os.read(pipe, 65536):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            change = groups.add if line[:1] == b"+" else groups.discard
            change(int(line[1:]))
    end_groups(groups)


def end_groups(groups: set[int], seconds: float = TERM_SECONDS) -> None:
    """Send SIGTERM to the groups, and SIGKILL to those alive after `seconds`."""
    alive = {group for group in groups if _signal(group, signal.SIGTERM)}
    deadline = time.monotonic() + seconds
    while alive and time.monotonic() < deadline:
        time.sleep(0.05)
        alive = {group for group in alive if _signal(group, 0)}
    for group in alive:
        _signal(group, signal.SIGKILL)


def _signal(group: int, number: int) -> bool:
    """Whether the group was there to take the signal."""
    try:
        os.killpg(group, number)
    except OSError:
        return False
    return True
