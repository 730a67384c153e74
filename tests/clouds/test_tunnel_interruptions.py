"""A tunnel whose update is broken off: the next `keystone up` finds what was made, and makes nothing twice."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable

import psutil
import pytest

from tests.clouds.running import Cloud
from tests.clouds.tunnel_stage import RUN_SECONDS, Stage

pytestmark = [pytest.mark.timeout(900)]
SLOW = 25
"""Seconds until the double answers the request that the plugin is killed in."""


def plugin_of(engine: int) -> psutil.Process:
    """The stand-in plugin below an engine."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for child in psutil.Process(engine).children(recursive=True):
            with contextlib.suppress(psutil.Error):  # it may have just ended
                if any("plugins/cloudflare" in word for word in child.cmdline()):
                    return child
        time.sleep(0.02)
    raise AssertionError("the engine started no cloudflare plugin")


def until(holds: Callable[[], bool], what: str, limit: float = 60) -> None:
    deadline = time.monotonic() + limit
    while not holds():
        assert time.monotonic() < deadline, f"not within {limit:.0f} s: {what}"
        time.sleep(0.05)


def kill_while_creating(stage: Stage, cloud: Cloud, path: str, *, arrives: bool) -> None:
    """Break an update off while the plugin waits for a create's answer. Whether it arrives: made, but never told."""
    cloud.fail({"method": "POST", "path": path, "status": 503, "times": 1, "delay": SLOW, "after": arrives})
    running_up = stage.start()
    plugin = plugin_of(running_up.process.pid)
    # What else runs beside it comes to its end first: each interrupted create is a story of its own.
    until(lambda: bool(stage.pending(path)), "the create that waits", RUN_SECONDS)
    until(lambda: len(stage.pending()) == 1, "the end of all others", SLOW - 5)
    plugin.kill()
    assert not running_up.wait(RUN_SECONDS).ok
    until(lambda: any(re.search(path, one["path"]) for one in cloud.requests("POST")), "the late answer", SLOW + 20)
    cloud.fail()


@pytest.mark.parametrize(
    ("path", "name", "made"),
    [
        ("cfd_tunnel$", "tunnel-1", "tunnels site-1"),
        ("dns_records$", "tunnel-dns-argocd", "records argocd.example.org"),
        ("access/apps$", "tunnel-application-argocd", "apps site-argocd"),
    ],
)
def test_what_a_killed_update_has_made_is_found_by_the_next(
    stage: Stage, cloud: Cloud, path: str, name: str, made: str
) -> None:
    stage.only("argocd")
    kill_while_creating(stage, cloud, path, arrives=True)
    assert made in cloud.objects()
    done = stage.keystone("up")
    assert done.ok, done.output
    assert f"The last update was interrupted; found what it had made: {name}" in done.output
    assert len(cloud.objects()) == len(set(cloud.objects())) == 5
    assert stage.up().changes == {}
    destroyed = stage.keystone("destroy")
    assert destroyed.ok, destroyed.output
    assert cloud.objects() == []


def test_what_a_killed_update_has_not_made_is_made_by_the_next(stage: Stage, cloud: Cloud) -> None:
    stage.only("argocd")
    kill_while_creating(stage, cloud, "cfd_tunnel$", arrives=False)
    assert "tunnels site-1" not in cloud.objects()
    done = stage.keystone("up")
    assert done.ok, done.output
    assert "The last update was interrupted; doing again: tunnel-1 (creating)" in done.output
    assert len(cloud.objects()) == 5


def test_without_keystone_the_plugin_shows_the_command_that_takes_it_over(stage: Stage, cloud: Cloud) -> None:
    stage.only("argocd")
    kill_while_creating(stage, cloud, "cfd_tunnel$", arrives=True)
    stage.refresh_record("--clear-pending-creates")
    run = stage.up()
    assert not run.ok
    found = re.search(r"pulumi import .*", "\n".join(run.messages("tunnel-1", passing=False)))
    assert found, run.output
    imported = stage.shell(found[0])
    assert imported.ok, imported.output
    assert stage.up().ok
    assert len(cloud.objects()) == 5
