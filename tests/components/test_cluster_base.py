"""components/cluster_base.py"""

from collections.abc import Callable
from typing import Any

import pulumi
from pulumi_command import local
from pulumi_kubernetes.core.v1 import Namespace, NodePatch

from components.cluster_base import ClusterBase, ClusterBaseArgs
from components.machine_command import Machine
from keystone.settings import Settings, parse
from tests.recording import Engine, document

Deploy = Callable[..., Engine]


def _build(settings: Settings) -> Callable[[], object]:
    def build() -> object:
        joins: dict[str, pulumi.Resource] = {
            name: local.Command(f"join-{name}", create=f"keystone.hosts join {name}") for name in settings.hosts
        }
        nodes = {name: pulumi.Output.from_input(name) for name in settings.nodes}
        machine = Machine(stack="test", name="primer", root="root")
        made = ClusterBase("cluster", ClusterBaseArgs(settings=settings, machine=machine, nodes=nodes, joins=joins))
        local.Command(
            "after", create="keystone.hosts after primer", opts=pulumi.ResourceOptions(depends_on=[made.ready])
        )
        return made

    return build


def _changed(**w1: Any) -> Settings:
    changed = document()
    changed["hosts"]["w1"] |= w1
    return parse(changed)


def test_the_namespace_enforces_the_restricted_level(deploy: Deploy, site: Settings) -> None:
    [namespace] = deploy(_build(site)).of(Namespace)
    labels = namespace.inputs["metadata"]["labels"]
    assert namespace.inputs["metadata"]["name"] == "keystone-system"
    assert {labels[f"pod-security.kubernetes.io/{level}"] for level in ("enforce", "audit", "warn")} == {"restricted"}


def test_every_kubernetes_resource_waits_for_all_joins_through_one_resource(deploy: Deploy, site: Settings) -> None:
    engine = deploy(_build(site))
    [namespace] = engine.of(Namespace)
    assert {f"join-{name}" for name in site.hosts} <= namespace.dependencies
    for patch in engine.of(NodePatch):
        assert namespace.name in patch.dependencies
        assert len(patch.dependencies) <= 3


def test_what_comes_after_waits_for_the_gitops_engine(deploy: Deploy, site: Settings) -> None:
    engine = deploy(_build(site))
    waits = engine.named("gitops-flux")
    assert waits.inputs["create"].endswith("keystone.hosts gitops primer")
    assert "cluster-namespace" in waits.dependencies
    assert "gitops-flux" in engine.named("after").dependencies


def test_keystones_own_namespace_denies_what_it_does_not_list(deploy: Deploy, site: Settings) -> None:
    made = deploy(_build(site)).named("policy-keystone-system")
    assert (made.inputs["kind"], made.inputs["metadata"]["namespace"]) == ("CiliumNetworkPolicy", "keystone-system")
    assert made.inputs["spec"]["endpointSelector"] == {}
    assert not [rule for rule in made.inputs["spec"]["egress"] if "toEntities" in rule]
    assert "gitops-flux" in made.dependencies
    open_site = site.model_copy(update={"network": site.network.model_copy(update={"default_deny": False})})
    assert not [r for r in deploy(_build(open_site)).resources if r.name.startswith("policy-")]


def test_a_node_gets_role_zone_and_its_own_labels(deploy: Deploy) -> None:
    engine = deploy(_build(_changed(zone="rack-1", labels={"example.org/disk": "fast"})))
    assert engine.named("node-w1").inputs["metadata"]["labels"] == {
        "keystone.internal/role": "agent",
        "topology.kubernetes.io/zone": "rack-1",
        "example.org/disk": "fast",
    }


def test_a_remote_node_is_told_from_those_of_the_local_network(deploy: Deploy) -> None:
    changed = document()
    changed["hosts"]["w1"] |= {"remote": True}
    changed["cluster"]["api"]["sans"].append("primer.mesh.keystone.test")
    engine = deploy(_build(parse(changed)))
    label = "keystone.internal/remote"
    assert engine.named("node-w1").inputs["metadata"]["labels"][label] == "true"
    assert label not in engine.named("node-w2").inputs["metadata"]["labels"]


def test_taints_are_owned_only_where_the_stack_file_has_some(deploy: Deploy) -> None:
    taint = {"key": "example.org/gpu", "value": "yes", "effect": "NoSchedule"}
    engine = deploy(_build(_changed(taints=[taint])))
    assert engine.named("node-w1").inputs["spec"] == {"taints": [taint]}
    assert "spec" not in engine.named("node-w2").inputs


def test_a_reinstalled_host_gets_its_labels_again(deploy: Deploy, site: Settings) -> None:
    before = deploy(_build(site)).named("node-w1").inputs
    after = deploy(_build(_changed(installGeneration=2))).named("node-w1").inputs
    assert before["metadata"]["annotations"] != after["metadata"]["annotations"]


def test_a_removed_host_needs_no_patch_of_its_node(deploy: Deploy, site: Settings) -> None:
    assert all(patch.retain_on_delete for patch in deploy(_build(site)).of(NodePatch))


def test_an_edge_is_no_node(deploy: Deploy) -> None:
    names = sorted(patch.name for patch in deploy(_build(parse(document(edges=1)))).of(NodePatch))
    assert names == ["node-primer", "node-w1", "node-w2"]


def test_the_component_says_what_policies_judge_a_cluster_by(deploy: Deploy, site: Settings) -> None:
    base = deploy(_build(site)).named("cluster")
    assert base.inputs == {
        "secretsEncryption": True,
        "auditLog": True,
        "podEncryption": "wireguard",
        "endpoint": site.cluster.api.endpoint,
        "pools": sorted(site.network.load_balancer.pools),
    }
