"""DNS records of a zone."""

from __future__ import annotations

import ipaddress
from typing import Any

from twin.clouds.cloudflare import errors
from twin.clouds.cloudflare.store import Object, Store, new_id, now

NOT_FOUND = 81044
NAME_TAKEN = 81053
IDENTICAL = 81058
INVALID = 9000
PROXIABLE = ("A", "AAAA", "CNAME")
TYPES = (*PROXIABLE, "CAA", "HTTPS", "MX", "NS", "PTR", "SRV", "SSHFP", "SVCB", "TLSA", "TXT", "URI")
GIVEN = ("comment", "content", "data", "name", "priority", "proxied", "settings", "tags", "ttl", "type")
AUTOMATIC_TTL = 1


class Records:
    """`dns_records` of a zone."""

    kind = "records"
    created, deleted = 200, 200

    def __init__(self, store: Store, owner: str) -> None:
        self._zone = store.zones[owner]["name"]
        self._all = store.of(self.kind, owner)

    def list(self, wanted: dict[str, str]) -> list[Object]:
        keys = [key for key in ("name", "type", "content") if key in wanted]
        return [record for record in self._all.values() if all(record[key] == wanted[key] for key in keys)]

    def create(self, body: Object) -> Object:
        record = self._made({}, body)
        self._all[record["id"]] = record
        return record

    def get(self, identity: str) -> Object:
        return self._find(identity)

    def replace(self, identity: str, body: Object) -> Object:
        old = self._find(identity)
        self._all[identity] = self._made(old, body)
        return self._all[identity]

    def edit(self, identity: str, body: Object) -> Object:
        old = self._find(identity)
        self._all[identity] = self._made(old, {key: old[key] for key in GIVEN if key in old} | body)
        return self._all[identity]

    def delete(self, identity: str) -> Object:
        self._find(identity)
        del self._all[identity]
        return {"id": identity}

    def _find(self, identity: str) -> Object:
        record = self._all.get(identity)
        if record is None:
            raise errors.ApiError(404, NOT_FOUND, "Record does not exist.")
        return record

    def _made(self, old: Object, body: Object) -> Object:
        """The whole record of a request's body; `old` gives id and birthday of a replaced one."""
        for key in ("name", "type", "content"):
            if not isinstance(body.get(key), str) or not body[key]:
                raise errors.invalid(f"DNS record needs {key}", INVALID)
        if body["type"] not in TYPES:
            raise errors.invalid(f"DNS record type {body['type']} is invalid.", 9004)
        _check_content(body["type"], body["content"])
        ttl = body.get("ttl", AUTOMATIC_TTL)
        if not isinstance(ttl, int | float) or (ttl != AUTOMATIC_TTL and not 60 <= ttl <= 86400):
            raise errors.invalid("DNS record has an invalid TTL. It must be between 60 and 86400 seconds, or 1.", 9021)
        proxiable, proxied = body["type"] in PROXIABLE, bool(body.get("proxied", False))
        if proxied and not proxiable:
            raise errors.invalid("This record type cannot be proxied.", 9004)
        record: Object = {
            "proxiable": proxiable,
            "proxied": proxied,
            "comment": body.get("comment"),
            "tags": body.get("tags") or [],
            "settings": body.get("settings") or {},
            "meta": {},
            "created_on": old.get("created_on", now()),
            "modified_on": now(),
            "id": old.get("id", new_id()),
            "content": body["content"],
            "name": self._full_name(body["name"]),
            "ttl": AUTOMATIC_TTL if proxied else ttl,
            "type": body["type"],
            **({"comment_modified_on": now()} if body.get("comment") else {}),
            **({"tags_modified_on": now()} if body.get("tags") else {}),
            **{key: body[key] for key in ("data", "priority") if key in body},
        }
        self._check_free(record)
        return record

    def _full_name(self, name: str) -> str:
        if name == "@":
            return self._zone
        return name if name == self._zone or name.endswith(f".{self._zone}") else f"{name}.{self._zone}"

    def _check_free(self, record: Object) -> None:
        others = [one for one in self._all.values() if one["id"] != record["id"] and one["name"] == record["name"]]
        if any(one["type"] == record["type"] and one["content"] == record["content"] for one in others):
            raise errors.invalid("An identical record already exists.", IDENTICAL)
        if record["type"] == "CNAME" and any(one["type"] in PROXIABLE for one in others):
            raise errors.invalid("An A, AAAA, or CNAME record with that host already exists.", NAME_TAKEN)
        if record["type"] in ("A", "AAAA") and any(one["type"] == "CNAME" for one in others):
            raise errors.invalid("A CNAME record with that host already exists.", NAME_TAKEN)


def _check_content(kind: str, content: Any) -> None:
    try:
        if kind == "A":
            ipaddress.IPv4Address(content)
        elif kind == "AAAA":
            ipaddress.IPv6Address(content)
    except ValueError:
        raise errors.invalid(f"Content for {kind} record must be a valid address.", 9005) from None
