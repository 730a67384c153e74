"""Tunnels, their configuration and their connector tokens."""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from typing import Any

from twin.clouds.cloudflare import errors
from twin.clouds.cloudflare.store import Object, Store, new_uuid, now

NOT_FOUND = 1003
NAME_TAKEN = 1013
BAD_CONFIGURATION = 1056
SECRET_BYTES = 32
HIDDEN = ("secret", "configuration")


class Tunnels:
    """`cfd_tunnel` of an account. A deleted tunnel stays listed, with `deleted_at`, and frees its name."""

    kind = "tunnels"
    created, deleted = 200, 200

    def __init__(self, store: Store, owner: str) -> None:
        self._account = owner
        self._all = store.of(self.kind, owner)

    def list(self, wanted: dict[str, str]) -> list[Object]:
        found = [tunnel for tunnel in self._all.values() if wanted.get("name") in (None, tunnel["name"])]
        if wanted.get("is_deleted") in ("true", "false"):
            found = [tunnel for tunnel in found if bool(tunnel["deleted_at"]) == (wanted["is_deleted"] == "true")]
        return [_shown(tunnel) for tunnel in found]

    def create(self, body: Object) -> Object:
        name, source = self._free_name(body.get("name"), ""), body.get("config_src", "local")
        if source not in ("local", "cloudflare"):
            raise errors.invalid("config_src must be local or cloudflare")
        secret = body.get("tunnel_secret")
        if secret is None:
            secret = base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
        tunnel: Object = {
            "account_tag": self._account,
            "config_src": source,
            "connections": [],
            "conns_active_at": None,
            "conns_inactive_at": now(),
            "created_at": now(),
            "deleted_at": None,
            "metadata": {},
            "remote_config": source == "cloudflare",
            "status": "inactive",
            "tun_type": "cfd_tunnel",
            "id": new_uuid(),
            "name": name,
            "secret": _secret(secret),
            "configuration": None,
        }
        self._all[tunnel["id"]] = tunnel
        credentials = {"AccountTag": self._account, "TunnelID": tunnel["id"], "TunnelSecret": secret}
        return {**_shown(tunnel), "credentials_file": credentials, "token": _token(tunnel)}

    def get(self, identity: str) -> Object:
        return _shown(self._find(identity))

    def edit(self, identity: str, body: Object) -> Object:
        tunnel = self._find(identity)
        if "name" in body:
            tunnel["name"] = self._free_name(body["name"], identity)
        if "tunnel_secret" in body:
            tunnel["secret"] = _secret(body["tunnel_secret"])
        return _shown(tunnel)

    def delete(self, identity: str) -> Object:
        tunnel = self._find(identity)
        if tunnel["connections"]:
            raise errors.invalid("Cannot delete tunnel because it has active connections", 1022)
        tunnel |= {"deleted_at": now(), "configuration": None}
        return _shown(tunnel)

    def configuration(self, identity: str) -> Object:
        kept = self._find(identity)["configuration"]
        return kept or {**self._blank(identity), "config": None, "version": 0, "created_at": now()}

    def configure(self, identity: str, body: Object) -> Object:
        tunnel, config = self._find(identity), body.get("config")
        version = (tunnel["configuration"] or {"version": 0})["version"] + 1
        tunnel["configuration"] = {
            **self._blank(identity),
            "config": _checked(config),
            "version": version,
            "created_at": now(),
        }
        return tunnel["configuration"]

    def token(self, identity: str) -> str:
        return _token(self._find(identity))

    def _blank(self, identity: str) -> Object:
        return {"tunnel_id": identity, "account_id": self._account, "source": "cloudflare"}

    def _find(self, identity: str) -> Object:
        tunnel = self._all.get(identity)
        if tunnel is None or tunnel["deleted_at"]:
            raise errors.not_found("Tunnel", NOT_FOUND)
        return tunnel

    def _free_name(self, name: Any, own: str) -> str:
        if not isinstance(name, str) or not name:
            raise errors.invalid("a tunnel needs a name")
        if any(t["name"] == name and t["id"] != own and not t["deleted_at"] for t in self._all.values()):
            raise errors.taken(NAME_TAKEN, "You already have a tunnel with this name")
        return name


def _shown(tunnel: Object) -> Object:
    return {key: value for key, value in tunnel.items() if key not in HIDDEN}


def _token(tunnel: Object) -> str:
    """What `cloudflared tunnel run` takes: account, tunnel and secret as JSON in base64."""
    parts = {"a": tunnel["account_tag"], "t": tunnel["id"], "s": tunnel["secret"]}
    return base64.b64encode(json.dumps(parts, separators=(",", ":")).encode()).decode()


def _secret(text: Any) -> str:
    try:
        sound = len(base64.b64decode(text, validate=True)) >= SECRET_BYTES
    except (TypeError, ValueError, binascii.Error):
        sound = False
    if not sound:
        raise errors.invalid(f"tunnel_secret must be base64 of at least {SECRET_BYTES} bytes")
    return text


def _checked(config: Any) -> Any:
    """The configuration, refused where cloudflared would refuse it."""
    rules = config.get("ingress", []) if isinstance(config, dict) else None
    if not isinstance(rules, list) or not rules:
        raise errors.invalid("Bad Configuration: config must hold ingress rules", BAD_CONFIGURATION)
    for number, rule in enumerate(rules, 1):
        if not isinstance(rule, dict) or not rule.get("service"):
            raise errors.invalid(f"Bad Configuration: rule #{number} has no service", BAD_CONFIGURATION)
        is_last, catches_all = number == len(rules), not rule.get("hostname") and not rule.get("path")
        if is_last and not catches_all:
            message = "Bad Configuration: The last ingress rule must match all URLs"
            raise errors.invalid(f"{message} (i.e. it should not have a hostname or path filter)", BAD_CONFIGURATION)
        if catches_all and not is_last:
            message = f"Bad Configuration: rule #{number} matches all requests, so the rules after it are unreachable"
            raise errors.invalid(message, BAD_CONFIGURATION)
    return config
