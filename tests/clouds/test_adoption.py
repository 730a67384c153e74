"""keystone/engine/adoption.py: what may be made again, and how the id of what is there is found."""

import dataclasses
import re
from typing import Any

import pytest

from keystone.engine import adoption
from keystone.errors import KeystoneError
from tests.clouds.running import Cloud
from twin.clouds.cloudflare import API, TOKEN
from twin.plugins.cloudflare import kinds

TUNNEL = kinds.TUNNEL.token


def pending(cloud: Cloud, kind: str = TUNNEL, token: str = TOKEN, **inputs: Any) -> adoption.Pending:
    given = {"accountId": cloud.account, "zoneId": cloud.zone, **inputs}
    provider = {"baseUrl": f"{cloud.url}{API}", "apiToken": token}
    return adoption.Pending(urn=f"urn:pulumi:test::probe::{kind}::it", kind=kind, inputs=given, provider=provider)


def found(one: adoption.Pending) -> str | None:
    return adoption.find(one, print)


def test_every_kind_of_cloudflare_is_looked_for_or_made_again() -> None:
    known = {*adoption.LISTED, *adoption.WRITTEN_WHOLE, adoption.SERVICE_TOKEN}
    assert set(kinds.KINDS) <= known


def test_a_tunnel_is_found_by_its_name_among_many(cloud: Cloud) -> None:
    body = {"config_src": "cloudflare"}
    for number in range(120):
        cloud.result("POST", "{acc}/cfd_tunnel", json={**body, "name": f"other-{number}"})
    ours = cloud.result("POST", "{acc}/cfd_tunnel", json={**body, "name": "site-1"})
    assert found(pending(cloud, name="site-1", configSrc="cloudflare")) == ours["id"]
    assert found(pending(cloud, name="site-2", configSrc="cloudflare")) is None


def test_what_differs_in_anything_that_was_asked_for_is_not_ours(cloud: Cloud) -> None:
    made = {"name": "app.example.org", "type": "CNAME", "content": "old.example.org", "ttl": 1, "proxied": True}
    record = cloud.result("POST", "{zone}/dns_records", json=made)
    wanted = {"name": "app.example.org", "type": "CNAME"}
    assert found(pending(cloud, kinds.RECORD.token, **wanted, content="ours.cfargotunnel.com")) is None
    assert found(pending(cloud, kinds.RECORD.token, **wanted, content="old.example.org")) == record["id"]


def test_what_the_state_has_already_is_not_what_the_update_was_making(cloud: Cloud) -> None:
    old = cloud.result("POST", "{acc}/cfd_tunnel", json={"name": "site-1", "config_src": "cloudflare"})
    one = pending(cloud, name="site-1", configSrc="cloudflare")
    assert found(dataclasses.replace(one, held=frozenset({old["id"]}))) is None


def test_a_deleted_tunnel_is_not_there(cloud: Cloud) -> None:
    gone = cloud.result("POST", "{acc}/cfd_tunnel", json={"name": "site-1", "config_src": "cloudflare"})
    cloud.result("DELETE", f"{{acc}}/cfd_tunnel/{gone['id']}")
    assert found(pending(cloud, name="site-1", configSrc="cloudflare")) is None


def test_two_of_a_name_are_left_to_a_person(cloud: Cloud) -> None:
    policy = {"name": "site-app-people", "decision": "allow", "include": [{"email": {"email": "ada@example.org"}}]}
    for _ in range(2):
        cloud.result("POST", "{acc}/access/policies", json=policy)
    one = pending(cloud, kinds.POLICY.token, name="site-app-people", decision="allow")
    with pytest.raises(KeystoneError, match=rf"there are 2 of that name.*--adopt {re.escape(one.urn)}=ITS-ID"):
        found(one)


def test_a_service_token_is_made_anew_and_the_old_one_told(cloud: Cloud) -> None:
    said: list[str] = []
    assert adoption.find(pending(cloud, kinds.SERVICE_TOKEN.token, name="site-robot"), said.append) is None
    assert said == [
        "warning: the service token site-robot may be at Cloudflare twice now: remove the one that was never used"
    ]


def test_a_cloudflare_that_does_not_tell_is_one_line(cloud: Cloud) -> None:
    one = pending(cloud, token="x" * 40, name="site-1", configSrc="cloudflare")
    with pytest.raises(
        KeystoneError, match="cannot tell whether it exists, which the last update was creating"
    ) as error:
        found(one)
    assert "x" * 40 not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_kind_that_nobody_knows_how_to_look_for_is_left_to_a_person() -> None:
    kind = "aws:rds/instance:Instance"
    assert not adoption.repeatable(kind)
    one = adoption.Pending(urn=f"urn:pulumi:test::probe::{kind}::it", kind=kind, inputs={}, provider={})
    with pytest.raises(KeystoneError, match="and may exist"):
        found(one)


@pytest.mark.parametrize("kind", ["aws:iam/rolePolicy:RolePolicy", "command:local:Command", adoption.TUNNEL_CONFIG])
def test_what_one_call_writes_whole_is_made_again(kind: str) -> None:
    assert adoption.repeatable(kind)
