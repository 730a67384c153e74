"""Keeps moto's objects on disk, so that a stopped twin still has its cloud when it starts again.

moto keeps everything in memory. Its backends are plain Python objects but for a few (locks, keys, nameless functions),
which are written here in a way of their own. The file is the same user's, private, and read by the same Python and
moto only: another version's is put aside.
"""

from __future__ import annotations

import io
import logging
import marshal
import pickle
import sys
import threading
import types
from collections import defaultdict
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from keystone.files import write_file

log = logging.getLogger("aws.memory")
SAVE_SECONDS = 1.0
STAMP = f"moto {version('moto')} python {sys.version_info.major}.{sys.version_info.minor}"
SHARED = {"s3": ("bucket_accounts",)}
"""What a service keeps beside its backends: S3 which account has a bucket's name."""
LOCKS = (type(threading.Lock()), type(threading.RLock()))


class Memory:
    """Saves all backends to a file soon after a change, and at the end; `lock` holds requests back meanwhile."""

    def __init__(self, path: Path | None, lock: threading.RLock) -> None:
        self._path = path
        self._lock = lock
        self._changed = threading.Event()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def load(self) -> None:
        """Put back what was saved; a file that cannot be read is put aside, and the cloud begins empty."""
        if self._path is None:
            return
        if self._path.exists():
            try:
                restore(self._path.read_bytes())
            except Exception as error:
                aside = self._path.with_suffix(".unreadable")
                self._path.replace(aside)
                log.error("%s cannot be read (%s: %s) and is now %s", self._path, type(error).__name__, error, aside)
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)
        self._thread.start()

    def changed(self) -> None:
        """Something may have changed: save soon."""
        self._changed.set()

    def close(self) -> None:
        """Save what changed and end."""
        self._ending.set()
        self._changed.set()
        if self._thread is not None:
            self._thread.join(30)

    def _run(self) -> None:
        while not self._ending.is_set():
            self._changed.wait()
            self._ending.wait(SAVE_SECONDS)
            self._changed.clear()
            try:
                self._save()
            except Exception:
                log.exception("the state is not saved")

    def _save(self) -> None:
        assert self._path is not None
        with self._lock:
            content = dump()
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_file(self._path, content, 0o600)


def backends() -> dict[str, Any]:
    """Every service's backends that moto has loaded, by name."""
    from moto.core.base_backend import BackendDict

    modules = [module for name, module in sys.modules.items() if name.startswith("moto.") and module is not None]
    found = (one for module in modules for one in vars(module).values() if isinstance(one, BackendDict))
    return {one.service_name: one for one in found}


def dump() -> bytes:
    """All objects of all services."""
    held = {
        name: {
            account: {region: backend.__dict__ for region, backend in regions.items()}
            for account, regions in many.items()
        }
        for name, many in backends().items()
        if many
    }
    known = backends()
    shared = {name: {part: getattr(known[name], part) for part in SHARED.get(name, ())} for name in held}
    buffer = io.BytesIO()
    buffer.write(STAMP.encode() + b"\n")
    buffer.write(pickle.dumps(sorted(held)))
    _Pickler(buffer).dump((held, shared))
    return buffer.getvalue()


def restore(content: bytes) -> None:
    """Make moto's objects what they were. Raises ValueError for a file of other versions."""
    from moto.backends import get_backend

    stamp, _, rest = content.partition(b"\n")
    if stamp.decode(errors="replace") != STAMP:
        raise ValueError(f"it was written by {stamp.decode(errors='replace')}, and this is {STAMP}")
    buffer = io.BytesIO(rest)
    for name in pickle.load(buffer):
        get_backend(name)
    known = backends()
    held, shared = _Unpickler(buffer, known).load()
    for name, accounts in held.items():
        for account, regions in accounts.items():
            for region, content_of in regions.items():
                known[name][account][region].__dict__.update(content_of)
    for name, parts in shared.items():
        vars(known[name]).update(parts)


class _Pickler(pickle.Pickler):
    """Writes backends by name, and what pickle cannot by what it is made from."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self._names = {
            id(backend): ("backend", name, account, region)
            for name, many in backends().items()
            for account, regions in many.items()
            for region, backend in regions.items()
        }

    def persistent_id(self, obj: Any) -> Any:
        from moto.core.base_backend import AccountSpecificBackend, BackendDict

        if (name := self._names.get(id(obj))) is not None:
            return name
        if isinstance(obj, BackendDict):
            return ("backends", obj.service_name)
        if isinstance(obj, AccountSpecificBackend):
            return ("account", obj.service_name, obj.account_id)
        return None

    def reducer_override(self, obj: Any) -> Any:
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import ec, rsa
        from cryptography.hazmat.primitives.serialization import Encoding

        if isinstance(obj, LOCKS):
            return threading.RLock if isinstance(obj, LOCKS[1]) else threading.Lock, ()
        if isinstance(obj, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
            return _key, (_pem(obj),)
        if isinstance(obj, x509.Certificate):
            return _certificate, (obj.public_bytes(Encoding.DER),)
        if isinstance(obj, types.FunctionType) and ("<locals>" in obj.__qualname__ or "<lambda>" in obj.__qualname__):
            if obj.__closure__:
                raise pickle.PicklingError(f"{obj.__module__}.{obj.__qualname__} holds values of its surroundings")
            return _function, (marshal.dumps(obj.__code__), obj.__module__)
        if isinstance(obj, defaultdict) and type(obj) is not defaultdict:
            # Made with arguments of its own, which its dictionary's way of being copied does not know.
            state = obj.__dict__, obj.default_factory, list(dict.items(obj))
            return _blank, (type(obj),), state, None, None, _fill
        return NotImplemented


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, known: dict[str, Any]) -> None:
        super().__init__(file)
        self._known = known

    def persistent_load(self, pid: Any) -> Any:
        kind, name, *rest = pid
        many = self._known[name]
        if kind == "backends":
            return many
        return many[rest[0]] if kind == "account" else many[rest[0]][rest[1]]


def _pem(key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _key(pem: bytes) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    return load_pem_private_key(pem, None)


def _certificate(der: bytes) -> Any:
    from cryptography import x509

    return x509.load_der_x509_certificate(der)


def _blank(kind: Any) -> Any:
    return kind.__new__(kind)


def _fill(made: Any, state: Any) -> None:
    attributes, made.default_factory, items = state
    made.__dict__.update(attributes)
    for name, item in items:
        dict.__setitem__(made, name, item)


def _function(code: bytes, module: str) -> Callable[..., Any]:
    return types.FunctionType(marshal.loads(code), vars(sys.modules[module]))
