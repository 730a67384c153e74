"""One twin's place on this computer: its network, its folders and the settings that it is made from."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from keystone.errors import KeystoneError, no_stack_file, of_yaml
from keystone.published import TWIN_PASSPHRASE

if TYPE_CHECKING:
    from keystone.settings import Settings

LOOPBACK = IPv4Network("127.0.0.0/8")
DEFAULT_INSTALL_SECONDS = 3.0
OPTIONS = {"network", "installSeconds", "passphrase"}


@dataclass(frozen=True, kw_only=True)
class Place:
    """A twin's folders and options, which no setting changes; paths exist once `make_folders` has run."""

    stack: str
    project: Path
    network: IPv4Network
    install_seconds: float = DEFAULT_INSTALL_SECONDS
    passphrase: str = TWIN_PASSPHRASE

    @classmethod
    def read(cls, stack: str, project: Path = Path()) -> Place | None:
        """The place of a stack's twin, read from the `twin:` part of its file alone.

        None when there is no `twin:network`. Raises KeystoneError on bad options.
        """
        options = twin_options(stack, project)
        if "network" not in options:
            return None
        unknown = sorted(set(options) - OPTIONS)
        if unknown:
            raise KeystoneError(
                f"twin:{unknown[0]}", "is not an option of the twin", f"Known: {', '.join(sorted(OPTIONS))}"
            )
        return Place(
            stack=stack,
            project=project.resolve(),
            network=_network(options["network"]),
            install_seconds=_seconds(options.get("installSeconds", DEFAULT_INSTALL_SECONDS)),
            passphrase=str(options.get("passphrase", TWIN_PASSPHRASE)),
        )

    @property
    def root(self) -> Path:
        """The twin's own folder in the project; `twin down` removes it."""
        return self.project / ".twin" / self.stack

    @property
    def run(self) -> Path:
        """The folder of the sockets: short, because the path of a Unix socket holds at most 107 bytes."""
        digest = hashlib.sha256(str(self.root).encode()).hexdigest()[:10]
        return Path(tempfile.gettempdir()) / f"keystone-{os.getuid()}-{digest}"

    @property
    def pulumi_home(self) -> Path:
        return self.root / "pulumi"

    @property
    def state(self) -> Path:
        """The folder of Pulumi's file backend."""
        return self.root / "state"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def machines(self) -> Path:
        return self.root / "machines"

    @property
    def store(self) -> Path:
        """The stand-in Nix store of this computer (the deployer's side)."""
        return self.root / "store"

    @property
    def pids(self) -> Path:
        """One file per running process, so that a later `up` can clean away what a killed twin left."""
        return self.root / "pids"

    @property
    def control_socket(self) -> Path:
        return self.run / "control"

    def socket(self, name: str) -> Path:
        """The path of a Unix socket of this site; long names are shortened by a hash."""
        short = name if len(name) <= 30 else name[:19] + "-" + hashlib.sha256(name.encode()).hexdigest()[:10]
        return self.run / short

    def make_folders(self) -> None:
        """Make the folders below `root`, private to the user."""
        for folder in (self.root, self.pulumi_home, self.state, self.logs, self.machines, self.store, self.pids):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def make_run_folder(self) -> None:
        """Make the folder of the sockets. Raises KeystoneError when it is there and not ours."""
        self.run.mkdir(exist_ok=True, mode=0o700)
        status = self.run.lstat()
        # The folder lies in a directory that all users can write to: another user's folder must not serve our sockets.
        if status.st_uid != os.getuid() or self.run.is_symlink():
            raise KeystoneError(str(self.run), "is a link or belongs to another user", "Remove it and try again")
        self.run.chmod(0o700)


@dataclass(frozen=True, kw_only=True)
class Site(Place):
    """What every part of a twin needs to know: its place, and the settings of the stack."""

    settings: Settings

    @classmethod
    def read(cls, stack: str, project: Path = Path()) -> Site | None:
        """The site of a stack; None when its stack file has no `twin:network`. Raises KeystoneError on bad settings."""
        from keystone.settings import read

        place = Place.read(stack, project)
        return cls(**vars(place), settings=read(stack, project)) if place else None


def twin_options(stack: str, project: Path) -> dict[str, Any]:
    """The `twin:` keys of a stack file without their prefix; empty when it has none."""
    return {key[5:]: value for key, value in plain_config(stack, project).items() if key.startswith("twin:")}


def plain_config(stack: str, project: Path) -> dict[str, Any]:
    """The `config:` part of a stack file as it stands there; empty when it has none."""
    path = project / f"Pulumi.{stack}.yaml"
    try:
        document = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise no_stack_file(stack, project) from None
    except yaml.YAMLError as error:
        raise of_yaml(path.name, error) from None
    config = document.get("config") if isinstance(document, dict) else None
    return {str(key): value for key, value in config.items()} if isinstance(config, dict) else {}


def _network(value: object) -> IPv4Network:
    try:
        network = IPv4Network(str(value))
    except ValueError as error:
        raise KeystoneError("twin:network", f"{error}", "Give a range like 127.79.0.0/24") from None
    if not network.subnet_of(LOOPBACK):
        raise KeystoneError("twin:network", f"{network} is not a loopback range", "Give a range inside 127.0.0.0/8")
    return network


def _seconds(value: object) -> float:
    try:
        seconds = float(str(value))
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 600:
        raise KeystoneError("twin:installSeconds", f"{value!r} is not a number of seconds from 0 to 600")
    return seconds
