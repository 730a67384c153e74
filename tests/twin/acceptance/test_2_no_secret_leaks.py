"""After a real update no secret of the stack stands where it must not; one that is put there is found."""

import json
from pathlib import Path

import pytest

from tests.twin.acceptance.checkout import Checkout

pytestmark = [pytest.mark.twin, pytest.mark.timeout(900)]


def test_an_update_on_the_twin_leaves_no_secret_behind(site: Checkout, tmp_path: Path) -> None:
    done = site.up(limit=280)
    assert "check secrets" not in done.text, "the update searched by itself and found nothing"
    state = tmp_path / "state.json"
    state.write_text(site.must("pulumi", "stack", "export", "--stack", site.stack, limit=60).stdout)
    assert len(json.loads(state.read_text())["deployment"]["resources"]) > 10

    checked = site.keystone("check", "secrets", "--state", str(state), limit=60)
    assert checked.ok, checked.text
    assert checked.stdout.startswith("check secrets: nothing found in ")
    assert int(checked.stdout.split()[-2]) > 5, "facts, logs and the state were searched"


def test_a_secret_put_into_a_log_of_the_twin_is_found(site: Checkout) -> None:
    planted = site.logs / "planted.log"
    planted.write_text(f"joining with {site.identities().agent_token()}\n")
    try:
        checked = site.keystone("check", "secrets", limit=60)
    finally:
        planted.unlink()
    assert not checked.ok
    assert "logs/planted.log:1: holds the agent token." in checked.stderr
    assert site.identities().agent_token() not in checked.text
