"""One comment per pull request and one issue per drift, on a GitHub that this file plays."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keystone import github
from keystone.errors import KeystoneError
from keystone.github import GitHub
from tests.preview import plans
from tests.preview.hub import BOT, PERSON, Hub, serving

PROJECT = Path(__file__).resolve().parents[1]
MARKER = "<!-- keystone-preview:dev -->"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(github, "PAUSE_SECONDS", 0.0)
    with serving() as server:
        yield server


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
        [sys.executable, "-m", "keystone", "preview-comment", "--stack", "dev", "--from", "-", *words],
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
    preview = (plans.FOLDER / "hosts-change.stream.jsonl").read_text()
    done = run(hub, preview, "--pull-request", "7", "--commit", "0123456789abcdef")

    assert done.returncode == 0, done.stderr
    assert done.stderr == "http://hub/id/1\n"
    assert [one["body"] for one in hub.comments] == [done.stdout]
    assert "Commit `0123456789ab`." in done.stdout


def test_a_refused_preview_is_posted_and_fails(hub: Hub) -> None:
    done = run(hub, plans.thousand(), "--pull-request", "7")

    assert done.returncode == 1
    assert done.stderr == "http://hub/id/1\npreview of dev: failed or was refused. The comment says why.\n"
    assert "**Refused by policies**: 120 violations." in hub.comments[0]["body"]


def test_without_an_engine_the_comment_says_so_in_one_line(hub: Hub) -> None:
    done = run(hub, "", "--from", "", "--pull-request", "7")

    assert done.returncode == 1
    assert "pulumi: is not on PATH. " in hub.comments[0]["body"]
    assert "Traceback" not in done.stderr


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
