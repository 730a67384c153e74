"""The stack dev-cloud, and its pool of machines at AWS made large: how long it takes, what it costs the Primer."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import yaml

from bench import sites
from bench.life import MAKE, Life, clean, environment, measure
from bench.measure import run
from bench.table import Row, show, timed
from twin.ssh_keys import installer_public_key

STACK = "dev-cloud"
NETWORK = 243
LIFE = Life(stack=STACK, title="dev, a tunnel, a pool of two", seconds=240, megabytes=4000, resources=250)
JOIN_SECONDS = 600
WATCHED = ("primer-headscale", "primer-kube-apiserver", "primer-etcd", "primer-kube-controller-manager", "aws")


def cloud(folder: Path, machines: int) -> None:
    """Measure the stack; with `machines`, its pool too when it has grown to so many."""
    place(folder)
    measure(LIFE, folder, (lambda copy: pool(copy, machines)) if machines else (lambda _copy: None))


def place(folder: Path) -> None:
    """A copy of the project whose stack has a network of its own."""
    sites.copy(folder)
    path = folder / f"Pulumi.{STACK}.yaml"
    document = yaml.safe_load(re.sub(r"127\.\d+\.0\.", f"127.{NETWORK}.0.", path.read_text()))
    for name, host in document["config"]["keystone:hosts"].items():
        host["installerHostKey"] = installer_public_key(f"127.{NETWORK}.0.0/24", name)
    path.write_text(yaml.safe_dump(document, sort_keys=False))


def pool(folder: Path, machines: int) -> None:
    """Let the pool grow: until its last machine is a Ready node, and what the Primer's programs have worked for it."""
    path = folder / f"Pulumi.{STACK}.yaml"
    document = yaml.safe_load(path.read_text())
    [chosen] = document["config"]["keystone:aws"]["nodePools"].values()
    chosen |= {"min": machines, "max": machines, "desired": machines}
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    before, began = seconds(folder), time.monotonic()
    up = run([*MAKE, "up", f"STACK={STACK}"], folder, clean()).need()
    show(timed(f"make up of a pool of {machines}", up, 240))
    joined = ready(folder, machines)
    value = f"{joined} nodes in {time.monotonic() - began:.0f} s"
    show(Row(what="  all machines Ready", value=value, bar=f"{machines}", held=joined == machines))
    after = seconds(folder)
    for name in (name for name in WATCHED if name in before and name in after):
        work, memory = after[name][0] - before[name][0], after[name][1]
        show(Row(what=f"  {name.removeprefix('primer-')}", value=f"{work:.1f} s of processor, {memory:.0f} MB"))
    total = sum(memory for _, memory in after.values())
    show(Row(what="  the twin altogether", value=f"{len(after)} processes, {total:.0f} MB"))


def ready(folder: Path, machines: int) -> int:
    """Wait until so many machines of pools have joined, as the twin knows; how many have, at the end of patience."""
    deadline = time.monotonic() + JOIN_SECONDS
    while True:
        joined = sum(one["state"] == "joined" for one in status(folder)["instances"].values())
        if joined >= machines or time.monotonic() > deadline:
            return joined
        time.sleep(1)


def seconds(folder: Path) -> dict[str, tuple[float, float]]:
    """Processor seconds and megabytes of each process of the twin."""
    found = {}
    for name, one in status(folder)["processes"].items():
        process = psutil.Process(one["pid"])
        times = process.cpu_times()
        found[name] = (times.user + times.system, process.memory_info().rss / 1e6)
    return found


def status(folder: Path) -> dict[str, Any]:
    """What `twin status` knows; a twin that starts many machines at once may need a while to answer."""
    line = [sys.executable, "-m", "twin", "status", "--stack", STACK, "--json"]
    variables = environment(folder, STACK)
    deadline = time.monotonic() + JOIN_SECONDS
    while True:
        done = subprocess.run(line, cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=90)
        if done.returncode == 0:
            return json.loads(done.stdout)
        if time.monotonic() > deadline:
            raise RuntimeError(f"the twin does not answer: {done.stdout}{done.stderr}")
        time.sleep(1)
