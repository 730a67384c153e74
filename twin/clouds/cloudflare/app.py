"""The HTTP side of the double: routes, authentication, envelope, pages, and the orders of tests."""

from __future__ import annotations

import json
import re
import threading
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from twin.clouds.cloudflare import API, CONTROL, access, errors, records, tunnels
from twin.clouds.cloudflare.store import Object, Store, digest
from twin.clouds.gate import Gate

REQUESTS_KEPT = 5000
BODY_LIMIT = 1024 * 1024
PER_PAGE = 20
PER_PAGE_LIMIT = 1000
FORMAT = re.compile(r"Bearer [A-Za-z0-9_-]{40}")
SECRETS = ("tunnel_secret", "client_secret")
KINDS = {
    "cfd_tunnel": tunnels.Tunnels,
    "dns_records": records.Records,
    "access/apps": access.Applications,
    "access/policies": access.Policies,
    "access/service_tokens": access.ServiceTokens,
    "access/identity_providers": access.IdentityProviders,
}
METHODS = {"POST": "create", "GET": "get", "PUT": "replace", "PATCH": "edit", "DELETE": "delete"}


def _routes() -> Map:
    rules = [
        Rule(f"{API}/user/tokens/verify", endpoint=("verify", "")),
        Rule(f"{API}/zones", endpoint=("zones", "")),
        Rule(f"{API}/zones/<owner>", endpoint=("zone", "")),
        *(
            Rule(f"{API}/accounts/<owner>/cfd_tunnel/<identity>/{part}", endpoint=(part, ""))
            for part in ("configurations", "token")
        ),
    ]
    for path in KINDS:
        base = f"{API}/{'zones' if path == 'dns_records' else 'accounts'}/<owner>/{path}"
        rules += [Rule(base, endpoint=("many", path)), Rule(f"{base}/<identity>", endpoint=("one", path))]
    return Map(rules, strict_slashes=False)


class Double:
    """The WSGI application. Requests are handled one at a time: order is all that the double promises."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._routes = _routes()
        self._lock = threading.Lock()
        self._faults: list[Object] = []
        self._gate = Gate()
        self._requests: deque[Object] = deque(maxlen=REQUESTS_KEPT)

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        request.max_content_length = BODY_LIMIT
        if request.path.startswith(f"{CONTROL}/"):
            with self._lock:
                return self._order(request)(environ, start_response)
        with self._lock:
            fault = self._told(request)
            wait = self._gate.enter(request.path) if fault and fault.get("hold") else None
        if wait:
            wait()
        with self._lock:
            if wait:
                self._gate.leave(request.path)
            response = self._answer(request, fault)
            self._remember(request, response)
        return response(environ, start_response)

    # --- the API ---

    def _answer(self, request: Request, fault: Object | None) -> Response:
        if fault is not None and not fault.get("after"):
            return _faulty(fault)
        try:
            self._authenticate(request)
            status, result, more = self._dispatch(request)
            if request.method != "GET":
                self.store.save()
        except errors.ApiError as error:
            return _refusal(error)
        except NotFound:
            return _refusal(errors.no_route(request.path))
        except HTTPException as error:
            return _refusal(errors.ApiError(error.code or 400, 10405, str(error.description)))
        if fault is not None:
            return _faulty(fault)
        envelope = {"success": True, "errors": [], "messages": [], "result": result, **more}
        return _json(status, envelope)

    def _authenticate(self, request: Request) -> None:
        header = request.headers.get("authorization", "")
        if not header:
            raise errors.ApiError(400, 9106, "Missing Authorization header")
        if not FORMAT.fullmatch(header):
            raise errors.ApiError(400, 6003, "Invalid request headers: invalid format for Authorization header")
        token = self.store.token(header.removeprefix("Bearer "))
        if token is None or token["status"] != "active" or _past(token.get("expires_on")):
            if request.path == f"{API}/user/tokens/verify":
                raise errors.ApiError(401, 1000, "Invalid API Token")
            raise errors.unauthorized()

    def _dispatch(self, request: Request) -> tuple[int, Any, Object]:
        (what, path), arguments = self._routes.bind_to_environ(request.environ).match()
        owner, method = arguments.get("owner", ""), request.method
        if what == "verify":
            return 200, {"id": digest(request.headers["authorization"])[:32], "status": "active"}, {}
        if what == "zones":
            wanted = request.args.get("name")
            return 200, *_page(request, [zone for zone in self.store.zones.values() if wanted in (None, zone["name"])])
        known = self.store.zones if what == "zone" or path == "dns_records" else self.store.accounts
        if owner not in known:
            raise errors.no_route(request.path)
        if what == "zone":
            return 200, self.store.zones[owner], {}
        if what in ("configurations", "token"):
            return 200, self._of_tunnel(what, method, owner, arguments["identity"], request), {}
        things = KINDS[path](self.store, owner)
        if what == "many":
            if method == "GET":
                return 200, *_page(request, things.list(request.args.to_dict()))
            if method != "POST":
                raise _wrong_method()
            return things.created, things.create(_body(request)), {}
        act = getattr(things, METHODS.get(method, ""), None) if method != "POST" else None
        if act is None:
            raise _wrong_method()
        result = act(arguments["identity"], *([_body(request)] if method in ("PUT", "PATCH") else []))
        return things.deleted if method == "DELETE" else 200, result, {}

    def _of_tunnel(self, what: str, method: str, account: str, identity: str, request: Request) -> Any:
        found = tunnels.Tunnels(self.store, account)
        match (what, method):
            case ("token", "GET"):
                return found.token(identity)
            case ("configurations", "GET"):
                return found.configuration(identity)
            case ("configurations", "PUT"):
                return found.configure(identity, _body(request))
        raise _wrong_method()

    # --- orders ---

    def _order(self, request: Request) -> Response:
        match (request.method, request.path.removeprefix(f"{CONTROL}/")):
            case ("GET", "health"):
                return _json(200, {"ok": True})
            case ("GET", "requests"):
                return _json(200, list(self._requests))
            case ("GET", "objects"):
                return _json(200, self.store.left())
            case ("GET", "held"):
                return _json(200, self._gate.waiting)
            case ("POST", "faults"):
                self._gate.open()
                self._faults = json.loads(request.get_data())
                return _json(200, {})
            case ("POST", "tokens"):
                order = json.loads(request.get_data())
                self.store.allow(order["token"])
                self.store.tokens[digest(order["token"])] |= {"expires_on": order.get("expires_on")}
                self.store.save()
                return _json(200, {})
        return _json(404, {"unknown": request.path})

    def _told(self, request: Request) -> Object | None:
        """The first fault that tests ordered for such a request; `times` says how often it is answered with."""
        for fault in self._faults:
            if (
                fault.get("times", 1) > 0
                and fault.get("method", request.method) == request.method
                and re.search(fault.get("path", ""), request.path)
            ):
                fault["times"] = fault.get("times", 1) - 1
                return fault
        return None

    def _remember(self, request: Request, response: Response) -> None:
        try:
            body = json.loads(request.get_data() or b"null")
        except ValueError:
            body = None
        self._requests.append(
            {
                "method": request.method,
                "path": request.full_path.rstrip("?"),
                "body": _masked(body),
                "status": response.status_code,
                "retry": int(request.headers.get("x-stainless-retry-count", "0")),
            }
        )


def _body(request: Request) -> Object:
    try:
        body = json.loads(request.get_data())
    except ValueError:
        raise errors.invalid("Request body is invalid JSON.", 9207) from None
    if not isinstance(body, dict):
        raise errors.invalid("Request body must be a JSON object.", 9207)
    return body


def _page(request: Request, found: list[Object]) -> tuple[list[Object], Object]:
    """One page of a list, and the envelope's `result_info`."""
    try:
        page, size = int(request.args.get("page", 1)), int(request.args.get("per_page", PER_PAGE))
    except ValueError:
        page, size = 0, 0
    if page < 1 or not 1 <= size <= PER_PAGE_LIMIT:
        raise errors.invalid(f"page must be 1 or more, per_page from 1 to {PER_PAGE_LIMIT}", 1004)
    shown = found[(page - 1) * size : page * size]
    info = {"page": page, "per_page": size, "count": len(shown), "total_count": len(found)}
    return shown, {"result_info": {**info, "total_pages": -(-len(found) // size)}}


def _wrong_method() -> errors.ApiError:
    return errors.ApiError(405, 10405, "Method not allowed for this authentication scheme")


def _past(moment: str | None) -> bool:
    return moment is not None and datetime.fromisoformat(moment) <= datetime.now(UTC)


def _refusal(error: errors.ApiError) -> Response:
    return _failure(error.status, error.code, error.message, error.headers)


def _failure(status: int, code: int, message: str, headers: dict[str, str]) -> Response:
    envelope = {"success": False, "errors": [{"code": code, "message": message}], "messages": [], "result": None}
    return _json(status, envelope, headers)


def _faulty(fault: Object) -> Response:
    headers = dict(fault.get("headers", {}))
    if "body" in fault:
        return _json(fault["status"], fault["body"], headers)
    if fault["status"] == 429:
        return _failure(429, 971, "Please wait and consider throttling your request speed", headers)
    return _failure(fault["status"], 10001, "Internal error: told to fail", headers)


def _json(status: int, value: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(value), status, headers, content_type="application/json")


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: "[secret]" if key in SECRETS else _masked(item) for key, item in value.items()}
    return [_masked(item) for item in value] if isinstance(value, list) else value
