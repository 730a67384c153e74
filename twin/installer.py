"""The stand-in for `nixos-anywhere`: its whole command line, its phases and endings, on a twin's machine.

Everything happens over the `ssh` that PATH gives, with host-key checking off as in the real program, so that a
wrapper which turns it on is put to the test too. Where the real one pipes shell scripts, this one runs plain programs.
It finds its twin by KEYSTONE_TWIN, the path of .twin/<stack>; the machine it finds by SSH alone.
"""

from __future__ import annotations

import io
import shlex
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from keystone.errors import KeystoneError
from twin import nixbuild, store
from twin.nixcli import flake_reference, twin_folder
from twin.site import Place

PHASES = ("kexec", "disko", "install", "reboot")
# How much of twin:installSeconds a phase takes.
SHARES = {"kexec": 0.05, "disko": 0.3, "install": 0.55, "reboot": 0.1}
# Options by the number of their values; those of 1.13 and later.
FLAGS = {
    **dict.fromkeys(("-f", "--flake", "--target-host", "-i", "-p", "--ssh-port", "--ssh-option", "--kexec"), 1),
    **dict.fromkeys(("--kexec-extract-path", "--kexec-launch-path", "--kexec-extra-flags", "--post-kexec-ssh-port"), 1),
    **dict.fromkeys(("--extra-files", "--phases", "--disko-mode", "--build-on", "--from"), 1),
    **dict.fromkeys(("-s", "--store-paths", "--ssh-store-setting", "--chown", "--disk-encryption-keys"), 2),
    **dict.fromkeys(("--generate-hardware-config", "--option"), 2),
    **dict.fromkeys(("-L", "--print-build-logs", "--env-password", "--force-kexec", "--copy-host-keys"), 0),
    **dict.fromkeys(("--no-disko-deps", "--no-substitute-on-destination", "--no-use-machine-substituters"), 0),
    **dict.fromkeys(("--debug", "--show-trace", "--build-on-remote", "--vm-test", "--no-reboot"), 0),
    **dict.fromkeys(("--stop-after-disko", "-t", "--tty", "--help"), 0),
}
LONG = {"-f": "--flake", "-p": "--ssh-port", "-s": "--store-paths", "-L": "--print-build-logs", "-t": "--tty"}
CHOICES = {"--disko-mode": ("disko", "mount", "format"), "--build-on": ("auto", "local", "remote")}
# What needs a virtual machine, a build on the target, or its hardware: the twin's machines have none of them.
ABSENT = ("--vm-test", "--generate-hardware-config", "--env-password", "--from")
USAGE = """Usage: nixos-anywhere [options] [<ssh-host>]

Options:
""" + "\n".join(f"* {flag}" for flag in FLAGS)
RETRY_SECONDS = 3.0


class Aborted(Exception):
    """Ends the run with `aborted: ...` and exit status 1."""


class Usage(Exception):
    """Ends the run with the list of options and exit status 1."""


@dataclass
class Options:
    """A parsed command line; repeated options in their order."""

    values: dict[str, list[list[str]]] = field(default_factory=dict)
    host: str = ""
    phases: tuple[str, ...] = PHASES

    def has(self, flag: str) -> bool:
        return flag in self.values

    def one(self, flag: str, default: str = "") -> str:
        return self.values[flag][-1][0] if flag in self.values else default

    def all(self, flag: str) -> list[list[str]]:
        return self.values.get(flag, [])


def parse(argv: Sequence[str]) -> Options:
    """Parse the command line. Raises Usage for what the real program does not know, Aborted for wrong values."""
    options = Options()
    words = list(argv)
    while words:
        word = words.pop(0)
        if word in FLAGS:
            if len(words) < FLAGS[word]:
                raise Aborted(f"Missing arguments for {word}")
            options.values.setdefault(LONG.get(word, word), []).append([words.pop(0) for _ in range(FLAGS[word])])
        elif word.startswith("-") or options.host:
            raise Usage(word)
        else:
            options.host = word
    options.host = options.one("--target-host", options.host)
    for flag, known in CHOICES.items():
        if options.has(flag) and options.one(flag) not in known:
            raise Aborted(f"Supported values for {flag} are {', '.join(known)}. Unknown mode : {options.one(flag)}")
    options.phases = _phases(options)
    if options.has("--disko-mode") and options.has("--store-paths"):
        raise Aborted("--disko-mode cannot be used if --store-paths is used")
    if not options.host:
        raise Aborted("ssh-host must be set")
    if options.has("--build-on-remote") and options.one("--build-on") == "local":
        raise Aborted("Conflicting flags: --build-on local and --build-on-remote used.")
    if not options.has("--flake") and not options.has("--store-paths"):
        raise Aborted("--flake or --store-paths must be set")
    for flag in ABSENT:
        if options.has(flag):
            raise Aborted(f"{flag} is not offered by the twin")
    if options.has("--build-on-remote") or options.one("--build-on") == "remote":
        raise Aborted("the twin's machines cannot build: leave --build-on at auto or local")
    return options


def _phases(options: Options) -> tuple[str, ...]:
    if options.has("--phases"):
        named = options.one("--phases").split(",")
        for phase in named:
            if phase not in PHASES:
                raise Aborted(f"Unknown phase: {phase}")
        return tuple(phase for phase in PHASES if phase in named)
    if options.has("--stop-after-disko"):
        return PHASES[:2]
    return PHASES[:3] if options.has("--no-reboot") else PHASES


def step(text: str) -> None:
    print(f"### {text} ###", flush=True)


class Run:
    """One installation."""

    def __init__(self, options: Options, twin: Path) -> None:
        self.options = options
        self.store = twin / "store"
        place = Place.read(twin.name, twin.parent.parent)
        self.seconds = place.install_seconds if place else 0.0
        self.port = options.one("--ssh-port")
        # Without the kexec phase the real program takes the installer's root for granted.
        user, _, host = options.host.rpartition("@")
        self.host = f"{user}@{host}" if user and "kexec" in options.phases else f"root@{host}"

    def ssh(self, *command: str, stdin: bytes | None = None, quiet: bool = False) -> subprocess.CompletedProcess[bytes]:
        """Run a plain program on the machine."""
        argv = ["ssh", "-T"]
        if self.options.has("-i"):
            argv += ["-o", "IdentitiesOnly=yes", "-i", self.options.one("-i")]
        argv += ["-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "ConnectTimeout=10"]
        argv += ["-p", self.port] if self.port else []
        for [option] in self.options.all("--ssh-option"):
            argv += ["-o", option]
        return subprocess.run(
            [*argv, self.host, "--", shlex.join(command)],
            input=stdin or b"",  # never this program's own: nothing may ask
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if quiet else None,
            close_fds=False,  # the key may be a descriptor
            check=False,
        )

    def must(self, *command: str, stdin: bytes | None = None) -> str:
        """Run a program on the machine; its failure ends the run, as `set -e` does. Returns its standard output."""
        done = self.ssh(*command, stdin=stdin)
        if done.returncode != 0:
            raise Aborted(f"`{shlex.join(command)}` on {self.host} ended with status {done.returncode}")
        return done.stdout.decode(errors="replace")

    def run(self) -> None:
        """Do the phases. Like the real one it tries for ever to log in: callers run it under a time limit."""
        disko, system = self._paths()
        step("Uploading install SSH keys")
        while self.ssh("true").returncode != 0:
            time.sleep(RETRY_SECONDS)
        step("Gathering machine facts")
        self.must("uname", "-m")
        installer = self._is_installer()
        if "kexec" in self.options.phases and (not installer or self.options.has("--force-kexec")):
            self._timed("kexec", self._kexec)
        elif not installer:
            raise Aborted(f"{self.host} does not run the NixOS installer, and the kexec phase was left out")
        if "disko" in self.options.phases:
            self._timed("disko", lambda: self._disko(disko))
        if "install" in self.options.phases:
            self._timed("install", lambda: self._install(system))
        if "reboot" in self.options.phases:
            self._timed("reboot", self._reboot)
        step("Done!")

    def _timed(self, phase: str, work: Callable[[], None]) -> None:
        """Do a phase so that all of it takes its share of the time that an installation takes on the twin."""
        end = time.monotonic() + SHARES[phase] * self.seconds
        if phase != "reboot":
            # The work comes last, so that a run that is killed in the middle has done as little as a real one.
            time.sleep(SHARES[phase] * self.seconds / 2)
        work()
        time.sleep(max(0.0, end - time.monotonic()))

    def _paths(self) -> tuple[str, str]:
        if self.options.has("--store-paths"):
            paths = self.options.all("--store-paths")[-1]
            for path in paths:
                if not store.is_store_path(path) or not (self.store / path.rpartition("/")[2]).exists():
                    raise Aborted(f"{paths[0]} and {paths[1]} must be existing store-paths")
            return paths[0], paths[1]
        flake, attribute = flake_reference(self.options.one("--flake"), Path.cwd())
        if not attribute.startswith("nixosConfigurations."):
            attribute = f'nixosConfigurations."{attribute}".config'
        script = f"{self.options.one('--disko-mode', 'disko')}Script"
        return (
            nixbuild.build(self.store, flake, f"{attribute}.system.build.{script}"),
            nixbuild.build(self.store, flake, f"{attribute}.system.build.toplevel"),
        )

    def _is_installer(self) -> bool:
        return "VARIANT_ID=installer" in self.must("cat", "/etc/os-release").split()

    def _kexec(self) -> None:
        step("Switching system into kexec")
        before = self._boot_id()
        self.must("kexec")
        # The twin cannot listen on port 22, where the real kexec installer is; its own stays on the machine's port, and
        # who says otherwise waits for ever, as with the real program.
        self.port = self.options.one("--post-kexec-ssh-port", self.port)
        self.host = f"root@{self.host.rpartition('@')[2]}"
        while self._boot_id() in ("", before):
            time.sleep(0.2)
        if not self._is_installer():
            raise Aborted("Failed to kexec into NixOS installer")

    def _disko(self, script: str) -> None:
        for remote, local in self.options.all("--disk-encryption-keys"):
            step(f"Uploading {local} to {remote}")
            self.must("install", "-D", "-m", "600", "/dev/stdin", remote, stdin=Path(local).read_bytes())
        self.must("nix-store", "--import", stdin=store.export(self.store, script))
        step("Formatting hard drive with disko")
        self.must(script)

    def _install(self, system: str) -> None:
        step("Uploading the system closure")
        self.must("nix-store", "--store", "/mnt", "--import", stdin=store.export(self.store, system))
        if self.options.has("--extra-files"):
            step("Copying extra files")
            archive = _archive(Path(self.options.one("--extra-files")))
            self.must("tar", "-C", "/mnt", "-xpf", "-", "--no-same-owner", stdin=archive)
        for path, owner in self.options.all("--chown"):
            self.must("chown", "-R", owner, f"/mnt/{path.lstrip('/')}")
        step("Installing NixOS")
        if self.options.has("--copy-host-keys"):
            self.must("mkdir", "-p", "/mnt/etc/ssh")
            self.must("cp", "-n", "/etc/ssh/ssh_host_ed25519_key", "/mnt/etc/ssh")
        self.must("nixos-install", "--no-root-passwd", "--no-channel-copy", "--system", system)

    def _reboot(self) -> None:
        step("Rebooting")
        before = self._boot_id()
        self.ssh("umount", "-Rv", "/mnt", quiet=True)
        self.must("reboot")
        step("Waiting for the machine to become unreachable due to reboot")
        # Unreachable or already up again: the twin's machines start faster than they can be asked.
        while self._boot_id() == before:
            time.sleep(0.1)

    def _boot_id(self) -> str:
        done = self.ssh("cat", "/proc/sys/kernel/random/boot_id", quiet=True)
        return done.stdout.decode().strip() if done.returncode == 0 else ""


def _archive(folder: Path) -> bytes:
    if not folder.is_dir():
        raise Aborted(f"tar: {folder}: Cannot open: No such file or directory")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for entry in sorted(folder.iterdir()):
            archive.add(entry, arcname=entry.name)
    return buffer.getvalue()


def main(argv: Sequence[str]) -> int:
    """Run one command line; returns the exit status."""
    if "--help" in argv:
        print(USAGE)
        return 0
    try:
        Run(parse(argv), twin_folder()).run()
    except Usage as unknown:
        print(USAGE)
        print(f"unknown option or second host: {unknown}", file=sys.stderr)
        return 1
    except (Aborted, KeystoneError) as error:
        print(f"aborted: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"aborted: {error.strerror}: {error.filename}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
