"""Nix on the machine: the system profile, and taking store paths from the deployer."""

from __future__ import annotations

from pathlib import Path

from keystone.errors import KeystoneError
from twin import store
from twin.commands import Call, Failed, program


def _store(call: Call, root: str | None) -> Path:
    """Return the folder of the store that a command works on: the machine's, or a chroot store below `root`."""
    if root is not None:
        if root.rstrip("/") != "/mnt" or call.machine.state != "installer":
            raise Failed(f"error: cannot open store '{root}'")
        if not call.machine.mounted:
            raise Failed("error: creating directory '/mnt/nix/store': the disk is not mounted at /mnt")
        return call.machine.store
    return call.machine.store if call.machine.state == "installed" else call.machine.ram / "nix/store"


@program("nix-store")
async def nix_store(call: Call) -> int:
    """`nix-store [--store ROOT] --import|--check-validity PATH`: the far end of the stand-in for `nix copy`."""
    words = list(call.args)
    root: str | None = None
    action, paths = "", []
    while words:
        word = words.pop(0)
        if word == "--store" and words:
            root = words.pop(0)
        elif word in ("--import", "--check-validity"):
            action = word
        elif word.startswith("-"):
            raise Failed(f"error: unrecognised flag '{word}'\nTry 'nix-store --help' for more information.")
        else:
            paths.append(word)
    folder = _store(call, root)
    if action == "--import":
        call.print(store.unpack(folder, await call.read_all()))
    elif action == "--check-validity":
        for path in paths:
            if not store.is_store_path(path) or not (folder / path.rpartition("/")[2]).exists():
                raise Failed(f"error: path '{path}' is not valid")
    else:
        raise Failed("error: no operation specified\nTry 'nix-store --help' for more information.")
    return 0


@program("nix-env", "installed")
async def nix_env(call: Call) -> int:
    """`nix-env --profile /nix/var/nix/profiles/system --set PATH | --list-generations | --rollback`."""
    words = list(call.args)
    machine = call.machine
    profile, action, path = "", "", ""
    while words:
        word = words.pop(0)
        if word in ("-p", "--profile") and words:
            profile = words.pop(0)
        elif word == "--set" and words:
            action, path = word, words.pop(0)
        elif word in ("--list-generations", "--rollback"):
            action = word
        else:
            raise Failed(f"error: unrecognised flag '{word}'\nTry 'nix-env --help' for more information.")
    if profile != store.PROFILE:
        raise Failed(f"error: the twin has the profile {store.PROFILE} only, not '{profile}'")
    profiles = machine.record.profiles
    if action == "--set":
        try:
            store.read_system(machine.store, path)
        except KeystoneError:
            raise Failed(f"error: path '{path}' is not valid") from None
        machine.set_profile(path)
    elif action == "--rollback":
        if len(profiles) < 2:
            raise Failed("error: no generation older than the current (1) exists")
        machine.set_profile(profiles[-2])
    elif action == "--list-generations":
        for number, generation in enumerate(profiles, start=1):
            call.print(f"{number:4}   {generation}" + ("   (current)" if number == len(profiles) else ""))
    else:
        raise Failed("error: no operation specified\nTry 'nix-env --help' for more information.")
    return 0
