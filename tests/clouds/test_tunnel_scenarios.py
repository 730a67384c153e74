"""The tunnel through the real engine: component, stand-in plugin, Cloudflare double; Kubernetes only renders YAML.

One story of several runs serves all tests, since a run costs seconds.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.clouds.running import Cloud, running
from tests.engine import REPOSITORY, Engine, Run, is_secret
from tests.recording import document
from twin.clouds.cloudflare import API, TOKEN
from twin.tools import kubernetes_plugin

pytestmark = [pytest.mark.timeout(900)]
RUN_SECONDS = 180
"""The two big SDKs take their time to import on a busy machine."""
ACCOUNT, ZONE = "a" * 32, "b" * 32
EXPIRED = "expired-token-of-the-right-length-0000000"
IDENTITY_SECRET = "hush-hush-of-the-identity-provider"
PROGRAM = """
import json
from pathlib import Path

import pulumi
import pulumi_kubernetes as kubernetes

import providers
from components.tunnel import Tunnel, TunnelArgs
from keystone.settings import parse

scene = json.loads(Path("scene.json").read_text())
settings = parse(scene["settings"])
rendered = kubernetes.Provider("kubernetes", render_yaml_to_directory="rendered")
platform = kubernetes.core.v1.ConfigMap("platform", data={}, opts=pulumi.ResourceOptions(provider=rendered))
cloudflare = providers.cloudflare(scene["token"], settings.tunnel)
made = Tunnel(
    "tunnel",
    TunnelArgs(
        settings=settings,
        tunnel=settings.tunnel,
        after=platform,
        identity_provider_secret=pulumi.Output.secret(scene["secret"]),
    ),
    opts=pulumi.ResourceOptions(providers=[rendered, cloudflare]),
)
pulumi.export("serviceTokens", made.service_tokens)
"""
LOGIN = {
    "name": "Login",
    "clientId": "cloudflare",
    "authUrl": "https://id.example.org/auth",
    "tokenUrl": "https://id.example.org/token",
    "certsUrl": "https://id.example.org/jwks",
}
HOSTNAMES = {
    "grafana": {
        "origin": {"namespace": "monitoring", "service": "grafana", "port": 80},
        "access": {"groups": ["admins"], "serviceTokens": ["robot"]},
    },
    "argocd": {
        "origin": {"namespace": "argocd", "service": "argocd-server", "port": 80},
        "access": {"emails": ["ada@example.org"]},
    },
}


class Stage(Engine):
    """An engine whose program makes the tunnel of the last scene."""

    def __init__(self, root: Path, cloud: Cloud) -> None:
        self.cloud = cloud
        super().__init__(
            root,
            PROGRAM,
            names=("cloudflare",),
            environment={"PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "ignore"},
            settings={"pulumi:disable-default-providers": ["aws", "cloudflare", "kubernetes"]},
        )
        program = kubernetes_plugin()
        assert program is not None, "build the tools with `python -m toolchain`"
        link = self.home / "plugins" / f"resource-kubernetes-v{version('pulumi-kubernetes')}" / program.name
        link.parent.mkdir(parents=True)
        link.symlink_to(program)
        self.set()

    def set(self, *, token: str = TOKEN, **tunnel: Any) -> None:
        """The tunnel of the next runs."""
        common = {"accountId": ACCOUNT, "zone": "example.org", "zoneId": ZONE, "team": "home"}
        section = {"apiUrl": f"{self.cloud.url}{API}", "serviceTokens": {"robot": {}}, "identityProvider": LOGIN}
        settings = {**document(), "tunnel": {**common, **section, "hostnames": HOSTNAMES, **tunnel}}
        scene = {"settings": settings, "token": token, "secret": IDENTITY_SECRET}
        (self.workdir / "scene.json").write_text(json.dumps(scene))

    def pulumi_command(self, *words: str, timeout: float = RUN_SECONDS) -> Run:
        return super().pulumi_command(*words, timeout=max(timeout, RUN_SECONDS))

    def shell(self, command: str) -> Run:
        """A `pulumi` command line as it is shown to users."""
        return self.pulumi_command(*shlex.split(command)[1:], "--stack", self.stack, "--yes", "--protect=false")

    def refresh_record(self, *words: str) -> Run:
        """`pulumi refresh` of one record: a provider that only renders YAML has nothing to read."""
        return self.refresh("--target", f"urn:pulumi:{self.stack}::{self.project}::**::tunnel-dns-grafana", *words)

    def texts(self) -> str:
        """Everything that runs have left behind: state, backups, history."""
        kept = self.root.glob("state/**/*")
        return "\n".join(path.read_text("utf-8", "replace") for path in kept if path.is_file())


@dataclass
class Story:
    """What happened, in order."""

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


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with running(account=ACCOUNT, zone=ZONE, domain="example.org") as one:
        yield one


@pytest.fixture
def stage(tmp_path: Path, cloud: Cloud) -> Stage:
    return Stage(tmp_path, cloud)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with running(account=ACCOUNT, zone=ZONE, domain="example.org") as cloud:
        yield _tell(cloud, Stage(tmp_path_factory.mktemp("story"), cloud))


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


def test_a_preview_of_nothing_made_yet_asks_cloudflare_nothing(stage: Stage, cloud: Cloud) -> None:
    run = stage.preview()
    assert run.ok, run.output
    assert run.steps["tunnel-1"] == ["create"]
    assert cloud.requests() == []


def test_an_expired_token_is_told_in_one_line(stage: Stage, cloud: Cloud) -> None:
    cloud.token(EXPIRED[:40], "2020-01-01T00:00:00+00:00")
    stage.set(token=EXPIRED[:40])
    run = stage.up()
    assert not run.ok
    [line] = [line for line in run.messages("tunnel-1", passing=False) if "Cloudflare" in line]
    assert "Cloudflare refuses the API token: it is wrong, has expired or lacks a permission" in line
    assert len(line.strip().splitlines()) == 1
    assert EXPIRED[:40] not in run.output
    assert cloud.objects() == []


def test_a_busy_and_failing_cloudflare_is_asked_again_until_all_is_made(stage: Stage, cloud: Cloud) -> None:
    quick = {"headers": {"retry-after": "0.05"}}
    cloud.fail(
        {"path": "dns_records", "status": 429, "times": 3, **quick},
        {"path": "access/apps", "status": 500, "times": 3, **quick},
        {"path": "cfd_tunnel", "status": 503, "times": 2, **quick},
    )
    run = stage.up()
    assert run.ok, run.output
    assert {429, 500, 503} <= {request["status"] for request in cloud.requests()}
    assert len(cloud.objects()) == 10


def test_a_name_of_somebody_else_is_refused_and_the_shown_command_takes_it_over(stage: Stage, cloud: Cloud) -> None:
    body = {"name": "argocd.example.org", "type": "CNAME", "content": "old.example.org", "ttl": 1, "proxied": True}
    foreign = cloud.result("POST", "{zone}/dns_records", json=body)
    run = stage.up()
    assert not run.ok
    said = "\n".join(run.messages("tunnel-dns-argocd", passing=False))
    assert "An object that this stack did not make has name argocd.example.org" in said
    found = re.search(r"pulumi import .*", said)
    assert found, said
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


def test_a_plugin_killed_in_mid_update_is_recovered_from(stage: Stage, cloud: Cloud) -> None:
    cloud.fail({"method": "POST", "path": "cfd_tunnel", "status": 503, "times": 1, "delay": 15, "after": True})
    running_up = stage.start()
    plugin = _plugin_of(running_up.process.pid)
    seen, since, deadline = 0, time.monotonic(), time.monotonic() + 40
    # Until all is made but what waits for the tunnel, whose answer is seconds off.
    while (seen < 5 or time.monotonic() < since + 2) and time.monotonic() < deadline:
        if (now := len(cloud.requests())) != seen:
            seen, since = now, time.monotonic()
        time.sleep(0.05)
    plugin.kill()
    assert not running_up.wait(RUN_SECONDS).ok
    while "tunnels site-1" not in cloud.objects() and time.monotonic() < deadline + 20:
        time.sleep(0.1)
    # The tunnel was made and nobody knows of it: what a user does is told by the next run.
    stage.refresh_record("--clear-pending-creates")
    run = stage.up()
    assert not run.ok
    found = re.search(r"pulumi import .*", "\n".join(run.messages("tunnel-1", passing=False)))
    assert found, run.output
    imported = stage.shell(found[0])
    assert imported.ok, imported.output
    run = stage.up()
    assert run.ok, run.output
    assert len(cloud.objects()) == 10
    assert stage.destroy().ok
    assert cloud.objects() == []


def _plugin_of(engine: int) -> psutil.Process:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for child in psutil.Process(engine).children(recursive=True):
            with contextlib.suppress(psutil.Error):  # it may have just ended
                if any("plugins/cloudflare" in word for word in child.cmdline()):
                    return child
        time.sleep(0.02)
    raise AssertionError("the engine started no cloudflare plugin")
