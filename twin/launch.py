"""Become another program that dies with its parent: `python -I -S twin/launch.py PARENT_PID PROGRAM [ARGUMENT ...]`.

A shim rather than `preexec_fn`, which may deadlock in a process that has threads. Standard library only; takes 20 ms.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # prctl(2)


def main() -> None:
    parent = int(sys.argv[1])
    # SIGKILL, because a daemon that was itself killed can no longer follow up on a child that ignores SIGTERM.
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit(f"prctl(PR_SET_PDEATHSIG): {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        sys.exit("the parent died before its child began")
    os.execv(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
