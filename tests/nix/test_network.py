"""The network: open ports per role and choice, the network plugin's values and packet sizes."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

import toolchain
import versions
from keystone.settings import ports
from tests.charts.test_definitions import merged
from tests.nix.evaluator import NIX, Flake
from twin.charts.bootstrap import manifests

PORTS = """import {file} {{
  role = "{role}"; cni = "{cni}"; encryption = "{encryption}"; loadBalancer = "{balancer}";
  sshPort = 22; meshPort = 443; edgePorts = [ 80 443 ];
}}"""

# role: anyone tcp, anyone udp, nodes tcp, servers tcp; the plugin's ports come on top between nodes
ROLES = {
    "primer": ([22, 443, 6443], [3478, 41641], [10250], [2379, 2380]),
    "server": ([22, 6443], [41641], [10250], [2379, 2380]),
    "agent": ([22], [41641], [10250], []),
    "edge": ([22, 80, 443], [41641], [], []),
}
PLUGINS = {
    ("cilium", "wireguard"): ([4240, 4244], [8472, 51871]),
    ("cilium", "none"): ([4240, 4244], [8472]),
    ("flannel", "wireguard"): ([], [51820]),
    ("flannel", "none"): ([], [8472]),
    ("calico", "wireguard"): ([], [4789, 51820]),
    ("calico", "none"): ([], [4789]),
}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("cni", "encryption"), PLUGINS)
def test_open_ports_follow_from_role_and_choices(nix: Callable[[str], Any], role: str, cni: str, encryption: str):
    found = nix(PORTS.format(file=NIX / "lib/ports.nix", role=role, cni=cni, encryption=encryption, balancer="cilium"))
    anyone_tcp, anyone_udp, nodes_tcp, servers_tcp = ROLES[role]
    plugin_tcp, plugin_udp = PLUGINS[cni, encryption] if role != "edge" else ([], [])
    assert {key: {p: sorted(v) for p, v in value.items()} for key, value in found.items()} == {
        "anyone": {"tcp": anyone_tcp, "udp": anyone_udp},
        "nodes": {"tcp": sorted([*nodes_tcp, *plugin_tcp]), "udp": plugin_udp},
        "servers": {"tcp": servers_tcp, "udp": []},
    }


@pytest.mark.parametrize("role", ROLES)
def test_speakers_of_metallb_hear_one_another(nix: Callable[[str], Any], role: str):
    plain, balanced = (
        nix(PORTS.format(file=NIX / "lib/ports.nix", role=role, cni="calico", encryption="none", balancer=balancer))
        for balancer in ("cilium", "metallb")
    )
    for protocol in ("tcp", "udp"):
        more = set(balanced["nodes"].pop(protocol)) - set(plain["nodes"].pop(protocol))
        assert more == ({7946} if role != "edge" else set())
    assert balanced == plain


@pytest.mark.parametrize(("cni", "encryption"), PLUGINS)
def test_the_mesh_policy_and_the_firewall_know_the_same_ports(cni: Any, encryption: Any):
    tcp, udp = PLUGINS[cni, encryption]
    assert set(ports.cni_ports(cni, encryption)) == {*(f"tcp:{p}" for p in tcp), *(f"udp:{p}" for p in udp)}


def input_rules(flake: Flake, host: str) -> list[str]:
    """What the ruleset accepts, without what NixOS itself puts there."""
    table = flake.host(host, 'c: c.config.networking.nftables.tables."nixos-fw".content')
    chain = table[table.index("chain input-allow {") :]
    chain = chain[: chain.index("\n}")] if "\n}" in chain else chain
    return [" ".join(line.split()) for line in chain.splitlines() if " dport {" in line]


@pytest.mark.parametrize(
    ("host", "rules"),
    [
        (
            "dev-primer",
            [
                "tcp dport { 2222, 6443, 8443 } accept",
                "udp dport { 3478, 41641 } accept",
                "ip saddr { 10.42.0.0/16, 127.79.0.0/24 } tcp dport { 4240, 4244, 10250 } accept",
                "ip saddr { 10.42.0.0/16, 127.79.0.0/24 } udp dport { 8472, 51871 } accept",
                'iifname "tailscale0" tcp dport { 4240, 4244, 10250 } accept',
                'iifname "tailscale0" udp dport { 8472, 51871 } accept',
            ],
        ),
        (
            "ten-s1",
            [
                "tcp dport { 22, 6443 } accept",
                "udp dport { 41641 } accept",
                "ip saddr { 10.42.0.0/16, 192.168.10.0/24 } tcp dport { 4240, 4244, 10250 } accept",
                "ip saddr { 10.42.0.0/16, 192.168.10.0/24 } udp dport { 8472, 51871 } accept",
                'iifname "tailscale0" tcp dport { 4240, 4244, 10250 } accept',
                'iifname "tailscale0" udp dport { 8472, 51871 } accept',
                "ip saddr { 192.168.10.10, 192.168.10.12 } tcp dport { 2379, 2380 } accept",
            ],
        ),
        (
            "home-cloud-c1",
            [
                "tcp dport { 22 } accept",
                "udp dport { 41641 } accept",
                "ip saddr { 10.42.0.0/16 } tcp dport { 4240, 4244, 10250 } accept",
                "ip saddr { 10.42.0.0/16 } udp dport { 8472, 51871 } accept",
                'iifname "tailscale0" tcp dport { 4240, 4244, 10250 } accept',
                'iifname "tailscale0" udp dport { 8472, 51871 } accept',
            ],
        ),
        ("vps-door", ["tcp dport { 80, 443, 2222 } accept", "udp dport { 41641 } accept"]),
    ],
)
def test_the_ruleset_accepts_these_ports_and_no_other(flake: Flake, host: str, rules: list[str]):
    assert sorted(input_rules(flake, host)) == sorted(rules)


@pytest.mark.parametrize(("host", "passes"), [("dev-w1", True), ("kubeadm-s1", True), ("flannel-w1", False)])
def test_what_cilium_hands_to_its_proxy_passes_the_firewall(flake: Flake, host: str, passes: bool):
    """Else nothing reaches the gateway: the packets keep the port that the client asked for."""
    table = flake.host(host, 'c: c.config.networking.nftables.tables."nixos-fw".content')
    rule = "meta mark & 0x00000f00 == 0x00000200 accept"
    for chain in ("input-allow", "rpfilter-allow"):
        body = re.search(rf"chain {chain} \{{(.*?)\n *\}}", table, re.DOTALL)
        assert body is not None
        assert (rule in body[1]) is passes, chain
    # and the kernel's own check of sources, which tailscaled makes look at the mark
    accepted = flake.host(host, 'c: c.config.boot.kernel.sysctl."net.ipv4.conf.all.accept_local" or null')
    assert accepted == (1 if passes else None)


@pytest.mark.parametrize(
    ("host", "servers"), [("dev-w1", "127.79.0.1"), ("kubeadm-w1", "192.168.10.1"), ("home-cloud-c1", "10.20.0.2")]
)
def test_pods_ask_the_sites_nameservers_and_never_the_meshs(flake: Flake, host: str, servers: str):
    """The file of systemd-resolved names the mesh's too, and the cluster's DNS asks one of all by chance."""
    path = "/etc/keystone/resolv.conf"
    written = flake.host(host, f'c: c.config.environment.etc."{path.removeprefix("/etc/")}".text')
    assert written == f"nameserver {servers}\n"
    if host.startswith("kubeadm"):
        [kubelet] = [it for it in flake.host(host, "c: c.config.keystone.kubeadm.documents") if "Kubelet" in it["kind"]]
        assert kubelet["resolvConf"] == path
    else:
        assert f"--resolv-conf={path}" in flake.host(host, "c: c.config.services.k3s.extraFlags")
    flags = flake.changed(host, "{ keystone.kubernetes.nameservers = [ ]; }", "c: c.config.services.k3s.extraFlags")
    assert not [flag for flag in flags if "resolv-conf" in flag]


def test_nothing_else_opens_ports(flake: Flake):
    opened = """c: let f = c.config.networking.firewall; in {
      interfaces = builtins.attrNames f.interfaces; trusted = f.trustedInterfaces;
      ranges = f.allowedTCPPortRanges ++ f.allowedUDPPortRanges; enable = f.enable;
      flush = c.config.networking.nftables.flushRuleset; ssh = c.config.services.openssh.openFirewall;
      mesh = c.config.services.tailscale.openFirewall; }"""
    for host in ("dev-primer", "ten-w1", "vps-door", "kubeadm-primer"):
        assert flake.host(host, opened) == {
            "interfaces": [],
            "trusted": ["lo"],
            "ranges": [],
            "enable": True,
            "flush": False,
            "ssh": False,
            "mesh": False,
        }


def cilium_values(flake: Flake, host: str, module: str = "{ }") -> dict[str, Any]:
    chart = "c: builtins.unsafeDiscardStringContext c.config.services.k3s.autoDeployCharts.cilium.source.text"
    manifest = json.loads(flake.changed(host, module, chart))["items"][0]
    assert manifest["spec"]["bootstrap"] is True
    assert manifest["spec"]["targetNamespace"] == "kube-system"
    return json.loads(manifest["spec"]["valuesContent"])


def test_cilium_reaches_the_api_by_address_and_encrypts(flake: Flake):
    values = cilium_values(flake, "dev-primer")
    assert (values["k8sServiceHost"], values["k8sServicePort"]) == ("127.0.0.1", 6444)
    assert values["kubeProxyReplacement"] is True
    assert values["encryption"] == {"enabled": True, "type": "wireguard"}
    assert values["ipam"]["operator"]["clusterPoolIPv4PodCIDRList"] == ["10.42.0.0/16"]
    assert values["MTU"] == 1280
    assert values["l2announcements"]["enabled"] is True
    assert values["gatewayAPI"]["enabled"] is True
    assert values["prometheus"] == {"enabled": True}
    assert values["operator"]["replicas"] == 1
    assert cilium_values(flake, "ten-primer")["operator"]["replicas"] == 2


def test_ciliums_values_fit_its_charts_own_schema(flake: Flake):
    chart = toolchain.module_dir("github.com/cilium/cilium") / "install/kubernetes/cilium"
    schema = json.loads((chart / "values.schema.json").read_text())
    # Helm checks the chart's own values with ours over them.
    own = yaml.safe_load((chart / "values.yaml").read_text())
    for host in ("dev-primer", "ten-primer"):
        values = merged(own, cilium_values(flake, host))
        assert [error.message for error in Draft7Validator(schema).iter_errors(values)] == []
        wrong = merged(values, {"MTU": "1280"})
        assert [error.message for error in Draft7Validator(schema).iter_errors(wrong)] == [
            "'1280' is not of type 'integer'"
        ]


def test_ciliums_values_can_be_extended(flake: Flake):
    values = cilium_values(flake, "dev-primer", "{ keystone.cni.values.hubble.ui.enabled = true; }")
    assert values["hubble"]["relay"] == {"enabled": True}
    assert values["hubble"]["ui"] == {"enabled": True}


def test_hubbles_certificates_are_made_in_the_cluster_and_made_anew(flake: Flake):
    values = cilium_values(flake, "dev-primer")
    assert values["hubble"]["tls"] == {"auto": {"method": "cronJob"}}


def test_a_service_mesh_of_another_maker_keeps_its_plugin(flake: Flake):
    module = '{ lib, ... }: { keystone.network.serviceMesh = lib.mkForce "istio"; }'
    values = cilium_values(flake, "dev-primer", module)
    assert values["cni"]["exclusive"] is False
    assert values["socketLB"]["hostNamespaceOnly"] is True


@pytest.mark.parametrize(("mesh", "backend"), [("none", "disabled"), ("cilium", "envoy"), ("linkerd", "disabled")])
def test_ciliums_own_mesh_balances_requests(flake: Flake, mesh: str, backend: str):
    module = f'{{ lib, ... }}: {{ keystone.network.serviceMesh = lib.mkForce "{mesh}"; }}'
    values = cilium_values(flake, "dev-primer", module)
    assert values["loadBalancer"]["l7"]["backend"] == backend


@pytest.mark.parametrize(
    ("host", "size"),
    # 1280 of the mesh less VXLAN (50) and WireGuard (80)
    [("dev-w1", 1150), ("flannel-w1", 1200), ("flannel-plain-w1", 1230), ("calico-w1", 1200)],
)
def test_packets_of_pods_fit_through_the_mesh(flake: Flake, host: str, size: int):
    assert flake.host(host, "c: c.config.keystone.cni.podMtu") == size
    bigger = flake.changed(host, "{ keystone.cni.underlayMtu = 1500; }", "c: c.config.keystone.cni.podMtu")
    assert bigger == size + 220


def test_flannel_on_k3s_has_backend_port_and_size(flake: Flake):
    read = "c: builtins.unsafeDiscardStringContext c.config.keystone.cni.flannelConf.text"
    assert json.loads(flake.host("flannel-w1", read)) == {
        "Backend": {"ListenPort": 51820, "MTU": 1200, "PersistentKeepaliveInterval": 25, "Type": "wireguard"},
        "EnableIPv4": True,
        "EnableIPv6": False,
        "Network": "10.42.0.0/16",
    }
    flags = flake.host("flannel-primer", "c: c.config.services.k3s.extraFlags")
    assert "--flannel-backend=wireguard-native" in flags
    assert not {"--disable-kube-proxy", "--disable-network-policy"} & set(flags)
    assert "--flannel-iface=tailscale0" in flake.host("flannel-c1", "c: c.config.services.k3s.extraFlags")
    assert "--flannel-backend=vxlan" in flake.host("flannel-plain-primer", "c: c.config.services.k3s.extraFlags")


def test_calico_is_a_manifest_with_our_range_and_size(flake: Flake):
    build = flake.host("calico-primer", "c: (builtins.elemAt c.config.keystone.cni.manifests 1).buildCommand")
    assert '.data.veth_mtu) = "1200"' in build
    assert '"CALICO_IPV4POOL_CIDR", "value": "10.42.0.0/16"' in build
    assert '"FELIX_WIREGUARDENABLED", "value": "true"' in build
    assert '"FELIX_PROMETHEUSMETRICSENABLED", "value": "true"' in build
    assert '"FELIX_PROMETHEUSMETRICSHOST", "value": "127.0.0.1"' in build
    names = flake.host("calico-primer", "c: builtins.attrNames c.config.services.k3s.manifests")
    assert names == ["00-gateway-api", "calico", "flux-instance"]
    flags = flake.host("calico-primer", "c: c.config.services.k3s.extraFlags")
    assert {"--flannel-backend=none", "--disable-network-policy"} <= set(flags)
    assert "--disable-kube-proxy" not in flags


def test_the_gateway_api_comes_first_unless_the_gateway_is_nginx(flake: Flake):
    names = "c: builtins.attrNames c.config.services.k3s.manifests"
    assert flake.host("dev-primer", names) == ["00-gateway-api", "flux-instance"]
    assert flake.host("dev-w1", names) == []
    nginx = '{ lib, ... }: { keystone.network.gateway = lib.mkForce "nginx"; }'
    assert flake.changed("dev-primer", nginx, names) == ["flux-instance"]
    pins = json.loads((NIX / "lib/gateway-api.json").read_bytes())
    assert "gateway.networking.k8s.io_gateways.yaml" in pins["files"]
    assert pins["version"] in pins["url"]


def test_charts_are_pinned_by_hash():
    charts = json.loads((NIX / "lib/charts.json").read_bytes())
    schema = {
        "additionalProperties": {
            "required": ["hash", "namespace", "repo", "url", "version"],
            "properties": {
                "hash": {"pattern": "^sha256-[A-Za-z0-9+/]{43}=$"},
                "url": {"pattern": "^https://.*[0-9]\\.[0-9]"},
                "version": {"pattern": r"^\d+\.\d+\.\d+$"},
            },
        }
    }
    assert list(Draft7Validator(schema).iter_errors(charts)) == []
    # the tags of the repository that holds this chart have numbers of their own
    assert [name for name, chart in charts.items() if chart["version"] not in chart["url"]] == ["flux-operator"]
    # what the catalogue is proven against is what the machines install
    assert charts["cilium"]["version"] == versions.CILIUM_CRDS


def test_the_gitops_engine_comes_with_the_servers_alone(flake: Flake):
    charts = "c: builtins.attrNames c.config.services.k3s.autoDeployCharts"
    assert flake.host("dev-primer", charts) == ["cilium", "flux-operator"]
    assert flake.host("dev-w1", charts) == []
    argo = '{ lib, ... }: { keystone.gitops.engine = lib.mkForce "argocd"; }'
    assert flake.changed("dev-primer", argo, charts) == ["argo-cd", "cilium"]


def test_flux_is_a_pinned_instance_without_sources(flake: Flake):
    pin = json.loads((NIX / "lib/charts.json").read_bytes())["flux-operator"]
    content = "c: c.config.services.k3s.manifests.flux-instance.content"
    instance = flake.host("dev-primer", content)
    assert re.fullmatch(r"2\.\d+\.\d+", instance["spec"]["distribution"]["version"])
    assert instance["spec"]["distribution"]["version"] == pin["distribution"]
    assert instance["metadata"] == {"name": "flux", "namespace": "flux-system"}
    assert instance["spec"]["cluster"]["domain"] == "cluster.local"
    assert instance["spec"]["cluster"]["networkPolicy"] is True
    assert "sync" not in instance["spec"]
    # what the twin applies in its place is a part of it
    [twins] = manifests({"network": {"cni": "cilium"}, "gitops": {"engine": "flux"}})
    assert twins["spec"]["distribution"] == instance["spec"]["distribution"]
    argo = '{ lib, ... }: { keystone.gitops.engine = lib.mkForce "argocd"; }'
    names = "c: builtins.attrNames c.config.services.k3s.manifests"
    assert "flux-instance" not in flake.changed("dev-primer", argo, names)
