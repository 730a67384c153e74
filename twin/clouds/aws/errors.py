"""Errors of AWS in the three ways in which its services write them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from xml.sax.saxutils import escape

from werkzeug.wrappers import Request, Response

JSON = ("acm", "efs", "elasticfilesystem", "events", "kms", "sqs", "ssm")


@dataclass
class Refused(Exception):
    """A request that is refused with AWS's own code."""

    code: str
    message: str
    status: int = 400

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


def service_of(request: Request) -> str:
    """The service that a request is signed for; that of web identity is not signed."""
    scope = request.headers.get("authorization", "").partition("Credential=")[2].partition(",")[0].split("/")
    return scope[3] if len(scope) > 4 else "sts"


def access_key_of(request: Request) -> str:
    """The access key that a request is signed with; empty for one without a signature."""
    found = request.headers.get("authorization", "").partition("Credential=")[2].partition("/")[0]
    return found or request.args.get("X-Amz-Credential", "").partition("/")[0]


def response(request: Request, fault: Refused) -> Response:
    """The fault as the asked service would write it."""
    service = service_of(request)
    code, message = escape(fault.code), escape(fault.message)
    if service in JSON:
        body = json.dumps(
            {"__type": fault.code, "Code": fault.code, "message": fault.message, "Message": fault.message}
        )
        headers = {"x-amzn-errortype": fault.code}
        return Response(body, fault.status, headers, content_type="application/x-amz-json-1.1")
    if service == "ec2":
        body = f"<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors></Response>"
    elif service in ("s3", "s3control"):
        body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    else:
        kind = "Sender" if fault.status < 500 else "Receiver"
        error = f"<Error><Type>{kind}</Type><Code>{code}</Code><Message>{message}</Message></Error>"
        body = f"<ErrorResponse>{error}<RequestId>twin</RequestId></ErrorResponse>"
    return Response(body, fault.status, content_type="text/xml")
