"""The front: what stands between a request and moto."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from werkzeug.wrappers import Request, Response

from twin.clouds.aws import ACCESS_KEY, CONTROL, access, errors, sts
from twin.clouds.aws.account import Account
from twin.clouds.aws.errors import Refused
from twin.clouds.aws.memory import Memory
from twin.clouds.gate import Gate

log = logging.getLogger("aws")
REQUESTS_KEPT = 5000
NOT_IMPLEMENTED = 501
"""A status that no client asks again for."""
GUARDED = {
    "GetParameter": "Name",
    "PutParameter": "Name",
    "DeleteParameter": "Name",
    "GetParametersByPath": "Path",
}
"""Calls of SSM that a role's session is checked for, and where each names its parameter."""
NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"


class Front:
    """The WSGI application. Requests are handled one at a time: moto is not made for more."""

    def __init__(self, account: Account, moto: Any, memory: Memory, lock: threading.RLock) -> None:
        self._account = account
        self._moto = moto
        self._memory = memory
        self._lock = lock
        self._faults: list[dict[str, Any]] = []
        self._gate = Gate()
        self._expired: set[str] = set()
        self._requests: deque[dict[str, Any]] = deque(maxlen=REQUESTS_KEPT)

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        # Read once: moto reads the same bytes again.
        body = request.get_data(cache=True, parse_form_data=False)
        if request.path.startswith(f"{CONTROL}/"):
            with self._lock:
                return self._order(request)(environ, start_response)
        action = _action(request, body)
        with self._lock:
            fault = self._fault(errors.service_of(request), action)
            wait = self._gate.enter(action) if fault and fault.get("hold") else None
        if wait:
            wait()
        with self._lock:
            if wait:
                self._gate.leave(action)
            response = self._answer(request, body, action, fault)
            self._remember(request, action, response.status_code)
            self._memory.changed()
        return response(environ, start_response)

    def _answer(self, request: Request, body: bytes, action: str, fault: dict[str, Any] | None) -> Response:
        try:
            if fault is not None and "code" in fault and not fault.get("after"):
                raise Refused(fault["code"], fault.get("message", "as a test has ordered"), fault.get("status", 400))
            if action == "AssumeRoleWithWebIdentity":
                return self._web_identity(body)
            self._check_key(request)
            self._check_rights(request, body, action)
            response = self._ask_moto(request, body)
            if fault is not None and fault.get("after"):
                raise Refused(fault["code"], fault.get("message", "as a test has ordered"), fault.get("status", 500))
        except Refused as refused:
            log.warning("%s %s: %s", errors.service_of(request), action, refused)
            return errors.response(request, refused)
        except Exception as error:
            log.exception("%s %s failed", errors.service_of(request), action)
            said = f"the twin's AWS cannot do this: {type(error).__name__}: {error}"
            return errors.response(request, Refused("NotImplemented", said, NOT_IMPLEMENTED))
        return response

    def _ask_moto(self, request: Request, body: bytes) -> Response:
        environ = dict(request.environ)
        environ.pop("werkzeug.request", None)
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        response = Response.from_app(self._moto, environ, buffered=True)
        if response.status_code == 500 and (response.content_type or "").startswith("text/html"):
            # A call that moto does not have, or a fault of its own: asking again would not help.
            raise Refused("NotImplemented", "the twin's AWS (moto) cannot do this: see its log", NOT_IMPLEMENTED)
        return response

    def _web_identity(self, body: bytes) -> Response:
        form = {name: item[0] for name, item in parse_qs(body.decode()).items()}
        session, claims = sts.assume(self._account, form)
        text = f"""<AssumeRoleWithWebIdentityResponse xmlns="{NAMESPACE}"><AssumeRoleWithWebIdentityResult>
<Audience>{escape(str(claims.get("aud")))}</Audience><Provider>{escape(str(claims["iss"]))}</Provider>
<SubjectFromWebIdentityToken>{escape(str(claims.get("sub")))}</SubjectFromWebIdentityToken>
<AssumedRoleUser><Arn>{escape(session.arn)}</Arn><AssumedRoleId>{escape(session.user_id)}</AssumedRoleId></AssumedRoleUser>
<Credentials><AccessKeyId>{session.access_key_id}</AccessKeyId>
<SecretAccessKey>{escape(session.secret_access_key)}</SecretAccessKey>
<SessionToken>{escape(session.session_token)}</SessionToken>
<Expiration>{session.expiration.strftime("%Y-%m-%dT%H:%M:%SZ")}</Expiration></Credentials>
</AssumeRoleWithWebIdentityResult><ResponseMetadata><RequestId>twin</RequestId></ResponseMetadata>
</AssumeRoleWithWebIdentityResponse>"""
        return Response(text, content_type="text/xml")

    # --- credentials and rights ---

    def _check_key(self, request: Request) -> None:
        key = errors.access_key_of(request)
        session = self._account.session(key)
        if key in self._expired or (session is not None and _aware(session.expiration) <= datetime.now(UTC)):
            raise Refused("ExpiredToken", "The security token included in the request is expired", 403)
        if not key:
            raise Refused("MissingAuthenticationToken", "Request is missing Authentication Token", 403)
        if session is None and key != ACCESS_KEY:
            raise Refused("InvalidClientTokenId", "The security token included in the request is invalid.", 403)
        if session is not None and request.headers.get("x-amz-security-token") != session.session_token:
            raise Refused("InvalidClientTokenId", "The session's token is missing or wrong.", 403)

    def _check_rights(self, request: Request, body: bytes, action: str) -> None:
        session = self._account.session(errors.access_key_of(request))
        if session is None or errors.service_of(request) != "ssm":
            return
        region = request.headers["authorization"].partition("Credential=")[2].split("/")[2]
        given = json.loads(body or b"{}")
        names = given.get("Names") or [given.get(GUARDED.get(action, ""), "")]
        role = self._account.role(session.role_arn)
        if role is None:
            raise Refused("AccessDeniedException", f"the role {session.role_arn} is gone", 400)
        policies, boundary = self._account.policies(role), self._account.boundary(role)
        for name in names:
            place = f"parameter/{str(name).lstrip('/')}" if name else "*"
            resource = f"arn:aws:ssm:{region}:{self._account.number}:{place}"
            asked = f"ssm:{action}", resource, {"aws:requestedregion": region, "aws:securetransport": "true"}
            layers = [policies, *([[boundary]] if boundary is not None else [])]
            if not all(access.allowed(layer, *asked) for layer in layers):
                raise Refused(
                    "AccessDeniedException",
                    f"User: {session.arn} is not authorized to perform: ssm:{action} on resource: {resource}",
                )

    # --- orders ---

    def _order(self, request: Request) -> Response:
        what = request.path.removeprefix(f"{CONTROL}/")
        try:
            if what == "health":
                return _json({"account": self._account.number})
            if what == "instances":
                return _json(list(self._account.instances()))
            if what.startswith("instances/") and what.endswith("/credentials"):
                self._memory.changed()
                return _json(self._account.profile_session(what.split("/")[1]))
            if what == "requests":
                return _json(list(self._requests))
            if what == "held":
                return _json(self._gate.waiting)
            if what == "faults":
                if request.method == "POST":
                    self._gate.open()
                    self._faults = list(request.get_json())
                return _json(self._faults)
            if what == "expired" and request.method == "POST":
                self._expired = set(request.get_json())
                return _json({})
        except Refused as refused:
            return _json({"code": refused.code, "message": refused.message}, refused.status)
        return _json({"message": f"no order {request.method} {what}"}, 404)

    def _fault(self, service: str, action: str) -> dict[str, Any] | None:
        """The first ordered fault that fits; one with `times` is over after so many."""
        for fault in self._faults:
            if fault.get("service") in (None, service) and fault.get("action") in (None, action):
                if "times" in fault:
                    fault["times"] -= 1
                    if fault["times"] <= 0:
                        self._faults.remove(fault)
                return fault
        return None

    def _remember(self, request: Request, action: str, status: int) -> None:
        service = errors.service_of(request)
        entry = {"service": service, "action": action, "status": status, "key": errors.access_key_of(request)}
        self._requests.append(entry)


def _action(request: Request, body: bytes) -> str:
    """What a request asks for: PutParameter, CreateRole, or `GET /path` where the way says it."""
    target = request.headers.get("x-amz-target", "")
    if target:
        return target.rpartition(".")[2]
    if request.mimetype == "application/x-www-form-urlencoded":
        return parse_qs(body.decode(errors="replace")).get("Action", [""])[0]
    return f"{request.method} {request.path}"


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _json(value: Any, status: int = 200) -> Response:
    return Response(json.dumps(value, default=str), status, content_type="application/json")
