"""Runs the engine for a comment: what `keystone preview` does, policies included, or the preview of a refresh."""

import os
import signal
import subprocess
from pathlib import Path

from keystone.engine import Run, process, state
from keystone.errors import KeystoneError

UNREAD = "**aws:ssm/parameter:Parameter::**"
"""What drift leaves out: the plugin reads a parameter with its value, which a role that only looks cannot decrypt."""


def output(stack: str, project: Path, *, drift: bool = False) -> str:
    """The engine's events, one per line. Raises KeystoneError when it made none, or did not end in time.

    They are kept in memory: debug events hold secrets.
    """
    if not (project / f"Pulumi.{stack}.yaml").exists():
        raise KeystoneError(f"Pulumi.{stack}.yaml", "does not exist", "Name a stack with --stack")
    state.load(stack, project, create=not drift)
    verb = "refresh" if drift else "preview"
    run = Run(verb=verb, stack=stack, project=project)
    with process.started(_refresh(stack) if drift else run.line(), stack, project) as engine, engine:
        try:
            said, complaints = engine.communicate(timeout=run.seconds)
        except BaseException as stopped:
            os.killpg(engine.pid, signal.SIGKILL)
            if isinstance(stopped, subprocess.TimeoutExpired):
                raise KeystoneError(
                    f"pulumi {verb}", f"did not end within {run.seconds:.0f} s", "Is the state backend reachable"
                ) from None
            raise
    if not said.strip():
        raise process.explained(f"pulumi {verb}", complaints or f"ended with status {engine.returncode}")
    return said


def _refresh(stack: str) -> list[str]:
    options = ["--preview-only", "--exclude", UNREAD, "--json", "--non-interactive"]
    return [process.binary(), "refresh", "--stack", stack, *options]
