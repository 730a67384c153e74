"""A stack of the project from nothing to nothing, in a copy of it: up, again, preview, verify, destroy."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.measure import run
from bench.table import Row, show, timed

MAKE = ["make", "--silent", "-o", ".venv/.runtime"]


@dataclass(frozen=True, kw_only=True)
class Life:
    """A stack and its bars: seconds of `make up`, megabytes of everything, resources."""

    stack: str
    title: str
    seconds: float
    megabytes: float
    resources: int


def environment(folder: Path, stack: str) -> dict[str, str]:
    """What `make env` gives for the copy in a folder."""
    lines = subprocess.run(
        [*MAKE, "env", f"STACK={stack}"],
        cwd=folder,
        env=clean(),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout
    script = f'{lines}\n{sys.executable} -c "import json, os; print(json.dumps(dict(os.environ)))"'
    done = subprocess.run(
        ["/bin/sh", "-c", script], env=clean(), capture_output=True, text=True, check=True, timeout=60
    )
    return json.loads(done.stdout)


def clean() -> dict[str, str]:
    """Our environment without what belongs to a stack, or to the `make` that runs us."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PULUMI_", "KEYSTONE_", "AWS_", "MAKE", "MFLAGS", "STACK"))
    }


def resources(folder: Path, stack: str) -> tuple[int, float]:
    """How many resources the state has, and its size in megabytes, as the backend writes it."""
    text = subprocess.run(
        ["pulumi", "stack", "export", "--stack", stack],
        cwd=folder,
        env=environment(folder, stack),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout
    state = json.loads(text)
    return len(state["deployment"].get("resources", [])), len(json.dumps(state, separators=(",", ":"))) / 1e6


def measure(life: Life, folder: Path, more: Callable[[Path], None] = lambda _folder: None) -> None:
    """The life of a stack whose copy lies in the folder; `more` is measured before the end."""

    def make(target: str) -> list[str]:
        return [*MAKE, target, f"STACK={life.stack}"]

    try:
        show(timed(f"make up ({life.title})", run(make("up"), folder, clean()).need(), life.seconds, life.megabytes))
        count, size = resources(folder, life.stack)
        show(Row(what="resources", value=str(count), bar=f"<= {life.resources}", held=count <= life.resources))
        show(Row(what="state", value=f"{size:.2f} MB", bar="<= 1 MB", held=size <= 1))
        for what, target in (("second make up", "up"), ("make preview, unchanged", "preview")):
            result = run(make(target), folder, clean()).need()
            show(timed(what, result, 10))
            same = "no changes" in result.output
            show(Row(what="  changes", value="none" if same else "some", bar="none", held=same))
        result = run(make("verify"), folder, clean())
        show(Row(what="make verify", value=f"{result.seconds:.1f} s", bar="green", held=result.status == 0))
        more(folder)
    finally:
        # The twin goes whatever happened, so that nothing is left running.
        show(timed("make destroy", run(make("destroy"), folder, clean()), 90))
        run(make("down"), folder, clean())
