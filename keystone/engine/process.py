"""Running the `pulumi` command: found on PATH, standard input closed or given, always under a time limit."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from keystone.errors import KeystoneError

QUICK_SECONDS = 120
TEMPORARY = "keystone-engine-"
# A state backend that is a folder describes each file in a second one, which it writes in place: who reads while an
# update writes may find it cut short, for as long as one write takes (gocloud.dev/blob/fileblob, attrs.go).
BEING_WRITTEN = ("failed to load checkpoint: EOF", "failed to load checkpoint: unexpected EOF")
AGAIN = 4


def binary() -> str:
    """The `pulumi` on PATH. Raises KeystoneError when there is none."""
    found = shutil.which("pulumi")
    if not found:
        raise KeystoneError("pulumi", "is not on PATH", 'Run `eval "$(make -s env)"` first, or install Pulumi')
    return found


def environment() -> dict[str, str]:
    """The environment for `pulumi`: the caller's, without what makes it talk about itself."""
    return {"PULUMI_SKIP_UPDATE_CHECK": "true", **os.environ}


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A private folder that ends with the block; those that killed runs have left behind end at its beginning."""
    base = Path(tempfile.gettempdir())
    for old in base.glob(f"{TEMPORARY}*-*"):
        pid = old.name.removeprefix(TEMPORARY).partition("-")[0]
        if old.lstat().st_uid == os.getuid() and pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{TEMPORARY}{os.getpid()}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def started(line: list[str], stack: str, project: Path) -> Iterator["subprocess.Popen[str]"]:
    """A run that tells its events, with a temporary folder of its own until the block ends.

    The providers leave files there that hold credentials; what our own commands share stays where it is. The caller
    sees to the end of the process.
    """
    with temporary_folder() as temporary:
        # A session of its own: Ctrl-C reaches pulumi once, from us, and never its plugins behind its back; and if it is
        # killed, what it leaves running can be found by the session's number.
        yield subprocess.Popen(
            line,
            cwd=project,
            env={
                **environment(),
                "KEYSTONE_STACK": stack,
                "PULUMI_ENABLE_STREAMING_JSON_PREVIEW": "true",
                "TMPDIR": str(temporary),
                "KEYSTONE_RUNTIME": tempfile.gettempdir(),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


def quick(arguments: list[str], project: Path, given: str | None = None, limit: float = QUICK_SECONDS) -> str:
    """Run a short `pulumi` command and return what it printed. `given` goes to its standard input.

    Raises KeystoneError with what pulumi said last, or when it is not done within `limit` seconds.
    """
    name = f"pulumi {' '.join(arguments[:2])}"
    try:
        done = _done(arguments, project, given, limit)
        for _ in range(AGAIN):
            if not done.returncode or not any(mark in done.stderr for mark in BEING_WRITTEN):
                break
            done = _done(arguments, project, given, limit)
    except subprocess.TimeoutExpired:
        raise KeystoneError(name, f"did not end within {limit:.0f} s", "Is the state backend reachable") from None
    if done.returncode:
        raise explained(name, done.stderr or done.stdout)
    return done.stdout


def _done(arguments: list[str], project: Path, given: str | None, limit: float) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [binary(), *arguments, "--non-interactive"],
        cwd=project,
        env=environment(),
        input=given if given is not None else "",
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
    )


def explained(name: str, said: str) -> KeystoneError:
    """pulumi's own words as one error, with the cure where the fault is a well-known one."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    text = next((line for line in lines if line.startswith("error:")), lines[-1] if lines else "it said nothing")
    text = text.removeprefix("error:").strip()
    if "passphrase must be set" in text:
        return KeystoneError(
            "PULUMI_CONFIG_PASSPHRASE",
            "is not set, and the stack's secrets are encrypted with it",
            'Set it (or PULUMI_CONFIG_PASSPHRASE_FILE); for a twin stack `eval "$(make -s env)"` does',
        )
    if "incorrect passphrase" in text:
        return KeystoneError(
            "PULUMI_CONFIG_PASSPHRASE",
            "does not decrypt the stack's secrets",
            "Set the passphrase that the stack was made with",
        )
    if "currently locked" in text:
        return KeystoneError(
            name,
            f"{text}: {'; '.join(lines[lines.index(next(x for x in lines if 'locked' in x)) + 1 :])}",
            "Wait for it; if you know that it is dead, type `pulumi cancel`",
        )
    if "no Pulumi project found" in text or "no Pulumi.yaml project file found" in text:
        return KeystoneError("Pulumi.yaml", "not found here or above", "Change to the project's folder")
    return KeystoneError(name, text)
