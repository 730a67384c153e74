"""What a plan does to machines: reinstall, removal, install, switch (with or without a reboot), or nothing.

A reinstall is told from the installation's trigger, the generation; a switch from the hash of what the system is built
from, which a preview has without Nix. Whether a switch wants a reboot is a question to `reboot.py`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from keystone.preview_comment.plan import Plan, Step

COMMAND = "command:local:Command"
HASH = "KEYSTONE_REBUILD_HASH"
PREFIXES = ("install", "system", "join")
_HOST = re.compile(r"(install|system|join)-([a-z0-9][a-z0-9-]*)")
# Given a host and the hash of its present system: what a switch means for it.
Judge = Callable[[str, str], str]
UNDETERMINED = "switch; reboot not determined"

ORDER = ("reinstalled", "removed", "installed", "switched", "joined again", "joined", "checked", "unchanged")


@dataclass(frozen=True, kw_only=True)
class Fate:
    """What happens to one machine."""

    host: str
    what: str  # one of ORDER
    detail: str


def fates(plan: Plan, judge: Judge = lambda _host, _hash: UNDETERMINED) -> list[Fate]:
    """One fate per machine of the plan, the worst first."""
    hosts: dict[str, dict[str, Step]] = {}
    for step in plan.steps:
        if step.type == COMMAND and (found := _HOST.fullmatch(step.name)) and _is_ours(step, found[1], found[2]):
            hosts.setdefault(found[2], {})[found[1]] = step
    found = [_fate(host, steps, judge) for host, steps in hosts.items()]
    return sorted(found, key=lambda fate: (ORDER.index(fate.what), fate.host))


def _fate(host: str, steps: dict[str, Step], judge: Judge) -> Fate:
    install, system, join = (steps.get(one) for one in PREFIXES)
    if install and install.kind == "replace":
        return Fate(host=host, what="reinstalled", detail=_reinstall(install))
    if install and install.kind == "delete":
        detail = "leaves cluster and mesh, drained first; its disks stay as they are"
        return Fate(host=host, what="removed", detail=detail)
    if install and install.kind == "create":
        return Fate(host=host, what="installed", detail="its install disk is erased, unless it is ours already")
    if system and system.kind in ("update", "replace", "create"):
        old = _hash(system.old)
        if old and old == _hash(system.new):
            return Fate(host=host, what="checked", detail="the command runs again, the system is the same")
        return Fate(host=host, what="switched", detail=judge(host, old))
    if join and join.kind in ("replace", "create"):
        return Fate(host=host, what="joined", detail="joins the mesh and the cluster")
    if join and join.kind == "update":
        return Fate(
            host=host, what="joined again", detail="looked up in mesh and cluster; nothing moves if it is there"
        )
    if install and install.kind == "update":
        return Fate(host=host, what="checked", detail="the installation is looked at, not repeated")
    return Fate(host=host, what="unchanged", detail="")


def _is_ours(step: Step, purpose: str, host: str) -> bool:
    """Whether the command does what its name says; a command of another kind may have such a name."""
    line = (step.new or step.old).get("create")
    return isinstance(line, str) and f"keystone.hosts {purpose} {host}" in line


def _reinstall(install: Step) -> str:
    old, new = _generation(install.old), _generation(install.new)
    why = f"installGeneration {old} -> {new}" if old != new else "not by its generation: look before you approve"
    protected = "; it is protected, so the update will refuse" if install.protected else ""
    return f"{why}; its disk is erased{protected}"


def _generation(inputs: object) -> str:
    """The first trigger, when it is a number; nothing else of the inputs is shown."""
    triggers = inputs.get("triggers") if isinstance(inputs, dict) else None
    first = triggers[0] if isinstance(triggers, list) and triggers else None
    return f"{first:g}" if isinstance(first, int | float) else "unknown"


def _hash(inputs: object) -> str:
    environment = inputs.get("environment") if isinstance(inputs, dict) else None
    value = environment.get(HASH) if isinstance(environment, dict) else None
    return value if isinstance(value, str) else ""
