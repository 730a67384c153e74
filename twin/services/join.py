"""The primer's door for new nodes, after k3s' supervisor: prove the token, get a certificate.

`GET /cacerts` hands out the server CA, whose hash a token carries. `POST /v1-k3s/client-kubelet.crt` with a request,
the token (basic authentication as `node` or `server`) and the node's own password returns a kubelet's certificate;
`POST /v1-k3s/client-admin.crt`, for servers alone, an administrator's. The first password of a node name is kept as a
secret, as k3s does, so that no second machine can take the name over.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hashlib
import hmac
import json
import logging
import secrets
import ssl
from dataclasses import dataclass
from pathlib import Path

from keystone.errors import KeystoneError
from twin.services.certificates import Authority
from twin.services.kube import ApiError, Kube

log = logging.getLogger("twin.join")
HEAD_LIMIT = 16 * 1024
BODY_LIMIT = 64 * 1024
REQUEST_SECONDS = 15.0
SCRYPT_LOG2_N, SCRYPT_R, SCRYPT_P = 15, 8, 1
PASSWORD_REJECTED = (
    "Node password rejected, duplicate hostname or contents of '/etc/rancher/node/password' may not match server "
    "node-passwd entry, try enabling a unique node name with the --with-node-id flag"
)
REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 503: "Unavailable"}


class Refused(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


def token_secret(token: str) -> str:
    """The password in a full token `K10<hash>::<user>:<password>`."""
    _, _, credentials = token.strip().partition("::")
    return credentials.partition(":")[2]


def node_password_secret(node: str) -> str:
    """The name of the secret (in kube-system) that holds a node's password hash."""
    return f"{node}.node-password.k3s"


class JoinServer:
    """Serves on one address until it is stopped."""

    def __init__(self, kube: Kube, server_ca: bytes, client_ca: Authority, tokens: dict[str, str]) -> None:
        self._kube = kube
        self._server_ca = server_ca
        self._client_ca = client_ca
        self._passwords = {user: token_secret(token) for user, token in tokens.items()}
        self._server: asyncio.Server | None = None

    async def start(self, address: str, port: int, certificate: Path, key: Path) -> None:
        """Listen; raises KeystoneError when the port is busy."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        try:
            self._server = await asyncio.start_server(self._serve, address, port, ssl=context, limit=HEAD_LIMIT)
        except OSError as error:
            raise KeystoneError(f"{address}:{port}", f"cannot listen: {error.strerror}") from None

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            status, body = await asyncio.wait_for(self._answer(reader), REQUEST_SECONDS)
            head = f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode() + body)
            await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client went away or sends something else than HTTP: nobody to tell
        finally:
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                await asyncio.wait_for(writer.wait_closed(), 2.0)

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[int, bytes]:
        try:
            request = await _read(reader)
            if (request.method, request.path) == ("GET", "/cacerts"):
                return 200, self._server_ca
            user = self._authenticate(request)
            if (request.method, request.path) == ("POST", "/v1-k3s/client-kubelet.crt"):
                return 200, await self._kubelet(request)
            if (request.method, request.path) == ("POST", "/v1-k3s/client-admin.crt"):
                if user != "server":
                    raise Refused(403, "an agent's token gives no administrator")
                return 200, self._client_ca.sign_request(request.body, "system:admin", "system:masters")
            raise Refused(404, "not found")
        except Refused as refused:
            log.warning("%s", refused)
            return refused.status, json.dumps({"message": str(refused)}).encode()
        except ApiError as error:
            log.warning("%s", error)
            return 503, json.dumps({"message": str(error)}).encode()
        except KeystoneError as error:
            return 400, json.dumps({"message": str(error)}).encode()

    def _authenticate(self, request: Request) -> str:
        kind, _, value = request.headers.get("authorization", "").partition(" ")
        try:
            user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            user = password = ""
        expected = self._passwords.get(user, "")
        # An unknown user is compared too, so that the answer takes as long.
        same = hmac.compare_digest(expected.encode(), password.encode())
        if kind != "Basic" or not expected or not same:
            raise Refused(401, "not authorized")
        return user

    async def _kubelet(self, request: Request) -> bytes:
        name, password = request.headers.get("k3s-node-name", ""), request.headers.get("k3s-node-password", "")
        if not name or not password:
            raise Refused(400, "k3s-Node-Name and k3s-Node-Password are missing")
        await self._check_password(name, password)
        log.info("node %s gets a certificate", name)
        return self._client_ca.sign_request(request.body, f"system:node:{name}", "system:nodes")

    async def _check_password(self, name: str, password: str) -> None:
        path = "/api/v1/namespaces/kube-system/secrets"
        secret = node_password_secret(name)
        try:
            found = await self._kube.get(f"{path}/{secret}")
        except ApiError as error:
            if error.status != 404:
                raise
            body = {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": secret},
                "immutable": True,
                "stringData": {"hash": hash_password(password)},
            }
            await self._kube.create(path, body)
            return
        if not check_hash(base64.b64decode(found.get("data", {}).get("hash", "")).decode(), password):
            raise Refused(403, f"{PASSWORD_REJECTED} ({name})")


def hash_password(password: str) -> str:
    """A salted scrypt hash in the form of k3s: `$1:SALT:LOG2N:R:P:HASH`."""
    salt = secrets.token_bytes(8)
    return f"$1:{salt.hex()}:{SCRYPT_LOG2_N}:{SCRYPT_R}:{SCRYPT_P}:{_scrypt(password, salt)}"


def check_hash(kept: str, password: str) -> bool:
    """True when the password has the kept hash; a malformed hash fits nothing."""
    parts = kept.split(":")
    if len(parts) != 6 or parts[0] != "$1":
        return False
    return hmac.compare_digest(parts[5], _scrypt(password, bytes.fromhex(parts[1])))


def _scrypt(password: str, salt: bytes) -> str:
    digest = hashlib.scrypt(
        password.encode(), salt=salt, n=1 << SCRYPT_LOG2_N, r=SCRYPT_R, p=SCRYPT_P, maxmem=1 << 26, dklen=64
    )
    return base64.b64encode(digest).decode()


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    words = head[0].split(" ")
    if len(words) != 3:
        raise Refused(400, "not HTTP")
    pairs = (line.partition(":") for line in head[1:] if line)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    length = headers.get("content-length", "0")
    if not length.isdigit() or int(length) > BODY_LIMIT:
        raise Refused(400, f"the body is longer than {BODY_LIMIT} bytes")
    return Request(words[0], words[1], headers, await reader.readexactly(int(length)))
