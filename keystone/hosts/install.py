"""Installs a machine with nixos-anywhere, after the guard, and waits until the installed system answers.

Steps: guard; build; kexec when another system runs; mark the disk (the first write); disko and install; mark the
install as finished; reboot; wait for the pinned host key and the marker. Interrupted at any point, it can run again.
"""

import json
import os
import shlex
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from keystone.errors import KeystoneError
from keystone.hosts import guard, local, observation, remove, ssh
from keystone.hosts.context import Context, Lock, host_lock, progress
from keystone.hosts.guard import Action, Expected, Verdict

BUILD_SECONDS = 3600.0
KEXEC_SECONDS = 900.0
INSTALL_SECONDS = 2700.0
# A server's firmware alone may take five minutes.
BOOT_SECONDS = 900.0
UNLOCK_SECONDS = 30.0
# disko's passwordFile in nix/ names the same path.
SSH_PORT = 22
DISK_KEY = "/run/keystone/disk.key"


async def install(context: Context, name: str, *, verify_only: bool = False) -> None:
    """Brings a host to its installed system of the settings' generation. Raises Refusal, KeystoneError."""
    async with host_lock(context.stack, name) as lock:
        if verify_only:
            await verify(context, name)
            progress(name, "installed, as the stack file says")
            return
        expected = observation.expected_of(context, name, os.environ.get(guard.CONFIRMATION))
        verdict = guard.decide(expected, await observation.observe(context, expected))
        progress(name, f"{verdict.action}: {verdict.reason}")
        if verdict.action is not Action.ADOPT:
            await _Install(context, expected, verdict, lock).run()


async def verify(context: Context, name: str) -> str:
    """The running system's path. Raises KeystoneError unless the host shows its pinned key and the right marker."""
    host = context.host(name)
    async with context.dial(name) as machine:
        marker = json.loads((await machine.run("cat", guard.MARKER)).stdout)
        wanted = marker_of(context, name, host.install_generation)
        if {key: marker.get(key) for key in wanted} != wanted:
            raise KeystoneError(
                str(machine.target), f"its marker says {marker}, expected {wanted}", "Look at the machine"
            )
        return (await machine.run("readlink", "-f", "/run/current-system")).stdout.strip()


def marker_of(context: Context, name: str, generation: int) -> dict[str, object]:
    """What the installed system's marker file says."""
    guid = guard.disk_guid(context.cluster, name, generation)
    return {"host": name, "cluster": context.cluster, "generation": generation, "diskGuid": guid}


async def build(context: Context, name: str, output: str) -> str:
    """Builds `config.system.build.OUTPUT` of a host and returns its store path."""
    attribute = f"path:./nix#nixosConfigurations.{context.stack}-{name}.config.system.build.{output}"
    features = ("--extra-experimental-features", "nix-command flakes")
    argv = (local.find("nix"), *features, "build", "--no-link", "--print-out-paths", attribute)
    lines = (await local.run(name, argv, limit=BUILD_SECONDS, cwd=context.project)).split()
    if len(lines) != 1 or not lines[0].startswith("/"):
        raise KeystoneError(f"hosts.{name}", f"`nix build` gave {lines!r} instead of one store path", "Run it by hand")
    return lines[0]


def ssh_files(
    folder: Path, target: ssh.Target, keys: Sequence[str], operator_key: str, *, more_ports: Sequence[int] = ()
) -> tuple[Path, str]:
    """Writes the operator key, the pinned host keys and a strict `ssh` into a folder of mode 0700.

    The keys are pinned for the target's port and for `more_ports` of its address.

    Returns the key's path and a PATH on which that `ssh` is first. nixos-anywhere itself turns host-key checking off
    (nix-community/nixos-anywhere#552), and ssh takes the first value of an option: so a wrapper's options win.
    """
    key_file = _private(folder / "operator_key", operator_key)
    known_hosts = folder / "known_hosts"
    ports = {target.port, *more_ports}
    names = [target.address if port == SSH_PORT else f"[{target.address}]:{port}" for port in sorted(ports)]
    known_hosts.write_text("".join(f"{name} {ssh.public(key)}\n" for key in keys for name in names))
    shims = folder / "bin"
    shims.mkdir(exist_ok=True)
    wrapper = shims / "ssh"
    options = f"-o StrictHostKeyChecking=yes -o UserKnownHostsFile={shlex.quote(str(known_hosts))} -o BatchMode=yes"
    wrapper.write_text(f'#!/bin/sh\nexec {shlex.quote(local.find("ssh"))} {options} "$@"\n')
    wrapper.chmod(stat.S_IRWXU)
    return key_file, f"{shims}{os.pathsep}{os.environ.get('PATH', '')}"


def _private(path: Path, text: str) -> Path:
    """Writes a file that only we can read, from its first byte on."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:  # noqa: PTH123
        file.write(text)
    return path


class _Install:
    def __init__(self, context: Context, expected: Expected, verdict: Verdict, lock: Lock) -> None:
        self.context = context
        self.expected = expected
        self.verdict = verdict
        self.lock = lock
        self.name = expected.host
        self.target = context.target(expected.host)
        self.keys = observation.known_keys(context, expected)

    async def run(self) -> None:
        disko = await build(self.context, self.name, "diskoScript")
        system = await build(self.context, self.name, "toplevel")
        anywhere = local.find("nixos-anywhere")
        kexec_port = self.context.host(self.name).ssh.kexec_port
        key_file, path = ssh_files(
            self.lock.folder,
            self.target,
            list(self.keys),
            self.context.identities.operator_key().private,
            more_ports=[kexec_port],
        )
        argv = [anywhere, "--store-paths", disko, system]
        argv += ["-i", str(key_file), "--extra-files", str(self._extra_files())]
        argv += ["--disk-encryption-keys", DISK_KEY, str(self._disk_key())]
        environment = {"PATH": path, "SSH_AUTH_SOCK": ""}

        async def phases(names: str, limit: float, *options: str) -> None:
            where = ["--target-host", f"{self.target.user}@{self.target.address}", "--ssh-port", str(self.target.port)]
            # The lock's descriptor goes along: when this process is killed, a surviving install keeps the lock.
            keep = (self.lock.descriptor,)
            await local.run(
                self.name,
                [*argv, *where, *options, "--phases", names],
                limit=limit,
                environment=environment,
                keep=keep,
                cwd=self.context.project,
                show_output=True,
            )

        if self.verdict.action is Action.REINSTALL:
            await self._retire()
        if self.verdict.running is not None:
            await phases("kexec", KEXEC_SECONDS, "--post-kexec-ssh-port", str(kexec_port))
            # From here on the machine is what kexec has started: root's, on a port of its own.
            self.target = replace(self.target, port=kexec_port, user="root")
        await self._mark("--zap-all", "--clear", f"--disk-guid={self.expected.guid(self.expected.generation)}")
        await phases("disko,install", INSTALL_SECONDS)
        await self._mark(f"--disk-guid={self.expected.finished_guid(self.expected.generation)}")
        await phases("reboot", KEXEC_SECONDS)
        self.target = self.context.target(self.name)
        await self._wait(system)

    async def _retire(self) -> None:
        """Takes the old system out of the cluster; a Primer that is gone or is this host has nothing to be told."""
        primer, _ = self.context.settings.primer
        if self.name != primer:
            generation = self.verdict.running or self.expected.generation
            gone = remove.Removed(self.name, self.context.host(self.name).role, self.target, generation)
            await remove.leave(self.context, gone, drain=self.verdict.running is not None, primer_may_be_gone=True)

    async def _mark(self, *options: str) -> None:
        async with ssh.dial(self.target, self.keys, self.context.identities.operator_key().private) as machine:
            await machine.run("sgdisk", *options, self.expected.disk)

    def _extra_files(self) -> Path:
        """The two host keys: all else comes from the store, decrypted with the first of them."""
        folder = self.lock.folder / "extra"
        identities, generation = self.context.identities, self.expected.generation
        for file, key in (
            ("ssh_host_ed25519_key", identities.ssh_host_key(self.name, generation)),
            ("initrd_ssh_host_ed25519_key", identities.initrd_host_key(self.name, generation)),
        ):
            _private(folder / "etc" / "ssh" / file, key.private)
            (folder / "etc" / "ssh" / f"{file}.pub").write_text(f"{key.public}\n")
        # The files are unpacked over /mnt with their modes, and a 0700 /etc locks every service out.
        for each in (folder, folder / "etc", folder / "etc" / "ssh"):
            each.chmod(0o755)
        return folder

    def _disk_key(self) -> Path:
        # Without a newline: LUKS would take it as a part of the passphrase.
        passphrase = self.context.identities.recovery_passphrase(self.name, self.expected.generation)
        return _private(self.lock.folder / "disk.key", passphrase)

    async def _unlock(self) -> None:
        """Gives the initrd the passphrase of its disks: nobody else has it yet, and this machine was just installed."""
        host, generation = self.context.host(self.name), self.expected.generation
        target = ssh.Target(self.name, str(host.address), host.ssh.initrd_port, "root")
        identities = self.context.identities
        pinned = {identities.initrd_host_key(self.name, generation).public: "initrd"}
        try:
            async with ssh.dial(target, pinned, identities.operator_key().private) as machine:
                # A login there is the prompt itself, which wants the end of the line.
                await machine.login(f"{identities.recovery_passphrase(self.name, generation)}\n", limit=UNLOCK_SECONDS)
        except ssh.Unreachable as fault:
            # The initrd ends with the prompt, and takes the session along.
            progress(self.name, f"its initrd has the passphrase ({fault.problem})")
            return
        progress(self.name, "its initrd has the passphrase of the disks")

    async def _wait(self, system: str) -> None:
        progress(self.name, "installed; waiting for its own system to answer")

        async def booted() -> str | None:
            try:
                return await verify(self.context, self.name)
            except ssh.Unreachable:
                if await observation.locked(self.context, self.expected):
                    await self._unlock()
                    raise KeystoneError(
                        str(self.target), "its initrd waits for the disks to be unlocked", self.expected.unlock
                    ) from None
                raise

        running = await ssh.until(
            "the installed system with its pinned host key", booted, place=str(self.target), limit=BOOT_SECONDS
        )
        if running != system:
            raise KeystoneError(
                str(self.target), f"it runs {running}, installed was {system}", "Look at its boot menu, then try again"
            )
        progress(self.name, "the installed system answers")
