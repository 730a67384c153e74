"""The machine itself: systemctl, power, kernel and host name, and the passphrase prompt of the initrd."""

from __future__ import annotations

from keystone.errors import KeystoneError
from twin.commands import Call, Failed, program
from twin.disks import opens

RELEASE = "6.18.0-keystone-twin"
NO_SUCH_UNIT = 4
NOT_RUNNING = 3


def _unit(word: str) -> str:
    return word.removesuffix(".service")


@program("systemctl")
async def systemctl(call: Call) -> int:
    quiet = False
    words: list[str] = []
    for word in call.args:
        if word in ("-q", "--quiet"):
            quiet = True
        elif word in ("--no-pager", "--wait", "--no-ask-password", "--full", "-l"):
            continue
        elif word.startswith("-"):
            raise Failed(f"systemctl: unrecognized option '{word}'")
        else:
            words.append(word)
    match words:
        case ["is-active", *units] if units:
            return _is_active(call, units, quiet=quiet)
        case ["is-failed", unit]:
            state = call.machine.units.state(_unit(unit)) or "inactive"
            if not quiet:
                call.print(state)
            return 0 if state == "failed" else 1
        case ["is-system-running"]:
            return _is_system_running(call)
        case [("start" | "stop" | "restart") as verb, *units] if units:
            return await _change(call, verb, units)
        case ["status", unit]:
            return _status(call, _unit(unit))
        case ["list-units" | "list-units", *_]:
            for unit in call.machine.units.names():
                call.print(f"{unit}.service loaded {call.machine.units.state(unit)}")
            return 0
        case ["daemon-reload"] | ["reset-failed", *_]:
            return 0
        case ["reboot"]:
            call.machine.reboot()
            return 0
        case ["poweroff"]:
            call.machine.reboot(on=False)
            return 0
        case [verb, *_]:
            raise Failed(f"Unknown command verb '{verb}'.")
        case _:
            raise Failed("Too few arguments.")


def _is_active(call: Call, units: list[str], *, quiet: bool) -> int:
    states = [call.machine.units.state(_unit(unit)) for unit in units]
    if not quiet:
        for state in states:
            call.print(state or "inactive")
    if "active" in states:
        return 0
    return NO_SUCH_UNIT if None in states else NOT_RUNNING


def _is_system_running(call: Call) -> int:
    units = call.machine.units
    states = {units.state(unit) for unit in units.names()}
    word = "degraded" if "failed" in states else "starting" if "activating" in states else "running"
    call.print(word)
    return 0 if word == "running" else 1


async def _change(call: Call, verb: str, names: list[str]) -> int:
    units = call.machine.units
    for name in names:
        unit = _unit(name)
        if units.state(unit) is None:
            raise Failed(f"Failed to {verb} {unit}.service: Unit {unit}.service not found.", 5)
        if unit not in units.names():
            continue
        if verb in ("stop", "restart"):
            await call.machine.keep(units.halt(unit))
        if verb in ("start", "restart"):
            try:
                await call.machine.keep(units.start(unit))
            except KeystoneError as error:
                raise Failed(f"Job for {unit}.service failed: {error}") from None
    return 0


def _status(call: Call, unit: str) -> int:
    units = call.machine.units
    state = units.state(unit)
    if state is None:
        raise Failed(f"Unit {unit}.service could not be found.", NO_SUCH_UNIT)
    call.print(f"{unit}.service\n     Loaded: loaded\n     Active: {state}")
    if problem := units.problem(unit):
        call.print(f"     Status: {problem}")
    return 0 if state == "active" else NOT_RUNNING


@program("reboot")
async def reboot(call: Call) -> int:
    call.machine.reboot()
    return 0


@program("poweroff")
async def poweroff(call: Call) -> int:
    call.machine.reboot(on=False)
    return 0


@program("kexec", "installed", "installer")
async def kexec(call: Call) -> int:
    """Start the installer from memory, host key and authorised keys kept, as nixos-images' kexec tarball does."""
    call.machine.reboot(kexec=True)
    call.print("machine will boot into nixos in 6s")
    return 0


@program("umount", "installer")
async def umount(call: Call) -> int:
    if call.args[-1:] != ["/mnt"]:
        raise Failed(f"umount: {call.args[-1] if call.args else ''}: not mounted.", 32)
    call.machine.mounted = False
    return 0


@program("zpool")
async def zpool(call: Call) -> int:
    match call.args:
        case ["list", *_]:
            call.print("rpool" if call.machine.opened else "no pools available")
            return 0
        case ["export", "-a"]:
            return 0
        case _:
            raise Failed("zpool: the twin knows zpool list and zpool export -a", 2)


@program("uname")
async def uname(call: Call) -> int:
    values = {"-s": "Linux", "-n": _hostname(call), "-r": RELEASE, "-m": "x86_64", "-o": "GNU/Linux"}
    words = call.args or ["-s"]
    if words == ["-a"]:
        call.print(" ".join(values.values()))
        return 0
    if unknown := [word for word in words if word not in values]:
        raise Failed(f"uname: invalid option -- '{unknown[0].lstrip('-')}'")
    call.print(" ".join(values[word] for word in words))
    return 0


def _hostname(call: Call) -> str:
    path = call.machine.resolve("/proc/sys/kernel/hostname")
    return path.read_text().strip() if path is not None and path.exists() else "(none)"


@program("hostname")
async def hostname(call: Call) -> int:
    if call.args:
        raise Failed("hostname: you must not change the host name: it is part of the system's configuration")
    call.print(_hostname(call))
    return 0


@program("systemd-tty-ask-password-agent", "initrd")
async def ask_password(call: Call) -> int:
    """Take the passphrase of the disk on standard input; when it is right, the machine boots on."""
    passphrase = (await call.read_all()).rstrip(b"\r\n")
    if not opens(call.machine.install_disk(), passphrase):
        raise Failed("Failed to activate with specified passphrase. (Passphrase incorrect?)")
    call.machine.unlock()
    return 0
