"""A GitHub for tests: the comments and issues of one repository, over HTTP on loopback."""

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from keystone.github import GitHub

BOT, PERSON = {"type": "Bot"}, {"type": "User"}
TOKEN = "ghs_test"


class Hub(ThreadingHTTPServer):
    """Comments and issues of one repository."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.comments: list[dict[str, Any]] = []
        self.issues: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.fail: list[int] = []  # the next answers' statuses

    @property
    def client(self) -> GitHub:
        return GitHub(token="ghs_test", repository="o/r", url=f"http://127.0.0.1:{self.server_port}")

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: dict[str, Any]) -> Any:
        words = path.removeprefix("/repos/o/r/").split("/")
        page = int(query.get("page", ["1"])[0])
        many, name = (self.comments, "id") if "comments" in words else (self.issues, "number")
        match method:
            case "GET":
                found = [one for one in many if one.get("state", "open") == "open"]
                return found[(page - 1) * 100 : page * 100]
            case "POST":
                new = {name: len(many) + 1, "user": BOT, "html_url": f"http://hub/{name}/{len(many) + 1}", **body}
                many.append(new)
                return new
        [one] = [one for one in many if str(one[name]) == words[-1]]
        one.update(body)
        return one


class Handler(BaseHTTPRequestHandler):
    def handle_one(self) -> None:
        hub = self.server
        assert isinstance(hub, Hub)
        url = urlsplit(self.path)
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        hub.asked.append(f"{self.command} {url.path}")
        status = hub.fail.pop(0) if hub.fail else 200
        if self.headers["Authorization"] != "Bearer ghs_test":
            status = 401
        found = hub.answer(self.command, url.path, parse_qs(url.query), body) if status == 200 else {}
        text = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PATCH = handle_one

    def log_message(self, format: str, *args: Any) -> None:
        del format, args


@contextlib.contextmanager
def serving() -> Iterator[Hub]:
    """A hub that answers."""
    with Hub() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
