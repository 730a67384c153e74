"""What the stand-in for `nix build` makes of a flake: systems and disk layouts, from facts and age files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from keystone.agefiles import MESH_CA, SECRETS_BY_ROLE
from keystone.errors import KeystoneError
from keystone.facts import CLUSTER, ClusterFacts, HostFacts
from twin import store
from twin.disks import PASSWORD_FILE
from twin.factcheck import read_facts

OUTPUTS = {
    "toplevel": "",
    "diskoScript": "disko",
    "diskoScriptNoDeps": "disko",
    "formatScript": "format",
    "formatScriptNoDeps": "format",
    "mountScript": "mount",
    "mountScriptNoDeps": "mount",
}
ATTRIBUTE = re.compile(
    r'nixosConfigurations\.(?:"(?P<quoted>[^"]+)"|(?P<bare>[^."]+))\.config\.system\.build\.(?P<output>\w+)'
)
# One kernel for all systems of the twin: no switch asks for a reboot.
KERNEL = store.store_path({}, "linux-6.18.0")
# Mirrors nix/modules/secrets.nix: what a role needs before Nix builds its system.
OPTIONAL = frozenset({"service-account-key"})


class Unknown(KeystoneError):
    """The flake has no such attribute."""


def build(here: Path, flake: Path, attribute: str) -> str:
    """Build one attribute of the flake into the store `here` and return its path. Raises KeystoneError as Nix would."""
    match = ATTRIBUTE.fullmatch(attribute)
    if not (flake / "flake.nix").is_file():
        raise KeystoneError(f"source tree referenced by 'path:{flake}'", "does not contain a '/flake.nix' file")
    found = _find(flake, match["quoted"] or match["bare"]) if match else None
    if match is None or found is None or match["output"] not in OUTPUTS:
        raise Unknown(f"flake 'path:{flake}'", f"does not provide attribute '{attribute}'")
    stack, host = found
    files = _inputs(flake, stack, host)
    output = match["output"]
    if output == "toplevel":
        # The whole tree counts, not what this host reads of it: Nix copies a flake's source as one store path.
        name = f"nixos-system-{host}-{store.RELEASE}"
        path = store.store_path({**dict(_tree(flake)), **files}, name)
        store.add(here, path, _system(files, stack, host), links=_links())
        store.derive(here, path, files)
    else:
        mode = OUTPUTS[output]
        content = {"layout.json": _layout(files, mode)}
        path = store.store_path(content, "disko" if mode == "disko" else f"disko-{mode}")
        store.add(here, path, content)
    return path


def _find(flake: Path, name: str) -> tuple[str, str] | None:
    """Return stack and host of a configuration's name, STACK-HOST; both may hold hyphens."""
    for folder in sorted((flake / "facts").glob("*")):
        host = name.removeprefix(f"{folder.name}-")
        if host not in (name, CLUSTER) and (folder / f"{host}.json").is_file():
            return folder.name, host
    return None


def _inputs(flake: Path, stack: str, host: str) -> dict[str, bytes]:
    """Return the files that make this host's system its own, checked as the modules' assertions check them."""
    facts = flake / "facts" / stack
    cluster = read_facts(facts / f"{CLUSTER}.json", ClusterFacts)
    own = read_facts(facts / f"{host}.json", HostFacts)
    files = {
        "facts/cluster.json": (facts / f"{CLUSTER}.json").read_bytes(),
        "facts/host.json": (facts / f"{host}.json").read_bytes(),
    }
    secrets = flake / "secrets" / stack
    needed = set(SECRETS_BY_ROLE.get(own["role"], ())) - OPTIONAL
    if cluster["mesh"]["tls"] != "private":
        needed = {name for name in needed if not name.startswith("mesh-tls")}
    present = {file.stem: file.read_bytes() for file in (secrets / host).glob("*.age")}
    if missing := sorted(needed - set(present)):
        lacks = ", ".join(f"{name}.age" for name in missing)
        raise KeystoneError(host, f"keystone.secrets.folder lacks {lacks}", "Run `keystone facts`")
    files |= {f"secrets/{name}.age": content for name, content in present.items()}
    operator = secrets / "operator.pub"
    keys = [*(operator.read_text().splitlines() if operator.exists() else []), *cluster["cluster"]["authorizedKeys"]]
    if not keys:
        raise KeystoneError(
            host, "keystone.base.operatorKeyFile: no public key may log in", "Run `keystone facts`, which writes it"
        )
    ca = secrets / MESH_CA
    files["authorized_keys"] = "\n".join(keys).encode()
    files["mesh-ca.crt"] = ca.read_bytes() if ca.exists() else b""
    return files


def _tree(flake: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the files of the flake but facts and secrets; hidden files and links are no sources."""
    for file in sorted(flake.rglob("*")):
        path = file.relative_to(flake)
        hidden = any(part.startswith(".") or part == "__pycache__" for part in path.parts)
        if path.parts[0] not in ("facts", "secrets") and not hidden and file.is_file() and not file.is_symlink():
            yield f"nix/{path.as_posix()}", file.read_bytes()


def _system(files: dict[str, bytes], stack: str, host: str) -> dict[str, bytes]:
    return {
        **files,
        "origin.json": json.dumps({"stack": stack, "host": host}).encode(),
        "nixos-version": f"{store.RELEASE}\n".encode(),
        "system": b"x86_64-linux",
        "bin/switch-to-configuration": b"The twin's machines run this by name: twin/commands/install.py\n",
    }


def _links() -> dict[str, str]:
    return {part: f"../{KERNEL.rpartition('/')[2]}" for part in ("kernel", "initrd", "kernel-modules")}


def _layout(files: dict[str, bytes], mode: str) -> bytes:
    facts = json.loads(files["facts/host.json"])
    layout = {
        "device": facts["disk"],
        "guid": facts["diskGuid"],
        "filesystem": "ext4" if facts["layout"] == "ext4-luks" else "zfs_member",
        "passwordFile": PASSWORD_FILE,
        "mode": mode,
        "host": facts["name"],
        "unlock": facts["unlock"],
    }
    return (json.dumps(layout, sort_keys=True) + "\n").encode()
