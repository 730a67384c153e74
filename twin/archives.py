"""Unpacking of tar archives from machines, kept inside the folder that they are unpacked into."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path


def unpack(archive: tarfile.TarFile, folder: Path) -> None:
    """Unpack into a folder; raises tarfile.TarError for a member that would land outside, or is a special file.

    Python 3.11.4 has a filter for that; the 3.11 of older distributions has not, and gets the same rules from here.
    """
    if hasattr(tarfile, "data_filter"):
        archive.extractall(folder, filter="data")
        return
    root = os.path.realpath(folder)
    for member in archive.getmembers():
        place = os.path.join(root, member.name)  # noqa: PTH118 (a path that may leave its folder is compared as text)
        leads_to = [place]
        if member.issym():
            leads_to.append(os.path.join(os.path.dirname(place), member.linkname))  # noqa: PTH118, PTH120
        elif member.islnk():
            leads_to.append(os.path.join(root, member.linkname))  # noqa: PTH118
        elif not (member.isfile() or member.isdir()):
            raise tarfile.TarError(f"{member.name!r} is a special file")
        if any(os.path.commonpath([root, os.path.realpath(one)]) != root for one in leads_to):
            raise tarfile.TarError(f"{member.name!r} would land outside of the folder")
    archive.extractall(folder)
