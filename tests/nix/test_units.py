"""The shell text of our units, run with stand-ins for the programs that only a machine has."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.nix.evaluator import Flake


class Unit:
    """One unit's script in a folder that takes the place of the machine's root."""

    def __init__(self, script: str, root: Path) -> None:
        self.root = root
        self.log = root / "log"
        self.bin = root / "bin"
        self.bin.mkdir(parents=True)
        # programs of the store become programs of the PATH; the machine's folders lie below the root
        script = re.sub(r"/nix/store/[a-z0-9]{32}-[^/\s]+/bin/", "", script)
        self.script = re.sub(r"(?<![\w.])/(etc|var|run)/", rf"{root}/\1/", script)

    def program(self, name: str, text: str) -> None:
        file = self.bin / name
        file.write_text(f'#!/bin/sh\necho "{name} $*" >>{self.log}\n{text}\n')
        file.chmod(0o755)

    def run(self) -> subprocess.CompletedProcess[str]:
        self.log.write_text("")
        environment = {**os.environ, "PATH": f"{self.bin}:{os.environ['PATH']}"}
        return subprocess.run(
            ["bash", "-ec", self.script], capture_output=True, text=True, check=False, env=environment, timeout=30
        )

    def called(self) -> list[str]:
        return self.log.read_text().splitlines()


def unit(flake: Flake, host: str, name: str, root: Path) -> Unit:
    return Unit(flake.host(host, f"c: c.config.systemd.services.{name}.script"), root)


def test_a_remote_agent_gets_its_address_from_the_mesh_before_k3s_starts(flake: Flake, tmp_path: Path):
    address = unit(flake, "home-cloud-c1", "keystone-mesh-address", tmp_path)
    address.program("tailscale", f"test -e {tmp_path}/joined && echo 100.64.0.7")
    address.program("sleep", f"touch {tmp_path}/joined")
    address.program("systemctl", "")
    drop_in = tmp_path / "etc/rancher/k3s/config.yaml.d/50-mesh-address.yaml"

    assert address.run().returncode == 0
    assert address.called().count("tailscale ip -4") == 2, "it waited for the address"
    assert drop_in.read_text() == "node-ip: 100.64.0.7\n"
    assert address.called()[-2:] == [
        "systemctl start keystone-mesh-settings.service",
        "systemctl --no-block restart k3s.service",
    ]

    assert address.run().returncode == 0
    assert address.called()[-1] == "systemctl --no-block start k3s.service", "the same address restarts nothing"


@pytest.mark.parametrize(("state", "calls"), [("Running", 2), ("NeedsLogin", 1)])
def test_the_meshs_settings_wait_for_the_join(flake: Flake, tmp_path: Path, state: str, calls: int):
    settings = unit(flake, "home-cloud-primer", "keystone-mesh-settings", tmp_path)
    settings.program("tailscale", f'echo \'{{"BackendState": "{state}"}}\'')
    settings.program("jq", f"cat >/dev/null; echo {state}")
    assert settings.run().returncode == 0
    said = [line for line in settings.called() if line.startswith("tailscale")]
    assert len(said) == calls
    if calls == 2:
        assert said[1] == "tailscale set --accept-dns=true --accept-routes=false --advertise-routes=192.168.10.0/24"


def test_the_authorities_are_placed_once_and_then_left_alone(flake: Flake, tmp_path: Path):
    identity = unit(flake, "dev-primer", "keystone-cluster-identity", tmp_path)
    secrets, tls = tmp_path / "run/agenix", tmp_path / "var/lib/rancher/k3s/server/tls"
    secrets.mkdir(parents=True)
    for name in re.findall(r"place \S+/run/agenix/(\S+) ", identity.script):
        (secrets / name).write_text(name)

    assert identity.run().returncode == 0
    assert (tls / "etcd/peer-ca.key").read_text() == "etcd--peer-ca.key"
    assert (tls / "service.key").stat().st_mode & 0o777 == 0o600
    assert len([file for file in tls.rglob("*") if file.is_file()]) == 11

    (tls / "server-ca.crt").write_text("rotated by hand")
    again = identity.run()
    assert again.returncode == 0
    assert "server-ca.crt differs from the settings' identity and stays" in again.stderr
    assert (tls / "server-ca.crt").read_text() == "rotated by hand"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not on PATH")
@pytest.mark.parametrize(("days", "restarts"), [(300, 0), (60, 1)])
def test_k3s_is_restarted_when_its_certificate_is_about_to_end(flake: Flake, tmp_path: Path, days: int, restarts: int):
    renewal = unit(flake, "dev-w1", "k3s-certificate-renewal", tmp_path)
    renewal.program("systemctl", "")
    certificate(tmp_path / "var/lib/rancher/k3s/agent/client-kubelet.crt", days)
    assert renewal.run().returncode == 0
    assert renewal.called() == ["systemctl restart k3s.service"] * restarts


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not on PATH")
@pytest.mark.parametrize(("days", "renews"), [(300, False), (60, True)])
def test_kubeadms_control_plane_gets_new_certificates_before_they_end(
    flake: Flake, tmp_path: Path, days: int, renews: bool
):
    renewal = unit(flake, "kubeadm-s1", "keystone-kubeadm-renewal", tmp_path)
    renewal.program("kubeadm", "")
    renewal.program("crictl", '[ "$1" != ps ] || printf "one\\ntwo\\n"')
    certificate(tmp_path / "etc/kubernetes/pki/apiserver.crt", days)
    assert renewal.run().returncode == 0
    shown = "crictl ps --quiet --name ^(etcd|kube-apiserver|kube-controller-manager|kube-scheduler)$"
    done = ["kubeadm certs renew all", shown, "crictl stop --timeout 30 one two"]
    assert sorted(renewal.called()) == (sorted(done) if renews else [])
    assert not renews or renewal.called()[0] == done[0], "what starts again reads the new ones"


def certificate(file: Path, days: int) -> None:
    """A certificate that ends in so many days."""
    file.parent.mkdir(parents=True)
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-keyout", str(file.with_suffix(".key")), "-out", str(file)]
    subprocess.run([*make, "-subj", "/CN=a", "-days", str(days), *files], check=True, capture_output=True)


def test_a_wrong_authority_is_not_joined(flake: Flake, tmp_path: Path):
    """What answers at the Primer's address shows another authority than the token names."""
    join = unit(flake, "kubeadm-w1", "keystone-kubeadm-join", tmp_path)
    (tmp_path / "run/agenix").mkdir(parents=True)
    (tmp_path / "run/agenix/agent-token").write_text(f"K10{'a' * 64}::node:{'b' * 64}")
    (tmp_path / "var/lib/keystone").mkdir(parents=True)
    for name, text in (
        ("curl", "echo '{}'"),
        ("jq", "cat >/dev/null; echo kubeconfig"),
        ("yq", "cat >/dev/null 2>&1 </dev/null; echo b3RoZXI="),
        ("kubeadm", ""),
    ):
        join.program(name, text)
    join.script = f"RUNTIME_DIRECTORY={tmp_path}\n{join.script}"
    done = join.run()
    assert done.returncode == 1
    assert "w1: the API at https://192.168.10.10:6443 shows the authority" in done.stderr
    assert "Is another cluster answering there?" in done.stderr
    assert not [line for line in join.called() if line.startswith("kubeadm join")]
