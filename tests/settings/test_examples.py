"""The stack files that users begin with are sound: settings, mesh policy, facts and network."""

from pathlib import Path

import pytest

from keystone import facts, mesh_policy
from keystone.checks import network
from keystone.settings import read

EXAMPLES = sorted(Path("examples").glob("*/Pulumi.*.yaml"))
CLUSTERS = {file.name.split(".")[1]: file.parent for file in EXAMPLES if "keystone:cluster:" in file.read_text()}


def test_there_is_an_example_of_each_deployment_model() -> None:
    assert set(CLUSTERS) == {"home", "hybrid", "rented"}


@pytest.mark.parametrize("stack", sorted(CLUSTERS))
def test_an_example_has_facts_for_every_host_and_a_policy_that_opens_nothing_it_must_not(stack: str) -> None:
    settings = read(stack, CLUSTERS[stack])
    rendered = facts.render(settings, stack)
    assert {Path(path).stem for path in rendered} == {*settings.hosts, "cluster"}
    assert mesh_policy.policy(settings)["acls"]


def test_the_examples_cover_several_servers_remote_agents_and_an_edge() -> None:
    every = [host for stack, folder in CLUSTERS.items() for host in read(stack, folder).hosts.values()]
    assert {host.role for host in every} == {"primer", "server", "agent", "edge"}
    assert any(host.remote for host in every)


@pytest.mark.parametrize("stack", sorted(CLUSTERS))
def test_no_combination_of_an_example_is_known_to_fail(stack: str) -> None:
    assert network.check(stack, CLUSTERS[stack]) == []
