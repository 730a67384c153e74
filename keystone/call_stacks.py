"""How much of the call stack the SDK writes into the state beside each resource."""

import contextlib
import sys
from collections.abc import Iterator

FRAMES = 7
"""Innermost frames that are looked at: the SDK's own five or six, and one or two of ours that made the resource."""


@contextlib.contextmanager
def short() -> Iterator[None]:
    """Within the block, recorded stacks end at our own lines.

    Whole ones go on through the language host and Python's event loop: files of the machine that runs the program, and
    a fifth of the state, which every step rewrites. What is raised out of the block has its whole traceback.
    """
    before = getattr(sys, "tracebacklimit", None)
    sys.tracebacklimit = FRAMES
    try:
        yield
    finally:
        if before is None:
            del sys.tracebacklimit
        else:
            sys.tracebacklimit = before
