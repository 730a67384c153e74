"""The stand-in for `nix`: the `build` and `copy` of real command lines, on the twin's store; refuses all else.

It finds its twin by KEYSTONE_TWIN, the path of .twin/<stack>, which `python -m twin env` sets.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from keystone.errors import KeystoneError
from twin import nixbuild, store

VERSION = "nix (Nix) 2.31.2"
# A build of the real Nix takes minutes; this much is enough to see the progress.
BUILD_SECONDS = 0.3
# Options of every command, by the number of values that they take (nix help-stores, nix3-manpages).
COMMON = {
    **dict.fromkeys(("--extra-experimental-features", "--experimental-features", "--log-format", "--builders"), 1),
    **dict.fromkeys(("-j", "--max-jobs", "--cores", "--store", "--eval-store"), 1),
    **dict.fromkeys(("--option", "--override-input"), 2),
    **dict.fromkeys(("-L", "--print-build-logs", "--show-trace", "--accept-flake-config", "--no-write-lock-file"), 0),
    **dict.fromkeys(("--no-update-lock-file", "--quiet", "-v", "--verbose", "--debug", "--offline", "--refresh"), 0),
    **dict.fromkeys(("--impure", "-k", "--keep-going", "--fallback"), 0),
}
BUILD = {"--no-link": 0, "--print-out-paths": 0, "--json": 0, "--rebuild": 0, "-o": 1, "--out-link": 1}
COPY = {"--to": 1, "--from": 1, "--no-check-sigs": 0, "-s": 0, "--substitute-on-destination": 0}


class Unrecognised(Exception):
    """An option or command that nix does not know."""


@dataclass
class Line:
    """A parsed command line."""

    command: str = ""
    operands: list[str] = field(default_factory=list)
    options: dict[str, list[str]] = field(default_factory=dict)

    def has(self, *names: str) -> bool:
        return any(name in self.options for name in names)

    def value(self, *names: str) -> str | None:
        return next((self.options[name][-1] for name in names if name in self.options), None)

    @property
    def features(self) -> set[str]:
        words = self.options.get("--extra-experimental-features", []) + self.options.get("--experimental-features", [])
        for line in os.environ.get("NIX_CONFIG", "").splitlines():
            name, _, value = line.partition("=")
            if name.strip() in ("experimental-features", "extra-experimental-features"):
                words.append(value)
        return set(" ".join(words).split())


def parse(argv: Sequence[str]) -> Line:
    """Parse a command line as nix does: global options anywhere, the first word is the command."""
    line = Line()
    words = list(argv)
    while words:
        word = words.pop(0)
        known = {**COMMON, **{"build": BUILD, "copy": COPY}.get(line.command, {})}
        if word in known:
            if len(words) < known[word]:
                raise Unrecognised(f"flag '{word}' requires {known[word]} argument(s)")
            line.options.setdefault(word, []).extend(words.pop(0) for _ in range(known[word]))
        elif word.startswith("-") and word != "-":
            raise Unrecognised(f"unrecognised flag '{word}'")
        elif not line.command:
            if word not in ("build", "copy"):
                raise Unrecognised(f"'{word}' is not a recognised command (the twin's nix knows build and copy)")
            line.command = word
        else:
            line.operands.append(word)
    if not line.command:
        raise Unrecognised("no subcommand specified")
    return line


def flake_reference(installable: str, cwd: Path) -> tuple[Path, str]:
    """Split `path:./nix#attribute` into folder and attribute. Raises KeystoneError for other kinds of reference."""
    reference, _, attribute = installable.partition("#")
    place = reference.partition("?")[0].removeprefix("path:") or "."
    if re.match(r"[a-z+]+:", place) or not attribute:
        raise KeystoneError(
            installable, "is no flake reference that the twin can build", "Give path:FOLDER#nixosConfigurations..."
        )
    return (cwd / unquote(place)).resolve(), attribute


def build(line: Line, twin: Path, cwd: Path) -> None:
    """`nix build`: print the store paths, make the links that were asked for."""
    if "flakes" not in line.features:
        raise KeystoneError(
            "experimental Nix feature 'flakes'", "is disabled; add '--extra-experimental-features flakes' to enable it"
        )
    paths: list[str] = []
    for installable in line.operands or ["."]:
        flake, attribute = flake_reference(installable, cwd)
        say(line, f"evaluating derivation 'path:{flake}#{attribute}'...")
        before = {entry.name for entry in (twin / "store").glob("*")}
        path = nixbuild.build(twin / "store", flake, attribute)
        if path.rpartition("/")[2] not in before:
            say(line, f"building '{path}.drv'...")
            time.sleep(BUILD_SECONDS)
        paths.append(path)
    if not line.has("--no-link"):
        name = line.value("-o", "--out-link") or "result"
        for number, path in enumerate(paths):
            link = cwd / (name if number == 0 else f"{name}-{number}")
            link.unlink(missing_ok=True)
            link.symlink_to(path)
    if line.has("--json"):
        print(json.dumps([{"drvPath": f"{path}.drv", "outputs": {"out": path}} for path in paths]))
    elif line.has("--print-out-paths"):
        print("\n".join(paths))


def copy(line: Line, twin: Path, _: Path) -> None:
    """`nix copy --to ssh-ng://USER@HOST PATH...`: over the `ssh` found on PATH, with NIX_SSHOPTS."""
    target = line.value("--to")
    if target is None or line.has("--from"):
        raise KeystoneError("nix copy", "the twin's nix copies from this computer only", "Give --to ssh-ng://USER@HOST")
    url = urlsplit(target)
    if url.scheme not in ("ssh", "ssh-ng") or not url.hostname:
        raise KeystoneError(f"don't know how to open Nix store '{target}'", "the twin's nix knows ssh-ng://USER@HOST")
    # remote-store=local?root=/mnt, with its ? and = escaped
    remote = parse_qs(url.query).get("remote-store", [""])[0]
    root = parse_qs(remote.partition("?")[2]).get("root", [""])[0]
    command = ["nix-store", *(["--store", root] if root else []), "--import"]
    options = shlex.split(os.environ.get("NIX_SSHOPTS", ""))
    destination = f"{url.username}@{url.hostname}" if url.username else url.hostname
    port = ["-p", str(url.port)] if url.port else []
    say(line, f"copying {len(line.operands)} paths...")
    for path in line.operands:
        archive = store.export(twin / "store", path)
        say(line, f"copying path '{path}' to '{target}'...")
        argv = ["ssh", destination, *options, *port, "-x", "--", shlex.join(command)]
        # Descriptors are passed on: a key file may be one of them.
        done = subprocess.run(argv, input=archive, stdout=subprocess.PIPE, close_fds=False, check=False)
        if done.returncode != 0:
            raise KeystoneError(f"cannot copy to '{target}'", f"ssh ended with status {done.returncode}")


def say(line: Line, text: str) -> None:
    if not line.has("--quiet"):
        print(text, file=sys.stderr, flush=True)


COMMANDS: Mapping[str, Callable[[Line, Path, Path], None]] = {"build": build, "copy": copy}


def twin_folder() -> Path:
    """Return the twin's folder. Raises KeystoneError when the environment names none."""
    folder = os.environ.get("KEYSTONE_TWIN")
    if not folder:
        raise KeystoneError("KEYSTONE_TWIN", "is not set", 'Run `eval "$(make -s env)"` first')
    return Path(folder)


def main(argv: Sequence[str]) -> int:
    """Run one command line; returns the exit status."""
    if list(argv) == ["--version"]:
        print(f"{VERSION} (Keystone's twin)")
        return 0
    try:
        line = parse(argv)
        if "nix-command" not in line.features:
            raise KeystoneError(
                "experimental Nix feature 'nix-command'",
                "is disabled; add '--extra-experimental-features nix-command' to enable it",
            )
        COMMANDS[line.command](line, twin_folder(), Path.cwd())
    except Unrecognised as error:
        print(f"error: {error}\nTry 'nix --help' for more information.", file=sys.stderr)
        return 1
    except KeystoneError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error.strerror}: {error.filename}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted by the user", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
