"""The stand-in plugin for Cloudflare: it sends what the official one sent, and refuses what that would refuse."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keystone.engine import adoption, refusals
from tests.clouds.driving import SECRET, Stage, act
from tests.clouds.running import ACCOUNT, ZONE, Cloud, running
from twin.clouds.cloudflare import API, TOKEN
from twin.plugins import wire
from twin.plugins.base import Operation, ProviderError
from twin.plugins.cloudflare import extract, kinds
from twin.plugins.cloudflare.provider import GET_TOKEN, GET_ZONE

RECORDED = [json.loads(line) for line in Path(__file__).with_name("official-plugin.jsonl").read_text().splitlines()]


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with running() as running_cloud:
        yield running_cloud


def sent(rows: list[dict[str, Any]], names: dict[str, str]) -> list[str]:
    """The writing requests, one line each, with names in the place of ids, and without their order."""
    lines = [
        f"{row['method']} {row['path']} {json.dumps(row['body'], sort_keys=True)}"
        for row in rows
        if row["method"] in ("POST", "PUT", "PATCH")
    ]
    for identity, name in names.items():
        lines = [line.replace(identity, name) for line in lines]
    return sorted(line.replace(SECRET, "[secret]") for line in lines)


def test_it_sends_what_the_official_plugin_sent(cloud: Cloud) -> None:
    stage = Stage(cloud)
    for phase in ("create", "update", "rotate"):
        act(stage, phase)
    names = {
        stage.ids[name]: f"{{{name}}}" for name in ("edge", "token", "www", "acme", "app", "people", "robots", "dash")
    }
    theirs = {
        "{tunnel_id}": "{edge}",
        "{token_id}": "{token}",
        "{record-www.example.com_id}": "{www}",
        "{record-_acme.example.com_id}": "{acme}",
        "{record-app.example.com_id}": "{app}",
        "{policy-people_id}": "{people}",
        "{policy-robots_id}": "{robots}",
        "{app_id}": "{dash}",
    }
    recorded = [row for row in RECORDED if row["phase"] in ("create", "update", "rotate")]
    assert sent(cloud.requests(), names) == sent(recorded, theirs)


def test_secrets_are_marked_and_stay_after_a_read(cloud: Cloud) -> None:
    stage = Stage(cloud)
    act(stage, "create")
    token = stage.states["token"]["clientSecret"]
    assert wire.signature(token) == wire.SECRET
    assert stage.states["edge"]["tunnelSecret"] == wire.secret(SECRET)
    act(stage, "update")
    assert stage.states["token"]["clientSecret"] == token
    act(stage, "rotate")
    assert wire.signature(stage.states["token"]["clientSecret"]) == wire.SECRET
    assert stage.states["token"]["clientSecret"] != token


def test_an_identity_providers_secret_is_no_difference_although_answers_mask_it(cloud: Cloud) -> None:
    config = {
        "clientId": "cloudflare",
        "clientSecret": wire.secret("hush-hush"),
        "authUrl": "https://id.example.org/auth",
        "tokenUrl": "https://id.example.org/token",
        "certsUrl": "https://id.example.org/jwks",
        "scopes": ["openid"],
    }
    stage = Stage(cloud)
    state = stage.put(kinds.IDENTITY_PROVIDER, "login", accountId=ACCOUNT, name="Login", type="oidc", config=config)
    assert state["config"]["clientSecret"] == wire.secret("hush-hush")
    config = {**config, "clientSecret": wire.secret("changed")}
    changes, _ = stage.diff(
        kinds.IDENTITY_PROVIDER, "login", accountId=ACCOUNT, name="Login", type="oidc", config=config
    )
    assert changes == {"config": "update"}


def test_everything_can_be_deleted_and_what_is_gone_is_no_fault(cloud: Cloud) -> None:
    stage = Stage(cloud)
    act(stage, "create")
    order = [(kinds.APPLICATION, "dash"), (kinds.POLICY, "robots"), (kinds.POLICY, "people")]
    order += [(kinds.RECORD, name) for name in ("www", "acme", "app")]
    order += [(kinds.CONFIG, "config"), (kinds.SERVICE_TOKEN, "token"), (kinds.TUNNEL, "edge")]
    for kind, name in order * 2:
        stage.delete(kind, name)
    assert cloud.objects() == []


@pytest.mark.parametrize(
    ("kind", "name", "change", "replaced"),
    [
        (kinds.TUNNEL, "edge", {"configSrc": "local"}, {"configSrc"}),
        (kinds.TUNNEL, "edge", {"name": "other"}, set()),
        (kinds.RECORD, "www", {"type": "AAAA", "content": "2001:db8::1"}, {"type"}),
        (kinds.RECORD, "www", {"zoneId": "other"}, {"zoneId"}),
        (kinds.CONFIG, "config", {"tunnelId": "other"}, {"tunnelId"}),
        (kinds.POLICY, "robots", {"accountId": "other"}, {"accountId"}),
    ],
)
def test_only_what_the_official_plugin_replaces_is_replaced(
    cloud: Cloud, kind: kinds.Kind, name: str, change: dict[str, Any], replaced: set[str]
) -> None:
    stage = Stage(cloud)
    act(stage, "create")
    changes, replaces = stage.diff(kind, name, **{**stage.inputs[name], **change})
    assert set(changes) == set(change)
    assert replaces == replaced


def test_an_object_changed_elsewhere_is_a_difference_after_a_read(cloud: Cloud) -> None:
    stage = Stage(cloud)
    act(stage, "create")
    cloud.result("PATCH", f"{{zone}}/dns_records/{stage.ids['www']}", json={"content": "203.0.113.9"})
    _, stage.states["www"], _ = stage.read(kinds.RECORD, "www", f"{ZONE}/{stage.ids['www']}")
    assert stage.diff(kinds.RECORD, "www", **stage.inputs["www"]) == ({"content": "update"}, set())


def test_what_is_gone_is_read_as_gone(cloud: Cloud) -> None:
    stage = Stage(cloud)
    assert stage.read(kinds.RECORD, "www", f"{ZONE}/{'0' * 32}")[0] == ""


@pytest.mark.parametrize(
    ("kind", "name", "form"),
    [
        (kinds.TUNNEL, "edge", "{acc}/{id}"),
        (kinds.CONFIG, "config", "{acc}/{id}"),
        (kinds.RECORD, "app", "{zone}/{id}"),
        (kinds.POLICY, "people", "{acc}/{id}"),
        (kinds.APPLICATION, "dash", "accounts/{acc}/{id}"),
        (kinds.SERVICE_TOKEN, "token", "accounts/{acc}/{id}"),
    ],
)
def test_an_import_finds_id_and_inputs(cloud: Cloud, kind: kinds.Kind, name: str, form: str) -> None:
    stage = Stage(cloud)
    act(stage, "create")
    identity, state, inputs = stage.read(kind, name, form.format(acc=ACCOUNT, zone=ZONE, id=stage.ids[name]))
    assert identity == stage.ids[name]
    for key, value in stage.inputs[name].items():
        if key not in ("tunnelSecret", "policies"):
            assert inputs[key] == value, key
    assert state.keys() >= inputs.keys()


@pytest.mark.parametrize(
    ("kind", "inputs", "place", "message"),
    [
        (kinds.RECORD, {"zoneId": ZONE, "type": "A", "ttl": 1.0}, "name", "Missing required property 'name'"),
        (kinds.TUNNEL, {"name": "edge"}, "accountId", "Missing required property 'accountId'"),
        (
            kinds.TUNNEL,
            {"accountId": ACCOUNT, "name": "edge", "configSrc": "remote"},
            "configSrc",
            "'configSrc' must be one of local, cloudflare, got 'remote'",
        ),
        (
            kinds.CONFIG,
            {"accountId": ACCOUNT, "tunnelId": "t", "config": {"ingress": []}},
            "config.ingress",
            "An argument named 'config.ingress' is not expected here",
        ),
        (
            kinds.RECORD,
            {"zoneId": ZONE, "name": "a", "type": "A", "ttl": "auto"},
            "ttl",
            "'ttl' must be a number, got a str",
        ),
        (
            kinds.RECORD,
            {"zoneId": ZONE, "name": "a", "type": "A", "ttl": 300.0, "proxied": True},
            "ttl",
            "ttl must be set to 1 when `proxied` is true",
        ),
        (
            kinds.POLICY,
            {"accountId": ACCOUNT, "name": "p", "decision": "permit"},
            "decision",
            "'decision' must be one of allow, deny, non_identity, bypass, got 'permit'",
        ),
        (
            kinds.POLICY,
            {"accountId": ACCOUNT, "name": "p", "decision": "allow", "includes": [{"email": {}}]},
            "includes[0].email.email",
            "Missing required property 'includes[0].email.email'",
        ),
        (
            kinds.SERVICE_TOKEN,
            {"accountId": ACCOUNT, "name": "robot", "clientSecretVersion": 2.0},
            "previousClientSecretExpiresAt",
            "must be given together",
        ),
    ],
)
def test_wrong_inputs_are_refused_before_anything_is_sent(
    cloud: Cloud, kind: kinds.Kind, inputs: dict[str, Any], place: str, message: str
) -> None:
    stage = Stage(cloud)
    _, failures = stage.run(lambda provider: provider.check_resource(stage.operation(kind, "x"), inputs))
    assert [where for where, _ in failures] == [place]
    assert message in failures[0][1]
    assert cloud.requests() == []


def test_unknown_values_are_no_faults(cloud: Cloud) -> None:
    stage = Stage(cloud)
    inputs = {
        "zoneId": wire.UNKNOWN,
        "name": "a",
        "type": wire.UNKNOWN,
        "ttl": 1.0,
        "content": wire.secret(wire.UNKNOWN),
    }
    _, failures = stage.run(lambda provider: provider.check_resource(stage.operation(kinds.RECORD, "x"), inputs))
    assert failures == []


def test_a_preview_sends_nothing_and_leaves_outputs_unknown(cloud: Cloud) -> None:
    stage = Stage(cloud)
    operation = Operation(urn=stage.operation(kinds.TUNNEL, "edge").urn, preview=True)
    inputs = {"accountId": ACCOUNT, "name": "edge"}
    identity, state = stage.run(lambda provider: provider.create_resource(operation, inputs))
    assert identity == ""
    assert state["status"] == wire.UNKNOWN
    assert cloud.requests() == []


def test_the_functions_find_a_zone_and_a_tunnels_token(cloud: Cloud) -> None:
    stage = Stage(cloud)
    act(stage, "create")
    args = {"filter": {"name": "example.com"}}
    assert stage.run(lambda provider: provider.call_function(GET_ZONE, args))["zoneId"] == ZONE
    args = {"accountId": ACCOUNT, "tunnelId": stage.ids["edge"]}
    token = stage.run(lambda provider: provider.call_function(GET_TOKEN, args))["token"]
    assert token == cloud.result("GET", f"{{acc}}/cfd_tunnel/{stage.ids['edge']}/token")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_or_broken_server_is_asked_again(cloud: Cloud, status: int) -> None:
    cloud.fail({"method": "POST", "status": status, "times": 2, "headers": {"retry-after": "0.01"}})
    Stage(cloud).put(kinds.TUNNEL, "edge", accountId=ACCOUNT, name="edge")
    assert [row["status"] for row in cloud.requests("POST")] == [status, status, 200]
    assert cloud.objects() == ["tunnels edge"]


def test_a_server_that_stays_broken_fails_after_ten_retries_with_one_line(cloud: Cloud) -> None:
    cloud.fail({"status": 500, "times": 100, "headers": {"retry-after": "0.01"}})
    with pytest.raises(
        ProviderError, match=r'POST ".*/cfd_tunnel": 500 .*"code":10001,"message":".*told to fail"'
    ) as caught:
        Stage(cloud).put(kinds.TUNNEL, "edge", accountId=ACCOUNT, name="edge")
    assert "\n" not in str(caught.value)
    assert len(cloud.requests("POST")) == 11


@pytest.mark.parametrize("token", ["wrong-token-of-the-right-length-000000000", "too short"])
def test_a_refused_token_is_one_line_without_the_token(cloud: Cloud, token: str) -> None:
    with pytest.raises(ProviderError) as caught:
        Stage(cloud, token).put(kinds.TUNNEL, "edge", accountId=ACCOUNT, name="edge")
    assert refusals.cure(kinds.TUNNEL.token, str(caught.value)) == refusals.CLOUDFLARE_TOKEN
    assert "\n" not in str(caught.value)
    assert token not in str(caught.value)


def test_an_expired_token_is_refused(cloud: Cloud) -> None:
    token = "expiring-token-of-the-right-length-00000"
    cloud.token(token, "2999-01-01T00:00:00+00:00")
    stage = Stage(cloud, token)
    stage.put(kinds.TUNNEL, "edge", accountId=ACCOUNT, name="edge")
    cloud.token(token, "2020-01-01T00:00:00+00:00")
    with pytest.raises(ProviderError, match=r'": 403 FORBIDDEN \{"success":false'):
        stage.put(kinds.TUNNEL, "other", accountId=ACCOUNT, name="other")


@pytest.mark.parametrize(
    ("kind", "inputs", "theirs", "identity"),
    [
        (kinds.TUNNEL, {"accountId": ACCOUNT, "name": "edge"}, "{acc}/cfd_tunnel", f"{ACCOUNT}/{{id}}"),
        (
            kinds.RECORD,
            {"zoneId": ZONE, "name": "app.example.com", "type": "CNAME", "content": "x.example.org", "ttl": 1.0},
            "{zone}/dns_records",
            f"{ZONE}/{{id}}",
        ),
        (
            kinds.APPLICATION,
            {"accountId": ACCOUNT, "name": "dash", "type": "self_hosted", "domain": "app.example.com"},
            "{acc}/access/apps",
            f"accounts/{ACCOUNT}/{{id}}",
        ),
    ],
)
def test_a_name_that_somebody_else_has_is_refused_and_its_owner_is_found(
    cloud: Cloud, kind: kinds.Kind, inputs: dict[str, Any], theirs: str, identity: str
) -> None:
    body = {key: item for key, item in inputs.items() if not key.endswith("Id")}
    if kind is kinds.RECORD:
        body |= {"type": "A", "content": "192.0.2.1"}
    owner = cloud.result("POST", theirs, json=body)
    with pytest.raises(ProviderError) as caught:
        Stage(cloud).put(kind, "tunnel-it", **inputs)
    assert refusals.taken(kind.token, str(caught.value))
    assert "\n" not in str(caught.value)
    provider = {"baseUrl": f"{cloud.url}{API}", "apiToken": TOKEN}
    asked = adoption.Pending(
        urn=f"urn:pulumi:test::probe::{kind.token}::it", kind=kind.token, inputs=inputs, provider=provider
    )
    assert adoption.owner(asked) == identity.format(id=owner["id"])


@pytest.mark.timeout(120)
def test_the_kept_fields_are_those_of_the_sdk() -> None:
    assert extract.FIELDS.read_text() == extract.text(), "run `python -m twin.plugins.cloudflare.extract`"
