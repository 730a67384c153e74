"""The stand-in plugin for Cloudflare: it sends what the official one sent, and refuses what that would refuse."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clouds.running import ACCOUNT, ZONE, Cloud, running
from twin.clouds.cloudflare import API, TOKEN
from twin.plugins import wire
from twin.plugins.base import Operation, ProviderError
from twin.plugins.cloudflare import extract, kinds
from twin.plugins.cloudflare.provider import GET_TOKEN, GET_ZONE, CloudflareProvider

RECORDED = [json.loads(line) for line in Path(__file__).with_name("official-plugin.jsonl").read_text().splitlines()]
SECRET = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I="
LATER = "2026-12-31T00:00:00Z"


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with running() as running_cloud:
        yield running_cloud


class Stage:
    """Drives one provider as the engine does; every call of it runs in one event loop."""

    def __init__(self, cloud: Cloud, token: str = TOKEN) -> None:
        self.cloud, self.token = cloud, token
        self.states: dict[str, wire.Map] = {}
        self.inputs: dict[str, wire.Map] = {}
        self.ids: dict[str, str] = {}

    def run(self, work: Callable[[CloudflareProvider], Awaitable[Any]]) -> Any:
        async def session() -> Any:
            provider = CloudflareProvider({})
            await provider.take_settings({"baseUrl": f"{self.cloud.url}{API}/", "apiToken": wire.secret(self.token)})
            try:
                return await work(provider)
            finally:
                await provider.cancel()

        return asyncio.run(session())

    def operation(self, kind: kinds.Kind, name: str) -> Operation:
        urn = f"urn:pulumi:test::probe::keystone:components:Tunnel${kind.token}::{name}"
        return Operation(urn=urn, resource_id=self.ids.get(name, ""))

    def put(self, kind: kinds.Kind, name: str, /, **inputs: Any) -> wire.Map:
        """Create the resource, or update it when it is there already; its state."""

        async def work(provider: CloudflareProvider) -> wire.Map:
            operation = self.operation(kind, name)
            checked, failures = await provider.check_resource(operation, inputs)
            assert failures == []
            if name in self.states:
                old = self.states[name]
                diff = await provider.diff_resource(operation, self.inputs[name], old, checked)
                assert diff.changes, "nothing to update"
                assert not any(map(diff.replaces, diff.changes))
                self.states[name] = await provider.update_resource(operation, old, checked)
            else:
                self.ids[name], self.states[name] = await provider.create_resource(operation, checked)
            self.inputs[name] = checked
            # What is right after an operation is right after a refresh too, and shows no difference.
            operation = self.operation(kind, name)
            _, read = await provider.read_resource(operation, self.ids[name], self.states[name])
            assert (await provider.diff_resource(operation, checked, read, checked)).changes == {}
            return self.states[name]

        return self.run(work)

    def diff(self, kind: kinds.Kind, name: str, /, **inputs: Any) -> tuple[dict[str, str], set[str]]:
        """What would change, and which of that replaces."""

        async def work(provider: CloudflareProvider) -> Any:
            return await provider.diff_resource(
                self.operation(kind, name), self.inputs[name], self.states[name], inputs
            )

        found = self.run(work)
        return found.changes, {name for name in found.changes if found.replaces(name)}

    def delete(self, kind: kinds.Kind, name: str) -> None:
        self.run(lambda provider: provider.delete_resource(self.operation(kind, name), self.states[name]))

    def read(self, kind: kinds.Kind, name: str, identity: str) -> tuple[str, wire.Map, wire.Map]:
        async def work(provider: CloudflareProvider) -> Any:
            operation = self.operation(kind, name)
            found, state = await provider.read_resource(operation, identity, {})
            return found, state, await provider.read_inputs(operation, state, {})

        return self.run(work)


def act(stage: Stage, phase: str) -> None:
    """The program that the recording was made with: `create`, then `update`, then `rotate`."""
    late = phase != "create"
    name = "robot-2" if late else "robot"
    account, zone = {"accountId": ACCOUNT}, {"zoneId": ZONE}
    ids = stage.ids
    if phase == "rotate":
        rotation = {"clientSecretVersion": 2.0, "previousClientSecretExpiresAt": LATER}
        stage.put(kinds.SERVICE_TOKEN, "token", **account, name=name, **rotation)
        return
    secret = wire.secret(SECRET)
    stage.put(
        kinds.TUNNEL, "edge", **account, name="edge-2" if late else "edge", configSrc="cloudflare", tunnelSecret=secret
    )
    stage.put(kinds.SERVICE_TOKEN, "token", **account, name=name)
    content = "192.0.2.2" if late else "192.0.2.1"
    www = {"name": "www.example.com", "type": "A", "content": content, "ttl": 300.0, "tags": ["team:x"]}
    stage.put(kinds.RECORD, "www", **zone, **www)
    ttl = 120.0 if late else 60.0
    stage.put(kinds.RECORD, "acme", **zone, name="_acme.example.com", type="TXT", content='"v=1"', ttl=ttl)
    comment = "by keystone 2" if late else "by keystone"
    target = f"{ids['edge']}.cfargotunnel.com"
    cname = {"name": "app.example.com", "type": "CNAME", "content": target, "ttl": 1.0, "proxied": True}
    stage.put(kinds.RECORD, "app", **zone, **cname, comment=comment)
    request = {"connectTimeout": 30.0, "httpHostHeader": "app.internal", "noTlsVerify": True}
    first = {"hostname": "app.example.com", "originRequest": request, "service": "http://127.0.0.1:8080"}
    second = {"hostname": "ssh.example.com", "path": "^/x", "service": "ssh://localhost:22"}
    ingresses = [first, *([second] if late else []), {"service": "http_status:404"}]
    config = {"ingresses": ingresses, "originRequest": {"connectTimeout": 10.0}}
    stage.put(kinds.CONFIG, "config", **account, tunnelId=ids["edge"], config=config)
    domain = [{"emailDomain": {"domain": "example.com"}}] if late else []
    people = {
        "decision": "allow",
        "includes": [{"email": {"email": "a@example.com"}}, *domain],
        "excludes": [{"geo": {"countryCode": "KP"}}],
        "requires": [{"certificate": {}}],
    }
    stage.put(kinds.POLICY, "people", **account, name="people", **people)
    robots = {"decision": "non_identity", "includes": [{"serviceToken": {"tokenId": ids["token"]}}]}
    session = {"sessionDuration": "12h"} if late else {}
    stage.put(kinds.POLICY, "robots", **account, name="robots", **robots, **session)
    app = {"type": "self_hosted", "domain": "app.example.com", "serviceAuth401Redirect": True}
    session = {"sessionDuration": "48h"} if late else {}
    links = [{"id": ids["robots"]}]
    stage.put(
        kinds.APPLICATION, "dash", **account, name="dash", **app, appLauncherVisible=False, policies=links, **session
    )


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
    with pytest.raises(ProviderError, match=r"POST .*/cfd_tunnel: 500 .*told to fail \(10001\)$") as caught:
        Stage(cloud).put(kinds.TUNNEL, "edge", accountId=ACCOUNT, name="edge")
    assert "\n" not in str(caught.value)
    assert len(cloud.requests("POST")) == 11


@pytest.mark.parametrize("token", ["wrong-token-of-the-right-length-000000000", "too short"])
def test_a_refused_token_is_one_clear_line_without_the_token(cloud: Cloud, token: str) -> None:
    with pytest.raises(ProviderError) as caught:
        Stage(cloud, token).put(kinds.TUNNEL, "edge", accountId=ACCOUNT, name="edge")
    assert "Cloudflare refuses the API token: it is wrong, has expired or lacks a permission" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert token not in str(caught.value)


def test_an_expired_token_is_refused(cloud: Cloud) -> None:
    token = "expiring-token-of-the-right-length-00000"
    cloud.token(token, "2999-01-01T00:00:00+00:00")
    stage = Stage(cloud, token)
    stage.put(kinds.TUNNEL, "edge", accountId=ACCOUNT, name="edge")
    cloud.token(token, "2020-01-01T00:00:00+00:00")
    with pytest.raises(ProviderError, match="has expired"):
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
def test_a_name_that_somebody_else_has_is_refused_with_the_import_command(
    cloud: Cloud, kind: kinds.Kind, inputs: dict[str, Any], theirs: str, identity: str
) -> None:
    body = {key: item for key, item in inputs.items() if not key.endswith("Id")}
    if kind is kinds.RECORD:
        body |= {"type": "A", "content": "192.0.2.1"}
    owner = cloud.result("POST", theirs, json=body)
    with pytest.raises(ProviderError) as caught:
        Stage(cloud).put(kind, "tunnel-it", **inputs)
    shown = identity.format(id=owner["id"])
    assert f"pulumi import '{kind.token}' 'tunnel-it' '{shown}' --parent 'tunnel=urn:" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.timeout(120)
def test_the_kept_fields_are_those_of_the_sdk() -> None:
    assert extract.FIELDS.read_text() == extract.text(), "run `python -m twin.plugins.cloudflare.extract`"
