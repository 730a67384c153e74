"""Namespaces: Pod Security levels, and policies that deny what they do not list."""

from typing import Any

import pytest
from pulumi_kubernetes.core.v1 import Namespace

from components.chart_release import install
from components.namespaces import Namespaces, NamespacesArgs
from keystone import charts
from keystone.settings import Settings
from tests.components.platforms import CEPH, Anything, settings
from tests.recording import Engine, run


def deploy(chosen: Settings, **extra: Any) -> Engine:
    def build() -> None:
        args = NamespacesArgs(settings=chosen, releases=charts.releases(chosen), after=Anything(), extra=extra)
        Namespaces("namespaces", args)

    return run(build)


def spec(engine: Engine, namespace: str) -> Any:
    return engine.named(f"policy-{namespace}").inputs["spec"]


EBS = {
    "roleArn": "arn:aws:iam::123456789012:role/csi",
    "kmsKeyArn": "arn:aws:kms:eu-central-1:123456789012:key/1",
    "region": "eu-central-1",
}
FULL: dict[str, Any] = {"storage": CEPH, "platform": {"certManager": {}}}


def test_every_namespace_has_the_level_that_its_charts_need() -> None:
    made = {
        r.inputs["metadata"]["name"]: r.inputs["metadata"]["labels"] for r in deploy(settings(**FULL)).of(Namespace)
    }
    levels = {name: labels["pod-security.kubernetes.io/enforce"] for name, labels in made.items()}
    assert levels == {"cert-manager": "restricted", "rook-ceph": "privileged"}


def test_a_chart_in_a_namespace_of_kubernetes_waits_for_the_same_as_all_others() -> None:
    chosen = settings(storage={"ebs": EBS}, platform={"certManager": {}})
    found = charts.releases(chosen)

    def build() -> None:
        names = Namespaces(
            "namespaces", NamespacesArgs(settings=chosen, releases=found, after=Anything(), extra={})
        ).names
        install(found.values(), chosen.gitops, names, parent=Anything("parent"), after={})

    engine = run(build)
    for part in ("source", "release"):
        assert "anything" in engine.named(f"chart-aws-ebs-csi-driver-{part}").dependencies
        assert "policy-cert-manager" in engine.named(f"chart-cert-manager-{part}").dependencies


@pytest.mark.parametrize(
    ("cni", "kind"), [("cilium", "CiliumNetworkPolicy"), ("calico", "NetworkPolicy"), ("flannel", "NetworkPolicy")]
)
def test_every_namespace_has_one_policy_of_the_kind_that_the_plugin_knows(cni: str, kind: str) -> None:
    network = {
        "cni": cni,
        **({} if cni == "cilium" else {"gateway": "traefik", "loadBalancer": {"provider": "metallb"}}),
    }
    engine = deploy(settings(network=network, **FULL))
    for namespace in engine.of(Namespace):
        name = namespace.inputs["metadata"]["name"]
        policy = engine.named(f"policy-{name}").inputs
        assert (policy["kind"], policy["metadata"]["namespace"]) == (kind, name)


def test_without_default_deny_there_is_no_policy() -> None:
    engine = deploy(settings(network={"defaultDeny": False}, **FULL))
    assert not [r for r in engine.resources if r.name.startswith("policy-")]


def entities(policy: Any) -> tuple[set[str], set[str]]:
    """What Cilium knows by name, that a policy lets in and out."""
    return (
        {name for rule in policy["ingress"] for name in rule.get("fromEntities", ())},
        {name for rule in policy["egress"] for name in rule.get("toEntities", ())},
    )


def test_a_closed_namespace_reaches_itself_and_dns_and_is_read_by_prometheus_alone() -> None:
    closed = spec(deploy(settings(), tests=("restricted", ())), "tests")
    space = "k8s:io.kubernetes.pod.namespace"
    assert closed["endpointSelector"] == {}
    assert closed["ingress"] == [{"fromEndpoints": [{}, {"matchLabels": {space: "monitoring"}}]}]
    assert [set(rule) for rule in closed["egress"]] == [{"toEndpoints"}, {"toEndpoints", "toPorts"}]
    assert closed["egress"][1]["toPorts"] == [{"ports": [{"port": "53", "protocol": "ANY"}]}]


def test_the_openings_of_a_namespace_are_those_of_its_charts() -> None:
    engine = deploy(settings(**FULL))
    manager, ceph = spec(engine, "cert-manager"), spec(engine, "rook-ceph")
    assert entities(manager) == ({"kube-apiserver"}, {"kube-apiserver"})
    # Volumes are mounted by the nodes' kernels, and buckets are read from every namespace.
    assert entities(ceph)[0] == {"kube-apiserver", "host", "remote-node", "cluster"}


def test_certificates_of_a_public_authority_need_the_internet() -> None:
    acme = {"acme": {"email": "ops@example.org"}}
    found = spec(deploy(settings(platform={"certManager": acme})), "cert-manager")
    assert entities(found) == ({"kube-apiserver"}, {"kube-apiserver", "world"})


def test_plain_policies_name_servers_and_the_world_outside_by_address() -> None:
    dns = {"provider": "cloudflare", "domains": ["example.org"]}
    network = {"cni": "calico", "gateway": "traefik", "loadBalancer": {"provider": "metallb"}}
    egress = spec(deploy(settings(network=network, platform={"externalDns": dns})), "external-dns")["egress"]
    assert {"to": [{"ipBlock": {"cidr": "127.78.5.10/32"}}], "ports": [{"port": 6443, "protocol": "TCP"}]} in egress
    [world] = [peer["ipBlock"] for rule in egress for peer in rule["to"] if "except" in peer.get("ipBlock", {})]
    assert world["cidr"] == "0.0.0.0/0"
    assert set(world["except"]) == {"10.42.0.0/16", "10.43.0.0/16", "127.78.5.0/24", "100.64.0.0/10"}


PDNS = {"provider": "pdns", "domains": ["example.org"], "server": "https://dns.home.arpa:8081"}
LAN = {
    "external-dns": {"platform": {"externalDns": PDNS}},
    "csi-proxmox": {"storage": {"proxmox": {"storageId": "zfs", "encryptedByHost": True}}},
    "monitoring": {
        "storage": {"localPath": {}},
        "observability": {"alerting": {"default": "webhook", "receivers": {"webhook": {}}}},
    },
}


@pytest.mark.parametrize("namespace", LAN)
def test_who_talks_to_machines_of_the_site_reaches_them_with_every_plugin(namespace: str) -> None:
    network = {"cni": "flannel", "gateway": "traefik", "loadBalancer": {"provider": "metallb"}}
    plain = spec(deploy(settings(network=network, **LAN[namespace])), namespace)["egress"]
    assert {"to": [{"ipBlock": {"cidr": "127.78.5.0/24"}}]} in plain
    cilium = [rule for rule in spec(deploy(settings(**LAN[namespace])), namespace)["egress"] if "toEntities" in rule]
    assert [rule["toEntities"].count("world") for rule in cilium] == [1]


def test_no_other_namespace_reaches_the_machines_of_the_site() -> None:
    network = {"cni": "flannel", "gateway": "traefik", "loadBalancer": {"provider": "metallb"}}
    dns = {"provider": "cloudflare", "domains": ["example.org"]}
    watched = {"storage": {"localPath": {}}, "observability": {}}
    engine = deploy(settings(network=network, platform={"externalDns": dns}, **watched))
    for policy in (one.inputs["spec"] for one in engine.resources if one.name.startswith("policy-")):
        assert {"to": [{"ipBlock": {"cidr": "127.78.5.0/24"}}]} not in policy["egress"]


def test_who_uses_the_name_of_a_namespace_comes_after_its_policy() -> None:
    def build() -> None:
        chosen = settings(**FULL)
        args = NamespacesArgs(settings=chosen, releases=charts.releases(chosen), after=Anything(), extra={})
        made = Namespaces("namespaces", args)
        Namespace("user", metadata={"name": made.names["cert-manager"]})

    engine = run(build)
    assert "policy-cert-manager" in engine.named("user").dependencies
    assert "namespace-cert-manager" in engine.named("policy-cert-manager").dependencies
