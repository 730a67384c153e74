"""`python -m bench [--skip-dev] [--skip-cloud] [--pool 50] [--hosts 10,30,100]`."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from bench import checks, clouds, policies, sites
from bench.life import MAKE, Life, clean, environment, measure
from bench.measure import Result, run
from bench.table import MISSED, Row, show, timed

DEV_NETWORK, MANY_NETWORK, BARE_NETWORK = "127.241.0", "127.242.0", "127.243.0"
BARE = Life(stack=sites.STACK, title="Primer, 3 workers, no platform", seconds=120, megabytes=3000, resources=150)
DEV = Life(stack=sites.STACK, title="Primer, 3 workers", seconds=180, megabytes=3000, resources=150)


def dev(folder: Path) -> None:
    """The dev stack: first the cluster alone, then with all that is checked in."""
    for life, network, left_out in ((BARE, BARE_NETWORK, sites.PLATFORM), (DEV, DEV_NETWORK, ())):
        place = sites.copy(folder / network)
        sites.move(place, network, 3, left_out)
        measure(life, place)


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
                [".venv/bin/python", "-m", "keystone", "facts", "--stack", sites.STACK],
                place,
                environment(place, sites.STACK),
            )
            rendered.need()
            variables = environment(place, sites.STACK)
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
    """Print the table; 1 when a measurement could not be made, or is past its bar."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--skip-dev", action="store_true", help="only the previews of many hosts")
    parser.add_argument("--skip-cloud", action="store_true", help="without the stack dev-cloud")
    parser.add_argument("--pool", type=int, default=50, help="machines of a large pool at AWS; 0 for none")
    parser.add_argument("--hosts", default="10,30,100", help="numbers of hosts to preview; empty for none")
    options = parser.parse_args()
    counts = [int(word) for word in options.hosts.split(",") if word]
    cores, load = os.cpu_count(), os.getloadavg()[0]
    print(f"{cores} cores; load before: {load:.1f}{' (not idle: times are too long)' if load > 1 else ''}", flush=True)
    with tempfile.TemporaryDirectory(prefix="keystone-bench-") as folder:
        try:
            if not options.skip_dev:
                dev(Path(folder, "dev"))
            if not options.skip_cloud:
                clouds.cloud(Path(folder, "cloud"), options.pool)
            judged()
            checks.measure(Path(folder, "checks"))
            previews(Path(folder), counts)
        except RuntimeError as error:
            print(error, file=sys.stderr)
            return 1
    for what in MISSED:
        print(f"bench: {what.strip()}: past its bar", file=sys.stderr)
    return 1 if MISSED else 0


if __name__ == "__main__":
    sys.exit(main())
