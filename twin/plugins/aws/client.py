"""Requests to AWS by its own Python client: settings of the provider, retries, and errors in one line."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any

from twin.plugins.base import ProviderError

RETRIES = 8
"""Attempts for throttling, 5xx and broken connections, with exponential backoff and jitter (the client's own)."""
CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
DEFAULT_REGION = "us-east-1"
GLOBAL = ("cloudfront", "iam", "route53")
"""Services without a region."""
SERVICES = {"cloudwatchevents": "events", "eventbridge": "events", "elasticfilesystem": "efs"}
"""Names of endpoints in the provider's settings that the client has another name for."""


class AwsError(ProviderError):
    """A request that failed for good; `code` is AWS's own, empty when there was no answer."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class Aws:
    """Clients of all services with the provider's settings. Safe to use from several threads."""

    def __init__(self, settings: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        self.settings = settings
        self.region: str = (
            settings.get("region")
            or environment.get("AWS_REGION")
            or environment.get("AWS_DEFAULT_REGION")
            or DEFAULT_REGION
        )
        found: dict[str, str] = {}
        for block in settings.get("endpoints") or []:
            for name, url in block.items():
                found |= {SERVICES.get(name) or name: url} if url else {}
        self._endpoints = found
        self._session: Any = None
        self._clients: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()
        self._identity: dict[str, str] | None = None

    def call(self, service: str, operation: str, region: str = "", /, **parameters: Any) -> dict[str, Any]:
        """One request's answer. Raises AwsError."""
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
        from botocore.parsers import ResponseParserError

        client = self.client(service, region)
        names = client.meta
        where = f"operation error {names.service_model.service_id}: {names.method_to_api_mapping[operation]}"
        try:
            answer = getattr(client, operation)(**parameters)
        except ClientError as error:
            raise told(where, error) from None
        except NoCredentialsError:
            raise AwsError(f"{where}: No valid credential sources found") from None
        except (BotoCoreError, ResponseParserError) as error:
            raise AwsError(f"{where}: {' '.join(str(error).split())}") from None
        return answer

    def client(self, service: str, region: str = "") -> Any:
        """The client of a service, made once."""
        region = DEFAULT_REGION if service in GLOBAL else region or self.region
        with self._lock:
            if (service, region) not in self._clients:
                self._clients[service, region] = self._make(service, region)
            return self._clients[service, region]

    def identity(self) -> dict[str, str]:
        """Who the credentials are: Account, Arn, UserId. Raises AwsError when the account is not an allowed one."""
        if self._identity is None:
            found = self.call("sts", "get_caller_identity")
            allowed, account = self.settings.get("allowedAccountIds") or [], found["Account"]
            if (allowed and account not in allowed) or account in (self.settings.get("forbiddenAccountIds") or []):
                raise AwsError(
                    f"the AWS credentials belong to account {account}, and the provider may use only "
                    f"{', '.join(allowed) or 'others'}. Use credentials of the right account"
                )
            self._identity = {name: found[name] for name in ("Account", "Arn", "UserId")}
        return self._identity

    @property
    def account(self) -> str:
        return self.identity()["Account"]

    def partition(self, region: str = "") -> str:
        """The partition of a region: aws, aws-cn or aws-us-gov."""
        region = region or self.region
        return "aws-cn" if region.startswith("cn-") else "aws-us-gov" if region.startswith("us-gov-") else "aws"

    def _make(self, service: str, region: str) -> Any:
        import boto3
        from botocore.config import Config

        if self._session is None:
            given = self.settings
            self._session = boto3.Session(
                aws_access_key_id=given.get("accessKey"),
                aws_secret_access_key=given.get("secretKey"),
                aws_session_token=given.get("token"),
                profile_name=given.get("profile"),
            )
        attempts = int(self.settings.get("maxRetries") or RETRIES)
        config = Config(
            retries={"mode": "standard", "total_max_attempts": attempts + 1},
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            s3={"addressing_style": "path"} if self.settings.get("s3UsePathStyle") else None,
        )
        return self._session.client(
            service, region_name=region, endpoint_url=self._endpoints.get(service), config=config
        )


def told(where: str, error: Any) -> AwsError:
    """A refusal in the official plugin's words. Codes that the service's model does not have are said to be so."""
    from botocore.exceptions import ClientError

    found, meta = error.response.get("Error", {}), error.response.get("ResponseMetadata", {})
    code, words = str(found.get("Code", "")), " ".join(str(found.get("Message", "")).split())
    again = f"exceeded maximum number of attempts, {meta['RetryAttempts'] + 1}, " if meta.get("RetryAttempts") else ""
    status = f"StatusCode: {meta.get('HTTPStatusCode')}, RequestID: {meta.get('RequestId', '')}"
    api = "api error " if type(error) is ClientError else ""
    return AwsError(f"{where}, {again}https response error {status}, {api}{code}: {words}", code)


def settings_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """The provider's inputs; the SDK sends everything that is no string as JSON text."""
    return {name: _parsed(name, item) for name, item in values.items() if item is not None}


def _parsed(name: str, value: Any) -> Any:
    if not isinstance(value, str) or name in ("accessKey", "profile", "region", "secretKey", "token"):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
