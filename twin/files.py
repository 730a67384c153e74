"""Files of the twin, written in one step; those on machines' disks survive a power cut too."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from keystone import files


def write_file(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace a file in one step; makes its folders. Raises OSError (a full disk leaves the old file alone)."""
    files.write_file(path, content, mode, lasting=True)


def write_private(path: Path, content: bytes) -> Path:
    """Write a file that only the user can read, in one step; makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    files.write_file(path, content, 0o600)
    return path


def write_json(path: Path, document: Any) -> None:
    """Replace a JSON file in one step: sorted keys, a newline at the end."""
    write_file(path, (json.dumps(document, indent=2, sort_keys=True) + "\n").encode())


def make_link(path: Path, target: str) -> None:
    """Point a symbolic link somewhere else in one step; makes its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(path)
