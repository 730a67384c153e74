"""The twin's AWS for tests: a server in a thread, its clients, and its orders."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
from botocore.config import Config

from twin.clouds.aws import ACCESS_KEY, CONTROL, SECRET_KEY
from twin.clouds.aws.__main__ import serving

ACCOUNT = "210987654321"
REGION = "eu-central-1"
SERVICES = (
    *("acm", "autoscaling", "cloudfront", "ec2", "efs", "eventbridge", "iam", "kms", "route53", "s3", "sqs", "ssm"),
    "sts",
)


@dataclass
class AwsCloud:
    """A running double: `client` speaks to its API as the deployer, `order` to its tests' side."""

    url: str

    @property
    def endpoints(self) -> list[dict[str, str]]:
        """As the provider's settings have them."""
        return [dict.fromkeys(SERVICES, self.url)]

    def client(self, service: str, *, key: str = ACCESS_KEY, token: str | None = None, region: str = REGION) -> Any:
        return boto3.client(
            service,
            region_name=region,
            endpoint_url=self.url,
            aws_access_key_id=key,
            aws_secret_access_key=SECRET_KEY,
            aws_session_token=token,
            config=Config(retries={"mode": "standard", "max_attempts": 1}, s3={"addressing_style": "path"}),
        )

    def order(self, what: str, body: Any = None) -> Any:
        """An order of the tests; with a body a POST."""
        url = f"{self.url}{CONTROL}/{what}"
        answer = httpx.get(url, timeout=20) if body is None else httpx.post(url, json=body, timeout=20)
        return answer.json()

    def fail(self, *faults: dict[str, Any]) -> None:
        """Answer with these faults from now on; none takes all back."""
        self.order("faults", list(faults))

    def held(self) -> list[str]:
        """The actions that a fault with `hold` keeps waiting: until the next faults."""
        return self.order("held")

    def actions(self, service: str = "") -> list[str]:
        """What was asked so far, oldest first."""
        return [one["action"] for one in self.order("requests") if service in ("", one["service"])]


@contextmanager
def running(state: Path | None = None) -> Iterator[AwsCloud]:
    """An empty AWS on a free port, gone at the end."""
    _forget()
    [server], memory = serving(ACCOUNT, state, ("127.0.0.1", 0))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield AwsCloud(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
        memory.close()
        _forget()


def _forget() -> None:
    """moto's objects belong to the process: throw them away."""
    from moto.core.base_backend import BackendDict
    from moto.core.model_instances import reset_model_data

    BackendDict.reset()
    reset_model_data()
