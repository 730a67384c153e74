"""Requests to Cloudflare's API by its own Python client, and its errors in one line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from twin.plugins.base import ProviderError

RETRIES = 10
"""As many as the official plugin makes, for 408, 409, 429, 5xx and broken connections."""
REQUEST_SECONDS = 60.0


class CloudError(ProviderError):
    """A request that failed for good; `code` is Cloudflare's own, 0 when there was no such answer."""

    def __init__(self, message: str, status: int = 0, code: int = 0) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class Client:
    """Speaks to one API with one token."""

    def __init__(self, base_url: str, token: str) -> None:
        from cloudflare import AsyncCloudflare  # half a second, and not needed by a preview

        self._base = base_url.rstrip("/")
        self._sdk = AsyncCloudflare(api_token=token, base_url=self._base, max_retries=RETRIES, timeout=REQUEST_SECONDS)

    async def send(self, method: str, path: str, body: Any = None, query: Mapping[str, str] | None = None) -> Any:
        """The `result` of an answer. Raises CloudError."""
        from cloudflare import APIConnectionError, APIStatusError, RequestOptions

        where = f'{method} "{self._base}{path}"'
        options: RequestOptions = {"params": dict(query)} if query else {}
        try:
            match method:
                case "GET":
                    answer = await self._sdk.get(path, cast_to=object, options=options)
                case "DELETE":
                    answer = await self._sdk.delete(path, cast_to=object)
                case "POST":
                    answer = await self._sdk.post(path, cast_to=object, body=body)
                case "PUT":
                    answer = await self._sdk.put(path, cast_to=object, body=body)
                case _:
                    answer = await self._sdk.patch(path, cast_to=object, body=body)
        except APIStatusError as error:
            raise _told(where, error.status_code, error.response.reason_phrase, error.body) from None
        except APIConnectionError as error:
            cause = error.__cause__ or error
            raise CloudError(f"{where}: no answer after {RETRIES + 1} attempts: {cause}") from None
        if not isinstance(answer, dict):
            raise CloudError(f"{where}: the answer is not JSON")
        return answer.get("result")

    async def close(self) -> None:
        await self._sdk.close()


def _told(where: str, status: int, reason: str, body: Any) -> CloudError:
    """A refusal in the official plugin's words: the answer as it came."""
    faults = body.get("errors") if isinstance(body, dict) else None
    code = next((int(one.get("code") or 0) for one in faults or [] if isinstance(one, dict)), 0)
    text = json.dumps(body, separators=(",", ":")) if isinstance(body, dict) else ""
    return CloudError(f"failed to make http request: {where}: {status} {reason} {text}".rstrip(), status, code)
