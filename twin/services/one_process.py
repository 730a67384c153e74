"""What the units that are one process share: their state, and what to say of it."""

from __future__ import annotations

from pathlib import Path

from twin.services import InstalledSystem, UnitState
from twin.services.facts import Facts
from twin.services.layout import Layout
from twin.supervisor import Child, Supervisor


class OneProcess:
    """A unit that runs one child of the supervisor; `_problem` says why there is none."""

    def __init__(self, system: InstalledSystem, facts: Facts, socket: Path, supervisor: Supervisor) -> None:
        self.system = system
        self.facts = facts
        self.layout = Layout(system.root)
        self._socket = socket
        self._supervisor = supervisor
        self._child: Child | None = None
        self._problem = ""

    async def stop(self) -> None:
        self._problem = ""
        if self._child is not None:
            await self._child.stop()
            self._child = None

    def active(self) -> bool:
        return self.state() == "active"

    def state(self) -> UnitState:
        if self._child is None:
            return "failed" if self._problem else "inactive"
        if self._child.failed:
            return "failed"
        return "active" if self._child.running else "activating"

    def problem(self) -> str:
        return (
            f"{self._child.spec.name} stays down" if self._child is not None and self._child.failed else self._problem
        )
