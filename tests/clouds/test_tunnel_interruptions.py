"""A tunnel whose update is broken off: the next `keystone up` finds what was made, and makes nothing twice."""

from __future__ import annotations

import contextlib
import re
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from tests.clouds.running import Cloud
from tests.clouds.tunnel_stage import RUN_SECONDS, Stage
from tests.engine import Run
from tests.waiting import until

pytestmark = [pytest.mark.timeout(900)]
LOGIN = {"policies site-argocd-people", "service_tokens site-robot"}
OTHERS = {
    "cfd_tunnel$": {*LOGIN, "apps site-argocd"},
    "dns_records$": {*LOGIN, "apps site-argocd"},
    "access/apps$": LOGIN,
}
"""What does not wait for the create at a path, and is made beside it."""


def plugin() -> psutil.Process:
    """The stand-in plugin of the update that runs below us."""
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it may have just ended
            if any("plugins/cloudflare" in word for word in child.cmdline()):
                return child
    raise AssertionError("the engine started no cloudflare plugin")


def kill_while_creating(stage: Stage, cloud: Cloud, path: str, *, arrives: bool) -> Run:
    """Kill the plugin while it waits for a create's answer. Whether it arrives: made, but nobody is told."""
    cloud.fail({"method": "POST", "path": path, "status": 503, "times": 1, "hold": True, "after": arrives})
    with ThreadPoolExecutor(1) as pool:
        update = pool.submit(stage.keystone if arrives else stage.impatient, "up")
        # What else runs beside it comes to its end first: each interrupted create is a story of its own.
        until(lambda: bool(stage.pending(path) and cloud.held()), "the create that waits", RUN_SECONDS)
        until(lambda: set(cloud.objects()) >= OTHERS[path] and len(stage.pending()) == 1, "the end of all others", 60)
        plugin().kill()
        cloud.fail()
        ended = update.result()
    assert not ended.ok
    return ended


@pytest.mark.parametrize(
    ("path", "name", "made"),
    [
        ("cfd_tunnel$", "tunnel-1", "tunnels site-1"),
        # The same story by other kinds, a minute each: `make accept`.
        pytest.param("dns_records$", "tunnel-dns-argocd", "records argocd.example.org", marks=pytest.mark.acceptance),
        pytest.param("access/apps$", "tunnel-application-argocd", "apps site-argocd", marks=pytest.mark.acceptance),
    ],
)
def test_what_a_killed_plugin_has_made_is_found_and_the_next_update_goes_on(
    stage: Stage, cloud: Cloud, path: str, name: str, made: str
) -> None:
    stage.only("argocd")
    ended = kill_while_creating(stage, cloud, path, arrives=True)
    assert f"The plugin died: looking for what it was making: {name}" in ended.output
    assert f"The update was interrupted; found what it had made: {name}" in ended.output
    assert made in cloud.objects()
    assert name in stage.resources()
    done = stage.keystone("up")
    assert done.ok, done.output
    assert len(cloud.objects()) == len(set(cloud.objects())) == 5
    assert stage.up().changes == {}
    destroyed = stage.keystone("destroy")
    assert destroyed.ok, destroyed.output
    assert cloud.objects() == []


def test_what_a_killed_plugin_has_not_made_is_made_by_the_next_update(stage: Stage, cloud: Cloud) -> None:
    stage.only("argocd")
    ended = kill_while_creating(stage, cloud, "cfd_tunnel$", arrives=False)
    assert "looking for what it was making: tunnel-1" in ended.output
    assert "found what it had made" not in ended.output
    assert "tunnels site-1" not in cloud.objects()
    done = stage.keystone("up")
    assert done.ok, done.output
    assert len(cloud.objects()) == 5


def test_what_a_killed_engine_has_made_is_found_by_the_next_update(stage: Stage, cloud: Cloud) -> None:
    stage.only("argocd")
    cloud.fail({"method": "POST", "path": "cfd_tunnel$", "status": 503, "times": 1, "hold": True, "after": True})
    running_up = stage.start()
    until(lambda: bool(stage.pending("cfd_tunnel$") and cloud.held()), "the create that waits", RUN_SECONDS)
    running_up.kill()
    assert not running_up.wait(RUN_SECONDS).ok
    cloud.fail()
    until(lambda: "tunnels site-1" in cloud.objects(), "the late answer", 60)
    done = stage.keystone("up")
    assert done.ok, done.output
    assert "Removed the state lock of a dead process" in done.output
    assert "The update was interrupted; found what it had made: " in done.output
    assert "tunnel-1" in done.output.partition("found what it had made: ")[2].splitlines()[0]
    assert cloud.objects().count("tunnels site-1") == 1
    assert stage.up().changes == {}


def test_a_tunnel_of_that_name_is_taken_over_by_the_command_that_is_shown(stage: Stage, cloud: Cloud) -> None:
    stage.only("argocd")
    cloud.result("POST", "{acc}/cfd_tunnel", json={"name": "site-1", "config_src": "cloudflare"})
    run = stage.keystone("up")
    assert not run.ok
    found = re.search(r"pulumi import .*", run.output)
    assert found, run.output
    imported = stage.shell(found[0])
    assert imported.ok, imported.output
    assert stage.up().ok
    assert len(cloud.objects()) == 5
