"""The doubles as services of a twin: started, kept, restarted and gone with it."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from keystone.settings import parse
from tests import networks
from tests.twin import sites
from tests.twin.projects import Project, eventually, make
from twin import clouds, ports
from twin.clouds.cloudflare import API, TOKEN

ACCOUNT, ZONE = "a" * 32, "b" * 32
PORT = 8787
RECORD = {"name": "app.example.org", "type": "A", "content": "192.0.2.1", "ttl": 60}


def tunnel(api_url: str) -> dict[str, object]:
    """The section of a stack file."""
    name = {"origin": {"namespace": "apps", "service": "web", "port": 80}, "access": {"emails": ["ada@example.org"]}}
    common = {"accountId": ACCOUNT, "zoneId": ZONE, "zone": "example.org", "team": "home", "apiUrl": api_url}
    return {**common, "hostnames": {"app": name}}


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A twin of one machine with a tunnel."""
    one = make(tmp_path, workers=0)
    one.document["tunnel"] = tunnel(f"http://{one.network.at(3)}:{PORT}/client/v4")
    one.document["cloudflareToken"] = {"secure": "v1:AAAAAAAAAAAAAAAA:AAAA"}
    one.write()
    yield one
    one.run("down", check=False)


def api(project: Project, path: str) -> str:
    return f"http://{project.network.at(3)}:{PORT}{API}{path}"


@pytest.mark.twin
@pytest.mark.timeout(180)
def test_a_twin_with_a_tunnel_has_a_cloudflare_that_keeps_its_objects(project: Project) -> None:
    headers = {"authorization": f"Bearer {TOKEN}"}
    project.run("up")
    made = httpx.post(api(project, f"/zones/{ZONE}/dns_records"), headers=headers, json=RECORD)
    assert made.status_code == 200, made.text
    pid = project.status()["processes"]["cloudflare"]["pid"]
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: project.status()["processes"].get("cloudflare", {}).get("pid") not in (None, pid), 20)

    def names() -> list[str]:
        try:
            found = httpx.get(api(project, f"/zones/{ZONE}/dns_records"), headers=headers).json()["result"]
        except httpx.HTTPError:
            return []
        return [record["name"] for record in found]

    assert eventually(lambda: names() == ["app.example.org"], 20), "a restart lost the record"
    project.run("stop")
    project.run("up")
    assert names() == ["app.example.org"]
    state = clouds.state_of(project.site, clouds.CLOUDFLARE)
    assert state.stat().st_mode & 0o077 == 0
    assert TOKEN not in state.read_text()
    del project.document["tunnel"]
    project.write()
    project.run("up")
    assert "cloudflare" not in project.status()["processes"]
    assert "nothing is left over" in project.run("down").stderr
    assert not state.exists()


def test_the_port_of_a_double_is_among_those_that_must_be_free() -> None:
    network = networks.fresh()
    document = sites.document(network)
    document["tunnel"] = tunnel(f"http://{network.at(3)}:8787/client/v4")
    assert (network.at(3), 8787, False) in set(ports.wanted(parse(document)))


def test_a_cloud_elsewhere_gets_no_double() -> None:
    document = sites.document(networks.fresh())
    document["tunnel"] = tunnel("https://api.cloudflare.com/client/v4")
    assert list(clouds.endpoints(parse(document))) == []
