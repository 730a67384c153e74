"""Drives the stand-in plugin for Cloudflare as the engine does, and the program that the recording was made with."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from tests.clouds.running import ACCOUNT, ZONE, Cloud
from twin.clouds.cloudflare import API, TOKEN
from twin.plugins import wire
from twin.plugins.base import Operation
from twin.plugins.cloudflare import kinds
from twin.plugins.cloudflare.provider import CloudflareProvider

SECRET = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I="
LATER = "2026-12-31T00:00:00Z"


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
