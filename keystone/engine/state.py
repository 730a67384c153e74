"""What has to be right before an update: no lock of a dead process, nothing left running, no operation half-way.

Pulumi leaves all three behind when it is killed. Each is settled here, and only where that is safe; else the error
names the one command to type.
"""

import json
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote, urlsplit

import psutil
import yaml

from keystone.engine import adoption, process
from keystone.errors import KeystoneError
from keystone.wire import SIGNATURE

END_SECONDS = 20
# How long plugins may take to notice by themselves that their engine has gone.
LINGER_SECONDS = 2
REFRESH_SECONDS = 300


@dataclass(frozen=True, kw_only=True)
class State:
    """What the backend holds for a stack."""

    exists: bool
    resources: list[dict[str, Any]] = field(default_factory=list)

    def names(self, kind: str) -> set[str]:
        """The names of the resources of one type."""
        return {one["urn"].rsplit("::", 1)[-1] for one in self.resources if one["type"] == kind}


def project_name(project: Path) -> str:
    """The `name` of Pulumi.yaml."""
    return str(_project_file(project)["name"])


def _project_file(project: Path) -> dict[str, Any]:
    file = project.resolve() / "Pulumi.yaml"
    try:
        document = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError):
        document = None
    if not isinstance(document, dict) or "name" not in document:
        raise KeystoneError(str(file), "is missing or has no name", "Change to the project's folder")
    return document


def backend(project: Path) -> str:
    """The URL of the state backend: from the environment, else from Pulumi.yaml, else what pulumi is logged in to."""
    if url := os.environ.get("PULUMI_BACKEND_URL"):
        return url
    if url := (_project_file(project).get("backend") or {}).get("url"):
        return str(url)
    try:
        return str(json.loads(process.quick(["whoami", "--json"], project)).get("url", ""))
    except (KeystoneError, ValueError):
        return ""


def refuse_other_twin(stack: str, project: Path) -> None:
    """Raise KeystoneError when the backend is a twin's of another stack: its state is removed with that twin."""
    url = backend(project)
    _, twin, rest = urlsplit(url).path.partition("/.twin/")
    if twin and rest.partition("/")[0] != stack:
        raise KeystoneError(
            "PULUMI_BACKEND_URL",
            f"{url} is another stack's twin's, which is removed with the twin",
            "Open a new shell, and use the Pulumi of your own",
        )


def _files(project: Path, pattern: str) -> list[Path]:
    """Files of a backend that is a folder; none of any other."""
    url = urlsplit(backend(project))
    if url.scheme != "file":
        return []
    return sorted((Path(unquote(f"{url.netloc}{url.path}")).expanduser() / ".pulumi").glob(pattern))


def _locks(stack: str, project: Path) -> list[Path]:
    return _files(project, f"locks/*/{project_name(project)}/{stack}/*.json")


def _forget_half_written(stack: str, project: Path) -> None:
    """Remove what describes the stack's file if a kill has cut it short: Pulumi reads the file without it."""
    for path in _files(project, f"stacks/{project_name(project)}/{stack}.json.attrs"):
        try:
            json.loads(path.read_text())
        except ValueError:
            path.unlink()


def _alive(pid: int, since: str) -> bool:
    """Whether the process that took the lock at `since` still runs. A process that began later only has its number."""
    try:
        started = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
    try:
        return started <= datetime.fromisoformat(since).timestamp() + 1
    except ValueError:
        return True


def _session(pid: int) -> list[psutil.Process]:
    """The processes of the session that `pid` led, our own excepted: what a killed engine has left running."""
    if pid == os.getsid(0):
        return []
    found = []
    for one in psutil.process_iter():
        try:
            if os.getsid(one.pid) == pid:
                found.append(one)
        except (ProcessLookupError, PermissionError):
            continue
    return found


def _end(processes: list[psutil.Process]) -> None:
    for one in processes:
        try:
            one.terminate()
        except psutil.NoSuchProcess:
            continue
    _, stubborn = psutil.wait_procs(processes, timeout=END_SECONDS)
    for one in stubborn:
        try:
            one.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(stubborn, timeout=END_SECONDS)


def end_session(pid: int, say: Callable[[str], None]) -> None:
    """End what an engine that is gone has left running: `pid` was its number, and it led a session."""
    left = _session(pid)
    _, left = psutil.wait_procs(left, timeout=LINGER_SECONDS)
    if left:
        say(f"Ending {len(left)} processes that the engine has left running")
        _end(left)


def release(stack: str, project: Path, say: Callable[[str], None]) -> None:
    """Remove the stack's lock if the process that it names is dead on this machine.

    What that process left running is ended first, so that nothing of the old update works beside the new one. Raises
    KeystoneError when somebody holds the lock. Only file backends have locks that can be looked into; with the others
    pulumi itself says who holds it.
    """
    for path in _locks(stack, project):
        try:
            lock = json.loads(path.read_text())
            pid, host, user, since = int(lock["pid"]), lock["hostname"], lock["username"], lock["timestamp"]
        except FileNotFoundError:
            continue  # released in this moment
        except (OSError, ValueError, KeyError, TypeError):
            raise KeystoneError(str(path), "is not a lock that can be read", "Type `pulumi cancel`") from None
        holder = f"process {pid} of {user} on {host}, since {since[:19]}"
        if host != socket.gethostname() or _alive(pid, since):
            raise KeystoneError(
                f"stack {stack}",
                f"an update is running: {holder}",
                "Wait for it; if it is dead, type `pulumi cancel`",
            )
        left = _session(pid)
        if left:
            say(f"Ending {len(left)} processes of an update that was killed ({holder})")
            _end(left)
        path.unlink(missing_ok=True)
        path.with_name(path.name + ".attrs").unlink(missing_ok=True)
        _forget_half_written(stack, project)
        say(f"Removed the state lock of a dead process ({holder})")


def _initialise(stack: str, project: Path) -> None:
    """Make the stack in the backend. A stack file that names its secrets provider stays as it is, byte for byte."""
    refuse_other_twin(stack, project)
    path = project / f"Pulumi.{stack}.yaml"
    before = path.read_bytes()
    process.quick(["stack", "init", stack, "--no-select"], project)
    known = (yaml.safe_load(before) or {}).keys() & {"encryptionsalt", "secretsprovider"}
    if known and path.read_bytes() != before:
        path.write_bytes(before)  # pulumi has written the same in a layout of its own


def load(stack: str, project: Path, *, create: bool) -> State:
    """The stack's state as the backend has it; with `create`, the stack is made when it is missing."""
    document = _export(stack, project)
    if document is None:
        if create:
            _initialise(stack, project)
        return State(exists=create)
    return State(exists=True, resources=_deployment(document).get("resources") or [])


def _export(stack: str, project: Path) -> dict[str, Any] | None:
    try:
        return json.loads(process.quick(["stack", "export", "--stack", stack], project))
    except KeystoneError as error:
        if "no stack named" in error.problem:
            return None
        raise


def _deployment(document: dict[str, Any]) -> dict[str, Any]:
    return document.get("deployment") or {}


def settle(
    stack: str, project: Path, say: Callable[[str], None], known: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Take the operations of an interrupted update out of the state, so that this update does them again.

    Deletes and updates are simply repeated. Creates are repeated where that makes nothing twice; any other is looked
    for, and what is found is read into the state. `known` are the ids, by URN, that a person has found. Raises
    KeystoneError when only a person can tell, when `known` names anything else, or when the state cannot be mended: it
    stays as it was then.
    """
    document = _export(stack, project)
    pending = _deployment(document or {}).get("pending_operations") or []
    doubtful = [
        one["resource"]
        for one in pending
        if one["type"] == "creating" and not adoption.repeatable(one["resource"]["type"])
    ]
    if strange := sorted(known.keys() - {one["urn"] for one in doubtful}):
        raise KeystoneError(
            "--adopt",
            f"{', '.join(strange)} is not what an interrupted update has left half made",
            f"Left: {', '.join(one['urn'] for one in doubtful)}" if doubtful else "Nothing is left: type it without",
        )
    if document is None or not pending:
        return
    found = {one["urn"]: known[one["urn"]] for one in doubtful if one["urn"] in known}
    for wanted in asked_for(stack, project, [one for one in doubtful if one["urn"] not in found]):
        if identity := adoption.find(wanted, say):
            found[wanted.urn] = identity
    document["deployment"]["pending_operations"] = []
    take_in(stack, project, document, {one["urn"]: one for one in doubtful}, found, say)
    again = [one for one in pending if one["resource"]["urn"] not in found]
    if again:
        names = ", ".join(f"{_name(one['resource'])} ({one['type']})" for one in again)
        say(f"The last update was interrupted; doing again: {names}")


def take_in(
    stack: str,
    project: Path,
    document: dict[str, Any] | None,
    resources: Mapping[str, dict[str, Any]],
    found: Mapping[str, str],
    say: Callable[[str], None],
) -> None:
    """Write the state, with what was found added: `found` are the ids by URN. What is there is then read into it.

    Raises KeystoneError when it cannot be read; it is in the state all the same, since it exists.
    """
    if document is None:
        document = json.loads(process.quick(["stack", "export", "--stack", stack], project))
    # Until they are read, their outputs are what was asked for.
    assert document is not None
    added = [{**resources[urn], "id": identity, "outputs": resources[urn]["inputs"]} for urn, identity in found.items()]
    document["deployment"]["resources"] += added
    process.quick(["stack", "import", "--stack", stack], project, given=json.dumps(document))
    if not added:
        return
    targets = [word for urn in found for word in ("--target", urn)]
    words = ["refresh", "--stack", stack, "--yes", "--skip-preview", *targets]
    try:
        process.quick(words, project, limit=REFRESH_SECONDS)
    except KeystoneError as error:
        raise KeystoneError(error.place, error.problem, "Mend that, then type `keystone refresh`") from None
    kept = {one["urn"] for one in load(stack, project, create=False).resources}
    there = ", ".join(_name(resources[urn]) for urn in found if urn in kept) or "nothing"
    say(f"The update was interrupted; found what it had made: {there}")


def _name(resource: dict[str, Any]) -> str:
    return resource["urn"].rsplit("::", 1)[-1]


def asked_for(stack: str, project: Path, resources: list[dict[str, Any]]) -> list[adoption.Pending]:
    """Interrupted creates with their inputs and those of their providers, in plain: in memory only."""
    if not resources:
        return []
    plain = _deployment(json.loads(process.quick(["stack", "export", "--stack", stack, "--show-secrets"], project)))
    there = plain.get("resources") or []
    held = {f"{one['urn']}::{one.get('id', '')}": one for one in there}
    pending = {one["resource"]["urn"]: one["resource"] for one in plain.get("pending_operations") or []}
    return [
        adoption.Pending(
            urn=one["urn"],
            kind=one["type"],
            inputs=_revealed(pending.get(one["urn"], one).get("inputs") or {}),
            provider=_revealed(held.get(one.get("provider", ""), {}).get("inputs") or {}),
            held=frozenset(str(other["id"]) for other in there if other["type"] == one["type"] and other.get("id")),
        )
        for one in resources
    ]


def _revealed(value: Any) -> Any:
    """A value of an export with --show-secrets, without the wrapping of its secrets."""
    if isinstance(value, dict):
        if SIGNATURE in value:
            return json.loads(value["plaintext"]) if "plaintext" in value else None
        return {key: _revealed(item) for key, item in value.items()}
    return [_revealed(item) for item in value] if isinstance(value, list) else value
