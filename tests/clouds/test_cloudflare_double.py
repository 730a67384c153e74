"""What the Cloudflare double promises beyond the recorded requests: refusals, pages, names, told faults."""

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.clouds.running import Cloud, running
from tests.waiting import until
from twin.clouds.cloudflare import API

A = {"name": "www", "type": "A", "content": "192.0.2.1", "ttl": 300}
CNAME = {"name": "www", "type": "CNAME", "content": "x.example.org", "ttl": 1}
POLICY = {"name": "people", "decision": "allow", "include": [{"email": {"email": "a@example.com"}}]}


@pytest.fixture(scope="module")
def server() -> Iterator[Cloud]:
    with running() as one:
        yield one


@pytest.fixture
def cloud(server: Cloud) -> Iterator[Cloud]:
    """The one server, empty."""
    yield server
    server.fail()
    for path in ("access/apps", "access/policies", "access/service_tokens", "cfd_tunnel?is_deleted=false"):
        for one in server.result("GET", f"{{acc}}/{path}"):
            server.result("DELETE", f"{{acc}}/{path.partition('?')[0]}/{one['id']}")
    for one in server.result("GET", "{zone}/dns_records?per_page=1000"):
        server.result("DELETE", f"{{zone}}/dns_records/{one['id']}")


def refusal(cloud: Cloud, method: str, path: str, **more: Any) -> tuple[int, int]:
    """HTTP status and Cloudflare's code of a request that must be refused, in the whole envelope."""
    answer = cloud.call(method, path, **more)
    shown = answer.json()
    assert (shown["success"], shown["result"], shown["messages"]) == (False, None, [])
    return answer.status_code, shown["errors"][0]["code"]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, (400, 9106)),
        ("Bearer short", (400, 6003)),
        ("Basic " + "a" * 40, (400, 6003)),
        ("Bearer " + "a" * 40, (403, 10000)),
    ],
)
def test_only_a_known_token_comes_in(cloud: Cloud, header: str | None, expected: tuple[int, int]) -> None:
    answer = cloud.http.build_request("GET", f"{cloud.url}{API}{cloud.path('{zone}/dns_records')}")
    del answer.headers["authorization"]
    if header:
        answer.headers["authorization"] = header
    shown = cloud.http.send(answer)
    assert (shown.status_code, shown.json()["errors"][0]["code"]) == expected


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/nothing/here", (404, 7003)),
        ("GET", "/accounts/unknown/cfd_tunnel", (404, 7003)),
        ("GET", "{zone}/dns_records/none", (404, 81044)),
        ("GET", "{acc}/cfd_tunnel/none", (404, 1003)),
        ("GET", "{acc}/access/apps/none", (404, 11021)),
        ("PUT", "{zone}/dns_records", (405, 10405)),
        ("POST", "{zone}/dns_records/none", (405, 10405)),
        ("GET", "{zone}/dns_records?page=0", (400, 1004)),
        ("GET", "{zone}/dns_records?per_page=many", (400, 1004)),
    ],
)
def test_what_does_not_exist_or_may_not_be_is_refused(
    cloud: Cloud, method: str, path: str, expected: tuple[int, int]
) -> None:
    body = {"json": {}} if method in ("PUT", "POST") else {}
    assert refusal(cloud, method, path, **body) == expected


@pytest.mark.parametrize("text", ["", "{", "[]", '"text"'])
def test_a_body_that_is_no_object_is_refused(cloud: Cloud, text: str) -> None:
    assert refusal(cloud, "POST", "{zone}/dns_records", content=text) == (400, 9207)


@pytest.mark.parametrize("change", [{"name": ""}, {"type": None}, {"content": ""}])
def test_a_record_needs_name_type_and_content(cloud: Cloud, change: dict[str, Any]) -> None:
    assert refusal(cloud, "POST", "{zone}/dns_records", json=A | change) == (400, 9000)


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [(A, A, 81058), (A, CNAME, 81053), (CNAME, A, 81053), (CNAME, CNAME | {"content": "y.example.org"}, 81053)],
)
def test_one_name_holds_a_cname_or_others(
    cloud: Cloud, first: dict[str, Any], second: dict[str, Any], code: int
) -> None:
    cloud.result("POST", "{zone}/dns_records", json=first)
    assert refusal(cloud, "POST", "{zone}/dns_records", json=second) == (400, code)


def test_a_short_name_becomes_the_full_one_and_a_proxied_record_has_no_ttl_of_its_own(cloud: Cloud) -> None:
    made = cloud.result("POST", "{zone}/dns_records", json=A | {"proxied": True})
    assert (made["name"], made["ttl"]) == ("www.example.com", 1)
    assert cloud.result("POST", "{zone}/dns_records", json=A | {"name": "@"})["name"] == "example.com"


def test_a_list_comes_in_pages(cloud: Cloud) -> None:
    for number in range(5):
        cloud.result("POST", "{zone}/dns_records", json=A | {"name": f"n{number}"})
    shown = cloud.call("GET", "{zone}/dns_records?page=2&per_page=2").json()
    assert [record["name"] for record in shown["result"]] == ["n2.example.com", "n3.example.com"]
    assert shown["result_info"] == {"page": 2, "per_page": 2, "count": 2, "total_count": 5, "total_pages": 3}


@pytest.mark.parametrize(
    "ingress",
    [
        [],
        [{"hostname": "a.example.com"}, {"service": "http_status:404"}],
        [{"hostname": "a.example.com", "service": "http://a"}],
        [{"service": "http_status:404"}, {"hostname": "a.example.com", "service": "http://a"}],
    ],
)
def test_a_configuration_that_cloudflared_would_refuse_is_refused(cloud: Cloud, ingress: list[Any]) -> None:
    tunnel = cloud.result("POST", "{acc}/cfd_tunnel", json={"name": "edge"})["id"]
    body = {"config": {"ingress": ingress}}
    assert refusal(cloud, "PUT", f"{{acc}}/cfd_tunnel/{tunnel}/configurations", json=body) == (400, 1056)


def test_a_tunnels_name_is_taken_until_it_is_deleted_and_nobody_should_try_again(cloud: Cloud) -> None:
    first = cloud.result("POST", "{acc}/cfd_tunnel", json={"name": "edge"})
    again = cloud.call("POST", "{acc}/cfd_tunnel", json={"name": "edge"})
    assert (again.status_code, again.json()["errors"][0]["code"]) == (409, 1013)
    assert again.headers["x-should-retry"] == "false"
    cloud.result("DELETE", f"{{acc}}/cfd_tunnel/{first['id']}")
    cloud.result("POST", "{acc}/cfd_tunnel", json={"name": "edge"})
    names = [(one["name"], bool(one["deleted_at"])) for one in cloud.result("GET", "{acc}/cfd_tunnel?name=edge")]
    assert ("edge", True) in names
    assert ("edge", False) in names


def test_a_tunnels_token_is_what_cloudflared_takes(cloud: Cloud) -> None:
    tunnel = cloud.result("POST", "{acc}/cfd_tunnel", json={"name": "edge"})["id"]
    token = json.loads(base64.b64decode(cloud.result("GET", f"{{acc}}/cfd_tunnel/{tunnel}/token")))
    assert (token["a"], token["t"]) == (cloud.account, tunnel)
    assert len(base64.b64decode(token["s"])) == 32


def test_a_policy_that_an_application_uses_stays(cloud: Cloud) -> None:
    policy = cloud.result("POST", "{acc}/access/policies", json=POLICY)["id"]
    body = {"name": "dash", "type": "self_hosted", "domain": "www.example.com", "policies": [{"id": policy}]}
    app = cloud.result("POST", "{acc}/access/apps", json=body)
    assert cloud.result("GET", f"{{acc}}/access/policies/{policy}")["app_count"] == 1
    assert refusal(cloud, "DELETE", f"{{acc}}/access/policies/{policy}") == (400, 12130)
    assert refusal(cloud, "POST", "{acc}/access/apps", json=body) == (409, 11010)
    cloud.result("DELETE", f"{{acc}}/access/apps/{app['id']}")


@pytest.mark.parametrize(
    "change", [{"decision": "permit"}, {"include": []}, {"include": [{"service_token": {"token_id": "none"}}]}]
)
def test_a_policy_that_names_nobody_or_nothing_known_is_refused(cloud: Cloud, change: dict[str, Any]) -> None:
    assert refusal(cloud, "POST", "{acc}/access/policies", json=POLICY | change) == (400, 12130)


def test_a_service_tokens_secret_is_told_when_it_is_made_and_when_it_is_rotated(cloud: Cloud) -> None:
    made = cloud.result("POST", "{acc}/access/service_tokens", json={"name": "robot"})
    path = f"{{acc}}/access/service_tokens/{made['id']}"
    assert "client_secret" not in cloud.result("GET", path)
    assert "client_secret" not in cloud.result("PUT", path, json={"name": "robot", "client_secret_version": 1})
    rotated = cloud.result("PUT", path, json={"name": "robot", "client_secret_version": 2})
    assert rotated["client_secret"] != made["client_secret"]
    assert rotated["client_id"] == made["client_id"]


def test_a_told_fault_counts_down_and_may_come_after_the_deed(cloud: Cloud) -> None:
    cloud.fail({"method": "POST", "status": 500, "times": 1, "after": True})
    assert cloud.call("POST", "{zone}/dns_records", json=A).status_code == 500
    assert [record["name"] for record in cloud.result("GET", "{zone}/dns_records")] == ["www.example.com"]
    cloud.fail({"path": "dns_records", "status": 429, "headers": {"retry-after": "7"}})
    busy = cloud.call("GET", "{zone}/dns_records")
    assert (busy.status_code, busy.headers["retry-after"], busy.json()["errors"][0]["code"]) == (429, "7", 971)
    assert cloud.call("GET", "{zone}/dns_records").status_code == 200


def test_an_answer_is_held_back_until_other_faults_are_told_and_holds_nobody_up(cloud: Cloud) -> None:
    cloud.fail({"method": "POST", "hold": True, "after": True, "status": 503})
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(cloud.call, "POST", "{zone}/dns_records", json=A)
        until(cloud.held, "the request that waits")
        assert cloud.result("GET", "{zone}/dns_records") == []
        cloud.fail()
        assert waiting.result().status_code == 503
    assert cloud.held() == []
    assert len(cloud.result("GET", "{zone}/dns_records")) == 1


def test_what_was_made_is_there_after_a_restart(tmp_path: Path) -> None:
    state = tmp_path / "cloudflare.json"
    with running(state) as first:
        made = first.result("POST", "{zone}/dns_records", json=A)
    with running(state) as second:
        assert second.result("GET", f"{{zone}}/dns_records/{made['id']}") == made
        assert second.objects() == ["records www.example.com"]
