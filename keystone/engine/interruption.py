"""Creates that broke off because their plugin died: what they made is looked for.

A plugin's death looks like a refusal to the engine: it forgets the create, although the cloud may have done it.
"""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keystone.engine import adoption, state
from keystone.errors import KeystoneError

DEATH = re.compile(
    r"error reading from server|transport is closing|connection (reset|refused)|broken pipe|unexpected EOF"
)
"""What gRPC says of a call whose other side is gone; no provider words its own faults like this."""
LATE_SECONDS = 30
"""How long a request may still be under way that nobody waits for any more."""
LOOK_SECONDS = 2
CREATES = ("create", "create-replacement")
KEPT = ("urn", "type", "custom", "parent", "provider", "inputs", "protect")


class Interruptions:
    """Listens to the events of one run."""

    def __init__(self) -> None:
        self._creating: dict[str, dict[str, Any]] = {}
        self._broken: set[str] = set()

    def take(self, event: dict[str, Any]) -> None:
        """One event."""
        step = event.get("resourcePreEvent", {}).get("metadata") or {}
        if step.get("op") in CREATES and step.get("new"):
            self._creating[step["urn"]] = step["new"]
        done = event.get("resOutputsEvent", {}).get("metadata") or {}
        self._creating.pop(done.get("urn", ""), None)
        said = event.get("diagnosticEvent") or {}
        if said.get("severity") == "error" and DEATH.search(said.get("message", "")):
            self._broken.add(said.get("urn", ""))

    def look(self, stack: str, project: Path, say: Callable[[str], None]) -> None:
        """Look for what they have made, while it may still be under way, and take it into the state."""
        lost = {
            urn: {key: value for key, value in new.items() if key in KEPT and value is not None}
            for urn, new in self._creating.items()
            if urn in self._broken and new.get("custom") and not adoption.repeatable(new["type"])
        }
        if not lost:
            return
        wanted = state.asked_for(stack, project, list(lost.values()))
        found: dict[str, str] = {}
        deadline = time.monotonic() + LATE_SECONDS
        say(f"The plugin died: looking for what it was making: {', '.join(one.name for one in wanted)}")
        while wanted:
            for one in list(wanted):
                try:
                    identity = adoption.find(one, say)
                except KeystoneError:
                    say(f"warning: {one.name} may have been made. Look, then remove it or `pulumi import` it")
                    wanted.remove(one)
                    continue
                if identity:
                    found[one.urn] = identity
                if identity or one.kind == adoption.SERVICE_TOKEN:
                    wanted.remove(one)
            if not wanted or time.monotonic() > deadline:
                break
            time.sleep(LOOK_SECONDS)
        if found:
            state.take_in(stack, project, None, lost, found, say)
