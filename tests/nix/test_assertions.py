"""Every assertion of the modules: a machine that trips it, and the message with host, option and cure."""

import re
from collections.abc import Callable

import pytest

from tests.nix import stacks
from tests.nix.evaluator import NIX, Flake

FORCE = "lib.mkForce"


def facts(**fields: str) -> str:
    """A module that changes facts of the host."""
    return module(*(f"keystone.host.{name} = {FORCE} ({value});" for name, value in fields.items()))


def module(*lines: str) -> str:
    return f"{{ lib, ... }}: {{ {' '.join(lines)} }}"


# host, module, what the message says
CASES: list[tuple[str, str, str]] = [
    (
        "dev-w1",
        module(f"keystone.base.operatorKeyFile = {FORCE} null;"),
        "w1: keystone.base.operatorKeyFile: no public key may log in. Run `keystone facts`",
    ),
    (
        "dev-w1",
        module(f'keystone.cluster.serviceCidr = {FORCE} "10.42.0.0/16";'),
        "w1: keystone.cluster.podCidr and serviceCidr are both 10.42.0.0/16. Give pods and services",
    ),
    (
        "dev-primer",
        facts(remote="true"),
        "primer: keystone.host.remote is set on a primer, but etcd stays on one network. Only agents",
    ),
    (
        "dev-primer",
        module(f'keystone.mesh.serverUrl = {FORCE} "https://127.79.0.10:6443";'),
        "primer: keystone.mesh.serverUrl: port 6443 is taken by SSH or the Kubernetes API. Give the mesh's",
    ),
    (
        "dev-w1",
        facts(osdDisks='[ "/dev/disk/by-id/virtio-w1-system" ]'),
        "w1: keystone.host.osdDisks contains the system disk /dev/disk/by-id/virtio-w1-system. Give Ceph other",
    ),
    (
        "dev-w1",
        module(
            'disko.devices.disk.more = { type = "disk"; device = "/dev/disk/by-id/virtio-w1-osd0"; content = null; };'
        ),
        "w1: disko.devices would format /dev/disk/by-id/virtio-w1-osd0, which keystone.host.osdDisks gives to Ceph.",
    ),
    (
        "dev-w1",
        module('disko.devices.disk.more = { type = "disk"; device = "/dev/disk/by-id/x"; content = null; };'),
        "w1: disko.devices.disk names /dev/disk/by-id/virtio-w1-system, /dev/disk/by-id/x, but the system belongs on",
    ),
    (
        "dev-w1",
        # As in nixpkgs: the module is there under its release's name, and the plain name throws.
        """{ lib, pkgs, ... }: let
          module = pkgs.linuxPackages.zfs // { meta = pkgs.linuxPackages.zfs.meta // { broken = true; }; };
          kernel = pkgs.linuxPackages // { zfs_2_3 = module; zfs = throw "has been removed"; extend = _: kernel; };
        in {
          boot.kernelPackages = lib.mkForce kernel;
          boot.zfs.package = pkgs.zfs // { kernelModuleAttribute = "zfs_2_3"; };
        }""",
        "w1: boot.kernelPackages: ZFS does not support Linux 6.12.30 yet. Take an older kernel.",
    ),
    (
        "home-cloud-c2",
        module(f"keystone.snapshots.enable = {FORCE} true;"),
        "c2: keystone.snapshots.enable needs ZFS, but keystone.host.layout is ext4-luks. Switch snapshots off",
    ),
    (
        "home-cloud-c2",
        module("keystone.boot.unlock.pcrs = [ 7 ];"),
        "c2: keystone.boot.unlock.pcrs is set, but keystone.host.unlock is remote. Leave pcrs empty or unlock by tpm2.",
    ),
    (
        "dev-w1",
        module("keystone.boot.secureBoot.measured = false;"),
        "w1: keystone.boot.secureBoot.measured is off and keystone.boot.unlock.pcrs is empty: the TPM would open",
    ),
    (
        "home-cloud-c2",
        module("keystone.boot.secureBoot.measured = true;"),
        "c2: keystone.boot.secureBoot.measured needs keystone.boot.secureBoot.enable. Enable both or neither.",
    ),
    (
        "home-cloud-c2",
        module("keystone.boot.secureBoot.enable = true; keystone.boot.secureBoot.measured = true;"),
        "c2: keystone.boot.secureBoot.measured binds the TPM's key slot, but keystone.host.unlock is remote. Switch",
    ),
    (
        "dev-w1",
        module("keystone.boot.secureBoot.enable = false;"),
        "w1: keystone.host.unlock is tpm2 without keystone.boot.secureBoot.enable: any system that boots here",
    ),
    (
        "home-cloud-c2",
        facts(ssh='{ port = 2223; initrdPort = 2223; user = "root"; }'),
        "c2: keystone.host.ssh.initrdPort and ssh.port are both 2223, but the two servers have different keys.",
    ),
    (
        "dev-w1",
        module(f'keystone.secrets.folder = {FORCE} (/. + "/nowhere");'),
        "w1: keystone.secrets.folder lacks agent-token.age. Run `keystone facts`, which writes nix/secrets/dev/w1.",
    ),
    (
        "dev-w1",
        module(f"keystone.mesh.client.authorityFile = {FORCE} null;"),
        "w1: keystone.mesh.client.authorityFile is missing, but keystone.mesh.tls is private. Run `keystone facts`",
    ),
    (
        "dev-w1",
        module(f'keystone.mesh.serverUrl = {FORCE} "https://a.mesh.keystone.internal";'),
        "w1: keystone.mesh.serverUrl: a.mesh.keystone.internal lies inside keystone.mesh.domain",
    ),
    (
        "dev-primer",
        '{ pkgs, ... }: { services.headscale.package = pkgs.headscale // { version = "0.26.1"; }; }',
        "primer: services.headscale.package: 0.26.1 cannot mint a key for a tag alone. Take Headscale 0.28 or newer.",
    ),
    (
        "dev-primer",
        module(f'keystone.mesh.tls = {FORCE} "file";'),
        "primer: keystone.mesh.tls is file, but keystone.mesh.controller.certificateFile or keyFile is not set.",
    ),
    (
        "dev-primer",
        module(f'keystone.mesh.tls = {FORCE} "acmeDns";'),
        "primer: keystone.mesh.tls is acmeDns, but keystone.mesh.controller.acme.email or credentialsFile is not set.",
    ),
    (
        "calico-w1",
        module(f'keystone.network.loadBalancer = {FORCE} "cilium";'),
        "w1: keystone.network.loadBalancer is cilium, but keystone.network.cni is calico. Take metallb",
    ),
    (
        "calico-w1",
        module(f'keystone.network.gateway = {FORCE} "cilium";'),
        "w1: keystone.network.gateway is cilium, but keystone.network.cni is calico. Take traefik",
    ),
    (
        "calico-w1",
        module(f'keystone.network.serviceMesh = {FORCE} "cilium";'),
        "w1: keystone.network.serviceMesh is cilium, but keystone.network.cni is calico. Take another service mesh",
    ),
    (
        "dev-w1",
        module(f'keystone.cluster.name = {FORCE} "{"x" * 33}";'),
        f"w1: keystone.cluster.name {'x' * 33} is longer than the 32 characters that Cilium takes. Shorten it",
    ),
    (
        "home-cloud-c1",
        module('services.k3s.nodeIP = lib.mkOverride 40 "10.20.0.21";'),
        "c1: services.k3s.nodeIP is set on a remote agent, but its address comes from the mesh. Remove",
    ),
    (
        "dev-primer",
        module("keystone.k3s.server.disable = [ ];"),
        "primer: keystone.k3s.server.disable lacks servicelb, which would fight cilium for the same addresses. Add it.",
    ),
    (
        "ten-s1",
        module(f"services.k3s.clusterInit = {FORCE} true;"),
        "s1: services.k3s.clusterInit belongs on the Primer alone, where it starts etcd instead of SQLite. Set it",
    ),
    (
        "ten-primer",
        "{ lib, ... }: { keystone.cluster.servers = lib.mkForce ("
        'map (n: { name = n; role = if n == "primer" then "primer" else "server"; address = "192.168.10.10";'
        ' meshName = "${n}.mesh.internal"; }) [ "primer" "s1" ]); }',
        "primer: keystone.cluster.servers names 2 servers; etcd wants an odd number, so that a majority survives. Add",
    ),
    (
        "kubeadm-primer",
        "{ lib, ... }: { keystone.cluster.servers = lib.mkForce ("
        'map (n: { name = n; role = if n == "primer" then "primer" else "server"; address = "192.168.10.10";'
        ' meshName = "${n}.mesh.internal"; }) [ "primer" "s1" ]); }',
        "primer: keystone.cluster.servers names 2 servers; etcd wants an odd number, so that a majority survives. Add",
    ),
    (
        "vps-door",
        module("keystone.gvisor.enable = true;"),
        "door: keystone.gvisor.enable is for Kubernetes nodes, but the host is an edge. Switch it off.",
    ),
    (
        "vps-door",
        module(f"keystone.edge.backends = {FORCE} {{ }};"),
        "door: keystone.edge.backends is empty, so the edge would refuse every connection. Give network.loadBalancer",
    ),
    (
        "vps-door",
        module(f"keystone.edge.backends.home.backup = {FORCE} true;"),
        "door: keystone.edge.backends: every backend is a backup. Make one of them a first choice.",
    ),
    (
        "vps-door",
        facts(ssh='{ port = 443; initrdPort = 2223; user = "root"; }'),
        "door: keystone.host.ssh.port 443 is one of the edge's public ports. Give SSH another port.",
    ),
    (
        "dev-w1",
        module("keystone.storage.ceph = false;"),
        "w1: keystone.host.osdDisks gives disks to Ceph, but keystone.storage.ceph is off. Switch it on or remove",
    ),
    (
        "vps-door",
        module("keystone.storage.longhorn = true;"),
        "door: keystone.storage is for Kubernetes nodes, but the host is an edge. Switch ceph, longhorn",
    ),
    (
        "dev-primer",
        module(
            'keystone.host.offsite = lib.mkForce { bucket = "b"; region = "r"; everyHours = 6; zfsDays = 7;'
            ' datasets = [ ]; rclone = { }; roleArn = "arn:aws:iam::123456789012:role/a"; };'
        ),
        "primer: keystone.offsite.recipientFile is missing, and copies must be encrypted. Run `keystone facts`",
    ),
    (
        "dev-primer",
        module(
            'keystone.host.pools = lib.mkForce { spot = { region = "eu-central-1"; parameter = "/a/b";'
            ' keyId = "alias/a"; roleArn = "arn:aws:iam::123456789012:role/a"; tags = [ "tag:pool" ];'
            " keyHours = 24; }; };"
        ),
        "primer: keystone.host.pools needs keystone.cluster.issuerHost: AWS trusts the cluster's tokens by it. Set",
    ),
]


@pytest.mark.parametrize(("host", "change", "message"), CASES, ids=[case[2][:70] for case in CASES])
def test_a_contradiction_is_refused_with_host_option_and_cure(flake: Flake, host: str, change: str, message: str):
    faults = flake.faults(host, change)
    assert any(fault.startswith(message) for fault in faults), faults


def test_every_assertion_of_the_modules_has_a_machine_that_trips_it():
    written = [
        (file.name, message)
        for file in sorted((NIX / "modules").rglob("*.nix"))
        for message in re.findall(r'(?m)message = "(.*)";$', file.read_text())
    ]
    asserted = sum(file.read_text().count("assertion = ") for file in (NIX / "modules").rglob("*.nix"))
    assert len(written) == asserted, "each assertion has its message in one line, in plain quotes"
    assert [entry for entry in written if not any(pattern(entry[1])(case[2]) for case in CASES)] == []


def pattern(message: str) -> Callable[[str], bool]:
    """Whether a case expects this message: its text up to where the case ends, with what Nix puts in as anything."""
    parts = re.split(r"\$\{(?:[^{}]|\{[^{}]*\})*\}", message)
    longest = max(parts, key=len)
    return lambda expected: any(len(part) >= 12 and part[:40].strip() in expected for part in (longest, *parts))


@pytest.mark.parametrize("stack", stacks.ALL)
def test_no_stack_trips_an_assertion(flake: Flake, stack: str):
    primer, _ = stacks.settings(stack).primer
    assert flake.faults(f"{stack}-{primer}", "{ }") == []
