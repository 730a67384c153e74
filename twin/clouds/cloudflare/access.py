"""Access: applications, reusable policies, service tokens and identity providers of an account."""

from __future__ import annotations

import secrets
from typing import Any

from twin.clouds.cloudflare import errors
from twin.clouds.cloudflare.store import Object, Store, after, new_uuid, now

NOT_FOUND = 11021
INVALID = 12130
DOMAIN_TAKEN = 11010
DECISIONS = ("allow", "deny", "bypass", "non_identity")
HOUR = 3600.0
UNITS = {"h": HOUR, "m": 60.0, "s": 1.0}


class Access:
    """What the four kinds share: whole objects that a PUT replaces."""

    kind = ""
    created, deleted = 201, 202

    def __init__(self, store: Store, owner: str) -> None:
        self._store, self._owner = store, owner
        self._all = store.of(self.kind, owner)

    def list(self, wanted: dict[str, str]) -> list[Object]:
        return [self._shown(one) for one in self._all.values() if wanted.get("name") in (None, one["name"])]

    def create(self, body: Object) -> Object:
        made, once = self._made(None, body)
        self._all[made["id"]] = made
        return self._shown(made) | once

    def get(self, identity: str) -> Object:
        return self._shown(self._find(identity))

    def replace(self, identity: str, body: Object) -> Object:
        made, once = self._made(self._find(identity), body)
        self._all[identity] = made
        return self._shown(made) | once

    def delete(self, identity: str) -> Object:
        self._find(identity)
        del self._all[identity]
        return {"id": identity}

    def _made(self, old: Object | None, body: Object) -> tuple[Object, Object]:
        """The new object, and what its answer holds this once."""
        raise NotImplementedError

    def _shown(self, thing: Object) -> Object:
        return thing

    def _find(self, identity: str) -> Object:
        thing = self._all.get(identity)
        if thing is None:
            raise errors.ApiError(404, NOT_FOUND, "access.api.error.not_found")
        return thing


class Policies(Access):
    """Reusable policies."""

    kind = "policies"
    created = 200

    def delete(self, identity: str) -> Object:
        if any(identity == link["id"] for app in self._apps() for link in app["policies"]):
            raise errors.invalid("access.api.error.invalid_request: the policy is used by an application", INVALID)
        return super().delete(identity)

    def _apps(self) -> list[Object]:
        return [*self._store.of(Applications.kind, self._owner).values()]

    def _made(self, old: Object | None, body: Object) -> tuple[Object, Object]:
        name = _name(body)
        if body.get("decision") not in DECISIONS:
            raise _bad(f"decision must be one of {', '.join(DECISIONS)}")
        if not body.get("include"):
            raise _bad("a policy must include somebody")
        for rule in (*body["include"], *body.get("exclude", []), *body.get("require", [])):
            if not isinstance(rule, dict) or len(rule) != 1:
                raise _bad("a rule holds exactly one selector")
            self._check_rule(rule)
        defaults = {"approval_required": False, "isolation_required": False, "purpose_justification_required": False}
        lists = {key: body.get(key, []) for key in ("exclude", "include", "require")}
        made = {
            **defaults,
            **body,
            **lists,
            "session_duration": _duration(body.get("session_duration", "24h")),
            "reusable": True,
            **_times(old),
            "name": name,
        }
        return made, {}

    def _check_rule(self, rule: Object) -> None:
        token = rule.get("service_token")
        if token is not None and token.get("token_id") not in self._store.of(ServiceTokens.kind, self._owner):
            raise _bad(f"there is no service token {token.get('token_id')}")

    def _shown(self, thing: Object) -> Object:
        used = sum(any(link["id"] == thing["id"] for link in app["policies"]) for app in self._apps())
        return {**thing, "app_count": used}


class Applications(Access):
    """Applications: a domain and the policies that guard it, in their order."""

    kind = "apps"

    def _made(self, old: Object | None, body: Object) -> tuple[Object, Object]:
        domain = body.get("domain")
        if body.get("type") != "self_hosted" or not isinstance(domain, str) or not domain:
            raise _bad("this double knows applications of type self_hosted with a domain")
        identity = old["id"] if old else new_uuid()
        if any(one["domain"] == domain and one["id"] != identity for one in self._all.values()):
            raise errors.taken(DOMAIN_TAKEN, "access.api.error.conflict: an application has this domain already")
        links = body.get("policies", [])
        known = self._store.of(Policies.kind, self._owner)
        for link in links:
            if not isinstance(link, dict) or link.get("id") not in known:
                raise _bad("a policy of the application does not exist")
        made = {
            "aud": old["aud"] if old else secrets.token_hex(32),
            "domain_type": "public",
            "self_hosted_domains": [domain],
            "destinations": [{"type": "public", "uri": domain}],
            "allowed_idps": [],
            "app_launcher_visible": True,
            "tags": [],
            "auto_redirect_to_identity": False,
            "enable_binding_cookie": False,
            "http_only_cookie_attribute": False,
            "options_preflight_bypass": False,
            "session_duration": "24h",
            **body,
            **_times(old),
            "id": identity,
            "uid": identity,
            "name": _name(body),
            "policies": [{"precedence": number, **link} for number, link in enumerate(links, 1)],
        }
        return made, {}

    def _shown(self, thing: Object) -> Object:
        policies = Policies(self._store, self._owner)
        return {**thing, "policies": [{**policies.get(link["id"]), **link} for link in thing["policies"]]}


class ServiceTokens(Access):
    """Service tokens. The secret is told when it is made, by a POST or a rotating PUT, and never again."""

    kind = "service_tokens"
    deleted = 200

    def delete(self, identity: str) -> Object:
        gone = self._find(identity)
        super().delete(identity)
        return gone

    def _made(self, old: Object | None, body: Object) -> tuple[Object, Object]:
        version, before = body.get("client_secret_version", 1), body.get("previous_client_secret_expires_at")
        last = old["client_secret_version"] if old else 0
        rotates = version > last
        if old and version < last:
            raise _bad("client_secret_version may not go back")
        duration = _duration(body.get("duration", "8760h"))
        made = {
            "client_id": old["client_id"] if old else f"{secrets.token_hex(16)}.access",
            "duration": duration,
            "expires_at": after(_seconds(duration)),
            **_times(old),
            "client_secret_version": version,
            "name": _name(body),
        }
        if before or (old and "previous_client_secret_expires_at" in old):
            made["previous_client_secret_expires_at"] = before or (old or {})["previous_client_secret_expires_at"]
        return made, {"client_secret": secrets.token_hex(32)} if rotates else {}


class IdentityProviders(Access):
    """Identity providers. The client's secret comes back masked."""

    kind = "identity_providers"

    def _made(self, old: Object | None, body: Object) -> tuple[Object, Object]:
        config = body.get("config")
        if not isinstance(config, dict) or not isinstance(body.get("type"), str):
            raise _bad("an identity provider needs type and config")
        needed = ("client_id", "client_secret", "auth_url", "token_url", "certs_url") if body["type"] == "oidc" else ()
        for key in needed:
            if not config.get(key):
                raise _bad(f"an identity provider of type oidc needs config.{key}")
        hidden = {key: "**********************************" for key in ("client_secret",) if config.get(key)}
        made = {"scim_config": {"enabled": False}, **body, "config": {**config, **hidden}, "name": _name(body)}
        return {**made, "id": old["id"] if old else new_uuid()}, {}


def _times(old: Object | None) -> Object:
    born = old["created_at"] if old else now()
    return {"created_at": born, "updated_at": now(), "id": old["id"] if old else new_uuid()}


def _name(body: Object) -> str:
    name = body.get("name")
    if not isinstance(name, str) or not name:
        raise _bad("a name is missing")
    return name


def _duration(value: Any) -> str:
    if not isinstance(value, str) or _seconds(value) <= 0:
        raise _bad("a duration is written like 24h")
    return value


def _seconds(duration: str) -> float:
    number, unit = duration[:-1], duration[-1:]
    return float(number) * UNITS[unit] if number.isdigit() and unit in UNITS else 0.0


def _bad(message: str) -> errors.ApiError:
    return errors.invalid(f"access.api.error.invalid_request: {message}", INVALID)
