"""machine.json: what a machine's firmware would find on its disk."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from keystone.errors import KeystoneError

State = Literal["installer", "initrd", "installed"]
SCHEMA_VERSION = 1


@dataclass
class Record:
    """machine.json: what the machine's disk says about itself. `system` runs now, `boot` starts next time.

    `tpm` stands for the key of the machine's TPM2: another number is another key, 0 is a machine without a TPM2.
    """

    state: State = "installer"
    system: str | None = None
    boot: str | None = None
    profiles: list[str] = field(default_factory=list)
    marker: dict[str, Any] | None = None
    generation: int | None = None
    tpm: int = 1
    schemaVersion: int = SCHEMA_VERSION


def read_record(path: Path) -> Record:
    """Return the record of a file, or that of a blank machine when there is none. Raises KeystoneError if broken."""
    try:
        record = Record(**json.loads(path.read_text()))
    except FileNotFoundError:
        return Record()
    except (ValueError, TypeError) as error:
        raise KeystoneError(str(path), f"is not the record of a machine: {error}", "Run `make destroy`") from None
    if record.schemaVersion != SCHEMA_VERSION:
        raise KeystoneError(str(path), f"has version {record.schemaVersion}, not {SCHEMA_VERSION}")
    return record
