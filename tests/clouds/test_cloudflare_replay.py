"""The double gives the official plugin the answers that it was recorded with: every request, replayed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clouds.running import Cloud, running
from twin.clouds.cloudflare import API

RECORDED = [json.loads(line) for line in Path(__file__).with_name("official-plugin.jsonl").read_text().splitlines()]
ODD = ("read answered 200, success false, result null", "create answered 200, success false, result null")
"""What the recording's stub did to learn how the plugin takes it; a double must answer errors with 4xx."""
TOLD = (403, 409, 429, 500)
"""Statuses that the recording's stub answered because it was told to, and so must we."""
OWN_WORDS = ("code", "message")


class Replay:
    """Sends the recorded requests in their order, with our ids in the place of the recorded ones."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.ids: dict[str, list[str]] = {}

    def send(self, row: dict[str, Any]) -> tuple[int, Any]:
        self._before(row)
        body = row["body"]
        if row["phase"] == "replace" and row["path"].endswith("/cfd_tunnel"):
            # The recording's stub let two tunnels have one name; Cloudflare does not.
            body = {**body, "name": "edge-3"}
        answer = self.cloud.http.request(
            row["method"],
            self.cloud.url + self._ours(row["path"], row),
            json=json.loads(self._ours(json.dumps(body), row)) if body is not None else None,
        )
        shown = answer.json()
        if row["method"] == "POST" and answer.status_code < 300:
            self.ids.setdefault(row["response"]["result"]["id"], []).append(shown["result"]["id"])
        return answer.status_code, shown

    def _ours(self, text: str, row: dict[str, Any]) -> str:
        for theirs, ours in self.ids.items():
            # A replacement deletes the old object after it made the new one.
            old = row["phase"] == "replace" and row["method"] == "DELETE"
            text = text.replace(theirs, ours[-2 if old and len(ours) > 1 else -1])
        return text

    def _before(self, row: dict[str, Any]) -> None:
        """What the recording did behind the plugin's back before this request."""
        if row["status"] in TOLD:
            self.cloud.fail({"path": "", "status": row["status"], "body": row["response"]})
        elif (row["status"] == 404 and row["method"] == "GET") or row["phase"] == "delete of what is gone":
            self.cloud.call("DELETE", self._ours(row["path"], row).removeprefix(API))
        elif row["method"] == "POST" and row["path"].endswith("dns_records"):
            same = {key: row["body"][key] for key in ("name", "type", "content")}
            for record in self.cloud.result("GET", "{zone}/dns_records", params=same):
                self.cloud.call("DELETE", f"{{zone}}/dns_records/{record['id']}")
        if row["phase"] == "delete" and row["path"].endswith("{record-_acme.example.com_id}"):
            body = {"content": '"v=1"', "name": "_acme.example.com", "ttl": 60, "type": "TXT"}
            made = self.cloud.result("POST", "{zone}/dns_records", json=body)
            self.ids["{record-_acme.example.com_id}"].append(made["id"])


def shape(value: Any, path: str = "") -> Iterator[str]:
    """Every key of an answer with the kind of its value."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from shape(item, f"{path}.{key}")
    elif isinstance(value, list):
        yield f"{path}[]"
        for item in value[:1]:
            yield from shape(item, f"{path}[]")
    else:
        kind = type(value).__name__
        yield f"{path} {'number' if kind in ('int', 'float') else kind}"


def sent_and_shown(body: Any, result: Any, path: str = "") -> Iterator[str]:
    """Each value of a request that its answer does not give back as it was sent."""
    if isinstance(body, dict) and isinstance(result, dict):
        for key, item in body.items():
            yield from sent_and_shown(item, result.get(key), f"{path}.{key}")
    elif isinstance(body, list) and isinstance(result, list) and len(body) == len(result):
        for number, item in enumerate(body):
            yield from sent_and_shown(item, result[number], f"{path}[{number}]")
    elif body != result:
        yield f"{path}: {body!r} became {result!r}"


def test_every_recorded_request_gets_an_answer_of_the_recorded_shape() -> None:
    compared = 0
    with running() as cloud:
        replay = Replay(cloud)
        for number, row in enumerate(RECORDED):
            if row["phase"] in ODD:
                continue
            status, answer = replay.send(row)
            where = f"{number} ({row['phase']}): {row['method']} {row['path']}"
            assert status == row["status"], f"{where}: {answer}"
            ours, theirs = set(shape(answer)), set(shape(row["response"]))
            if status == 429:
                theirs |= {".messages[]"} & ours
            if row["method"] == "DELETE" and "/cfd_tunnel/" in row["path"]:
                # The recording's stub did not say when; Cloudflare does.
                theirs = theirs - {".result.deleted_at NoneType"} | {".result.deleted_at str"}
            assert ours == theirs, f"{where}: {sorted(ours ^ theirs)}"
            compared += 1
        assert cloud.objects() == ["tunnels edge-3"] or cloud.objects() == []
    assert compared == len(RECORDED) - len(ODD) == 140


def test_an_answer_gives_back_what_was_sent_but_for_secrets() -> None:
    with running() as cloud:
        replay = Replay(cloud)
        lost = []
        for row in (row for row in RECORDED if row["phase"] in ("create", "update", "rotate")):
            _, answer = replay.send(row)
            body = json.loads(replay._ours(json.dumps(row["body"]), row)) or {}
            lost += [place.split(":")[0] for place in sent_and_shown(body, answer["result"])]
    assert lost == [".tunnel_secret"]


def test_the_recording_covers_every_call_of_the_six_resource_types() -> None:
    kinds = {row["path"].split("?")[0].split("{")[0].split("/", 5)[-1].rstrip("/") for row in RECORDED}
    assert {"cfd_tunnel", "dns_records", "access/apps", "access/policies", "access/service_tokens"} <= kinds


@pytest.mark.parametrize("word", ["c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I="])
def test_the_kept_state_is_private_and_the_log_of_requests_holds_no_secret(tmp_path: Path, word: str) -> None:
    state = tmp_path / "clouds" / "cloudflare.json"
    with running(state) as cloud:
        Replay(cloud).send(RECORDED[0])
        assert state.stat().st_mode & 0o077 == 0
        assert word not in json.dumps(cloud.requests())
        assert cloud.requests()[0]["body"]["tunnel_secret"] == "[secret]"
