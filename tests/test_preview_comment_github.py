"""One comment per pull request and one issue per drift, on a GitHub that this file plays."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from keystone import github
from keystone.errors import KeystoneError
from keystone.github import GitHub
from tests.preview import plans

PROJECT = Path(__file__).resolve().parents[1]
MARKER = "<!-- keystone-preview:dev -->"
BOT, PERSON = {"type": "Bot"}, {"type": "User"}


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


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(github, "PAUSE_SECONDS", 0.0)
    with Hub() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_first_run_writes_a_comment_and_the_next_one_changes_it(hub: Hub) -> None:
    hub.client.comment(7, MARKER, f"{MARKER}\none")
    address = hub.client.comment(7, MARKER, f"{MARKER}\ntwo")

    assert address == "http://hub/id/1"
    assert [one["body"] for one in hub.comments] == [f"{MARKER}\ntwo"]


def test_a_comment_behind_a_hundred_others_is_found(hub: Hub) -> None:
    hub.comments += [{"id": n, "user": PERSON, "body": "hello"} for n in range(230)]
    hub.comments.append({"id": 999, "user": BOT, "body": f"{MARKER}\nold", "html_url": "x"})
    hub.client.comment(7, MARKER, f"{MARKER}\nnew")

    assert len(hub.comments) == 231
    assert hub.comments[-1]["body"] == f"{MARKER}\nnew"


@pytest.mark.parametrize(
    "other",
    [
        {"user": PERSON, "body": f"{MARKER}\nforged"},
        {"user": BOT, "body": f"text first\n{MARKER}"},
        {"user": BOT, "body": "<!-- keystone-preview:prod -->\nanother stack"},
        {"user": None, "body": None},
    ],
)
def test_the_comments_of_others_and_of_other_stacks_stay_as_they_are(hub: Hub, other: dict[str, Any]) -> None:
    hub.comments.append({"id": 5, **other})
    hub.client.comment(7, MARKER, f"{MARKER}\nmine")

    assert hub.comments[0] == {"id": 5, **other}
    assert len(hub.comments) == 2


def test_a_drift_has_one_issue_that_is_closed_when_it_is_gone(hub: Hub) -> None:
    marker = "<!-- keystone-drift:dev -->"
    assert hub.client.settle(marker, "x") == ""
    hub.client.issue("Drift", marker, f"{marker}\none")
    hub.client.issue("Drift", marker, f"{marker}\ntwo")
    assert [(one["body"], one["labels"]) for one in hub.issues] == [(f"{marker}\ntwo", ["drift"])]

    assert hub.client.settle(marker, f"{marker}\nnone") == "http://hub/number/1"
    assert hub.issues[0]["state"] == "closed"
    hub.client.issue("Drift", marker, f"{marker}\nagain")
    assert len(hub.issues) == 2


def test_a_busy_service_is_asked_again(hub: Hub) -> None:
    hub.fail = [503, 502]
    hub.client.comment(7, MARKER, f"{MARKER}\none")
    assert len(hub.comments) == 1


def test_a_write_that_may_have_been_taken_is_not_repeated(hub: Hub) -> None:
    hub.fail = [200, 502]
    with pytest.raises(KeystoneError, match=r"POST issues/7/comments: answered 502\. Look at the token's permissions"):
        hub.client.comment(7, MARKER, f"{MARKER}\none")
    assert hub.asked == ["GET /repos/o/r/issues/7/comments", "POST /repos/o/r/issues/7/comments"]


def test_missing_permissions_are_named_without_the_token(hub: Hub) -> None:
    hub.fail = [403]
    with pytest.raises(KeystoneError, match="answered 403") as caught:
        hub.client.comment(7, MARKER, "x")
    assert "pull-requests: write" in str(caught.value)
    assert "ghs_test" not in str(caught.value)


def test_missing_variables_are_all_named() -> None:
    with pytest.raises(KeystoneError, match=r"^GITHUB_TOKEN, GITHUB_REPOSITORY: not set\. Give them"):
        GitHub.from_environment({})


def run(hub: Hub, text: str, *words: str, token: str = "ghs_test") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "keystone", "preview-comment", "--stack", "dev", *words],
        cwd=PROJECT,
        input=text,
        env={
            "PATH": "/usr/bin:/bin",
            "GITHUB_TOKEN": token,
            "GITHUB_REPOSITORY": "o/r",
            "GITHUB_API_URL": f"http://127.0.0.1:{hub.server_port}",
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_prints_and_posts_the_same_comment(hub: Hub) -> None:
    done = run(hub, plans.thousand(), "--pull-request", "7", "--commit", "0123456789abcdef")

    assert done.returncode == 0, done.stderr
    assert done.stderr == "http://hub/id/1\n"
    assert [one["body"] for one in hub.comments] == [done.stdout]
    assert "Commit `0123456789ab`." in done.stdout


def test_a_preview_that_did_not_run_replaces_the_old_comment_and_fails(hub: Hub) -> None:
    hub.comments.append({"id": 1, "user": BOT, "body": f"{MARKER}\nNo changes.", "html_url": "x"})
    done = run(hub, "", "--pull-request", "7")

    assert done.returncode == 1
    assert done.stderr.endswith("preview: printed nothing. Give the output of `pulumi preview --json`.\n")
    assert "Traceback" not in done.stderr
    assert "**The output ends before the engine did**" in hub.comments[0]["body"]


def test_drift_opens_an_issue_and_its_end_closes_it(hub: Hub) -> None:
    drifted = (plans.FOLDER / "drift.stream.jsonl").read_text()
    assert run(hub, drifted, "--drift", "--issue").returncode == 0
    [issue] = hub.issues
    assert issue["title"] == "Drift of the stack dev"
    assert '`metadata.labels["keystone.internal/ssd"]`' in issue["body"]

    calm = run(hub, plans.events(plans.step("same", "a:b:C", "d")), "--drift", "--issue")
    assert calm.returncode == 0, calm.stderr
    assert issue["state"] == "closed"


def test_a_missing_file_is_one_line(hub: Hub) -> None:
    done = run(hub, "", "--from", "nowhere.json")
    assert (done.returncode, done.stderr) == (
        1,
        "nowhere.json: No such file or directory. Give a file that is there, or -.\n",
    )
