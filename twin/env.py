"""The shell variables of a stack: `eval "$(python -m twin env --stack S)"` makes plain `pulumi` do what `make` does."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from keystone.errors import KeystoneError
from keystone.published import TWIN_PASSPHRASE
from twin import clouds, plugins, tools
from twin.clouds.aws import ACCESS_KEY, SECRET_KEY
from twin.site import LOOPBACK, Place, plain_config

HERMETIC = {
    "PULUMI_SKIP_UPDATE_CHECK": "true",
    "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    "PULUMI_DISABLE_REGISTRY_RESOLVE": "true",
    "PULUMI_CREDENTIAL_STORE": "plaintext",
}
"""The twin needs no network: nothing is looked up, nothing is downloaded."""
AWS_PROFILES = Path(__file__).with_name("clouds") / "aws" / "profile.ini"
TWIN_BIN = Path(__file__).with_name("bin")
"""Stand-ins for nix and nixos-anywhere, and nothing else: a real site's shell must not have this on PATH."""
COMMANDS = [Path(__file__).resolve().parents[1] / "bin", Path(sys.prefix) / "bin"]
"""`keystone` and `twin`, and the Python that they run with."""


def variables(stack: str, project: Path, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What to export for a stack. A stack off the twin gets PATH only: its Pulumi is the user's own.

    The settings need not be sound: what mends them is typed in the shell that this makes.
    """
    place = Place.read(stack, project)
    own = without_twin(environment)
    values = {"PATH": _path(COMMANDS, own), "KEYSTONE_STACK": stack}
    if place:
        values |= {
            "PATH": _path([tools.folder(), TWIN_BIN, *COMMANDS], own),
            # Where the stand-ins for nix and nixos-anywhere find their site.
            "KEYSTONE_TWIN": str(place.root),
            **_of_engine(place),
            # A passphrase that the user has set wins: the stack may have been made with another one.
            "PULUMI_CONFIG_PASSPHRASE": own.get("PULUMI_CONFIG_PASSPHRASE", place.passphrase),
            **(aws_variables() if _has_aws(place) else {}),
        }
    return values


def without_twin(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without what a twin's lines have put there; what was changed since then is the user's own."""
    if not (root := environment.get("KEYSTONE_TWIN")):
        return dict(environment)
    place = _place_of(Path(root))
    passphrases = (place.passphrase, TWIN_PASSPHRASE)
    given = {**_of_engine(place), **aws_variables(), "KEYSTONE_TWIN": root}
    own = {
        name: value
        for name, value in environment.items()
        if given.get(name) != value and not (name == "PULUMI_CONFIG_PASSPHRASE" and value in passphrases)
    }
    if "PATH" in own:
        folders = {str(folder) for folder in (tools.folder(), TWIN_BIN, place.project / "twin/bin")}
        own["PATH"] = os.pathsep.join(one for one in own["PATH"].split(os.pathsep) if one not in folders)
    return own


def _of_engine(place: Place) -> dict[str, str]:
    return {
        "PULUMI_HOME": str(place.pulumi_home),
        "PULUMI_BACKEND_URL": f"file://{place.state}",
        "PULUMI_STACK": place.stack,
        **HERMETIC,
    }


def _place_of(root: Path) -> Place:
    """The place of a twin by its folder; with the usual passphrase when its stack file is gone or changed."""
    project, stack = root.parent.parent, root.name
    with contextlib.suppress(KeystoneError):
        if place := Place.read(stack, project):
            return place
    return Place(stack=stack, project=project, network=LOOPBACK)


def _has_aws(place: Place) -> bool:
    """Whether the stack's AWS is the twin's own, by what the file says, sound or not."""
    section = plain_config(place.stack, place.project).get("keystone:aws")
    endpoints = section.get("endpoints") if isinstance(section, dict) else None
    with contextlib.suppress(ValueError):  # no URL
        return isinstance(endpoints, dict) and bool(clouds.places(map(str, endpoints.values())))
    return False


def aws_variables() -> dict[str, str]:
    """The deployer's credentials for the twin's AWS, and nothing of the user's own."""
    return {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_SESSION_TOKEN": "",
        # An empty name would be one to look for: the Python SDK and the command line take it so.
        "AWS_PROFILE": "keystone-twin",
        "AWS_CONFIG_FILE": str(AWS_PROFILES),
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def install_plugins(place: Place) -> bool:
    """Put the provider plugins where the engine looks for them, in the twin's own PULUMI_HOME.

    False, and nothing is touched, when the tools are not built: the variables alone are of use too.
    """
    program = tools.kubernetes_plugin()
    if program is None:
        return False
    for folder in (place.pulumi_home, place.state):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    plugins.install(place.pulumi_home)
    # The engine accepts a plugin of the SDK's version exactly.
    link = place.pulumi_home / "plugins" / f"resource-kubernetes-v{version('pulumi-kubernetes')}" / program.name
    link.parent.mkdir(parents=True, exist_ok=True)
    if not (link.is_symlink() and link.readlink() == program):
        link.unlink(missing_ok=True)
        link.symlink_to(program)
    return True


def shell_lines(values: Mapping[str, str], environment: Mapping[str, str] = os.environ) -> str:
    """`export NAME='value'` lines for a POSIX shell, and `unset NAME` for what a twin's lines have left in it."""
    left = sorted(environment.keys() - without_twin(environment).keys() - values.keys())
    exports = (f"export {name}={shlex.quote(value)}\n" for name, value in values.items())
    return "".join([*(f"unset {name}\n" for name in left), *exports])


def _path(front: list[Path], environment: Mapping[str, str]) -> str:
    """PATH with these folders in front, each once, however often the lines are evaluated."""
    wanted = [str(folder) for folder in front]
    rest = [folder for folder in environment.get("PATH", os.defpath).split(os.pathsep) if folder not in wanted]
    return os.pathsep.join([*wanted, *rest])
