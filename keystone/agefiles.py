"""The age files of a stack, nix/secrets/<stack>/<host>/<name>.age, which each machine decrypts with its SSH host key.

age makes other bytes each time, so files are compared by recipient and keyed hash of the plain text, both noted in
index.json: a second run changes no byte, and another recipient or text rewrites that one file. mesh-ca.crt,
operator.pub and backup.pub are public.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

# The extension module ships no type stubs.
from pyrage import DecryptError, ssh  # pyright: ignore[reportAttributeAccessIssue]
from pyrage import decrypt as age_decrypt  # pyright: ignore[reportAttributeAccessIssue]
from pyrage import encrypt as age_encrypt  # pyright: ignore[reportAttributeAccessIssue]

from keystone.errors import KeystoneError
from keystone.files import write_file
from keystone.identities import CLUSTER_CAS, CLUSTER_GENERATION, Identities
from keystone.settings import Settings

SCHEMA_VERSION = 1
INDEX = "index.json"
MESH_CA = "mesh-ca.crt"
OPERATOR_KEY = "operator.pub"
BACKUP_KEY = "backup.pub"

_TOKENS = ("server-token", "agent-token")
_CLUSTER_CAS = tuple(f"{name.replace('/', '--')}.{end}" for name in CLUSTER_CAS for end in ("crt", "key"))
_CONTROLLER = ("headscale-noise-key", "headscale-derp-key")
# Only where `mesh.tls` is private: otherwise the controller gets its certificate elsewhere.
_MESH_TLS = ("mesh-tls-key", "mesh-tls.crt")

# The names of the secrets that a host of a role holds. The other servers fetch the CAs from the Primer's datastore,
# which the server token opens; an agent that is taken over must not be able to add servers.
SECRETS_BY_ROLE: dict[str, tuple[str, ...]] = {
    "primer": (*_TOKENS, *_CLUSTER_CAS, "service.key", "service-account-key", *_CONTROLLER, *_MESH_TLS),
    "server": _TOKENS,
    "agent": ("agent-token",),
    "edge": (),
}


@dataclass(frozen=True)
class _Wanted:
    recipient: str
    text: bytes
    fingerprint: str


def folder(stack: str) -> PurePosixPath:
    """Return the folder of a stack's secrets, relative to the project."""
    return PurePosixPath("nix/secrets") / stack


def texts(settings: Settings, identities: Identities) -> dict[str, bytes]:
    """Return the plain text of every secret by its name: exactly the bytes that the machine reads."""
    # The first of several keys signs, all verify: k3s, the API server and kubeadm read such a file so.
    generations = settings.aws.key_generations if settings.aws else (CLUSTER_GENERATION,)
    service_account = "".join(map(identities.service_account_key, generations))
    values = {
        "server-token": identities.server_token(),
        "agent-token": identities.agent_token(),
        "headscale-noise-key": identities.headscale_noise_key(),
        "headscale-derp-key": identities.headscale_derp_key(),
        **{name.replace("/", "--"): pem for name, pem in identities.cluster_cas().items()},
        "service.key": service_account,
        "service-account-key": service_account,
    }
    if settings.mesh.tls == "private":
        certificate, key = identities.mesh_certificate([settings.mesh.server_host])
        values |= {"mesh-tls.crt": certificate, "mesh-tls-key": key}
    return {name: value.encode() for name, value in values.items()}


def _wanted(settings: Settings, identities: Identities, stack: str) -> dict[str, _Wanted]:
    """Return every age file that the stack should have, by its path below the stack's folder."""
    values = texts(settings, identities)
    wanted = {}
    for host_name, host in sorted(settings.hosts.items()):
        recipient = identities.age_recipient(host_name, host.install_generation)
        for name in SECRETS_BY_ROLE[host.role]:
            if name in values:
                path = f"{host_name}/{name}.age"
                fingerprint = identities.fingerprint(f"{stack}/{path}", values[name])
                wanted[path] = _Wanted(recipient, values[name], fingerprint)
    return wanted


def _read_index(file: Path) -> dict[str, dict[str, str]]:
    """Return the entries of an index by path; none if it is missing, broken or of another version."""
    try:
        document = json.loads(file.read_bytes())
        if document["schemaVersion"] != SCHEMA_VERSION:
            return {}
        return {str(path): dict(entry) for path, entry in document["files"].items() if _is_ours(path)}
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _is_ours(path: str) -> bool:
    """Tell whether a path of the index is one that we write: an index must not name files elsewhere for removal."""
    parts = PurePosixPath(path).parts
    return len(parts) == 2 and ".." not in parts and not path.startswith("/") and path.endswith(".age")


def _digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except FileNotFoundError:
        return ""


def _is_current(here: Path, path: str, wanted: _Wanted, index: dict[str, dict[str, str]]) -> bool:
    entry = index.get(path, {})
    # The file's own hash tells a half-written or merged file from the one that was noted.
    noted = (entry.get("recipient"), entry.get("fingerprint"), entry.get("sha256"))
    return noted == (wanted.recipient, wanted.fingerprint, _digest(here / path))


def _stale(
    here: Path, wanted: dict[str, _Wanted], index: dict[str, dict[str, str]], public: dict[str, bytes | None]
) -> Iterator[tuple[str, bool]]:
    """Yield each path that differs from what it should be, and whether it is to be written (else removed)."""
    for path, want in wanted.items():
        if not _is_current(here, path, want, index):
            yield path, True
    for path in sorted(set(index) - set(wanted)):
        yield path, False
    for name, content in public.items():
        if _bytes_of(here / name) != content:
            yield name, content is not None


def _public(settings: Settings, identities: Identities) -> dict[str, bytes | None]:
    """Return the stack's public files by name; None for one that must not be there."""
    private, backup = settings.mesh.tls == "private", settings.backup
    return {
        MESH_CA: identities.mesh_ca()[0].encode() if private else None,
        OPERATOR_KEY: f"{identities.operator_key().public}\n".encode(),
        BACKUP_KEY: f"{identities.backup_key(backup.key_generation).public}\n".encode() if backup else None,
    }


@contextmanager
def _plain_errors(here: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise KeystoneError(
            str(error.filename or here),
            f"cannot be read or written: {error.strerror}",
            "Free the disk or correct the path",
        ) from None


def check(settings: Settings, identities: Identities, stack: str, project: Path = Path()) -> list[str]:
    """Return what `render` would change, as paths relative to the project, sorted. Writes nothing."""
    here = project / folder(stack)
    wanted = _wanted(settings, identities, stack)
    with _plain_errors(here):
        index = _read_index(here / INDEX)
        stale = [path for path, _ in _stale(here, wanted, index, _public(settings, identities))]
        if stale or _index(here, wanted, index) != _bytes_of(here / INDEX):
            stale.append(INDEX)
    return sorted(str(folder(stack) / path) for path in stale)


def render(settings: Settings, identities: Identities, stack: str, project: Path = Path()) -> list[str]:
    """Write what is missing or stale, remove what belongs to no host any more; return the changed paths, sorted.

    The index is written last, so that an interrupted run is completed by the next one. Raises KeystoneError when a
    file cannot be written.
    """
    here = project / folder(stack)
    wanted = _wanted(settings, identities, stack)
    public = _public(settings, identities)
    changed = []
    with _plain_errors(here):
        index = _read_index(here / INDEX)
        for path, write in _stale(here, wanted, index, public):
            changed.append(path)
            if not write:
                _remove(here, path)
            elif path in public:
                write_file(here / path, public[path] or b"")
            else:
                write_file(here / path, encrypt(wanted[path].text, wanted[path].recipient))
                index[path] = _entry(here, path, wanted[path])
        text = _index(here, wanted, index)
        if text != _bytes_of(here / INDEX):
            write_file(here / INDEX, text)
            changed.append(INDEX)
    return sorted(str(folder(stack) / path) for path in changed)


def encrypt(text: bytes, recipient: str) -> bytes:
    """Return `text` as an age file for an `ssh-ed25519` public key, as agenix reads it."""
    return age_encrypt(text, [ssh.Recipient.from_str(recipient)])


def decrypt(file: bytes, private_key: str) -> bytes:
    """Return the plain text of an age file, with an OpenSSH private key. Raises KeystoneError if it is not for it."""
    try:
        return age_decrypt(file, [ssh.Identity.from_buffer(private_key.encode())])
    except DecryptError as error:
        raise KeystoneError(
            "age file", f"cannot be decrypted with this host key: {error}", "Render the secrets with `keystone facts`"
        ) from None


def _entry(here: Path, path: str, want: _Wanted) -> dict[str, str]:
    return {"recipient": want.recipient, "fingerprint": want.fingerprint, "sha256": _digest(here / path)}


def _index(here: Path, wanted: dict[str, _Wanted], index: dict[str, dict[str, str]]) -> bytes:
    files = {path: index.get(path) or _entry(here, path, want) for path, want in sorted(wanted.items())}
    return (json.dumps({"schemaVersion": SCHEMA_VERSION, "files": files}, indent=2, sort_keys=True) + "\n").encode()


def _bytes_of(file: Path) -> bytes | None:
    return file.read_bytes() if file.exists() else None


def _remove(here: Path, path: str) -> None:
    (here / path).unlink(missing_ok=True)
    parent = (here / path).parent
    if parent != here and parent.is_dir() and not any(parent.iterdir()):
        parent.rmdir()
