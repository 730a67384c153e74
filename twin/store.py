"""The twin's Nix store: what the stand-in for `nix build` makes and a machine runs.

A store path here is a folder with the facts, the age files and the public keys of one system, or the layout of its
disk. Its name depends on the inputs of a rebuild only (the nix/ tree without facts and secrets, the cluster's facts,
the host's facts and age files), so that equal inputs give equal paths, as with the real Nix.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keystone.errors import KeystoneError
from twin import archives

STORE = "/nix/store"
PROFILE = "/nix/var/nix/profiles/system"
RELEASE = "26.05"
# Nix' own base 32: no e, o, t, u, so that no hash spells a word.
LETTERS = "0123456789abcdfghijklmnpqrsvwxyz"
STORE_NAME = re.compile(rf"[{LETTERS}]{{32}}-[0-9A-Za-z+._?=-]+")
OS_RELEASE = f"""ID=nixos
NAME=NixOS
PRETTY_NAME="NixOS {RELEASE} (Keystone's local twin)"
VERSION_ID="{RELEASE}"
"""


@dataclass(frozen=True)
class System:
    """One built system: what its store path says."""

    path: str
    stack: str
    name: str
    cluster: dict[str, Any]
    host: dict[str, Any]
    secrets: dict[str, bytes]
    """The age files by name, still encrypted."""
    mesh_ca: bytes
    authorized_keys: tuple[str, ...]


def store_path(inputs: Mapping[str, bytes], name: str) -> str:
    """Return the store path of a derivation with this name: the hash of the inputs (names and contents) in front."""
    digest = hashlib.sha256(name.encode() + b"\0")
    for key in sorted(inputs):
        digest.update(f"{key}\0{len(inputs[key])}\0".encode() + inputs[key])
    number = int.from_bytes(digest.digest()[:20], "big")
    return f"{STORE}/{''.join(LETTERS[number >> 5 * at & 31] for at in reversed(range(32)))}-{name}"


def is_store_path(path: str) -> bool:
    """True for the path of a whole store object, not of a file inside one."""
    folder, _, name = path.rpartition("/")
    return folder == STORE and STORE_NAME.fullmatch(name) is not None


def add(store: Path, path: str, files: Mapping[str, bytes], links: Mapping[str, str] | None = None) -> None:
    """Put an object with these files and links into a store, in one step; does nothing when it is there."""
    target = store / path.rpartition("/")[2]
    if target.exists():
        return
    store.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=store, prefix=".new-") as folder:
        temporary = Path(folder) / "object"
        for name, content in files.items():
            file = temporary / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            file.chmod(0o555 if name.startswith("bin/") else 0o444)
        for name, link in (links or {}).items():
            (temporary / name).symlink_to(link)
        _settle(temporary, target)


def derive(store: Path, path: str, files: Mapping[str, bytes]) -> None:
    """Write the derivation of an object beside it, as Nix leaves one that all users of the computer may read.

    It names the inputs that are texts with what stands in them, as builders' environments do.
    """
    texts = {name: content.decode(errors="replace") for name, content in files.items() if not name.endswith(".age")}
    environment = ",".join(f"({json.dumps(name)},{json.dumps(text)})" for name, text in sorted(texts.items()))
    text = f'Derive([("out","{path}","","")],[],[],"x86_64-linux","/bin/sh",[],[{environment}])'
    (store / f"{path.rpartition('/')[2]}.drv").write_text(text)


def export(store: Path, path: str) -> bytes:
    """Return one object as a tar archive, for `unpack`. Raises KeystoneError for a path that the store lacks."""
    source = store / path.rpartition("/")[2]
    if not is_store_path(path) or not source.exists():
        raise KeystoneError(path, "is not valid")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(source, arcname=source.name)
    return buffer.getvalue()


def unpack(store: Path, archive: bytes) -> str:
    """Put an exported object into a store, in one step, and return its path. Raises KeystoneError for other data."""
    store.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=store, prefix=".new-") as folder:
        try:
            with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
                archives.unpack(tar, Path(folder))
        except tarfile.TarError as error:
            raise KeystoneError("import", f"is not an export of a store path: {error}") from None
        names = [entry.name for entry in Path(folder).iterdir()]
        if len(names) != 1 or STORE_NAME.fullmatch(names[0]) is None:
            raise KeystoneError("import", "does not hold exactly one store path")
        _settle(Path(folder) / names[0], store / names[0])
    return f"{STORE}/{names[0]}"


def _settle(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError:
        # Two builds of the same path: the first one stays, as it is the same.
        if not target.exists():
            raise
        shutil.rmtree(source)


def read_system(store: Path, path: str) -> System:
    """Return the system of a store path. Raises KeystoneError when the path is not in the store or no system."""
    folder = store / path.rpartition("/")[2]
    if not is_store_path(path) or not folder.exists():
        raise KeystoneError(path, "is not valid")
    try:
        origin = json.loads((folder / "origin.json").read_text())
        return System(
            path=path,
            stack=origin["stack"],
            name=origin["host"],
            cluster=json.loads((folder / "facts/cluster.json").read_text()),
            host=json.loads((folder / "facts/host.json").read_text()),
            secrets={file.stem: file.read_bytes() for file in sorted((folder / "secrets").glob("*.age"))},
            mesh_ca=(folder / "mesh-ca.crt").read_bytes(),
            authorized_keys=tuple((folder / "authorized_keys").read_text().split("\n")),
        )
    except (OSError, ValueError, KeyError):
        raise KeystoneError(path, "is not a system that the twin's nix has built") from None
