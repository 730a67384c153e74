"""The mesh policy: what each role reaches, what no rule may open, and that the real Headscale agrees."""

import copy
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keystone import mesh_policy
from keystone.settings import Settings, SettingsError, parse, stackfile
from keystone.settings.mesh import MESH_TAGS

PROJECT = Path(__file__).parent.parent
DOCUMENT = stackfile.settings_of(stackfile.config_of("dev", PROJECT))
POOL = "tag:pool"
HOSTS = ("tag:primer", "tag:server", "tag:agent", POOL, "tag:edge")
NODES = HOSTS[:4]
API, SSH, KUBELET = "tcp:6443", "tcp:2222", "tcp:10250"
CNI = ("tcp:4240", "tcp:4244", "udp:8472", "udp:51871")
ETCD = ("tcp:2379", "tcp:2380")
PROBES = (API, SSH, KUBELET, *CNI, *ETCD, "tcp:22", "tcp:80", "tcp:443", "tcp:8443", "udp:53", "tcp:9")


def make(**mesh: Any) -> Settings:
    """The dev stack's settings with other keys in the section `mesh`."""
    document = copy.deepcopy(DOCUMENT)
    document["mesh"] |= mesh
    return parse(document)


DEV = make()


def opened(policy: dict[str, Any], source: str, target: str, probe: str) -> bool:
    """Whether the policy's text lets one alias reach another: read from the JSON, without the code under test."""
    protocol, number = probe.split(":")
    for acl in policy["acls"]:
        if acl["proto"] != protocol or source not in acl["src"]:
            continue
        for destination in acl["dst"]:
            alias, ports = destination.rsplit(":", 1)
            for part in ports.split(","):
                first, _, last = part.partition("-")
                if alias == target and int(first) <= int(number) <= int(last or first):
                    return True
    return False


def reach(policy: dict[str, Any], source: str, target: str) -> set[str]:
    return {probe for probe in PROBES if opened(policy, source, target, probe)}


def expected(source: str, target: str) -> set[str]:
    """The design in one place: who reaches what by default."""
    found = set()
    if source in NODES and target in NODES:
        found |= set(CNI)
    if source in NODES and target in ("tag:primer", "tag:server"):
        found.add(API)
    if source in ("tag:primer", "tag:server") and target in NODES:
        found.add(KUBELET)
    if source == "tag:edge" and target in NODES and target != POOL:
        found |= {"tcp:80", "tcp:443"}
    if source in ("tag:ci", "tag:ci-up", "group:admins") and target in ("tag:primer", "tag:server"):
        found.add(API)
    if source in ("tag:ci-up", "group:admins") and target in HOSTS and target != POOL:
        found.add(SSH)
    return found


@pytest.mark.parametrize("source", [*MESH_TAGS, "group:admins"])
@pytest.mark.parametrize("target", MESH_TAGS)
def test_the_default_rules_open_what_the_design_says_and_nothing_else(source, target):
    assert reach(mesh_policy.policy(DEV), source, target) == expected(source, target)


def test_every_ordered_pair_of_hosts_are_peers_and_may_ping():
    policy = mesh_policy.policy(DEV)
    pairs = list(itertools.permutations(DEV.hosts, 2))
    assert len(pairs) == 12
    for source, target in pairs:
        assert any(
            acl["proto"] == "icmp" and DEV.tag_of(source) in acl["src"] and f"{DEV.tag_of(target)}:*" in acl["dst"]
            for acl in policy["acls"]
        )


def test_the_ports_follow_the_network_plugin():
    document = copy.deepcopy(DOCUMENT)
    document["network"] = {"cni": "flannel", "loadBalancer": {"provider": "metallb"}, "gateway": "traefik"}
    policy = mesh_policy.policy(parse(document))
    assert opened(policy, "tag:agent", "tag:primer", "udp:51820")
    assert not opened(policy, "tag:agent", "tag:primer", "udp:8472")


def test_the_deployed_policy_has_no_tests_and_the_same_bytes_each_time():
    assert mesh_policy.deployed(DEV) == mesh_policy.deployed(make())
    assert json.loads(mesh_policy.deployed(DEV)) == mesh_policy.policy(DEV)
    assert not {"tests", "sshTests"} & set(mesh_policy.policy(DEV))


def test_the_order_of_keys_in_the_stack_file_does_not_matter():
    rules = {"b-web": {"from": ["tag:edge"], "to": ["tag:agent"], "ports": ["tcp:8080"]}}
    rules["a-web"] = {"from": ["tag:agent"], "to": ["tag:edge"], "ports": ["tcp:8081"]}
    turned = dict(reversed(rules.items()))
    assert mesh_policy.deployed(make(rules=rules)) == mesh_policy.deployed(make(rules=turned))


def test_groups_rules_ssh_and_routes_of_the_stack_file_are_in_the_policy():
    chosen = make(
        users=["alice", "bob"],
        groups={"admins": ["alice"], "devs": ["bob"]},
        rules={"web": {"from": ["group:devs", "bob@"], "to": ["tag:agent"], "routes": ["lab"], "ports": ["tcp:80-90"]}},
        routes={"lab": {"cidr": "10.9.0.0/24", "hosts": ["w1", "primer", "w2"]}},
        ssh={"devs": {"from": ["group:devs"], "to": ["tag:agent"], "users": ["dev"], "action": "check"}},
    )
    policy = mesh_policy.policy(chosen)
    assert policy["groups"] == {"group:admins": ["alice@"], "group:devs": ["bob@"]}
    assert policy["tagOwners"] == {tag: [] for tag in MESH_TAGS}
    assert {
        "action": "accept",
        "proto": "tcp",
        "src": ["group:devs", "bob@"],
        "dst": ["tag:agent:80-90", "10.9.0.0/24:80-90"],
    } in policy["acls"]
    assert policy["autoApprovers"] == {"routes": {"10.9.0.0/24": ["tag:primer", "tag:agent"]}}
    assert {"action": "check", "src": ["group:devs"], "dst": ["tag:agent"], "users": ["dev"]} in policy["ssh"]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"from": ["tag:agent"], "to": ["tag:primer"], "ports": ["tcp:2379"]}, "lets tag:agent reach etcd"),
        ({"from": ["tag:edge"], "to": ["tag:server"], "ports": ["tcp:2000-3000"]}, "lets tag:edge reach etcd"),
        ({"from": ["group:admins"], "to": ["tag:primer"], "ports": ["tcp:2380"]}, "lets group:admins reach etcd"),
        ({"from": ["tag:agent"], "to": ["tag:agent"], "ports": ["ssh"]}, "lets tag:agent reach SSH of other hosts"),
        ({"from": ["tag:edge"], "to": ["tag:agent"], "ports": ["tcp:1-65535"]}, "lets tag:edge reach etcd"),
        ({"from": ["tag:primer"], "to": ["tag:agent"], "ports": ["tcp:2222"]}, "lets tag:primer reach SSH"),
        ({"from": ["tag:ci"], "to": ["tag:primer"], "ports": ["ssh"]}, "lets tag:ci reach tcp 2222 on tag:primer"),
        ({"from": ["tag:ci"], "to": ["tag:agent"], "ports": ["tcp:80"]}, "lets tag:ci reach tcp 80 on tag:agent"),
        ({"from": ["tag:ci-up"], "to": ["tag:agent"], "ports": ["kubelet"]}, "lets tag:ci-up reach tcp 10250"),
    ],
)
def test_a_rule_that_opens_what_must_stay_closed_is_refused(rule, message):
    with pytest.raises(SettingsError, match=rf"mesh\.rules\.mine: {message}"):
        mesh_policy.deployed(make(rules={"mine": rule}))


def test_a_pipeline_elsewhere_comes_to_hosts_by_routes_to_their_own_addresses():
    chosen = make(
        routes={name: {"cidr": f"127.79.0.{n}/32", "hosts": ["primer"]} for name, n in (("primer", 10), ("w1", 11))},
        rules={
            "ci-site": {"from": ["tag:ci", "tag:ci-up"], "routes": ["primer"], "ports": ["api"]},
            "ci-up-site": {"from": ["tag:ci-up"], "routes": ["primer", "w1"], "ports": ["ssh"]},
        },
    )
    policy = mesh_policy.policy(chosen)
    assert reach(policy, "tag:ci", "127.79.0.10/32") == {API}
    assert reach(policy, "tag:ci-up", "127.79.0.10/32") == {API, SSH}
    assert reach(policy, "tag:ci-up", "127.79.0.11/32") == {SSH}
    assert policy["autoApprovers"]["routes"] == {f"127.79.0.{n}/32": ["tag:primer"] for n in (10, 11)}


@pytest.mark.parametrize("cidr", ["127.79.0.0/24", "127.79.0.99/32"])
def test_a_pipeline_reaches_nothing_of_the_site_but_hosts(cidr):
    chosen = make(
        routes={"site": {"cidr": cidr, "hosts": ["primer"]}},
        rules={"mine": {"from": ["tag:ci"], "routes": ["site"], "ports": ["api"]}},
    )
    with pytest.raises(SettingsError, match=rf"mesh\.rules\.mine: lets tag:ci reach tcp 6443 on {cidr}"):
        mesh_policy.policy(chosen)


def test_a_route_does_not_let_an_agent_around_the_rules():
    chosen = make(
        routes={"home": {"cidr": "127.79.0.0/24", "hosts": ["w1"]}},
        rules={"mine": {"from": ["tag:agent"], "routes": ["home"], "ports": ["ssh"]}},
    )
    with pytest.raises(SettingsError, match=r"lets tag:agent reach SSH of other hosts \(2222 on 127\.79\.0\.0/24\)"):
        mesh_policy.policy(chosen)


def test_machines_may_not_log_in_by_the_meshs_own_ssh():
    chosen = make(ssh={"mine": {"from": ["tag:agent"], "to": ["tag:primer"], "users": ["root"]}})
    with pytest.raises(SettingsError, match=r"mesh\.ssh\.mine: lets machines \(tag:agent\) log in"):
        mesh_policy.policy(chosen)


def test_all_violations_are_found_at_once():
    rules = {
        "one": {"from": ["tag:agent"], "to": ["tag:primer"], "ports": ["tcp:2379"]},
        "two": {"from": ["tag:ci"], "to": ["tag:agent"], "ports": ["tcp:80"]},
    }
    assert [error.place for error in mesh_policy.violations(make(rules=rules))] == [
        "mesh.rules.one",
        "mesh.rules.two",
    ]
    with pytest.raises(SettingsError) as caught:
        mesh_policy.policy(make(rules=rules))
    assert len(str(caught.value).splitlines()) == 2
    assert mesh_policy.violations(DEV) == []


ports = st.one_of(
    st.sampled_from(["api", "ssh", "kubelet", "cni"]),
    st.builds(
        lambda protocol, first, length: f"{protocol}:{first}-{min(65535, first + length)}",
        st.sampled_from(["tcp", "udp"]),
        st.one_of(st.integers(1, 65535), st.integers(2200, 2400)),
        st.sampled_from([0, 1, 200, 70000]),
    ),
)
rule_sets = st.dictionaries(
    st.sampled_from(["a", "b", "nodes-api", "ci-api"]),
    st.fixed_dictionaries(
        {
            "from": st.lists(st.sampled_from([*MESH_TAGS, "group:admins"]), min_size=1, max_size=2, unique=True),
            "to": st.lists(st.sampled_from(MESH_TAGS), min_size=1, max_size=2, unique=True),
            "ports": st.lists(ports, min_size=1, max_size=2),
        }
    ),
    max_size=3,
)


@settings(max_examples=150, deadline=None)
@given(rule_sets)
def test_whatever_the_rules_no_agent_reaches_etcd_or_ssh_and_ci_only_its_own(rules):
    refused = {error.place.removeprefix("mesh.rules.") for error in mesh_policy.violations(make(rules=rules))}
    assert refused <= set(rules)
    policy = mesh_policy.policy(make(rules={name: rule for name, rule in rules.items() if name not in refused}))
    for target in MESH_TAGS:
        for source in ("tag:agent", "tag:edge"):
            assert not reach(policy, source, target) & {*ETCD, SSH}
        assert reach(policy, "tag:ci", target) <= {API}
        assert reach(policy, "tag:ci-up", target) <= {API, SSH}


def test_the_tests_try_every_pair_of_tags_with_something_open_or_closed():
    tests = mesh_policy.policy_tests(DEV)
    for source, target in itertools.product(MESH_TAGS, MESH_TAGS):
        mine = [t for t in tests if t["src"] == source and mesh_policy._alias(t) == target]
        accepted = {f"{t['proto']}:{e.rsplit(':', 1)[1]}" for t in mine for e in t.get("accept", ())}
        denied = {f"{t['proto']}:{e.rsplit(':', 1)[1]}" for t in mine for e in t.get("deny", ())}
        assert accepted == expected(source, target)
        assert {*ETCD, "tcp:9"} <= denied
        assert not accepted & denied


def test_only_tests_whose_tags_have_nodes_are_checked():
    document = json.loads(mesh_policy.checked(DEV, {"tag:primer", "tag:agent"}))
    assert {t["src"] for t in document["tests"]} == {"tag:primer", "tag:agent"}
    assert {e.rsplit(":", 1)[0] for t in document["tests"] for e in t.get("accept", []) + t.get("deny", [])} == {
        "tag:primer",
        "tag:agent",
    }
    assert {t["src"] for t in document["sshTests"]} == {"tag:primer", "tag:agent"}
    assert {key: document[key] for key in mesh_policy.policy(DEV)} == mesh_policy.policy(DEV)
