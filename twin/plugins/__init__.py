"""Stand-ins for Pulumi provider plugins, for machines where the official binaries are not to be had.

Each is a drop-in: the same tokens, the same property names, the same behaviour, in the place where the engine looks
for the official one. `install` puts them there. This module is imported by each plugin as it starts: keep it light.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from keystone.errors import KeystoneError
from keystone.files import write_file

PLUGINS = {"aws": "pulumi_aws", "cloudflare": "pulumi_cloudflare", "command": "pulumi_command"}
"""Provider name -> the Python package of its SDK, whose version the engine asks for."""


def sdk_version(name: str) -> str:
    """The version of the installed SDK of provider `name`; the engine accepts a plugin of exactly this version."""
    package = PLUGINS.get(name)
    if package is None:
        raise KeystoneError(
            "plugins", f"there is no stand-in for the provider {name!r}", f"Known: {', '.join(PLUGINS)}"
        )
    # The SDK's own plugin file is what the language host reads; finding it must not import the SDK.
    described = Path(sysconfig.get_path("purelib")) / package / "pulumi-plugin.json"
    try:
        return json.loads(described.read_text())["version"]
    except (OSError, ValueError, KeyError) as fault:
        raise KeystoneError("plugins", f"cannot read {described} ({fault})", "Install the requirements again") from None


def install(pulumi_home: Path, names: Iterable[str] = tuple(PLUGINS)) -> list[Path]:
    """Write a launcher per provider below `pulumi_home`/plugins and return their paths; an equal one is left alone."""
    launchers = []
    for name in names:
        version = sdk_version(name)
        folder = Path(pulumi_home) / "plugins" / f"resource-{name}-v{version}"
        launcher = folder / f"pulumi-resource-{name}"
        _write_executable(launcher, _launcher_text(name))
        launchers.append(launcher)
    return launchers


def _launcher_text(name: str) -> str:
    # A shell line and not `#!.../python`: the kernel cuts a first line at 255 bytes and at a blank.
    # -I keeps PYTHONPATH and the current folder (the program's own) away from the plugin's imports.
    program = Path(__file__).parent / name / "__main__.py"
    return f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -I {shlex.quote(str(program))} "$@"\n'


def _write_executable(path: Path, text: str) -> None:
    """Write `path` with mode 755 in one step, so that a running engine never sees half of it."""
    if path.is_file() and os.access(path, os.X_OK) and path.read_text() == text:
        return
    write_file(path, text.encode(), 0o755)
