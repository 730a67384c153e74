"""Ends what a test has started."""

from contextlib import suppress

import psutil

END_SECONDS = 15.0


def end_tree(pid: int) -> None:
    """End a program and all that it has started, in whatever session: first as a person does, then by force.

    A program that is killed at once cannot end its own children, and those that lead a session are found by nothing
    but their parent.
    """
    try:
        first = psutil.Process(pid)
        tree = [first, *first.children(recursive=True)]
        first.terminate()
        with suppress(psutil.TimeoutExpired):
            first.wait(END_SECONDS)
    except psutil.NoSuchProcess:
        return
    _, left = psutil.wait_procs(tree, timeout=0)
    for one in left:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(left, timeout=END_SECONDS)
