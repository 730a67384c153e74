"""What the modules make of the facts, as text: units, settings, ports, partitions."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.nix.evaluator import Flake


def unit(flake: Flake, host: str, name: str) -> str:
    return flake.host(host, f'c: c.config.systemd.units."{name}".text')


def command_line(flake: Flake, host: str) -> list[str]:
    """k3s' arguments, with store paths shortened to their names."""
    line = re.search(r"ExecStart=((?:.*\\\n)*.*)", unit(flake, host, "k3s.service"))
    assert line
    words = re.sub(r"/nix/store/[a-z0-9]{32}-", "/store/", line[1]).split(" \\\n ")
    return [words[0].rpartition("/")[2], *words[1:]]


def test_k3s_on_the_primer(flake: Flake):
    assert command_line(flake, "dev-primer") == [
        "k3s server",
        "--token-file /run/agenix/server-token",
        "--agent-token-file /run/agenix/agent-token",
        "--disable=local-storage",
        "--disable=servicelb",
        "--disable=traefik",
        "--node-name=primer",
        "--node-label=topology.kubernetes.io/zone=a",
        "--node-ip=127.79.0.10",
        "--kubelet-arg=config=/store/k3s-kubelet-config",
        "--cluster-init",
        "--advertise-address=127.79.0.10",
        "--cluster-cidr=10.42.0.0/16",
        "--service-cidr=10.43.0.0/16",
        "--cluster-dns=10.43.0.10",
        "--cluster-domain=cluster.local",
        "--flannel-backend=none",
        "--write-kubeconfig-mode=0600",
        "--etcd-snapshot-schedule-cron='0 */6 * * *'",
        "--etcd-snapshot-retention=28",
        "--etcd-snapshot-compress",
        "--kube-controller-manager-arg=terminated-pod-gc-threshold=100",
        "--disable-network-policy",
        "--disable-kube-proxy",
        "--secrets-encryption",
        "--tls-san=127.79.0.10",
        "--tls-san=primer.mesh.keystone.internal",
        "--tls-san=primer",
        "--kube-apiserver-arg=enable-admission-plugins=NodeRestriction",
        "--kube-apiserver-arg=admission-control-config-file=/store/admission.yaml",
        "--kube-apiserver-arg=profiling=false",
        "--kube-apiserver-arg=audit-policy-file=/store/audit-policy.yaml",
        "--kube-apiserver-arg=audit-log-path=/var/log/kubernetes/audit.log",
        "--kube-apiserver-arg=audit-log-maxage=30",
        "--kube-apiserver-arg=audit-log-maxbackup=10",
        "--kube-apiserver-arg=audit-log-maxsize=100",
        "--snapshotter=zfs",
        "--resolv-conf=/etc/keystone/resolv.conf",
    ]


def test_k3s_on_another_server_joins_the_primer_and_starts_no_cluster(flake: Flake):
    words = command_line(flake, "ten-s1")
    assert "--server https://192.168.10.10:6443" in words
    assert "--token-file /run/agenix/server-token" in words
    assert "--cluster-init" not in words
    # the certificate is good for every server, under each of its names
    assert {"--tls-san=192.168.10.12", "--tls-san=s2", "--tls-san=s2.mesh.internal"} <= set(words)


def test_a_primer_that_is_installed_anew_can_join_the_others(flake: Flake):
    module = '{ keystone.k3s.server.rejoin = "https://192.168.10.11:6443"; }'
    asked = "c: { inherit (c.config.services.k3s) clusterInit serverAddr; }"
    assert flake.changed("ten-primer", module, asked) == {
        "clusterInit": False,
        "serverAddr": "https://192.168.10.11:6443",
    }
    assert flake.faults("ten-primer", module) == []


def test_k3s_on_an_agent_holds_the_agent_token_alone(flake: Flake):
    assert command_line(flake, "ten-w1") == [
        "k3s agent",
        "--server https://192.168.10.10:6443",
        "--token-file /run/agenix/agent-token",
        "--node-name=w1",
        "--node-label=disk=ssd",
        "--node-label=topology.kubernetes.io/zone=home",
        "--node-ip=192.168.10.21",
        "--kubelet-arg=config=/store/k3s-kubelet-config",
        "--snapshotter=zfs",
        "--resolv-conf=/etc/keystone/resolv.conf",
    ]
    assert flake.host("ten-w1", "c: builtins.attrNames c.config.age.secrets") == ["agent-token"]


def test_a_remote_agent_starts_k3s_only_with_its_mesh_address(flake: Flake):
    words = command_line(flake, "home-cloud-c1")
    assert "--server https://primer.mesh.internal:6443" in words
    assert not any(word.startswith("--node-ip") for word in words)
    service = unit(flake, "home-cloud-c1", "k3s.service")
    assert "ConditionPathExists=/etc/rancher/k3s/config.yaml.d/50-mesh-address.yaml" in service
    assert "WantedBy" not in service
    starter = flake.host("home-cloud-c1", "c: c.config.systemd.services.keystone-mesh-address.script")
    assert "tailscale ip -4" in starter.replace("/bin/tailscale", "tailscale")
    assert "systemctl --no-block restart k3s.service" in starter
    assert "WantedBy=multi-user.target" in unit(flake, "dev-w1", "k3s.service")


def test_the_issuer_is_put_before_the_default_one(flake: Flake):
    module = '{ lib, ... }: { keystone.cluster.issuerHost = lib.mkForce "oidc.example.org"; }'
    flags = flake.changed("dev-primer", module, "c: c.config.services.k3s.extraFlags")
    assert [flag for flag in flags if "service-account" in flag or "audiences" in flag] == [
        "--kube-apiserver-arg=service-account-issuer-=https://oidc.example.org",
        "--kube-apiserver-arg=service-account-jwks-uri=https://oidc.example.org/openid/v1/jwks",
        "--kube-apiserver-arg=api-audiences=https://kubernetes.default.svc.cluster.local,k3s,sts.amazonaws.com",
    ]


def test_the_authorities_are_in_place_before_k3s_starts(flake: Flake):
    script = flake.host("dev-primer", "c: c.config.systemd.services.keystone-cluster-identity.script")
    assert "place /run/agenix/etcd--peer-ca.key /var/lib/rancher/k3s/server/tls/etcd/peer-ca.key" in script
    assert "place /run/agenix/service.key /var/lib/rancher/k3s/server/tls/service.key" in script
    text = unit(flake, "dev-primer", "keystone-cluster-identity.service")
    assert "Before=k3s.service" in text
    assert "Requires=" not in text
    assert "requiredBy" not in text


def test_pod_security_enforces_baseline_and_the_audit_log_never_holds_a_secret(flake: Flake):
    admission, audit = flake.host(
        "dev-primer",
        "c: map (f: builtins.unsafeDiscardStringContext (builtins.toJSON f.text))"
        " [ c.config.keystone.kubernetes.admissionFile c.config.keystone.kubernetes.auditPolicyFile ]",
    )
    settings = json.loads(json.loads(admission))["plugins"][0]["configuration"]
    assert settings["defaults"]["enforce"] == "baseline"
    assert settings["exemptions"]["namespaces"] == ["kube-flannel", "kube-system"]
    rules = json.loads(json.loads(audit))["rules"]
    secrets = next(
        rule for rule in rules if any("secrets" in entry["resources"] for entry in rule.get("resources", []))
    )
    assert secrets["level"] == "Metadata"
    assert rules.index(secrets) < next(n for n, rule in enumerate(rules) if rule["level"] == "Request")


def test_headscale(flake: Flake):
    settings = flake.host("dev-primer", "c: c.config.services.headscale.settings")
    expected = {
        "server_url": "https://127.79.0.10:8443",
        "listen_addr": "0.0.0.0:8443",
        "tls_cert_path": "/run/agenix/mesh-tls.crt",
        "tls_key_path": "/run/agenix/mesh-tls-key",
        "metrics_listen_addr": "127.0.0.1:9090",
    }
    assert {key: settings[key] for key in expected} == expected
    assert settings["policy"] == {"mode": "database", "path": None}
    assert settings["prefixes"]["v4"] == "100.64.0.0/10"
    assert settings["noise"]["private_key_path"] == "/run/agenix/headscale-noise-key"
    assert settings["dns"]["base_domain"] == "mesh.keystone.internal"
    assert settings["derp"]["urls"] == []
    assert settings["derp"]["auto_update_enabled"] is False
    assert settings["derp"]["server"] == {
        "automatically_add_embedded_derp_region": True,
        "enabled": True,
        "private_key_path": "/run/agenix/headscale-derp-key",
        "region_code": "keystone",
        "region_id": 900,
        "region_name": "Keystone home",
        "stun_listen_addr": "0.0.0.0:3478",
        "verify_clients": True,
    }
    secrets = flake.host("dev-primer", "c: builtins.mapAttrs (_: s: s.owner) c.config.age.secrets")
    assert {name for name, owner in secrets.items() if owner == "headscale"} == {
        "headscale-derp-key",
        "headscale-noise-key",
        "mesh-tls-key",
        "mesh-tls.crt",
    }
    assert flake.host("dev-w1", "c: c.config.services.headscale.enable") is False


def test_a_host_announces_its_routes_once_it_is_in_the_mesh(flake: Flake):
    script = flake.host("home-cloud-primer", "c: c.config.systemd.services.keystone-mesh-settings.script")
    assert "--advertise-routes=192.168.10.0/24" in script
    assert "--accept-routes=false" in script
    assert "OnUnitInactiveSec=60" in unit(flake, "home-cloud-primer", "keystone-mesh-settings.timer")
    remote = flake.host("home-cloud-c1", "c: c.config.systemd.services.keystone-mesh-settings.script")
    assert "--accept-routes=true" in remote


CRYPTTAB = 'c: c.config.boot.initrd.systemd.contents."/etc/crypttab".source.text'


@pytest.mark.parametrize(
    ("host", "line"),
    [
        (
            "dev-w1",
            "crypted /dev/disk/by-partlabel/disk-main-luks - tries=0,tpm2-device=auto,tpm2-measure-pcr=yes,discard",
        ),
        (
            "home-cloud-primer",
            "crypted /dev/disk/by-partlabel/disk-main-luks - tries=0,tpm2-device=auto,tpm2-measure-pcr=yes,discard",
        ),
        ("home-cloud-c2", "crypted /dev/disk/by-partlabel/disk-main-luks - tries=0,discard"),
    ],
)
def test_the_disk_is_opened_as_the_facts_say(flake: Flake, host: str, line: str):
    found = flake.host(host, CRYPTTAB).strip()
    name, device, key, options = found.split()
    wanted = line.split()
    assert [name, device, key] == wanted[:3]
    assert set(wanted[3].split(",")) <= set(options.split(","))
    assert ("tpm2-device=auto" in options) == ("tpm2" in line)


@pytest.mark.parametrize(
    ("host", "ssh", "secure_boot"),
    [("dev-w1", False, True), ("home-cloud-primer", True, True), ("home-cloud-c2", True, False)],
)
def test_the_initrd_has_ssh_where_the_disk_is_unlocked_remotely(flake: Flake, host: str, ssh: bool, secure_boot: bool):
    initrd = flake.host(
        host,
        "c: { ssh = c.config.boot.initrd.network.ssh.enable; port = c.config.boot.initrd.network.ssh.port;"
        " keys = c.config.boot.initrd.network.ssh.hostKeys; secure = c.config.boot.lanzaboote.enable;"
        " plain = c.config.boot.loader.systemd-boot.enable;"
        " emergency = c.config.boot.initrd.systemd.emergencyAccess; }",
    )
    assert initrd["ssh"] is ssh
    assert initrd["emergency"] is False
    assert (initrd["secure"], initrd["plain"]) == (secure_boot, not secure_boot)
    if ssh:
        assert (initrd["port"], initrd["keys"]) == (2223, ["/etc/ssh/initrd_ssh_host_ed25519_key"])


@pytest.mark.parametrize("host", ["dev-primer", "dev-w1"])
def test_the_pool_is_looked_for_once_the_disk_is_open(flake: Flake, host: str):
    """NixOS looks for a minute: who types the passphrase later would have to switch the machine off and on."""
    unit = flake.host(host, 'c: c.config.boot.initrd.systemd.units."zfs-import-rpool.service".text')
    assert re.search(r"^After=.*\bcryptsetup\.target", unit, re.MULTILINE)
    assert re.search(r"^Wants=.*\bcryptsetup\.target", unit, re.MULTILINE)


def test_the_initrd_finds_disks_behind_controllers_of_servers(flake: Flake):
    """What the installer finds, the first boot must find too."""
    modules = flake.host("ten-w1", "c: c.config.boot.initrd.availableKernelModules")
    assert {"nvme", "ahci", "vmd", "megaraid_sas", "mpt3sas", "smartpqi", "hpsa", "sdhci_pci", "virtio_blk"} <= set(
        modules
    )
    remote = flake.host("home-cloud-c2", "c: c.config.boot.initrd.availableKernelModules")
    assert {"e1000e", "i40e", "ice", "mlx4_en", "mlx5_core", "r8169"} <= set(remote)


def test_static_addresses_are_set_and_reserved_ones_are_asked_for(flake: Flake):
    static = unit_of_network(flake, "dev-w1")
    assert "MACAddress=02:00:00:79:00:11" in static
    assert "Address=127.79.0.11/24" in static
    assert "Gateway=127.79.0.1" in static
    assert "DNS=127.79.0.1" in static
    assert "DHCP=no" in static
    reserved = unit_of_network(flake, "home-cloud-c1")
    assert "DHCP=ipv4" in reserved
    # else initrd and system would be two machines for the DHCP server, with one address between them
    assert "[DHCPv4]\nClientIdentifier=mac" in reserved
    assert "Address=" not in reserved.replace("MACAddress=", "")
    initrd = flake.host("home-cloud-c2", 'c: c.config.boot.initrd.systemd.network.units."10-lan.network".text')
    assert "MACAddress=52:54:00:00:00:16" in initrd


def unit_of_network(flake: Flake, host: str) -> str:
    return flake.host(host, 'c: c.config.systemd.network.units."10-lan.network".text')


def test_the_disk_gets_its_guid_first_and_the_layout_after(flake: Flake):
    disk: dict[str, Any] = flake.host(
        "dev-primer",
        """c: let d = c.config.disko.devices; in {
          disks = builtins.mapAttrs (_: x: x.device) d.disk;
          hook = d.disk.main.content.preCreateHook;
          partitions = builtins.mapAttrs (_: p: { inherit (p) size type; content = p.content.type; })
            d.disk.main.content.partitions;
          luks = { inherit (d.disk.main.content.partitions.luks.content) name passwordFile extraFormatArgs; };
          datasets = builtins.mapAttrs (_: s: s.mountpoint) d.zpool.rpool.datasets;
        }""",
    )
    guid = json.loads((flake.folder / "facts/dev/primer.json").read_bytes())["diskGuid"]
    assert disk["disks"] == {"main": "/dev/disk/by-id/virtio-primer-system"}
    assert disk["hook"].startswith(f"sgdisk --clear --disk-guid={guid} /dev/disk/by-id/virtio-primer-system")
    assert disk["partitions"] == {
        "ESP": {"size": "1G", "type": "EF00", "content": "filesystem"},
        "luks": {"size": "100%", "type": "8309", "content": "luks"},
    }
    assert disk["luks"] == {
        "name": "crypted",
        "passwordFile": "/run/keystone/disk.key",
        "extraFormatArgs": ["--type luks2", "--pbkdf argon2id"],
    }
    assert disk["datasets"].pop("__root") is None  # the pool itself, which is not mounted
    assert disk["datasets"] == {
        "containers": "/var/lib/rancher/k3s/agent/containerd/io.containerd.snapshotter.v1.zfs",
        "etcd": "/var/lib/rancher/k3s/server/db",
        "headscale": "/var/lib/headscale",
        "k3s": "/var/lib/rancher",
        "log": "/var/log",
        "nix": "/nix",
        "root": "/",
    }


def test_no_machine_swaps(flake: Flake):
    for host in ("dev-w1", "home-cloud-c2", "kubeadm-w1"):
        asked = "c: { devices = c.config.swapDevices; zram = c.config.zramSwap.enable; }"
        assert flake.host(host, asked) == {"devices": [], "zram": False}


def test_the_plain_layout_is_ext4_in_luks(flake: Flake):
    root = flake.host("home-cloud-c2", 'c: { inherit (c.config.fileSystems."/") device fsType; }')
    assert root == {"device": "/dev/mapper/crypted", "fsType": "ext4"}
    assert flake.host("home-cloud-c2", "c: c.config.boot.supportedFilesystems.zfs or false") is False


def test_the_installer_enrols_the_tpm_only_where_it_unlocks(flake: Flake):
    hook = "c: c.config.disko.devices.disk.main.content.partitions.luks.content.postCreateHook"
    assert "--unlock-key-file=/run/keystone/disk.key" in flake.host("dev-w1", hook)
    assert flake.host("home-cloud-c2", hook) == ""


@pytest.mark.parametrize(("listed", "status"), [("echo /dev/tpmrm0 MSFT0101:00", 0), ("echo No suitable >&2", 1)])
def test_a_machine_without_a_tpm_ends_the_installation_with_the_cure(
    flake: Flake, tmp_path: Path, listed: str, status: int
):
    """Listing ends well where there is none."""
    hook = flake.host("dev-w1", "c: c.config.disko.devices.disk.main.content.partitions.luks.content.postCreateHook")
    program = tmp_path / "systemd-cryptenroll"
    program.write_text(f"#!/bin/sh\ncase $1 in --tpm2-device=list) {listed};; esac\n")
    program.chmod(0o755)
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(["bash", "-ec", hook], env=path, capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert ("w1: keystone.host.unlock is tpm2, but this machine has no TPM2" in done.stderr) is bool(status)


def test_the_install_marker_says_who_the_machine_is(flake: Flake):
    marker = flake.host("dev-w1", 'c: c.config.environment.etc."keystone/install.json".text')
    guid = json.loads((flake.folder / "facts/dev/w1.json").read_bytes())["diskGuid"]
    assert json.loads(marker) == {"host": "w1", "cluster": "dev", "generation": 1, "diskGuid": guid}


def test_the_deployers_commands_are_on_the_path(flake: Flake):
    names = flake.host("dev-w1", "c: map (p: p.pname or p.name) c.config.environment.systemPackages")
    assert {"kubectl", "gptfdisk", "util-linux", "tailscale", "k3s"} <= set(names)


def test_the_edge_passes_known_names_through_and_checks_its_gateways(flake: Flake):
    module = """{ keystone.edge.serverNames = [ "git.example.org" "*.apps.example.org" ];
      keystone.edge.backends.cloud = { address = "w9.mesh.internal"; backup = true; }; }"""
    text = flake.changed("vps-door", module, "c: c.config.services.haproxy.config")
    lines = [line.strip() for line in text.splitlines()]
    assert "server home 192.168.10.200:443 check inter 2s fall 3 rise 2" in lines
    assert "server cloud w9.mesh.internal:443 check inter 2s fall 3 rise 2 backup" in lines
    assert "acl known req.ssl_sni -i git.example.org" in lines
    assert "acl known req.ssl_sni -i -m end .apps.example.org" in lines
    assert "tcp-request content accept if { req.ssl_hello_type 1 } known" in lines
    assert lines.index("tcp-request content reject") > lines.index("acl known req.ssl_sni -i git.example.org")
    assert flake.host("vps-door", "c: c.config.services.k3s.enable") is False


def test_an_edge_without_a_host_file_passes_to_the_clusters_gateway(flake: Flake):
    text = flake.host("home-cloud-door", "c: c.config.services.haproxy.config")
    assert "server gateway 192.168.10.200:443 check inter 2s fall 3 rise 2" in text
    assert "acl known" not in text
    script = flake.host("home-cloud-door", "c: c.config.systemd.services.keystone-mesh-settings.script")
    assert "--accept-routes=true" in script


def test_only_the_primer_saves_the_meshs_database(flake: Flake):
    script = flake.host("dev-primer", "c: c.config.systemd.services.headscale-backup.script")
    assert ".backup" in script
    assert "integrity_check" in script
    assert flake.host("dev-w1", "c: c.config.systemd.services ? headscale-backup") is False
