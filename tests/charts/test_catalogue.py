"""Promises of the catalogue: what the settings choose is what gets installed, in an order that works."""

import re
from typing import Any

import pytest

from keystone.charts import SYSTEM_NAMESPACES, Release, in_order, namespaces, releases
from keystone.charts import ceph as ceph_charts
from keystone.errors import KeystoneError
from keystone.settings import Settings, parse
from tests.recording import document


def settings(osd_disks: dict[str, int] | None = None, **sections: Any) -> Settings:
    """The small site with more sections; `osd_disks` gives hosts so many disks for Ceph."""
    base = document(agents=3)
    for host in base["hosts"].values():
        host["layout"] = "ext4-luks"  # on which every storage runs
        host["labels"] = {"topology.kubernetes.io/region": "pve"}  # of Proxmox
    for host, count in (osd_disks or {}).items():
        base["hosts"][host]["osdDisks"] = [f"/dev/disk/by-id/{host}-{n}" for n in range(count)]
    return parse({**base, **sections})


def values(found: Settings, name: str) -> Any:
    return releases(found)[name].values


POOLS = {"ingress": "127.78.5.200-127.78.5.209"}
CEPH = {"default": "ceph-block", "ceph": {}}
CLUSTER = ceph_charts.CLUSTER
THREE = {"w1": 1, "w2": 1, "w3": 1}


def test_settings_without_sections_choose_no_chart_of_the_platform() -> None:
    assert releases(settings()) == {}


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({"network": {"gateway": "traefik"}}, {"traefik"}),
        ({"network": {"gateway": "nginx"}}, {"ingress-nginx"}),
        ({"network": {"loadBalancer": {"provider": "metallb", "pools": POOLS}}}, {"metallb"}),
        ({"network": {"loadBalancer": {"provider": "metallb"}}}, set()),
        ({"network": {"serviceMesh": "istio"}}, {"istio-base", "istiod", "istio-cni", "ztunnel"}),
        ({"platform": {}}, set()),
        ({"platform": {"certManager": {}, "verticalPodAutoscaler": True}}, {"cert-manager", "vertical-pod-autoscaler"}),
        ({"storage": {"localPath": {}}}, {"local-path"}),
        ({"storage": {"default": "longhorn", "longhorn": {}, "openebs": {}}}, {"longhorn", "openebs"}),
    ],
)
def test_each_choice_brings_its_charts_and_no_others(sections: dict[str, Any], expected: set[str]) -> None:
    assert set(releases(settings(**sections))) == expected


def test_metrics_server_is_for_kubeadm_since_k3s_brings_its_own() -> None:
    base = document()
    base["cluster"]["distribution"] = "kubeadm"
    assert "metrics-server" in releases(parse({**base, "platform": {}}))
    assert "metrics-server" not in releases(settings(platform={}))


def test_kubeadms_kubelets_get_certificates_of_the_cluster_with_and_without_a_platform() -> None:
    base = document()
    base["cluster"]["distribution"] = "kubeadm"
    approver = releases(parse(base))["kubelet-csr-approver"]
    assert approver.values["providerIpPrefixes"] == ["100.64.0.0/10", base["sites"]["home"]["cidr"]]
    allowed = re.compile(approver.values["providerRegex"])
    assert all(allowed.match(name) for name in base["hosts"])
    assert not allowed.match("api.example.org")
    assert not allowed.match("w1\napi.example.org")
    assert releases(parse({**base, "platform": {}}))["metrics-server"].needs == ("kubelet-csr-approver",)
    assert "kubelet-csr-approver" not in releases(settings(platform={}))


def test_rook_comes_as_three_charts_in_their_order() -> None:
    assert list(releases(settings(THREE, storage=CEPH))) == ["rook-ceph", "ceph-csi-drivers", "rook-ceph-cluster"]


def test_ceph_takes_the_listed_disks_encrypted_and_nothing_else() -> None:
    spec = values(settings({"w1": 2, "w2": 1}, storage=CEPH), "rook-ceph-cluster")["cephClusterSpec"]
    assert spec["storage"] == {
        "useAllNodes": False,
        "useAllDevices": False,
        "config": {"encryptedDevice": "true"},
        "nodes": [
            {"name": "w1", "devices": [{"name": "/dev/disk/by-id/w1-0"}, {"name": "/dev/disk/by-id/w1-1"}]},
            {"name": "w2", "devices": [{"name": "/dev/disk/by-id/w2-0"}]},
        ],
    }
    assert spec["network"]["connections"] == {"encryption": {"enabled": True}, "requireMsgr2": True}
    assert spec["cleanupPolicy"] == {"confirmation": ""}


@pytest.mark.parametrize(
    ("disks", "copies", "domain"),
    [
        ({"w1": 1}, 1, "osd"),
        ({"w1": 2}, 2, "osd"),
        ({"w1": 5}, 3, "osd"),
        ({"w1": 4, "w2": 4}, 2, "host"),
        (THREE, 3, "host"),
        ({**THREE, "primer": 1}, 3, "host"),
    ],
)
def test_copies_and_failure_domain_follow_from_the_hosts_with_disks(
    disks: dict[str, int], copies: int, domain: str
) -> None:
    pool = values(settings(disks, storage=CEPH), "rook-ceph-cluster")["cephBlockPools"][0]["spec"]
    assert pool["failureDomain"] == domain
    # One copy alone is never called safe: losing it loses the data.
    assert pool["replicated"] == {"size": copies, "requireSafeReplicaSize": copies > 1}


def test_the_managers_own_pool_of_ceph_is_as_whole_as_the_others() -> None:
    for disks in ({"w1": 1}, {"w1": 4, "w2": 4}, THREE):
        for ceph in ({}, {"block": False, "filesystem": False}):
            pools = values(settings(disks, storage={"ceph": ceph, "localPath": {}, "default": "local-path"}), CLUSTER)
            own = pools["cephBlockPools"][-1]
            assert own["spec"] == {"name": ".mgr", **pools["cephObjectStores"][0]["spec"]["metadataPool"]}
            assert own["storageClass"] == {"enabled": False}


def test_ceph_runs_on_hosts_with_its_disks_whatever_they_are_reserved_for_and_counts_on_no_other_such_host() -> None:
    def reserved(*hosts: str, effect: str = "NoSchedule") -> Any:
        base = document(agents=3)
        for host, one in base["hosts"].items():
            one["osdDisks"] = [f"/dev/disk/by-id/{host}-0"] if host != "primer" else []
            one["taints"] = [{"key": "for", "value": "it", "effect": effect}] if host in hosts else []
        return values(parse({**base, "storage": CEPH}), CLUSTER)["cephClusterSpec"]

    tolerations = [{"key": "for", "operator": "Equal", "value": "it", "effect": "NoSchedule"}]
    assert reserved("w1")["placement"] == {"all": {"tolerations": tolerations}}
    for spec in (reserved(), reserved("primer"), reserved("w1", effect="PreferNoSchedule")):
        assert "placement" not in spec
    monitors = {len(hosts): reserved(*hosts)["mon"]["count"] for hosts in ((), ("primer",))}
    assert monitors == {0: 3, 1: 3}


def test_monitors_of_ceph_wait_for_no_host_that_is_reserved_for_something_else() -> None:
    base = document(agents=2)
    base["hosts"]["w1"]["osdDisks"] = ["/dev/disk/by-id/w1-0"]
    base["hosts"]["primer"]["taints"] = [{"key": "for", "effect": "NoExecute"}]
    spec = values(parse({**base, "storage": CEPH}), CLUSTER)["cephClusterSpec"]
    assert (spec["mon"]["count"], spec["mgr"]["count"]) == (1, 2)


def test_every_driver_of_ceph_finds_the_modules_of_nixos_on_every_node() -> None:
    found = values(settings(THREE, storage=CEPH), "ceph-csi-drivers")
    for name in ("rbd", "cephfs"):
        plugin = found["drivers"][name]["nodePlugin"]
        paths = {it["mount"]["mountPath"]: it["volume"]["hostPath"]["path"] for it in plugin["volumes"]}
        assert paths == {"/nix": "/nix", "/run/current-system": "/run/current-system"}
        assert plugin["tolerations"] == [{"operator": "Exists"}]
        assert found["drivers"][name]["controllerPlugin"] == {"replicas": 2}
    # The chart renders no YAML of volumes there, and a driver's own lists win in any case.
    shared = found["operatorConfig"]["driverSpecDefaults"]
    assert [key for kind in ("nodePlugin", "controllerPlugin") for key in shared[kind]] == ["priorityClassName"] * 2


@pytest.mark.parametrize("default", ["ceph-block", "ceph-filesystem", "local-path", "longhorn", "openebs-hostpath"])
def test_exactly_one_class_is_the_default_one(default: str) -> None:
    found = settings(THREE, storage={"default": default, "ceph": {}, "localPath": {}, "longhorn": {}, "openebs": {}})
    cluster = values(found, "rook-ceph-cluster")
    marks = {
        "ceph-block": cluster["cephBlockPools"][0]["storageClass"]["isDefault"],
        "ceph-filesystem": cluster["cephFileSystems"][0]["storageClass"]["isDefault"],
        "local-path": values(found, "local-path")["storageClass"]["defaultClass"],
        "longhorn": values(found, "longhorn")["persistence"]["defaultClass"],
        "openebs-hostpath": values(found, "openebs")["localpv-provisioner"]["hostpathClass"]["isDefaultClass"],
    }
    assert {name for name, mark in marks.items() if mark} == {default}


def test_classes_in_aws_are_encrypted_and_their_drivers_run_on_nodes_in_aws_alone() -> None:
    role, key = "arn:aws:iam::123456789012:role/csi", "arn:aws:kms:eu-central-1:123456789012:key/1"
    found = settings(
        storage={
            "default": "ebs-gp3",
            "ebs": {"roleArn": role, "kmsKeyArn": key, "region": "eu-central-1"},
            "efs": {"roleArn": role, "fileSystemId": "fs-0123abcd"},
        }
    )
    ebs, efs = values(found, "aws-ebs-csi-driver"), values(found, "aws-efs-csi-driver")
    assert ebs["storageClasses"][0]["parameters"] == {"type": "gp3", "encrypted": "true", "kmsKeyId": key}
    assert efs["storageClasses"][0]["parameters"]["encryptInTransit"] == "true"
    nodes = {"keystone.internal/cloud": "aws"}
    assert ebs["node"]["nodeSelector"] == efs["node"]["nodeSelector"] == efs["controller"]["nodeSelector"] == nodes


def test_no_value_is_one_that_the_chart_s_own_program_changes_again() -> None:
    found = settings(network={"gateway": "traefik", "serviceMesh": "istio"})
    for name in ("istio-base", "istiod"):
        assert values(found, name)["base"] == {"validationFailurePolicy": "Fail"}


def test_every_node_of_the_site_may_answer_for_the_pools_of_metallb() -> None:
    # kubeadm's servers carry a label by which it would leave them out.
    found = settings(network={"loadBalancer": {"provider": "metallb", "pools": POOLS}})
    assert values(found, "metallb")["speaker"]["ignoreExcludeLB"] is True


def test_only_our_own_policies_hold_in_longhorns_namespace() -> None:
    found = values(settings(storage={"longhorn": {}}), "longhorn")
    assert found["networkPolicies"] == {"enabled": False, "restrictInternalTraffic": False}


def test_longhorn_keeps_its_cpu_hungry_engine_off() -> None:
    assert values(settings(storage={"longhorn": {}}), "longhorn")["defaultSettings"]["v2DataEngine"] is False


def test_external_dns_writes_only_the_listed_zones_and_only_its_own_records() -> None:
    dns = {"provider": "cloudflare", "domains": ["example.org"]}
    found = values(settings(platform={"externalDns": dns}), "external-dns")
    assert found["domainFilters"] == ["example.org"]
    assert (found["policy"], found["txtOwnerId"], found["registry"]) == ("upsert-only", "site", "txt")
    assert found["env"] == [
        {"name": "CF_API_TOKEN", "valueFrom": {"secretKeyRef": {"name": "dns-provider", "key": "key"}}}
    ]


def test_the_gateways_service_asks_for_an_address_of_the_ingress_pool() -> None:
    balancers = {
        "metallb": {"annotations": {"metallb.io/address-pool": "ingress"}},
        "cilium": {"labels": {"keystone.internal/pool": "ingress"}},
    }
    for provider, expected in balancers.items():
        network = {"gateway": "traefik", "loadBalancer": {"provider": provider, "pools": POOLS}}
        service = values(settings(network=network), "traefik")["service"]
        assert service == {"spec": {"type": "LoadBalancer"}, **expected}
    assert values(settings(network={"gateway": "traefik"}), "traefik")["service"] == {"spec": {"type": "ClusterIP"}}
    nginx = values(settings(network={"gateway": "nginx"}), "ingress-nginx")
    assert nginx["controller"]["service"] == {"type": "ClusterIP"}


def test_every_release_comes_after_what_it_needs() -> None:
    network = {"gateway": "traefik", "serviceMesh": "istio", "loadBalancer": {"provider": "metallb", "pools": POOLS}}
    found = releases(settings(THREE, network=network, storage=CEPH, platform={"certManager": {}}))
    order = list(found)
    assert all(order.index(need) < order.index(name) for name, release in found.items() for need in release.needs)
    assert set(found["traefik"].needs) == {"metallb", "cert-manager"}


def test_no_release_installs_the_network_plugin() -> None:
    everything = settings(THREE, storage=CEPH, platform={"certManager": {}})
    assert not {"cilium", "calico", "flannel"} & {release.chart for release in releases(everything).values()}


def release(name: str, **more: Any) -> Release:
    given = {"chart": name, "repository": "https://charts.test", "version": "1", "namespace": name}
    return Release(name=name, **{**given, **more})


def test_a_need_that_is_not_chosen_is_refused() -> None:
    with pytest.raises(KeystoneError, match="release a: needs b, which is not chosen"):
        in_order([release("a", needs=("b",))])


def test_needs_in_a_circle_are_refused() -> None:
    with pytest.raises(KeystoneError, match="a, b need one another in a circle"):
        in_order([release("a", needs=("b",)), release("b", needs=("a",))])


def test_a_name_that_stands_twice_is_refused() -> None:
    with pytest.raises(KeystoneError, match="release a: is in the catalogue twice"):
        in_order([release("a"), release("a")])


def test_a_namespace_gets_the_weakest_level_that_one_of_its_charts_needs() -> None:
    found = namespaces(
        [
            release("a", namespace="shared"),
            release("b", namespace="shared", pod_security="privileged"),
            release("c", namespace="shared", pod_security="baseline"),
            release("d"),
            release("e", namespace="kube-system"),
        ]
    )
    assert found == {"shared": "privileged", "d": "restricted"}
    assert not found.keys() & set(SYSTEM_NAMESPACES)


def test_a_chart_in_a_registry_is_told_from_one_in_a_repository() -> None:
    assert release("a", repository="oci://registry.test/charts").oci
    assert not release("a").oci


def test_class_names_of_the_settings_are_those_of_the_charts() -> None:
    assert (ceph_charts.BLOCK, ceph_charts.FILESYSTEM) == ("ceph-block", "ceph-filesystem")
    assert settings(THREE, storage={**CEPH, "localPath": {}}).storage.classes == (  # type: ignore[union-attr]
        "ceph-block",
        "ceph-filesystem",
        "local-path",
    )
