"""What the checks around `keystone up` cost a hundred hosts: seconds of the processor, whatever else runs there."""

import base64
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import sites
from bench.table import Row, show
from keystone import facts
from keystone.checks import around
from keystone.checks.secrets import Place, Scanner, material
from keystone.identities import Identities
from keystone.settings import read

HOSTS, RESOURCES = 100, 1000
NETWORK = "127.244.0"
ROOT = "ab" * 32


def measure(folder: Path) -> None:
    """Each check alone, against its bar."""
    place = sites.copy(folder)
    sites.move(place, NETWORK, HOSTS - 1)
    settings = read(sites.STACK, place)
    facts.write(settings, sites.STACK, place)
    resources = [_resource(number) for number in range(RESOURCES)]
    scanner = Scanner(material.derived(settings, Identities(ROOT, settings.cluster.name)))
    places = [Place("log", _words(2_000_000)), Place("state", json.dumps(resources).encode())] * 2
    checks: dict[str, tuple[Callable[[], list[Any]], int]] = {
        "network": (lambda: around.of_network(sites.STACK, place), 1),
        "ownership": (lambda: around.of_ownership(sites.STACK, place, resources), 1),
        "secrets": (lambda: scanner.scan(places), 4),
    }
    for name, (check, bar) in checks.items():
        before = time.process_time()
        found = check()
        spent = time.process_time() - before
        value = f"{spent:.1f} s, {len(found)} findings"
        show(Row(what=f"check {name} of {HOSTS} hosts", value=value, bar=f"<= {bar} s", held=spent <= bar))


def _words(size: int) -> bytes:
    """Text as logs have it."""
    dice = random.Random(1)
    words = (f"{dice.choice(('urn', 'host', 'created', 'nodes', 'the'))}{dice.randrange(99)}" for _ in range(size // 6))
    return " ".join(words).encode()


def _resource(number: int) -> dict[str, Any]:
    """A command with an encrypted input, as a state has it."""
    cipher = base64.b64encode(random.Random(number).randbytes(1500)).decode()
    mark = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": f"v1:abc:{cipher}"}
    kind = "command:local:Command"
    urn = f"urn:pulumi:{sites.STACK}::keystone::{kind}::join-{number}"
    return {"urn": urn, "type": kind, "custom": True, "inputs": {"stdin": mark}, "outputs": {}}
