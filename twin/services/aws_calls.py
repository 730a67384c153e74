"""The few calls of AWS that machines make: SSM parameters with a role's credentials, and how they get those."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import httpx

from keystone.errors import KeystoneError

SECONDS = 15.0
NAMESPACE = {"sts": "https://sts.amazonaws.com/doc/2011-06-15/"}


class AwsRefused(KeystoneError):
    """AWS said no; `code` is its own word for why."""

    def __init__(self, place: str, code: str, message: str) -> None:
        self.code = code
        super().__init__(place, f"{code}: {message}")


@dataclass(frozen=True)
class Credentials:
    """Of a role's session."""

    access_key: str
    secret_key: str
    token: str


async def parameter(url: str, region: str, credentials: Credentials, name: str) -> str:
    """The decrypted value of an SSM parameter. Raises AwsRefused."""
    answer = await ssm(url, region, credentials, "GetParameter", {"Name": name, "WithDecryption": True})
    return answer["Parameter"]["Value"]


async def ssm(url: str, region: str, credentials: Credentials, action: str, body: dict[str, Any]) -> dict[str, Any]:
    """One call of SSM. Raises AwsRefused, and KeystoneError when nobody answers."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials as Signing

    headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"AmazonSSM.{action}"}
    request = AWSRequest(method="POST", url=f"{url}/", data=json.dumps(body), headers=headers)
    signing = Signing(credentials.access_key, credentials.secret_key, credentials.token)
    SigV4Auth(signing, "ssm", region).add_auth(request)
    answer = await _send("POST", f"{url}/", content=request.data, headers=dict(request.headers))
    found = answer.json() if answer.content else {}
    if not answer.is_success:
        code = str(found.get("__type", answer.status_code)).rpartition("#")[2]
        raise AwsRefused(f"ssm {action}", code, str(found.get("message") or found.get("Message") or ""))
    return found


async def web_identity(url: str, role: str, session: str, token: str) -> Credentials:
    """The credentials of a role for a web identity token. Raises AwsRefused."""
    form = {"Action": "AssumeRoleWithWebIdentity", "Version": "2011-06-15", "RoleArn": role}
    form |= {"RoleSessionName": session, "WebIdentityToken": token}
    answer = await _send("POST", f"{url}/", data=form)
    try:
        root = ElementTree.fromstring(answer.text)
    except ElementTree.ParseError:
        raise AwsRefused("sts AssumeRoleWithWebIdentity", str(answer.status_code), answer.text[:200]) from None
    if not answer.is_success:
        code, message = (next((one.text for one in root.iter(name)), "") or "" for name in ("Code", "Message"))
        raise AwsRefused("sts AssumeRoleWithWebIdentity", code, message)
    names = ("AccessKeyId", "SecretAccessKey", "SessionToken")
    found = [root.findtext(f".//sts:{name}", namespaces=NAMESPACE) or "" for name in names]
    return Credentials(*found)


async def instances(url: str) -> list[dict[str, Any]]:
    """Every instance of the twin's AWS."""
    answer = await _send("GET", f"{url}/_twin/instances")
    answer.raise_for_status()
    return answer.json()


async def instance_credentials(url: str, instance: str) -> Credentials:
    """What the metadata service of EC2 gives a machine. Raises AwsRefused when it has no role, or is gone."""
    answer = await _send("GET", f"{url}/_twin/instances/{instance}/credentials")
    found = answer.json()
    if not answer.is_success:
        raise AwsRefused(f"{instance} metadata", str(found.get("code")), str(found.get("message")))
    return Credentials(found["AccessKeyId"], found["SecretAccessKey"], found["Token"])


async def _send(method: str, url: str, **more: Any) -> httpx.Response:
    try:
        async with httpx.AsyncClient(timeout=SECONDS, trust_env=False) as http:
            return await http.request(method, url, **more)
    except httpx.HTTPError as error:
        raise KeystoneError(url, f"no answer: {type(error).__name__} {error}".strip()) from None
