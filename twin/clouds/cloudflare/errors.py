"""Cloudflare's errors: HTTP status, code and words, as its API answers them."""

from __future__ import annotations

from collections.abc import Mapping

NO_RETRY = {"x-should-retry": "false"}
"""Clients built by Cloudflare's generator send a 409 again up to ten times, unless this header says not to."""


class ApiError(Exception):
    """A refused request."""

    def __init__(self, status: int, code: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.headers = dict(headers or {})


def not_found(kind: str, code: int) -> ApiError:
    return ApiError(404, code, f"{kind} not found")


def no_route(path: str) -> ApiError:
    return ApiError(404, 7003, f"Could not route to {path}, perhaps your object identifier is invalid?")


def invalid(message: str, code: int = 1004) -> ApiError:
    return ApiError(400, code, message)


def taken(code: int, message: str) -> ApiError:
    return ApiError(409, code, message, NO_RETRY)


def unauthorized() -> ApiError:
    return ApiError(403, 10000, "Authentication error")
