"""The tunnel through the real engine: component, stand-in plugin, Cloudflare double; Kubernetes only renders YAML.

One story of several runs serves all tests, since a run costs seconds.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.clouds.running import Cloud, running
from tests.clouds.tunnel_stage import ACCOUNT, HOSTNAMES, IDENTITY_SECRET, ZONE, Stage
from tests.engine import Run, is_secret
from twin.clouds.cloudflare import API, TOKEN

pytestmark = [pytest.mark.timeout(900)]
EXPIRED = "expired-token-of-the-right-length-0000000"


@dataclass
class Story:
    """What happened, in order."""

    planned: Run
    asked_first: list[dict[str, Any]]
    created: Run
    objects: list[str]
    state: dict[str, dict[str, Any]]
    secrets: dict[str, str]
    texts: str
    again: Run
    asked_again: list[dict[str, Any]]
    refreshed: Run
    repaired: Run
    repaired_content: str
    rotated: Run
    rotation: list[str]
    after_rotation: list[str]
    destroyed: Run
    left: list[str]


def _requests(cloud: Cloud, since: int) -> list[dict[str, Any]]:
    return cloud.requests()[since:]


def _tell(cloud: Cloud, stage: Stage) -> Story:
    planned, asked_first = stage.preview(), cloud.requests()
    created = stage.up()
    assert created.ok, created.output
    state, objects = stage.resources(), cloud.objects()
    tunnel = cloud.result("GET", "{acc}/cfd_tunnel")[0]["id"]
    outputs = stage.outputs(show_secrets=True)["serviceTokens"]
    secrets = {
        "API token": TOKEN,
        "tunnel's token": cloud.result("GET", f"{{acc}}/cfd_tunnel/{tunnel}/token"),
        "service token": outputs["robot"]["clientSecret"],
        "identity provider": IDENTITY_SECRET,
    }
    texts, before = stage.texts() + created.output, len(cloud.requests())
    again = stage.up()
    asked_again = _requests(cloud, before)

    [record] = cloud.result("GET", "{zone}/dns_records", params={"name": "grafana.example.org"})
    cloud.result("PATCH", f"{{zone}}/dns_records/{record['id']}", json={"content": "elsewhere.example.org"})
    refreshed, repaired = stage.refresh_record(), stage.up()
    repaired_content = cloud.result("GET", f"{{zone}}/dns_records/{record['id']}")["content"]

    stage.set(generation=2)
    before = len(cloud.requests())
    rotated = stage.up()
    rotation = [
        f"{request['method']} {re.sub('[0-9a-f-]{32,}', 'ID', request['path'].removeprefix(API))}"
        for request in _requests(cloud, before)
        if request["method"] != "GET"
    ]
    after_rotation = cloud.objects()
    destroyed = stage.destroy()
    return Story(
        planned,
        asked_first,
        created,
        objects,
        state,
        secrets,
        texts,
        again,
        asked_again,
        refreshed,
        repaired,
        repaired_content,
        rotated,
        rotation,
        after_rotation,
        destroyed,
        cloud.objects(),
    )


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with running(account=ACCOUNT, zone=ZONE, domain="example.org") as cloud:
        yield _tell(cloud, Stage(tmp_path_factory.mktemp("story"), cloud))


def test_a_preview_of_nothing_made_yet_asks_cloudflare_nothing(story: Story) -> None:
    assert story.planned.ok, story.planned.output
    assert story.planned.steps["tunnel-1"] == ["create"]
    assert story.asked_first == []


def test_an_update_makes_every_object_at_cloudflare(story: Story) -> None:
    assert story.objects == [
        "apps site-argocd",
        "apps site-grafana",
        "identity_providers Login",
        "policies site-argocd-people",
        "policies site-grafana-people",
        "policies site-grafana-programs",
        "records argocd.example.org",
        "records grafana.example.org",
        "service_tokens site-robot",
        "tunnels site-1",
    ]


def test_a_second_update_changes_nothing_and_only_looks_the_token_up(story: Story) -> None:
    assert story.again.ok
    assert story.again.changes == {}
    assert [(one["method"], one["path"].rpartition("/")[2]) for one in story.asked_again] == [("GET", "token")]


def test_no_secret_is_in_state_or_logs_in_plain_text(story: Story) -> None:
    assert len(story.texts) > 10_000
    for what, secret in story.secrets.items():
        assert len(secret) > 20
        assert secret not in story.texts, what
        assert base64.b64encode(secret.encode()).decode() not in story.texts, what
    assert is_secret(story.state["tunnel-token-robot"]["outputs"]["clientSecret"])
    kept = story.state["tunnel-1-secret"]["inputs"]["data"]  # where the provider moves stringData
    assert is_secret(kept) or is_secret(kept["token"])


def test_a_record_changed_elsewhere_is_shown_by_a_refresh_and_put_right(story: Story) -> None:
    assert story.refreshed.ok, story.refreshed.output
    assert story.refreshed.changes["tunnel-dns-grafana"] == ["refresh"]
    shown = [
        event["resOutputsEvent"]["metadata"]
        for event in story.refreshed.events
        if event.get("resOutputsEvent", {}).get("metadata", {}).get("urn", "").endswith("::tunnel-dns-grafana")
    ]
    assert [one["op"] for one in shown] == ["update"]
    assert "elsewhere.example.org" in json.dumps(shown)
    assert set(story.repaired.changes) == {"tunnel-dns-grafana"}
    assert story.repaired_content.endswith(".cfargotunnel.com")


def test_a_rotation_leads_the_names_to_a_second_tunnel_before_the_first_one_ends(story: Story) -> None:
    assert story.rotated.ok, story.rotated.output
    assert set(story.rotation) == {
        "POST /accounts/ID/cfd_tunnel",
        "PUT /accounts/ID/cfd_tunnel/ID/configurations",
        "PUT /zones/ID/dns_records/ID",
        "DELETE /accounts/ID/cfd_tunnel/ID",
    }
    made, configured, led, ended = (
        [number for number, one in enumerate(story.rotation) if one.startswith(start)]
        for start in ("POST", "PUT /accounts", "PUT /zones", "DELETE")
    )
    assert max(made) < min(configured)
    assert max(configured) < min(led)
    assert max(led) < min(ended)
    assert len(led) == len(HOSTNAMES)
    assert "tunnels site-2" in story.after_rotation
    assert "tunnels site-1" not in story.after_rotation


def test_a_destroy_leaves_nothing(story: Story) -> None:
    assert story.destroyed.ok, story.destroyed.output
    assert story.left == []


def test_an_expired_token_is_told_in_one_line(stage: Stage, cloud: Cloud) -> None:
    cloud.token(EXPIRED[:40], "2020-01-01T00:00:00+00:00")
    stage.set(token=EXPIRED[:40])
    run = stage.keystone("up")
    assert not run.ok
    assert "  cure: Cloudflare refuses the API token: it is wrong, has expired or lacks a permission" in run.output
    assert EXPIRED[:40] not in run.output
    assert cloud.objects() == []


def test_a_wrong_token_is_told_in_one_line(stage: Stage) -> None:
    wrong = "wrong-token-of-the-right-length-000000000"[:40]
    stage.set(token=wrong)
    run = stage.keystone("up")
    assert not run.ok
    assert "  cure: Cloudflare refuses the API token: it is wrong, has expired or lacks a permission" in run.output
    assert wrong not in run.output


def test_a_used_up_quota_is_told_and_asked_once_and_a_busy_cloudflare_is_asked_again(
    stage: Stage, cloud: Cloud
) -> None:
    quick = {"headers": {"retry-after": "0.05"}}
    said = {"code": 81045, "message": "Record quota exceeded."}
    body = {"success": False, "errors": [said], "messages": [], "result": None}
    cloud.fail(
        {"method": "POST", "path": "dns_records$", "status": 400, "times": 99, "body": body},
        {"path": "access/apps", "status": 500, "times": 3, **quick},
        {"path": "cfd_tunnel", "status": 503, "times": 2, **quick},
    )
    run = stage.up()
    assert not run.ok
    found = {line.strip() for line in run.messages("tunnel-dns-grafana", passing=False)}
    assert any(
        re.search(r'POST "\S+/dns_records": 400 BAD REQUEST \{.*"code":81045,"message":"Record quota exceeded\."', x)
        for x in found
    )
    refused = [one for one in cloud.requests("POST") if one["path"].endswith("dns_records")]
    assert len(refused) == len(HOSTNAMES)
    kept = cloud.objects()
    assert "tunnels site-1" in kept

    cloud.fail({"path": "dns_records", "status": 429, "times": 3, **quick})
    run = stage.up()
    assert run.ok, run.output
    assert {429, 500, 503} <= {request["status"] for request in cloud.requests()}
    assert set(kept) <= set(cloud.objects()), "what was made before the refusal is kept"
    assert len(cloud.objects()) == 10


def test_a_name_of_somebody_else_is_refused_and_the_shown_command_takes_it_over(stage: Stage, cloud: Cloud) -> None:
    body = {"name": "argocd.example.org", "type": "CNAME", "content": "old.example.org", "ttl": 1, "proxied": True}
    foreign = cloud.result("POST", "{zone}/dns_records", json=body)
    run = stage.keystone("up")
    assert not run.ok
    found = re.search(r"pulumi import .*", run.output)
    assert found, run.output
    assert "something that this stack did not make has the name" in run.output
    assert cloud.result("GET", f"{{zone}}/dns_records/{foreign['id']}")["content"] == "old.example.org"
    imported = stage.shell(found[0])
    assert imported.ok, imported.output
    run = stage.up()
    assert run.ok, run.output
    assert run.changes["tunnel-dns-argocd"] == ["update"]
    record = cloud.result("GET", f"{{zone}}/dns_records/{foreign['id']}")
    assert record["content"].endswith(".cfargotunnel.com")
    assert stage.destroy().ok
    assert cloud.objects() == []
