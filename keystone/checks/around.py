"""The checks around `keystone up`: network and ownership before anything is touched, secrets at its end."""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from keystone.checks import network, ownership
from keystone.checks.findings import ChecksFailed, Finding, require
from keystone.checks.ownership import Inventory, hostlayer
from keystone.engine import process
from keystone.engine.state import State
from keystone.errors import KeystoneError
from keystone.settings import Settings, read, stackfile

if TYPE_CHECKING:
    from keystone.checks.secrets import Scanner

T = TypeVar("T")
_DEBUG = ('"severity":"debug"', '"severity": "debug"')
_GITOPS_KINDS = ("kustomize.toolkit.fluxcd.io/", "argoproj.io/")


def own_folder(settings: Settings, project: Path) -> Path | None:
    """The folder of the user's GitOps repository, where that is this very project."""
    repository = settings.gitops.repository
    if repository is None:
        return None
    folder = project / repository.path
    return folder if folder.is_dir() and folder.resolve() != project.resolve() else None


def of_network(stack: str, project: Path) -> list[Finding]:
    """The network's findings for a stack and its own manifests."""
    try:
        folder = own_folder(read(stack, project), project)
    except KeystoneError:
        folder = None  # the check itself says what is wrong with the settings
    return network.check(stack, project, [folder] if folder else [])


def of_ownership(stack: str, project: Path, resources: list[dict[str, Any]], place: str = "state") -> list[Finding]:
    """The conflicts among the stack's resources, the host layer and the project's own manifests.

    `place` says where the resources are from.
    """
    settings = read(stack, project)
    inventory = Inventory(project)
    inventory.claims += hostlayer.claims(settings)
    inventory.add_pulumi([*resources], place)
    followed = any(
        str(one.get("type", "")).startswith(f"kubernetes:{kind}") for one in resources for kind in _GITOPS_KINDS
    )
    if not followed and (folder := own_folder(settings, project)) is not None:
        inventory.add(f"{settings.gitops.engine}:{folder}")
    return inventory.findings()


def exported(stack: str, project: Path) -> bytes:
    """The state as the backend has it, with its secrets encrypted; empty when there is none."""
    try:
        return process.quick(["stack", "export", "--stack", stack], project).encode()
    except KeystoneError as error:
        if "no stack named" in error.problem:
            return b""
        raise


class _Background(Generic[T]):
    """A function that runs while others do; its error comes out where its value is asked for."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._value: T | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(function,), daemon=True)
        self._thread.start()

    def _run(self, function: Callable[[], T]) -> None:
        try:
            self._value = function()
        except Exception as error:  # it belongs to whoever asks for the value
            self._error = error

    def value(self) -> T:
        self._thread.join()
        if self._error is not None:
            raise self._error
        return cast(T, self._value)


def scanner_of(stack: str, project: Path) -> "Scanner":
    """What searches for the stack's secrets. Raises KeystoneError when they cannot be decrypted."""
    from keystone.checks.secrets import Scanner, allowances, material
    from keystone.identities import Identities
    from keystone.root_secret import config_secrets

    settings = read(stack, project)
    values = config_secrets(stack, project)
    root = values.pop(f"{stackfile.NAMESPACE}:{stackfile.ROOT_SECRET}")
    secrets = [*material.derived(settings, Identities(root, settings.cluster.name)), *material.configured(values)]
    return Scanner(secrets, allowances(project))


def of_secrets(
    stack: str,
    project: Path,
    paths: list[Path] | None = None,
    events: bytes = b"",
    state: Path | None = None,
    scanner: "Scanner | None" = None,
    since: float = 0.0,
) -> tuple[list[Finding], list[str], int]:
    """The secrets that leaked, the names of those that are too short to look for, and how many places were searched.

    Looks into the exported state (or `state`, a file of it), the event log, logs (those written `since` then), facts,
    the git tree and `paths`.
    Raises KeystoneError when the secrets cannot be decrypted or a place cannot be read.
    """
    from keystone.checks.secrets import Place, places

    # Decrypting takes as long as exporting: both at once.
    export = _Background(lambda: exported(stack, project)) if state is None else None
    scanner = scanner or scanner_of(stack, project)
    searched = [*places.usual(stack, project, since), *places.git_tree(project), *places.of_paths(paths or [])]
    searched += [Place("event log", events)] if events else []
    document = export.value() if export is not None else places.of_file(state).data if state is not None else b""
    searched += [Place(places.STATE, document)] if document else []
    return scanner.scan(searched), scanner.unsearchable, len(searched)


class Around:
    """The checks of one update."""

    def __init__(self, stack: str, project: Path) -> None:
        self._stack = stack
        self._project = project
        self._events: list[str] = []
        self._early: _Background[Scanner] | None = None
        # File systems round the times of their files.
        self._began = time.time() - 1.0
        # A project without Keystone's settings (plain Pulumi) has nothing to be checked.
        file = stackfile.path_of(stack, project)
        self._ours = file.exists() and bool(stackfile.settings_of(_config(stack, project)))

    def before(self) -> None:
        """The network's settings. Raises ChecksFailed."""
        if self._ours:
            require("network", of_network(self._stack, self._project))
            # The longest of the searches goes on while the engine works; what changes by then is searched again.
            self._early = _Background(self._search_tree)

    def _search_tree(self) -> "Scanner":
        from keystone.checks.secrets import places

        scanner = scanner_of(self._stack, self._project)
        scanner.scan(places.git_tree(self._project))
        return scanner

    def owned(self, held: State) -> None:
        """The owners of what the state holds. Raises ChecksFailed."""
        if self._ours:
            require("ownership", of_ownership(self._stack, self._project, held.resources))

    def planned(self) -> None:
        """The owners as they would be after the update, by the preview that was heard. Raises ChecksFailed."""
        resources = [new for line in self._events if (new := _planned(line)) is not None]
        if self._ours and resources:
            require("ownership", of_ownership(self._stack, self._project, resources, "the program"))

    def heard(self, line: str) -> None:
        """One event of the engine. Debug events go nowhere, so that they cannot leak."""
        if self._ours and not any(mark in line for mark in _DEBUG):
            self._events.append(line)

    def after(self) -> None:
        """The secrets, wherever the update may have left them. Raises ChecksFailed."""
        if self._early is None:
            return
        events = "".join(self._events).encode()
        found, short, _ = of_secrets(
            self._stack, self._project, events=events, scanner=self._early.value(), since=self._began
        )
        for name in short:
            print(f"warning: check secrets: {name} is too short to be searched for", file=sys.stderr)
        require("secrets", found)


def _planned(line: str) -> dict[str, Any] | None:
    """The resource that an event of a preview plans; None for any other event."""
    if '"resourcePreEvent"' not in line:
        return None
    try:
        return json.loads(line)["resourcePreEvent"]["metadata"].get("new")
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _config(stack: str, project: Path) -> dict[str, Any]:
    try:
        return stackfile.config_of(stack, project)
    except KeystoneError:
        return {}  # the run itself says so


@contextmanager
def around(stack: str, project: Path) -> Iterator[Around]:
    """Check, let the update run, check again: also after one that failed, whose own error then comes last."""
    checks = Around(stack, project)
    checks.before()
    try:
        yield checks
    except KeystoneError as error:
        if not isinstance(error, ChecksFailed):
            try:
                checks.after()
            except KeystoneError as leaked:
                # Without a passphrase, say, both fail at the same place.
                if leaked.place != error.place:
                    print(leaked, file=sys.stderr)
        raise
    checks.after()


def sources_of(given: list[str]) -> list[str]:
    """Sources as a user gives them. Raises KeystoneError for a word before the colon that is none of the known ones."""
    for one in given:
        word, colon, _ = one.partition(":")
        if colon and word not in ownership.KINDS and not Path(one).exists():
            raise KeystoneError(
                one,
                f"{word!r} is not a kind of source",
                f"Write {', '.join(f'{kind}:PATH' for kind in ownership.KINDS)}",
            )
    return given
