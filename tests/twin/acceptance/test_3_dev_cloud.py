"""The stack `dev-cloud` from nothing to nothing: dev with a tunnel into it, and what its clouds hold meanwhile."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from keystone.charts.tunnel import origin
from keystone.settings import read
from tests import networks
from tests.twin.acceptance.clouds import CloudCheckout
from tests.twin.acceptance.watching import Argv, changed
from twin.clouds.cloudflare import TOKEN

pytestmark = [pytest.mark.twin, pytest.mark.timeout(900)]
UP_SECONDS = 600
"""A limit for a busy machine; `make bench` measures."""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, short_folder: Path, argv: Argv) -> Iterator[CloudCheckout]:  # noqa: ARG001
    temporary = short_folder / "c"
    temporary.mkdir()
    made = CloudCheckout(tmp_path_factory.mktemp("cloud") / "keystone", networks.fresh(), temporary)
    yield made
    made.twin("down", limit=180)
    left = made.processes()
    for process in left:
        process.kill()
    assert not left, f"processes are left: {left}"


def test_up_makes_machines_platform_and_tunnel(cloud: CloudCheckout):
    done = cloud.up(limit=UP_SECONDS)
    assert not {word for word in done.rows.values() if word not in ("created", "read")}, done.text
    assert len(cloud.nodes()) == len(cloud.mesh_nodes()) == cloud.size


def test_every_node_is_ready_and_every_pair_pings(cloud: CloudCheckout):
    found = cloud.verified()
    assert found["node ready"] == cloud.size
    assert found["mesh ping"] == cloud.size * (cloud.size - 1)


def test_each_public_name_leads_through_the_tunnel_behind_a_login(cloud: CloudCheckout):
    tunnel = cloud.config["keystone:tunnel"]
    assert len(tunnel["hostnames"]) == 2
    names = {f"{key}.{tunnel['zone']}" for key in tunnel["hostnames"]}
    objects = cloud.at_cloudflare()
    assert {one.removeprefix("records ") for one in objects if one.startswith("records ")} == names
    assert {one for one in objects if one.startswith("apps ")} == {
        f"apps dev-cloud-{key}" for key in tunnel["hostnames"]
    }
    deployment = cloud.kubectl("get", "deployment", "cloudflared-1", "--namespace", "cloudflared")
    assert deployment["status"]["availableReplicas"] == 2


def test_the_ways_in_are_opened_in_the_namespaces_behind_the_names(cloud: CloudCheckout):
    tunnel = read(cloud.stack, cloud.folder).tunnel
    assert tunnel
    spaces = {origin(one).namespace for one in tunnel.hostnames.values()}
    policies = cloud.kubectl("get", "networkpolicies", "--all-namespaces")["items"]
    found = {(one["metadata"]["namespace"], one["metadata"]["name"]) for one in policies}
    assert {(space, "from-cloudflared") for space in spaces} | {("cloudflared", "origins")} <= found


def test_the_stack_keeps_within_its_budgets(cloud: CloudCheckout):
    export = cloud.export()
    assert len(export["deployment"]["resources"]) <= 250
    assert len(json.dumps(export)) <= 1_000_000


def test_a_second_up_and_a_preview_change_nothing_here_and_in_the_clouds(cloud: CloudCheckout):
    before, written = cloud.resources(), cloud.writes_at_cloudflare()
    done = cloud.up()
    assert "no changes" in done.stdout
    assert changed(before, cloud.resources()) == {}
    preview = cloud.keystone("preview", "--expect-no-changes")
    assert preview.ok, preview.text
    assert cloud.writes_at_cloudflare() == written


def test_no_secret_of_the_clouds_is_in_state_logs_command_lines_or_output(cloud: CloudCheckout, argv: Argv):
    checked = cloud.keystone("check", "secrets", limit=120)
    assert checked.ok, checked.text
    shown = json.loads(cloud.must("pulumi", "stack", "output", "--json", "--show-secrets", limit=60).stdout)
    secrets = [TOKEN, *(token["clientSecret"] for token in shown["serviceTokens"].values())]
    assert len(secrets) > 1
    texts = {"state": json.dumps(cloud.export()), "argv": "\n".join(argv.seen), "said": "\n".join(cloud.said)}
    texts |= cloud.texts(cloud.logs) | cloud.texts(cloud.folder / ".twin" / cloud.stack / "clouds")
    assert [place for place, text in texts.items() for secret in secrets if secret in text] == []


def test_a_destroy_leaves_nothing_in_the_clouds_and_on_this_computer(cloud: CloudCheckout):
    engine = cloud.keystone("destroy", limit=300)
    assert engine.ok, engine.text
    assert cloud.at_cloudflare() == []
    twin = cloud.twin("down", limit=180)
    assert twin.ok, twin.text
    assert "twin: nothing is left over" in twin.stderr
    assert cloud.processes() == []
    assert not (cloud.folder / ".twin").exists()
    assert list(cloud.temporary.iterdir()) == []
