"""What the twin is told to do wrong: releases that fail, hang or take long. One file per site, read while they do."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from keystone.errors import KeystoneError
from keystone.files import write_file


@dataclass(frozen=True)
class Order:
    """How one release behaves: `fail` is the message of every attempt, `hang` never ends, `slow` is in seconds."""

    fail: str = ""
    hang: bool = False
    slow: float = 0.0


class Orders:
    """The orders of a site by the name of the release."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def of(self, release: str) -> Order:
        """The order for a release; the plain one when there is none."""
        return self._read().get(release, Order())

    def give(self, release: str, order: Order) -> None:
        """Set the order for a release; the plain one takes it back."""
        orders = self._read() | {release: order}
        kept = {name: asdict(one) for name, one in orders.items() if one != Order()}
        write_file(self.path, json.dumps(kept, indent=2).encode())

    def _read(self) -> dict[str, Order]:
        try:
            found = json.loads(self.path.read_text())
            return {name: Order(**order) for name, order in found.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, AttributeError) as error:
            raise KeystoneError(str(self.path), f"is not what the twin wrote: {error}", "Remove the file") from None
