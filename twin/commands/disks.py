"""Programs that look at disks or write to them: lsblk, blkid, sgdisk, wipefs."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

from twin.commands import Call, Failed, program
from twin.disks import Disk, rows

DEFAULT_COLUMNS = ["NAME", "MAJ:MIN", "RM", "SIZE", "RO", "TYPE", "MOUNTPOINTS"]
GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def _options(call: Call, flags: dict[str, str], valued: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """Parse options by their canonical names; the rest are operands. Raises Failed as util-linux' getopt does."""
    found: dict[str, str] = {}
    operands: list[str] = []
    words = list(call.args)
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if word in flags:
            found[flags[word]] = ""
        elif name in valued and (equals or words):
            found[valued[name]] = value if equals else words.pop(0)
        elif word.startswith("-") and not word.startswith("--") and len(word) > 2:
            words = ([word[:2], word[2:]] if word[:2] in valued else [word[:2], f"-{word[2:]}"]) + words
        elif word.startswith("-"):
            shown = f"unrecognized option '{word}'" if word.startswith("--") else f"invalid option -- '{word[1:]}'"
            raise Failed(f"{call.argv[0]}: {shown}\nTry '{call.argv[0]} --help' for more information.")
        else:
            operands.append(word)
    return found, operands


def _select(call: Call, device: str) -> list[dict[str, Any]] | None:
    """Return lsblk's rows below one device; None when the machine has no such device."""
    path = call.machine.canonical(device)
    for disk in call.machine.inventory.read():
        found = rows(disk, opened=call.machine.opened)
        if path == disk.path:
            return found
        if path in (row["path"] for row in found):
            below = [row for row in found if row["path"] == path]
            return below + [row for row in found if row["pkname"] == below[0]["name"]]
    return None


@program("lsblk")
async def lsblk(call: Call) -> int:
    flags = {"-J": "json", "--json": "json", "-b": "bytes", "--bytes": "bytes", "-d": "nodeps", "--nodeps": "nodeps"}
    flags |= {"-n": "noheadings", "--noheadings": "noheadings", "-p": "paths", "--paths": "paths"}
    options, devices = _options(call, flags, {"-o": "output", "--output": "output"})
    columns = options["output"].upper().split(",") if "output" in options else DEFAULT_COLUMNS
    found: list[dict[str, Any]] = []
    status = 0
    for device in devices:
        below = _select(call, device)
        if below is None:
            call.warn(f"lsblk: {device}: not a block device")
            status = 32 if len(devices) == 1 else 64
        else:
            found += below
    if not devices:
        found = [row for disk in call.machine.inventory.read() for row in rows(disk, opened=call.machine.opened)]
    if "nodeps" in options:
        top = {call.machine.canonical(device) for device in devices}
        found = [row for row in found if (row["path"] in top if devices else row["type"] == "disk")]
    shown = [_shown(row, columns, options) for row in found]
    if "json" in options:
        # util-linux draws a tree only when the NAME column is asked for; without it the list is flat.
        tree = _tree(found, shown) if "NAME" in columns else shown
        call.print(json.dumps({"blockdevices": tree}, indent=3))
    else:
        if "noheadings" not in options:
            call.print(" ".join(columns))
        for row in shown:
            call.print(" ".join("" if value is None else str(value) for value in row.values()))
    return status


def _shown(row: dict[str, Any], columns: list[str], options: dict[str, str]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for column in columns:
        key = column.lower()
        if key != "maj:min" and key not in row:
            raise Failed(f"lsblk: unknown column: {column}")
        value: Any = "253:0" if key == "maj:min" else row[key]
        if key == "size" and "bytes" not in options:
            value = f"{value / 1024**3:.4g}G"
        if key == "name" and "paths" in options:
            value = row["path"]
        shown[key] = value
    return shown


def _tree(found: list[dict[str, Any]], shown: list[dict[str, Any]]) -> list[dict[str, Any]]:
    by_name = {row["name"]: view for row, view in zip(found, shown, strict=True)}
    top = []
    for row, view in zip(found, shown, strict=True):
        parent = by_name.get(row["pkname"])
        if parent is None:
            top.append(view)
        else:
            parent.setdefault("children", []).append(view)
    return top


@program("blkid")
async def blkid(call: Call) -> int:
    flags = {"-p": "probe", "--probe": "probe"}
    valued = {"-o": "output", "--output": "output", "-s": "match", "--match-tag": "match"}
    options, devices = _options(call, flags, valued)
    style = options.get("output", "full")
    if style not in ("full", "value", "export"):
        raise Failed(f"blkid: unsupported output format {style}", 4)
    everything = [row for disk in call.machine.inventory.read() for row in rows(disk, opened=call.machine.opened)]
    named = [(_select(call, device) or [None])[0] for device in devices]
    printed = False
    for device, row in zip(devices, named, strict=True) if devices else ((row["path"], row) for row in everything):
        tags = _tags(row, options) if row is not None else {}
        if not tags:
            continue
        printed = True
        if style == "value":
            call.print("\n".join(tags.values()))
        elif style == "export":
            call.print("\n".join([f"DEVNAME={device}", *(f"{key}={value}" for key, value in tags.items())]))
        else:
            call.print(f"{device}: " + " ".join(f'{key}="{value}"' for key, value in tags.items()))
    # 2: nothing was found, or no such device.
    return 0 if printed else 2


def _tags(row: dict[str, Any], options: dict[str, str]) -> dict[str, str]:
    tags = {"UUID": row["uuid"], "TYPE": row["fstype"]}
    if row["type"] == "disk":
        tags |= {"PTUUID": row["ptuuid"], "PTTYPE": row["pttype"]}
    else:
        tags |= {"PARTLABEL": row["partlabel"], "PARTUUID": row["partuuid"]}
    wanted = options.get("match")
    return {key: value for key, value in tags.items() if value and wanted in (None, key)}


def _disk(call: Call, device: str) -> Disk:
    disk = call.machine.inventory.find(call.machine.canonical(device) or "")
    if disk is None:
        raise Failed(f"Problem opening {device} for reading! Error is 2.\nThe specified file does not exist!", 2)
    return disk


@program("sgdisk")
async def sgdisk(call: Call) -> int:
    flags = {"-Z": "zap", "--zap-all": "zap", "-o": "clear", "--clear": "clear", "-p": "print", "--print": "print"}
    options, devices = _options(call, flags, {"-U": "guid", "--disk-guid": "guid"})
    if len(devices) != 1:
        raise Failed("Usage: sgdisk [OPTION...] <device>", 1)
    disk = _disk(call, devices[0])
    if "guid" in options and not GUID.fullmatch(options["guid"]):
        raise Failed(f"sgdisk: '{options['guid']}' is no GUID", 1)
    if call.machine.state == "installed" and options.keys() - {"print"} and disk.luks is not None:
        raise Failed(f"{devices[0]} is in use by the running system", 4)
    if "zap" in options:
        disk.clear()
        call.print("GPT data structures destroyed! You may now partition the disk using fdisk or\nother utilities.")
    if options.keys() & {"clear", "guid"}:
        if "clear" in options or disk.pttype is None:
            disk.partitions = []
            disk.pttype, disk.ptuuid = "gpt", str(uuid.uuid4())
        disk.ptuuid = options.get("guid", disk.ptuuid or "").lower()
        call.print("The operation has completed successfully.")
    if options.keys() - {"print"}:
        call.machine.inventory.put(disk)
    if "print" in options:
        call.print(
            f"Disk {disk.path}: {disk.size // 512} sectors\nDisk identifier (GUID): {(disk.ptuuid or '').upper()}"
        )
        for part in disk.partitions:
            call.print(f"{part.number:4} {part.size} {part.partlabel}")
    return 0


@program("wipefs")
async def wipefs(call: Call) -> int:
    flags = {"-a": "all", "--all": "all", "-f": "force", "--force": "force", "-n": "dry", "--no-act": "dry"}
    flags |= {"-J": "json", "--json": "json", "-q": "quiet", "--quiet": "quiet"}
    options, devices = _options(call, flags, {})
    if not devices:
        raise Failed("wipefs: no device specified")
    for device in devices:
        disk = call.machine.inventory.find(call.machine.canonical(device) or "")
        if disk is None:
            raise Failed(f"wipefs: error: {device}: probing initialization failed: No such file or directory")
        signatures = [(kind, ident) for kind, ident in ((disk.fstype, disk.uuid), (disk.pttype, disk.ptuuid)) if kind]
        if "all" not in options:
            entries = [
                {"device": disk.path.rsplit("/", 1)[-1], "type": kind, "uuid": ident} for kind, ident in signatures
            ]
            if "json" in options:
                call.print(json.dumps({"signatures": entries}, indent=3))
            else:
                call.out("".join(f"{device} {kind} {ident or ''}\n" for kind, ident in signatures).encode())
            continue
        if call.machine.state == "installed" and disk.luks is not None:
            raise Failed(f"wipefs: error: {device}: probing initialization failed: Device or resource busy")
        if "dry" not in options:
            disk.clear()
            call.machine.inventory.put(disk)
        if "quiet" not in options:
            call.out("".join(f"{device}: {kind}: bytes were erased\n" for kind, _ in signatures).encode())
    return 0
