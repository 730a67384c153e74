"""The choices of a host file: storage, snapshots, monitoring, gVisor, registries, pools, tools."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

import toolchain
from tests.nix.evaluator import NIX, PROJECT, Flake


def test_ceph_and_nfs_have_their_kernel_modules_on_nodes_alone(flake: Flake):
    modules = "c: c.config.boot.kernelModules"
    assert {"rbd", "ceph"} <= set(flake.host("dev-w1", modules))
    assert not {"rbd", "ceph", "wireguard"} & set(flake.host("vps-door", modules))
    assert flake.host("dev-w1", "c: c.config.boot.supportedFilesystems.nfs") is True
    assert flake.host("dev-w1", "c: c.config.services.rpcbind.enable") is False


def test_longhorn_has_an_initiator_and_its_programs_on_the_usual_path(flake: Flake):
    found = flake.changed(
        "dev-w1",
        "{ keystone.storage.longhorn = true; }",
        """c: { inherit (c.config.services.openiscsi) enable name; modules = c.config.boot.kernelModules;
          link = c.config.systemd.tmpfiles.settings."10-longhorn"."/usr/local/bin"."L+".argument; }""",
    )
    assert found["enable"] is True
    assert found["name"] == "iqn.2026-01.internal.keystone:w1"
    assert "iscsi_tcp" in found["modules"]
    assert found["link"] == "/run/current-system/sw/bin"


def test_openebs_local_engine_has_its_folder_and_no_memory_set_aside(flake: Flake):
    read = """c: { pages = c.config.boot.kernel.sysctl."vm.nr_hugepages" or null;
      iscsi = c.config.services.openiscsi.enable;
      folder = c.config.systemd.tmpfiles.settings."10-openebs"."/var/openebs/local".d.mode; }"""
    found = flake.changed("dev-w1", "{ keystone.storage.openebs = true; }", read)
    assert found == {"pages": None, "iscsi": False, "folder": "0700"}


def test_the_storage_of_the_stack_is_switched_on_on_its_nodes_alone(flake: Flake):
    module = '{ lib, ... }: { keystone.cluster.storage = lib.mkForce [ "longhorn" ]; }'
    read = "c: { inherit (c.config.keystone.storage) longhorn openebs; iscsi = c.config.services.openiscsi.enable; }"
    assert flake.changed("dev-w1", module, read) == {"longhorn": True, "openebs": False, "iscsi": True}
    assert flake.changed("vps-door", module, read) == {"longhorn": False, "openebs": False, "iscsi": False}
    assert flake.host("dev-w1", read) == {"longhorn": False, "openebs": False, "iscsi": False}


def test_host_data_is_snapshotted_and_cluster_volumes_are_not(flake: Flake):
    datasets = "c: builtins.attrNames c.config.services.sanoid.datasets"
    assert flake.host("dev-primer", datasets) == ["rpool/etcd", "rpool/headscale", "rpool/log", "rpool/root"]
    assert flake.host("dev-w1", datasets) == ["rpool/log", "rpool/root"]
    assert flake.host("home-cloud-c2", "c: c.config.services.sanoid.enable") is False


def test_snapshots_go_off_the_site_with_a_hook(flake: Flake):
    module = """{ keystone.snapshots.offsite = { target = "backup@nas:tank/keystone"; hook = ./flake.nix; }; }"""
    found = flake.changed(
        "dev-w1",
        module.replace("./flake.nix", f'(builtins.toFile "hook" "{NIX.name}")'),
        """c: { targets = builtins.mapAttrs (_: j: j.target) c.config.services.syncoid.commands;
          key = c.config.services.syncoid.sshKey;
          after = c.config.systemd.services.syncoid-rpool-root.serviceConfig.ExecStopPost; }""",
    )
    assert found["targets"] == {
        "rpool/log": "backup@nas:tank/keystone/w1/log",
        "rpool/root": "backup@nas:tank/keystone/w1/root",
    }
    assert found["key"] == "/etc/ssh/ssh_host_ed25519_key"
    # beside what the module itself does there: giving back the rights on the dataset
    assert [entry for entry in found["after"] if entry.endswith("-hook %N $SERVICE_RESULT")] != []


def test_metrics_stay_on_loopback_and_logs_go_where_the_host_file_says(flake: Flake):
    exporter = "c: { inherit (c.config.services.prometheus.exporters.node) enable listenAddress port; }"
    assert flake.host("dev-w1", exporter) == {"enable": True, "listenAddress": "127.0.0.1", "port": 9101}
    assert flake.host("dev-w1", "c: c.config.services.alloy.enable") is False
    module = """{ keystone.monitoring.lokiUrl = "http://loki:3100/loki/api/v1/push";
      keystone.monitoring.prometheusUrl = "http://prometheus:9090/api/v1/write"; }"""
    text = flake.changed("dev-w1", module, 'c: c.config.environment.etc."alloy/config.alloy".text')
    assert 'url = "http://loki:3100/loki/api/v1/push"' in text
    assert 'url = "http://prometheus:9090/api/v1/write"' in text
    assert 'external_labels = { cluster = "dev", host = "w1", role = "agent" }' in text
    assert text.count("{") == text.count("}")
    for name in re.findall(r"(?:forward_to\s*=\s*\[|relabel_rules = )([a-z_.]+)\.(?:receiver|rules)", text):
        kind, _, label = name.rpartition(".")
        assert f'{kind} "{label}" {{' in text, name


def test_gvisor_is_a_runtime_and_a_class(flake: Flake):
    module = "{ keystone.gvisor.enable = true; }"
    template = flake.changed("dev-primer", module, "c: c.config.services.k3s.containerdConfigTemplate")
    assert '{{ template "base" . }}' in template
    assert 'runtime_type = "io.containerd.runsc.v1"' in template
    runtime_class = flake.changed("dev-primer", module, "c: c.config.services.k3s.manifests.gvisor.content")
    assert (runtime_class["kind"], runtime_class["handler"]) == ("RuntimeClass", "runsc")
    assert flake.changed("dev-w1", module, "c: builtins.attrNames c.config.services.k3s.manifests") == []


def test_registries_are_mirrored(flake: Flake):
    module = """{ keystone.k3s.registryMirrors."docker.io" = [ "https://mirror.example.org" ];
      keystone.k3s.embeddedRegistry = true; }"""
    text: Any = flake.changed(
        "dev-primer",
        module,
        'c: let f = c.config.environment.etc."rancher/k3s/registries.yaml".source; in'
        " builtins.fromJSON (builtins.unsafeDiscardStringContext f.text)",
    )
    assert text == {"mirrors": {"*": {}, "docker.io": {"endpoint": ["https://mirror.example.org"]}}}
    assert 5001 in flake.changed("dev-primer", module, "c: c.config.keystone.firewall.ports.nodes.tcp")
    assert "--embedded-registry" in flake.changed("dev-primer", module, "c: c.config.services.k3s.extraFlags")


def test_tools_for_people_are_on_the_control_plane(flake: Flake):
    names = "c: map (p: p.pname or p.name) c.config.environment.systemPackages"
    tools = {"awscli2", "kubernetes-helm", "kustomize", "cilium-cli"}
    assert tools <= set(flake.host("dev-primer", names))
    assert not tools & set(flake.host("dev-w1", names))


def test_pool_keys_are_minted_without_a_secret_in_an_argument(flake: Flake, tmp_path: Path):
    module = """{ lib, ... }: { keystone.cluster.issuerHost = lib.mkForce "oidc.example.org";
      keystone.host.pools = lib.mkForce { spot = { region = "eu-central-1"; parameter = "/keystone/dev/spot/mesh-key";
        keyId = "alias/keystone-dev"; roleArn = "arn:aws:iam::123456789012:role/pool-keys"; tags = [ "tag:pool" ];
        keyHours = 24; }; }; }"""
    script = flake.changed("dev-primer", module, "c: c.config.systemd.services.keystone-pool-keys.script")
    assert "--reusable --ephemeral --expiration 24h" in script
    assert "kubectl --namespace keystone-system create token pool-keys --audience sts.amazonaws.com" in script
    assert "KeyId: $key_id" in script, "SSM would take the account's own key"
    assert not [line for line in script.splitlines() if "put-parameter" in line and "$key" in line]
    (tmp_path / "script").write_text(f"#!/usr/bin/env bash\nset -e\n{script}")
    checker = [str(PROJECT / ".venv/bin/shellcheck"), "--exclude", "SC2016", str(tmp_path / "script")]
    done = subprocess.run(checker, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    timer = flake.changed("dev-primer", module, "c: c.config.systemd.timers.keystone-pool-keys.timerConfig")
    assert timer["OnUnitActiveSec"] == "12h"


def test_a_pool_node_takes_all_that_differs_from_metadata_and_ssm():
    text = (NIX / "images/pool-node.nix").read_text()
    assert "X-aws-ec2-metadata-token" in text
    assert "parameter agent-token" in text
    assert "parameter mesh-key |" in text
    assert "told=$(metadata user-data)" in text


def test_the_script_of_the_full_deployment_test_is_sound():
    script = NIX / "tests/libvirt.sh"
    done = subprocess.run(
        [str(PROJECT / ".venv/bin/shellcheck"), str(script)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    entries = subprocess.run([str(script), "stack"], capture_output=True, text=True, check=True).stdout
    assert entries.count("role: agent") == 3
    unknown = subprocess.run([str(script), "cut", "w9"], capture_output=True, text=True, check=False)
    assert (unknown.returncode, unknown.stderr) == (2, "w9 is none of primer w1 w2 w3\n")


@pytest.mark.parametrize("host", ["dev-w1", "kubeadm-w1"])
def test_a_node_short_of_memory_or_room_evicts(flake: Flake, host: str):
    """k3s names two of these limits itself, and the kubelet then drops its own for the others."""
    limits = flake.host(host, "c: c.config.keystone.kubernetes.kubelet.evictionHard")
    kubelet = toolchain.module_dir("k8s.io/kubernetes") / "pkg/kubelet/eviction/defaults_linux.go"
    own = re.findall(r'"([a-zA-Z.]+)":\s+"([^"]+)"', kubelet.read_text())
    assert limits == dict(own)
