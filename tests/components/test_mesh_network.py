"""components/mesh_network.py"""

from collections.abc import Callable
from typing import Any

import pulumi
from pulumi_command import local

from components.machine_command import Machine
from components.mesh_network import MeshNetwork, MeshNetworkArgs
from keystone.settings import Settings, parse
from tests.recording import ROOT_SECRET, Engine, document

Deploy = Callable[..., Engine]


def _build(settings: Settings, seen: dict[str, Any] | None = None) -> Callable[[], object]:
    def build() -> object:
        systems: dict[str, pulumi.Resource] = {
            name: local.Command(f"system-{name}", create=f"keystone.hosts system {name}") for name in settings.hosts
        }
        machine = Machine(stack="site", name="primer", root=ROOT_SECRET)
        mesh = MeshNetwork("mesh", MeshNetworkArgs(settings=settings, machine=machine, systems=systems))
        found = pulumi.Output.all(nodes=mesh.nodes, addresses=mesh.addresses)

        def note(values: dict[str, Any]) -> None:
            if seen is not None:
                seen.update(values["found"], secret=values["secret"])

        return pulumi.Output.all(found=found, secret=pulumi.Output.from_input(found.is_secret())).apply(note)

    return build


def test_every_join_follows_the_policy_and_its_own_system(deploy: Deploy, site: Settings) -> None:
    engine = deploy(_build(site))
    for name in site.hosts:
        assert {"policy-mesh", f"system-{name}"} <= engine.named(f"join-{name}").dependencies
    assert "system-primer" in engine.named("policy-mesh").dependencies


def test_joins_do_not_wait_for_each_other(deploy: Deploy, site: Settings) -> None:
    joins = {f"join-{name}" for name in site.hosts}
    engine = deploy(_build(site))
    assert not any(engine.named(name).dependencies & joins for name in joins)


def test_a_removal_carries_all_that_it_needs_of_a_host_that_is_gone(deploy: Deploy, site: Settings) -> None:
    delete = deploy(_build(site)).named("join-w1").inputs["delete"]
    assert delete.endswith("remove w1 --role agent --address 127.78.5.31 --port 2222 --user root --generation 1")


def test_a_replaced_command_ends_what_it_has_started_and_not_what_the_new_one_starts(
    deploy: Deploy, site: Settings
) -> None:
    engine = deploy(_build(site))
    for name in ("policy-mesh", *(f"join-{host}" for host in site.hosts)):
        assert engine.named(name).delete_before_replace


def test_a_changed_policy_is_sent_again_and_an_added_agent_changes_it_not(deploy: Deploy, site: Settings) -> None:
    def environment(settings: Settings) -> Any:
        return deploy(_build(settings)).named("policy-mesh").inputs["environment"]

    other = document()
    other["mesh"]["rules"] = {"web": {"from": ["tag:edge"], "to": ["tag:agent"], "ports": ["tcp:8080"]}}
    assert environment(site) != environment(parse(other))
    assert environment(site) == environment(parse(document(agents=3)))


def test_a_primer_that_is_installed_anew_makes_every_host_look_for_its_place_in_the_mesh(deploy: Deploy) -> None:
    before, after = document(), document()
    after["hosts"]["primer"]["installGeneration"] = 2
    old, new = deploy(_build(parse(before))), deploy(_build(parse(after)))
    for name in before["hosts"]:
        assert old.named(f"join-{name}").inputs["environment"] != new.named(f"join-{name}").inputs["environment"]
        # No trigger: a changed environment updates, which is a join.
        assert "triggers" not in new.named(f"join-{name}").inputs


def test_a_new_person_makes_the_policys_command_run_again(deploy: Deploy, site: Settings) -> None:
    other = document()
    other["mesh"]["users"] = ["ann"]
    new = deploy(_build(parse(other))).named("policy-mesh").inputs["environment"]
    assert new["KEYSTONE_MESH_USERS"] == "ann"
    assert new != deploy(_build(site)).named("policy-mesh").inputs["environment"]


def test_addresses_and_nodes_are_outputs_and_no_secrets(deploy: Deploy, site: Settings) -> None:
    seen: dict[str, Any] = {}
    deploy(_build(site, seen))
    assert seen["nodes"] == {"primer": "primer", "w1": "w1", "w2": "w2"}
    assert seen["addresses"]["w1"] == "100.64.0.1"
    assert seen["secret"] is False


def test_an_edge_joins_the_mesh_and_is_no_node(deploy: Deploy) -> None:
    seen: dict[str, Any] = {}
    engine = deploy(_build(parse(document(edges=1)), seen))
    assert engine.named("join-e1")
    assert "e1" in seen["addresses"]
    assert "e1" not in seen["nodes"]


def test_no_resource_or_input_holds_a_mesh_key(deploy: Deploy, site: Settings) -> None:
    for resource in deploy(_build(site)).resources:
        assert "hskey" not in str(resource.inputs)
        assert "auth-key" not in str(resource.inputs)


def test_the_component_says_what_policies_judge_a_mesh_by(deploy: Deploy, site: Settings) -> None:
    assert deploy(_build(site)).named("mesh").inputs == {"serverUrl": "https://127.78.5.10:8443"}
