"""kubeadm as the other distribution: the same facts, authorities, policy and tokens."""

import json
import re
import subprocess
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from tests.nix.evaluator import Flake

DOCUMENTS = "c: c.config.keystone.kubeadm.documents"


def document(flake: Flake, host: str, kind: str) -> dict[str, Any]:
    [found] = [entry for entry in flake.host(host, DOCUMENTS) if entry["kind"] == kind]
    return found


def arguments(entries: list[dict[str, str]]) -> list[str]:
    return [f"{entry['name']}={entry['value']}" for entry in entries]


def test_the_control_plane_has_our_ranges_names_and_policy(flake: Flake):
    found = document(flake, "kubeadm-primer", "ClusterConfiguration")
    assert found["controlPlaneEndpoint"] == "192.168.10.10:6443"
    assert found["networking"] == {
        "podSubnet": "10.42.0.0/16",
        "serviceSubnet": "10.43.0.0/16",
        "dnsDomain": "cluster.local",
    }
    assert {"192.168.10.11", "s1", "s1.mesh.internal"} <= set(found["apiServer"]["certSANs"])
    assert arguments(found["apiServer"]["extraArgs"]) == [
        "enable-admission-plugins=NodeRestriction",
        "admission-control-config-file=/etc/kubernetes/policy/admission.yaml",
        "profiling=false",
        "audit-policy-file=/etc/kubernetes/policy/audit-policy.yaml",
        "audit-log-path=/var/log/kubernetes/audit.log",
        "audit-log-maxage=30",
        "audit-log-maxbackup=10",
        "audit-log-maxsize=100",
        "encryption-provider-config=/etc/kubernetes/policy/encryption.yaml",
    ]


def test_the_kubelet_rotates_its_certificate_and_shuts_down_in_order(flake: Flake):
    found = document(flake, "kubeadm-w1", "KubeletConfiguration")
    assert found["rotateCertificates"] is True
    assert found["serverTLSBootstrap"] is True
    assert found["protectKernelDefaults"] is True
    assert found["cgroupDriver"] == "systemd"
    assert found["clusterDNS"] == ["10.43.0.10"]
    assert found["shutdownGracePeriod"] == "90s"


def test_cilium_replaces_kube_proxy_and_flannel_does_not(flake: Flake):
    script = "c: c.config.systemd.services.keystone-kubeadm-init.script"
    assert "--skip-phases addon/kube-proxy" in flake.host("kubeadm-primer", script)
    assert "--skip-phases" not in flake.host("kubeadm-flannel-primer", script)
    kinds = [entry["kind"] for entry in flake.host("kubeadm-flannel-primer", DOCUMENTS)]
    assert "KubeProxyConfiguration" in kinds


def test_plugins_that_call_others_find_them(flake: Flake):
    """flannel's image holds flannel alone: bridge, loopback and portmap are the machine's."""
    runtime = 'c: c.config.virtualisation.containerd.settings.plugins."io.containerd.cri.v1.runtime".cni.bin_dirs'
    own, theirs = flake.host("kubeadm-flannel-w1", runtime)
    assert own == "/opt/cni/bin"
    assert re.fullmatch(r"/nix/store/[a-z0-9]{32}-cni-plugins[^/]*/bin", theirs)


def test_what_a_restore_of_etcd_types_is_on_the_path(flake: Flake):
    names = flake.host("kubeadm-primer", "c: map (p: p.pname or p.name) c.config.environment.systemPackages")
    assert {"etcd", "cri-tools"} <= set(names)
    crictl = flake.host("kubeadm-primer", 'c: c.config.environment.etc."crictl.yaml".text')
    assert crictl == "runtime-endpoint: unix:///run/containerd/containerd.sock\n"


def test_every_server_renews_its_certificates_by_itself(flake: Flake):
    for host, there in (("kubeadm-primer", True), ("kubeadm-s1", True), ("kubeadm-w1", False), ("ten-s1", False)):
        timers = flake.host(host, "c: builtins.attrNames c.config.systemd.timers")
        assert ("keystone-kubeadm-renewal" in timers) is there, host


def test_the_primer_applies_plugin_and_gitops_engine_from_the_build(flake: Flake):
    script = flake.host("kubeadm-primer", "c: c.config.systemd.services.keystone-bootstrap.script")
    applied = re.findall(r"--filename /nix/store/[a-z0-9]{32}-(\S+)", script)
    assert applied == [
        "gateway-api-1.6.1.yaml",
        "cilium-1.20.0.yaml",
        "flux-operator-0.49.0.yaml",
        "flux-instance.yaml",
    ]
    assert "waited 1800 s for the API" in script
    services = flake.host("kubeadm-w1", "c: builtins.attrNames c.config.systemd.services")
    assert "keystone-bootstrap" not in services
    assert "keystone-kubeadm-join" in services


RENDERED = {
    "a certificate made in the cluster": ("kind: CronJob\nmetadata:\n  name: hubble-generate-certs\n", 0),
    "a key of Helm's": (f"data:\n  tls.key: {b64encode(b'-----BEGIN RSA PRIVATE KEY-----').decode()}\n", 1),
    "a plain key": ("stringData:\n  key: |\n    -----BEGIN PRIVATE KEY-----\n", 1),
}


@pytest.mark.parametrize(("text", "status"), RENDERED.values(), ids=RENDERED)
def test_no_chart_writes_a_key_into_the_store(flake: Flake, tmp_path: Path, text: str, status: int):
    """The build's own shell text, with a Helm that renders what the case says."""
    helm = tmp_path / "helm"
    helm.write_text(f"#!/bin/sh\ncat <<'E'\n{text}E\n")
    helm.chmod(0o755)
    build = flake.host("kubeadm-primer", "c: (builtins.elemAt c.config.keystone.cni.manifests 1).buildCommand")
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "out": str(tmp_path / "out"), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        ["bash", "-euc", build],
        env={**environment, "valuesPath": "values"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert status == 0 or "the chart cilium makes keys itself" in done.stderr
    assert text in (tmp_path / "out").read_text()


def test_joining_trusts_only_the_authority_that_the_token_names(flake: Flake):
    script = flake.host("kubeadm-w1", "c: c.config.systemd.services.keystone-kubeadm-join.script")
    assert 'if [ "$found" != "$wanted" ]' in script
    assert script.index('if [ "$found" != "$wanted" ]') < script.index("kubeadm join")
    assert "controlPlane" not in script
    server = flake.host("kubeadm-s1", "c: c.config.systemd.services.keystone-kubeadm-join.script")
    assert "controlPlane" in server
    remote = flake.host("kubeadm-flannel-c1", "c: c.config.systemd.services.keystone-kubeadm-join.script")
    assert "https://primer.mesh.internal:6443" in remote
    assert '"node-ip", value: $address' in remote.replace('name: "node-ip"', '"node-ip"')


def test_both_sides_derive_the_same_bootstrap_token(flake: Flake, tmp_path: Any):
    """The token is worked out from the agent token by shell text on either side; run that text."""
    (tmp_path / "agent-token").write_text("K10" + "a" * 64 + "::node:" + "b" * 64)
    lines = []
    for host, service in (("kubeadm-primer", "init"), ("kubeadm-w1", "join")):
        script = flake.host(host, f"c: c.config.systemd.services.keystone-kubeadm-{service}.script")
        text = script.replace("/run/agenix", str(tmp_path))
        found = [line for line in text.splitlines() if "bootstrap token:" in line or line.strip().startswith("token=")]
        lines.append("\n".join(found) + '\nprintf %s "$token"')
    told = [subprocess.run(["bash", "-euc", text], capture_output=True, text=True, check=True).stdout for text in lines]
    assert told[0] == told[1]
    assert re.fullmatch(r"[a-z0-9]{6}\.[a-z0-9]{16}", told[0])


def test_no_secret_is_an_argument_or_in_the_documents(flake: Flake):
    for host in ("kubeadm-primer", "kubeadm-s1", "kubeadm-w1"):
        assert "token" not in json.dumps(flake.host(host, DOCUMENTS)).lower().replace("tokens", "")
        services = flake.host(host, "c: builtins.mapAttrs (_: s: s.script) c.config.systemd.services")
        for name, script in services.items():
            if name.startswith("keystone-kubeadm"):
                calls = [line for line in script.splitlines() if line.strip().startswith("kubeadm ")]
                assert not any("$token" in call or "$certificate_key" in call for call in calls), name


def test_the_deployer_finds_kubernetes_under_one_name(flake: Flake):
    assert flake.host("kubeadm-w1", "c: c.config.systemd.services.kubelet.aliases") == ["k3s.service"]


def test_only_an_interrupted_run_of_ours_is_reset(flake: Flake, tmp_path: Path):
    """Resetting erases etcd: run the text on a node of somebody else's cluster, and on one of ours."""
    text = flake.host("kubeadm-primer", "c: c.config.keystone.kubeadm.start")
    marks, theirs = tmp_path / "keystone", tmp_path / "kubernetes"
    marks.mkdir()
    theirs.mkdir()
    text = text.replace("/var/lib/keystone", str(marks)).replace("/etc/kubernetes", str(theirs))
    script = f"kubeadm() {{ echo kubeadm $1; }}\n{text}"

    def run() -> tuple[int, str]:
        done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    assert run() == (0, "")  # a fresh node
    assert run() == (0, "kubeadm reset\n")  # interrupted
    (marks / "kubeadm-done.begun").unlink()
    (theirs / "kubelet.conf").touch()
    status, said = run()
    assert status == 1
    assert "this node belongs to a cluster already" in said
