"""The Cloudflare double behind a real socket, for tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from twin.clouds.cloudflare import API, CONTROL, TOKEN
from twin.clouds.cloudflare.__main__ import server
from twin.clouds.cloudflare.store import Store

ACCOUNT = "acc0000000000000000000000000000a"
ZONE = "zone000000000000000000000000000a"
DOMAIN = "example.com"


@dataclass
class Cloud:
    """A running double: `http` speaks to its API with a good token, `order` to its tests' side."""

    url: str
    http: httpx.Client
    account: str
    zone: str

    def fail(self, *faults: dict[str, Any]) -> None:
        """Answer with these faults from now on; none takes all back."""
        self.http.post(f"{self.url}{CONTROL}/faults", json=list(faults)).raise_for_status()

    def held(self) -> list[str]:
        """The paths of the requests that a fault with `hold` keeps waiting: until the next faults."""
        return self.http.get(f"{self.url}{CONTROL}/held").json()

    def token(self, token: str, expires_on: str | None = None) -> None:
        """Accept a token until a moment."""
        order = {"token": token, "expires_on": expires_on}
        self.http.post(f"{self.url}{CONTROL}/tokens", json=order).raise_for_status()

    def requests(self, method: str = "") -> list[dict[str, Any]]:
        """Every request of the API so far, secrets masked."""
        return [r for r in self.http.get(f"{self.url}{CONTROL}/requests").json() if method in ("", r["method"])]

    def objects(self) -> list[str]:
        """What exists."""
        return self.http.get(f"{self.url}{CONTROL}/objects").json()

    def result(self, method: str, path: str, **more: Any) -> Any:
        """The result of a request that must succeed; `{acc}` and `{zone}` in the path are filled in."""
        answer = self.call(method, path, **more)
        assert answer.status_code < 300, answer.text
        return answer.json()["result"]

    def call(self, method: str, path: str, **more: Any) -> httpx.Response:
        return self.http.request(method, f"{self.url}{API}{self.path(path)}", **more)

    def path(self, path: str) -> str:
        return path.replace("{acc}", f"/accounts/{self.account}").replace("{zone}", f"/zones/{self.zone}")


@contextmanager
def running(
    state: Path | None = None, *, account: str = ACCOUNT, zone: str = ZONE, domain: str = DOMAIN
) -> Iterator[Cloud]:
    """A double on a free port, gone at the end."""
    store = Store(state)
    store.allow(TOKEN)
    store.add_account(account)
    store.add_zone(zone, domain, account)
    serving = server(store, "127.0.0.1", 0)
    thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        with httpx.Client(headers={"authorization": f"Bearer {TOKEN}"}, timeout=20) as http:
            yield Cloud(f"http://127.0.0.1:{serving.server_port}", http, account, zone)
    finally:
        serving.shutdown()
        serving.server_close()
        thread.join(5)
