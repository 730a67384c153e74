"""Files that are written in one step: a reader sees the old content or the new one, never half of it."""

import os
import tempfile
from pathlib import Path


def write_file(path: Path, content: bytes, mode: int = 0o644, *, lasting: bool = False) -> None:
    """Replace a file in one step; makes its folders. Only its owner can read it until it has its mode.

    `lasting` waits for the disk, so that a power cut leaves one of the two. Raises OSError; the old file then stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None  # not the name that nobody has chosen
    beside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
            if lasting:
                file.flush()
                os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
