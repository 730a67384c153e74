"""`python -m bench [--skip-dev] [--hosts 10,30,100]`."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench import policies, sites
from bench.measure import Result, run

DEV_NETWORK, MANY_NETWORK = "127.241.0", "127.242.0"
MAKE = ["make", "--silent", "-o", ".venv/.runtime"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table."""

    what: str
    value: str
    bar: str = ""
    held: bool | None = None


def show(row: Row) -> None:
    """Print a line as soon as it is known."""
    verdict = {None: "", True: "ok", False: "MISSED"}[row.held]
    print(f"{row.what:<44} {row.value:>26}  {row.bar:<22} {verdict}".rstrip(), flush=True)


def timed(what: str, result: Result, seconds: float, megabytes: float = 0) -> Row:
    """A line about a run against its bars."""
    bar = f"<= {seconds:.0f} s" + (f", <= {megabytes:.0f} MB" if megabytes else "")
    held = result.seconds <= seconds and (not megabytes or result.megabytes <= megabytes)
    return Row(what=what, value=f"{result.seconds:.1f} s, {result.megabytes:.0f} MB", bar=bar, held=held)


def environment(folder: Path) -> dict[str, str]:
    """What `make env` gives for the copy in a folder."""
    lines = subprocess.run(
        [*MAKE, "env"], cwd=folder, env=clean(), capture_output=True, text=True, check=True, timeout=120
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
        if not name.startswith(("PULUMI_", "KEYSTONE_", "MAKE", "MFLAGS", "STACK"))
    }


def resources(folder: Path, variables: dict[str, str]) -> tuple[int, float]:
    """How many resources the state has, and its size as exported in megabytes."""
    line = ["pulumi", "stack", "export", "--stack", sites.STACK]
    text = subprocess.run(
        line, cwd=folder, env=variables, capture_output=True, text=True, check=True, timeout=120
    ).stdout
    return len(json.loads(text)["deployment"].get("resources", [])), len(text) / 1e6


def dev(folder: Path) -> None:
    """The dev stack: up, again, preview, destroy."""
    sites.copy(folder)
    sites.move(folder, DEV_NETWORK, 3)
    try:
        show(timed("make up (Primer, 3 workers)", run([*MAKE, "up"], folder, clean()).need(), 120, 3000))
        variables = environment(folder)
        count, size = resources(folder, variables)
        show(Row(what="resources", value=str(count), bar="<= 150", held=count <= 150))
        show(Row(what="exported state", value=f"{size:.2f} MB", bar="<= 1 MB", held=size <= 1))
        for what, target in (("second make up", "up"), ("make preview, unchanged", "preview")):
            result = run([*MAKE, target], folder, clean()).need()
            show(timed(what, result, 10))
            same = "no changes" in result.output
            show(Row(what="  changes", value="none" if same else "some", bar="none", held=same))
        result = run([*MAKE, "verify"], folder, clean())
        show(Row(what="make verify", value=f"{result.seconds:.1f} s", bar="green", held=result.status == 0))
    finally:
        # The twin goes whatever happened, so that nothing is left running.
        show(timed("make destroy", run([*MAKE, "destroy"], folder, clean()), 90))
        run([*MAKE, "down"], folder, clean())


def judged() -> None:
    """The policy pack over a thousand resources."""
    start, seconds, found = policies.measure(sites.PROJECT)
    show(Row(what="start of the policy pack", value=f"{start:.1f} s"))
    value = f"{seconds:.1f} s, {found} violations"
    show(Row(what=f"policies over {policies.COUNT} resources", value=value, bar="<= 2 s", held=seconds <= 2))


def previews(folder: Path, counts: list[int]) -> None:
    """First previews of stacks with many hosts, beside the engine's floor for as many trivial resources."""
    seconds: dict[int, float] = {}
    empty_done = False
    for count in counts:
        place = sites.copy(folder / f"hosts-{count}")
        sites.move(place, MANY_NETWORK, count - 1)
        try:
            rendered = run(
                [".venv/bin/python", "-m", "keystone", "facts", "--stack", sites.STACK], place, environment(place)
            )
            rendered.need()
            variables = environment(place)
            line = [".venv/bin/python", "-m", "keystone", "preview", "--stack", sites.STACK]
            result = run(line, place, variables).need()
            if not empty_done:
                empty_done = True
                bare = preview(sites.floor(folder / "floor-0", 0), variables)
                show(
                    Row(
                        what="floor: preview of an empty program",
                        value=f"{bare.seconds:.1f} s, {bare.megabytes:.0f} MB",
                    )
                )
            made = int(next(word for word in result.output.split("preview dev: ")[1].split() if word.isdigit()))
            show(Row(what=f"facts and age files of {count} hosts", value=f"{rendered.seconds:.1f} s"))
            bars = (60, 1000) if count >= 100 else (60, 0)
            show(timed(f"preview of {count} hosts ({made} resources)", result, *bars))
            trivial = preview(sites.floor(folder / f"floor-{count}", made), variables)
            ratio = result.seconds / trivial.seconds
            show(
                Row(
                    what=f"  floor: {made} trivial resources",
                    value=f"{trivial.seconds:.1f} s; ours is {ratio:.1f} times",
                )
            )
            show(Row(what="  resources for each host", value=f"{made / count:.1f}", bar="<= 8", held=made / count <= 8))
            seconds[count] = result.seconds
        finally:
            run([*MAKE, "down"], place, clean())
    if len(seconds) > 1:
        low, high = min(seconds), max(seconds)
        growth = (seconds[high] / seconds[low]) / (high / low)
        show(
            Row(
                what=f"growth from {low} to {high} hosts", value=f"{growth:.2f} of linear", bar="<= 1", held=growth <= 1
            )
        )


def preview(folder: Path, variables: dict[str, str]) -> Result:
    """A preview of a project that has no state."""
    return run(
        [sys.executable, "-m", "keystone", "preview", "--stack", sites.STACK],
        folder,
        {**variables, "PYTHONPATH": str(sites.PROJECT)},
    ).need()


def main() -> int:
    """Print the table; 1 when a measurement could not be made."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--skip-dev", action="store_true", help="only the previews of many hosts")
    parser.add_argument("--hosts", default="10,30,100", help="numbers of hosts to preview; empty for none")
    options = parser.parse_args()
    counts = [int(word) for word in options.hosts.split(",") if word]
    cores, load = os.cpu_count(), os.getloadavg()[0]
    print(f"{cores} cores; load before: {load:.1f}{' (not idle: times are too long)' if load > 1 else ''}", flush=True)
    with tempfile.TemporaryDirectory(prefix="keystone-bench-") as folder:
        try:
            if not options.skip_dev:
                dev(Path(folder, "dev"))
            judged()
            previews(Path(folder), counts)
        except RuntimeError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
