"""What the double knows: accounts, zones, tokens, objects; kept in one file so that a restart loses nothing."""

from __future__ import annotations

import hashlib
import json
import secrets
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from keystone.files import write_file

Object = dict[str, Any]
KINDS = ("tunnels", "records", "apps", "policies", "service_tokens", "identity_providers")


def now() -> str:
    """The time as Cloudflare writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def after(seconds: float) -> str:
    """A moment to come, in whole seconds."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def new_uuid() -> str:
    return str(uuid.uuid4())


def new_id() -> str:
    """An id of 32 hex digits, as records have it."""
    return secrets.token_hex(16)


class Store:
    """All objects by kind, owner (account or zone) and id. The caller sees to it that one request runs at a time."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.accounts: list[str] = []
        self.zones: dict[str, Object] = {}
        self.tokens: dict[str, Object] = {}
        """Digest of each token -> its status; the tokens themselves are not kept."""
        self._objects: dict[str, dict[str, dict[str, Object]]] = {kind: {} for kind in KINDS}
        if path is not None and path.exists():
            kept = json.loads(path.read_text())
            self.accounts, self.zones, self.tokens = kept["accounts"], kept["zones"], kept["tokens"]
            self._objects |= kept["objects"]

    def of(self, kind: str, owner: str) -> dict[str, Object]:
        """The objects of one kind that belong to an account or a zone, by id."""
        return self._objects[kind].setdefault(owner, {})

    def add_account(self, account: str) -> None:
        if account not in self.accounts:
            self.accounts.append(account)

    def add_zone(self, zone: str, name: str, account: str) -> None:
        self.zones[zone] = {"id": zone, "name": name, "status": "active", "account": {"id": account, "name": "twin"}}

    def allow(self, token: str) -> None:
        """Accept an API token from now on."""
        self.tokens.setdefault(digest(token), {"id": new_id(), "status": "active"})

    def token(self, token: str) -> Object | None:
        """The status of an API token, None when it is not known."""
        return self.tokens.get(digest(token))

    def left(self) -> list[str]:
        """Every object that exists, as `kind name`: what a destroy should have removed."""
        return sorted(
            f"{kind} {thing.get('name', identity)}"
            for kind, owners in self._objects.items()
            for things in owners.values()
            for identity, thing in things.items()
            if not thing.get("deleted_at")
        )

    def save(self) -> None:
        """Write the file in one step; only its owner may read it, as it holds the tunnels' secrets."""
        if self.path is None:
            return
        kept: Mapping[str, Any] = {
            "accounts": self.accounts,
            "zones": self.zones,
            "tokens": self.tokens,
            "objects": self._objects,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_file(self.path, json.dumps(kept).encode(), 0o600)


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
