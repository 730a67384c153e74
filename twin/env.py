"""The shell variables of a stack: `eval "$(python -m twin env --stack S)"` makes plain `pulumi` do what `make` does."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from twin import clouds, plugins, tools
from twin.clouds.aws import ACCESS_KEY, SECRET_KEY
from twin.site import Site

HERMETIC = {
    "PULUMI_SKIP_UPDATE_CHECK": "true",
    "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    "PULUMI_DISABLE_REGISTRY_RESOLVE": "true",
    "PULUMI_CREDENTIAL_STORE": "plaintext",
}
"""The twin needs no network: nothing is looked up, nothing is downloaded."""
AWS_PROFILES = Path(__file__).with_name("clouds") / "aws" / "profile.ini"
TWIN_BIN = Path(__file__).with_name("bin")


def variables(stack: str, project: Path, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What to export for a stack. A stack off the twin gets the venv's PATH only: its Pulumi is the user's own."""
    site = Site.read(stack, project)
    venv = Path(sys.prefix) / "bin"
    if site is None:
        return {"PATH": _path([venv], environment), "KEYSTONE_STACK": stack}
    return {
        "PATH": _path([tools.folder(), TWIN_BIN, venv], environment),
        "KEYSTONE_STACK": stack,
        # Where the stand-ins for nix and nixos-anywhere find their site.
        "KEYSTONE_TWIN": str(site.root),
        "PULUMI_HOME": str(site.pulumi_home),
        "PULUMI_BACKEND_URL": f"file://{site.state}",
        "PULUMI_STACK": stack,
        # A passphrase that the user has set wins: the stack may have been made with another one.
        "PULUMI_CONFIG_PASSPHRASE": environment.get("PULUMI_CONFIG_PASSPHRASE", site.passphrase),
        **HERMETIC,
        **(aws_variables() if clouds.aws_places(site.settings) else {}),
    }


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


def install_plugins(site: Site) -> bool:
    """Put the provider plugins where the engine looks for them, in the twin's own PULUMI_HOME.

    False, and nothing is touched, when the tools are not built: the variables alone are of use too.
    """
    program = tools.kubernetes_plugin()
    if program is None:
        return False
    for folder in (site.pulumi_home, site.state):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    plugins.install(site.pulumi_home)
    # The engine accepts a plugin of the SDK's version exactly.
    link = site.pulumi_home / "plugins" / f"resource-kubernetes-v{version('pulumi-kubernetes')}" / program.name
    link.parent.mkdir(parents=True, exist_ok=True)
    if not (link.is_symlink() and link.readlink() == program):
        link.unlink(missing_ok=True)
        link.symlink_to(program)
    return True


def shell_lines(values: Mapping[str, str]) -> str:
    """`export NAME='value'` lines for a POSIX shell."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())


def _path(front: list[Path], environment: Mapping[str, str]) -> str:
    """PATH with these folders in front, each once, however often the lines are evaluated."""
    wanted = [str(folder) for folder in front]
    rest = [folder for folder in environment.get("PATH", os.defpath).split(os.pathsep) if folder not in wanted]
    return os.pathsep.join([*wanted, *rest])
