"""Switches an installed host to the system that its facts describe, and back when it cannot be reached afterwards."""

from contextlib import suppress

from keystone.errors import KeystoneError
from keystone.hosts import local, remove, ssh
from keystone.hosts.context import Context, Lock, host_lock, note, progress
from keystone.hosts.install import build, ssh_files

COPY_SECONDS = 1800.0
SWITCH_SECONDS = 900.0
REACH_SECONDS = 120.0
# A host that install has left a moment ago, or that reboots, gets this long to answer.
FIRST_REACH_SECONDS = 120.0
PROFILE = "/nix/var/nix/profiles/system"


async def system(context: Context, name: str) -> None:
    """Build; nothing when it runs already; else copy, test, reach again, set the profile, boot. Raises KeystoneError.

    The profile is set after the test: a host whose profile and running system are equal has nothing half-done.
    """
    async with host_lock(context.stack, name) as lock:
        wanted = await build(context, name, "toplevel")
        running, profile = await ssh.until(
            "the installed system", lambda: _state(context, name), place=f"hosts.{name}", limit=FIRST_REACH_SECONDS
        )
        if running == wanted == profile:
            progress(name, "runs the wanted system already")
            return
        if running != wanted:
            await _copy(context, name, lock, wanted)
            await _test(context, name, wanted, running)
        async with context.dial(name) as machine:
            await machine.run("nix-env", "--profile", PROFILE, "--set", wanted, limit=SWITCH_SECONDS)
            await machine.run(f"{wanted}/bin/switch-to-configuration", "boot", limit=SWITCH_SECONDS)
        progress(name, f"switched to {wanted}")
        await _tell_reboot(context, name)


async def _state(context: Context, name: str) -> tuple[str, str]:
    async with context.dial(name) as machine:
        # The first command of a host that is taken in again, after its install was adopted.
        await remove.take_back(machine)
        running = await machine.run("readlink", "-f", "/run/current-system")
        profile = await machine.run("readlink", "-f", PROFILE, check=False)
        return running.stdout.strip(), profile.stdout.strip()


async def _copy(context: Context, name: str, lock: Lock, wanted: str) -> None:
    target = context.target(name)
    key = context.identities.ssh_host_key(name, context.host(name).install_generation).public
    key_file, path = ssh_files(lock.folder, target, [key], context.identities.operator_key().private)
    features = ("--extra-experimental-features", "nix-command flakes")
    argv = (local.find("nix"), *features, "copy", "--to", f"ssh-ng://{target.user}@{target.address}", wanted)
    known_hosts = lock.folder / "known_hosts"
    options = f"-p {target.port} -i {key_file} -o StrictHostKeyChecking=yes -o UserKnownHostsFile={known_hosts}"
    environment = {"PATH": path, "NIX_SSHOPTS": options, "SSH_AUTH_SOCK": ""}
    await local.run(name, argv, limit=COPY_SECONDS, environment=environment, cwd=context.project)


async def _test(context: Context, name: str, wanted: str, old: str) -> None:
    """Activates the wanted system without making it the boot default; back to the old one when that goes wrong."""
    fault: KeystoneError | None = None
    try:
        async with context.dial(name) as machine:
            await machine.run(f"{wanted}/bin/switch-to-configuration", "test", limit=SWITCH_SECONDS)
    except ssh.CommandFailed as failed:
        # Status 4: the system is active and some of its units failed.
        what = "some units failed" if failed.status == 4 else f"status {failed.status}"
        last = ssh.last_line(failed.stderr)
        fault = KeystoneError(f"hosts.{name}", f"switching to {wanted}: {what}: {last}", "Mend nix/ and run `up` again")
    except ssh.Unreachable:
        progress(name, "the session broke during the switch")  # a changed network does that; reaching again decides

    async def reached() -> bool | None:
        async with context.dial(name) as machine:
            running = (await machine.run("readlink", "-f", "/run/current-system")).stdout.strip()
            if running != wanted:
                raise KeystoneError(str(machine.target), f"it runs {running}, not {wanted}")
            return True

    if fault is None:
        try:
            await ssh.until("the host after the switch", reached, place=f"hosts.{name}", limit=REACH_SECONDS)
            return
        except KeystoneError as lost:
            fault = lost
    await _roll_back(context, name, old, fault)


async def _roll_back(context: Context, name: str, old: str, fault: KeystoneError) -> None:
    progress(name, f"rolling back to {old}")
    try:
        async with context.dial(name) as machine:
            await machine.run(f"{old}/bin/switch-to-configuration", "test", limit=SWITCH_SECONDS)
    except KeystoneError as second:
        raise KeystoneError(
            fault.place,
            f"{fault.problem}; rolling back failed too ({second.problem})",
            "Reboot the machine: its boot default is still the old system",
        ) from None
    raise KeystoneError(fault.place, f"{fault.problem}; rolled back to {old}", fault.cure) from None


async def _tell_reboot(context: Context, name: str) -> None:
    """Says when kernel, modules or initrd changed. Nothing reboots by itself: a person picks the time, and drains."""
    changed = []
    with suppress(KeystoneError):
        async with context.dial(name) as machine:
            for part in ("kernel", "initrd", "kernel-modules"):
                results = [
                    await machine.run("readlink", "-f", f"/run/{system}/{part}", check=False)
                    for system in ("booted-system", "current-system")
                ]
                if all(result.status == 0 for result in results) and results[0].stdout != results[1].stdout:
                    changed.append(part)
    if changed:
        note(name, f"reboot it at a good time: {', '.join(changed)} changed")
