"""The file tree of a twin machine, seen from inside: links stay within the machine, whatever they point at."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from twin.disks import BY_ID, Disk
from twin.files import make_link, write_file

LINK_LIMIT = 40  # path_resolution(7)
VOLATILE = ("run", "sys", "proc", "dev", "tmp")


class RootFs:
    """A folder as the root of a machine; `mounts` are further folders below it (the installer's /mnt)."""

    def __init__(self, base: Path, mounts: dict[str, Path] | None = None) -> None:
        self.base = base
        self.mounts = mounts or {}

    def _outer(self, parts: Sequence[str]) -> Path:
        for name, folder in self.mounts.items():
            inner = PurePosixPath(name).parts[1:]
            if tuple(parts[: len(inner)]) == inner:
                return folder.joinpath(*parts[len(inner) :])
        return self.base.joinpath(*parts)

    def _walk(self, name: str, *, follow_last: bool) -> list[str] | None:
        todo = [part for part in name.split("/") if part not in ("", ".")]
        done: list[str] = []
        links = 0
        while todo:
            part = todo.pop(0)
            if part == "..":
                done = done[:-1]
                continue
            here = self._outer([*done, part])
            if here.is_symlink() and (todo or follow_last):
                links += 1
                if links > LINK_LIMIT:
                    return None
                target = os.readlink(here)  # noqa: PTH115 - Path.readlink would drop a trailing slash and "."
                if target.startswith("/"):
                    done = []
                todo = [step for step in target.split("/") if step not in ("", ".")] + todo
                continue
            done.append(part)
        return done

    def resolve(self, name: str) -> Path | None:
        """Return the file on this computer behind a path of the machine; None for a loop of links."""
        parts = self._walk(name, follow_last=True)
        return None if parts is None else self._outer(parts)

    def canonical(self, name: str) -> str | None:
        """Return what `readlink -f` prints: None when a folder on the way is missing."""
        parts = self._walk(name, follow_last=True)
        if parts is None or (parts and not self._outer(parts[:-1]).is_dir()):
            return None
        return "/" + "/".join(parts)

    def link(self, name: str) -> str | None:
        """Return the target of a symbolic link; None for anything else."""
        parts = self._walk(name, follow_last=False)
        if parts is None or not self._outer(parts).is_symlink():
            return None
        return str(self._outer(parts).readlink())

    def place(self, name: str) -> Path:
        """Return the file on this computer to write for a path of the machine. Raises OSError for a loop of links."""
        folder, _, last = name.rstrip("/").rpartition("/")
        parts = self._walk(folder, follow_last=True)
        if parts is None:
            raise OSError(40, "Too many levels of symbolic links", name)
        return self._outer([*parts, *([last] if last not in ("", ".", "..") else [])])


def furnish(base: Path, *, serial: str, hostname: str, disks: Sequence[Disk]) -> None:
    """Make what the kernel and udev show after a start: /sys, /proc, /dev; empties /run and /tmp."""
    for name in VOLATILE:
        shutil.rmtree(base / name, ignore_errors=True)
        (base / name).mkdir(parents=True)
    files = {
        "sys/class/dmi/id/product_serial": serial,
        "sys/class/dmi/id/product_name": "Keystone twin",
        "sys/class/dmi/id/sys_vendor": "Keystone",
        "proc/sys/kernel/random/boot_id": str(uuid.uuid4()),
        "proc/sys/kernel/hostname": hostname,
    }
    for name, text in files.items():
        write_file(base / name, f"{text}\n".encode(), 0o644)
    # The twin's firmware takes keys of Secure Boot at any time.
    write_file(base / "sys/firmware/efi/efivars/SetupMode-8be4df61-93ca-11d2-aa0d-00e098032b8c", b"\6\0\0\0\1", 0o644)
    (base / "dev/disk/by-id").mkdir(parents=True)
    (base / "root").mkdir(exist_ok=True)
    link_disks(base, disks)


def link_disks(base: Path, disks: Sequence[Disk]) -> None:
    """Make the device nodes (empty files) and the by-id links of the disks and their partitions."""
    for disk in disks:
        nodes = {disk.by_id: disk.path}
        nodes |= {f"{disk.by_id}-part{part.number}": disk.part_path(part) for part in disk.partitions}
        for by_id, path in nodes.items():
            (base / path.lstrip("/")).touch()
            make_link(base / BY_ID.lstrip("/") / by_id.removeprefix(BY_ID), f"../../{path.rsplit('/', 1)[-1]}")
