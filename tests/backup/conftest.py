"""An S3 and an STS on loopback, and the tools that the copies use: the real rclone and the real age."""

import os
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.backends import get_backend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

import toolchain
from keystone import iam
from keystone.aws import rights
from keystone.backup import access, plan
from keystone.identities import Identities
from tests.recording import ROOT_SECRET
from twin.clouds.aws import access as iam_access

REGION = "eu-central-1"
BUCKET = "keystone-site-backup-123456789012-eu-central-1"
KEY = f"arn:aws:kms:{REGION}:123456789012:key/1"
"""The bucket's."""


@dataclass
class Store:
    """The bucket, and a machine or pod beside it. No static key is in their environment."""

    folder: Path
    tools: Path
    url: str = ""
    refused: tuple[str, ...] = ()
    """Ends of names that nobody may write."""
    readable: bool = True
    """Whether the roles may ask about an object, its contents or its size; they may always list."""

    @property
    def s3(self) -> Any:
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        authority = str(self.folder / "ca.crt")
        return boto3.client("s3", endpoint_url=self.url, region_name=REGION, verify=authority, **keys)

    def names(self) -> list[str]:
        return sorted(one["Key"] for one in self.s3.list_objects_v2(Bucket=BUCKET).get("Contents", []))

    def run(self, line: list[str], **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            line,
            env=self.environment(more),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        return {
            "PATH": f"{self.folder / 'bin'}:{self.tools}:{os.environ['PATH']}",
            **plan.rclone(REGION),
            # What a machine or pod has besides: the way to the stand-in, and a token instead of keys.
            "RCLONE_S3_ENDPOINT": self.url,
            "RCLONE_CA_CERT": str(self.folder / "ca.crt"),
            "AWS_CA_BUNDLE": str(self.folder / "ca.crt"),
            "AWS_ENDPOINT_URL_STS": self.url,
            "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/keystone/site/site-hosts",
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(self.folder / "token"),
            "AWS_REGION": REGION,
            "BUCKET": BUCKET,
            "PREFIX": "hosts/primer",
            "RECIPIENTS": str(self.folder / "backup.pub"),
            "RUNTIME_DIRECTORY": str(self.folder / "run"),
            **more,
        }


@pytest.fixture(scope="session")
def tools() -> Path:
    return toolchain.ensure(["rclone", "age"])["rclone"].parent


@pytest.fixture
def store(tmp_path: Path, tools: Path) -> Iterator[Store]:
    found = Store(folder=tmp_path, tools=tools)
    app = _guarded(DomainDispatcherApplication(create_backend_app), found)
    identities = Identities(ROOT_SECRET, "site")
    (tmp_path / "ca.crt").write_text(identities.mesh_ca()[0])
    pair = identities.object_store_certificate(["127.0.0.1"])
    for name, text in zip(("tls.crt", "tls.key"), pair, strict=True):
        (tmp_path / name).write_text(text)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    server = make_server("127.0.0.1", 0, app, threaded=True, ssl_context=tls)
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    found.url = f"https://127.0.0.1:{server.port}"
    for backend in ("s3", "sts"):  # they live as long as the process
        get_backend(backend).reset()
    found.s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    found.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    (tmp_path / "bin").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "token").write_text("not looked at by the stand-in")
    (tmp_path / "backup.pub").write_text(f"{identities.backup_key(1).public}\n")
    yield found
    server.shutdown()
    serving.join(10)


def lets_in(headers: Mapping[str, Any]) -> bool:
    """What the bucket's own policy says of writing an object, by the request alone: S3 asks it before its defaults."""
    context: dict[str, str | tuple[str, ...]] = {"s3:tlsversion": "1.3", "aws:securetransport": "true"}
    for key in (access.ENCRYPTION, access.KEY):
        if told := headers.get(f"HTTP_{key.removeprefix('s3:').replace('-', '_').upper()}"):
            context[key] = told
    everybody = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    bucket = f"arn:aws:s3:::{BUCKET}"
    denials = iam.policy(rights.bucket_policy(bucket, *access.refused(bucket, KEY)))["Statement"]
    return iam_access.allowed([{"Statement": [everybody, *denials]}], "s3:PutObject", f"{bucket}/x", context)


def _guarded(app: Callable[..., Any], store: Store) -> Callable[..., Any]:
    """S3 as the roles find it: the stand-in itself lets everybody in."""

    def answer(environment: dict[str, Any], start: Callable[..., Any]) -> Any:
        refused = any(environment["PATH_INFO"].endswith(end) for end in store.refused)
        if environment["REQUEST_METHOD"] in ("PUT", "POST") and refused:
            start("403 Forbidden", [("Content-Type", "application/xml")])
            return [b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"]
        inside = len(environment["PATH_INFO"].strip("/").split("/")) > 1
        if environment["REQUEST_METHOD"] in ("PUT", "POST") and inside and not lets_in(environment):
            start("403 Forbidden", [("Content-Type", "application/xml")])
            return [b"<Error><Code>AccessDenied</Code><Message>by the bucket's own policy</Message></Error>"]
        allowed = store.readable or "Credential=test/" in environment.get("HTTP_AUTHORIZATION", "")
        if environment["REQUEST_METHOD"] in ("GET", "HEAD") and inside and not allowed:
            start("403 Forbidden", [("Content-Type", "application/xml")])
            return [b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"]
        return app(environment, start)

    return answer
