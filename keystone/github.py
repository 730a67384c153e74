"""The two things that a workflow says on GitHub: one comment per pull request and stack, one issue per drifted stack.

Both are found again by a marker in their first line and updated in place. The token comes from the environment, as
GitHub's own runner gives it; docs.github.com/rest/issues is the reference.
"""

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from keystone.errors import KeystoneError

SECONDS = 20.0
TRIES, PAUSE_SECONDS = 4, 2.0
PAGES = 50  # of 100: more comments than any pull request has
LABEL = "drift"


@dataclass(frozen=True, kw_only=True)
class GitHub:
    """A repository, with a token that may write its issues and pull requests."""

    token: str
    repository: str  # owner/name
    url: str = "https://api.github.com"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "GitHub":
        """From the variables of a workflow. Raises KeystoneError when one is missing."""
        missing = [name for name in ("GITHUB_TOKEN", "GITHUB_REPOSITORY") if not environment.get(name)]
        if missing:
            raise KeystoneError(", ".join(missing), "not set", "Give them to the workflow's step in `env`")
        return cls(
            token=environment["GITHUB_TOKEN"],
            repository=environment["GITHUB_REPOSITORY"],
            url=environment.get("GITHUB_API_URL") or cls.url,
        )

    def comment(self, number: int, marker: str, body: str) -> str:
        """Write the comment with this marker on a pull request, in place when there is one. Returns its address."""
        for one in self._pages(f"issues/{number}/comments"):
            if _ours(one, marker):
                return self._call("PATCH", f"issues/comments/{one['id']}", {"body": body})["html_url"]
        return self._call("POST", f"issues/{number}/comments", {"body": body})["html_url"]

    def issue(self, title: str, marker: str, body: str) -> str:
        """Write the open issue with this marker, in place when there is one. Returns its address."""
        found = self._issue(marker)
        if found:
            return self._call("PATCH", f"issues/{found['number']}", {"title": title, "body": body})["html_url"]
        return self._call("POST", "issues", {"title": title, "body": body, "labels": [LABEL]})["html_url"]

    def settle(self, marker: str, body: str) -> str:
        """Close the open issue with this marker; an empty text when there is none."""
        found = self._issue(marker)
        if not found:
            return ""
        return self._call("PATCH", f"issues/{found['number']}", {"body": body, "state": "closed"})["html_url"]

    def _issue(self, marker: str) -> dict[str, Any] | None:
        for one in self._pages(f"issues?state=open&labels={LABEL}"):
            if "pull_request" not in one and _ours(one, marker):
                return one
        return None

    def _pages(self, path: str) -> Iterator[dict[str, Any]]:
        for page in range(1, PAGES + 1):
            found = self._call("GET", f"{path}{'&' if '?' in path else '?'}per_page=100&page={page}")
            yield from found
            if len(found) < 100:
                return

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """One request; repeated when the service is busy. A POST is repeated only when it cannot have been taken."""
        what = f"{self.url} {method} {path.split('?')[0]}"
        headers = {
            "Authorization": f"Bearer {self.token}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        last = ""
        for attempt in range(TRIES):
            if attempt:
                time.sleep(PAUSE_SECONDS * attempt)
            try:
                answer = httpx.request(
                    method,
                    f"{self.url}/repos/{self.repository}/{path}",
                    json=body,
                    headers=headers,
                    timeout=SECONDS,
                )
            except httpx.TransportError as error:
                last = type(error).__name__
                if method != "POST" or isinstance(error, httpx.ConnectError):
                    continue
                break
            if answer.status_code < 300:
                return answer.json()
            last = f"answered {answer.status_code}"
            if answer.status_code not in (429, 500, 502, 503, 504) or (method == "POST" and answer.status_code != 429):
                break
        raise KeystoneError(what, last, "Look at the token's permissions: `issues: write` and `pull-requests: write`")


def _ours(one: Mapping[str, Any], marker: str) -> bool:
    """Whether a bot wrote this with our marker in its first line; a person can write the marker too."""
    lines = (one.get("body") or "").splitlines()
    return bool(lines) and lines[0].strip() == marker and (one.get("user") or {}).get("type") == "Bot"
