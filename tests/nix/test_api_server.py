"""The real API server takes the policy files and arguments of the modules, and does what they say."""

import base64
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from keystone.errors import KeystoneError
from keystone.identities import Identities
from tests import networks
from tests.nix.evaluator import Flake

NETWORK = networks.fresh()
ADDRESS = NETWORK.at(1)
START_SECONDS = 60
TOKEN = "test-administrator"
FILES = """c: map (f: builtins.unsafeDiscardStringContext f.text)
  [ c.config.keystone.kubernetes.admissionFile c.config.keystone.kubernetes.auditPolicyFile ]"""


def program(name: str) -> Path:
    """A pinned program, if it is built already. This test builds nothing."""
    with suppress(ImportError, KeystoneError):
        import toolchain

        if path := toolchain.inventory([name])[0].path:
            return path
    pytest.skip(f"{name} is not built (`python -m toolchain`)")


class Server:
    """An API server with the arguments of a kubeadm Primer, on an etcd of its own."""

    def __init__(self, flake: Flake, folder: Path) -> None:
        self.folder, self.running = folder, []
        self.etcd_url = f"http://{ADDRESS}:{NETWORK.free_port(1)}"
        self.url = f"https://{ADDRESS}:{NETWORK.free_port(1)}"
        for path in ("run/agenix", "etc/kubernetes/policy", "var/log/kubernetes"):
            (folder / path).mkdir(parents=True)
        (folder / "run/agenix/server-token").write_text(Identities("ab" * 32, "vm").server_token())
        (folder / "sa.key").write_text(Identities("ab" * 32, "vm").service_account_key())
        (folder / "tokens.csv").write_text(f'{TOKEN},admin,1,"system:masters"\n')
        self._prepare(flake)
        documents = flake.host("kubeadm-primer", "c: c.config.keystone.kubeadm.documents")
        [cluster] = [entry for entry in documents if entry["kind"] == "ClusterConfiguration"]
        self.arguments = [f"--{arg['name']}={self._here(arg['value'])}" for arg in cluster["apiServer"]["extraArgs"]]

    def _here(self, text: str) -> str:
        for path in ("/etc/kubernetes", "/var/log/kubernetes", "/run/agenix"):
            text = text.replace(path, f"{self.folder}{path}")
        return text

    def _prepare(self, flake: Flake) -> None:
        """Run the unit's own text; the two files of the store come from the evaluation."""
        text = self._here(flake.host("kubeadm-primer", "c: c.config.keystone.kubeadm.prepare"))
        lines = [line for line in text.splitlines() if not line.startswith("install ")]
        subprocess.run(["bash", "-euc", "\n".join(lines)], check=True)
        for name, content in zip(("admission", "audit-policy"), flake.host("kubeadm-primer", FILES), strict=True):
            (self.folder / f"etc/kubernetes/policy/{name}.yaml").write_text(content)

    def start(self) -> None:
        peer = f"http://{ADDRESS}:{NETWORK.free_port(1)}"
        etcd = [str(program("etcd")), "--data-dir", str(self.folder / "etcd"), "--name", "a"]
        etcd += ["--listen-client-urls", self.etcd_url, "--advertise-client-urls", self.etcd_url]
        etcd += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"a={peer}"]
        port = self.url.rpartition(":")[2]
        api = [str(program("kube-apiserver")), *self.arguments, "--etcd-servers", self.etcd_url]
        api += [f"--advertise-address={ADDRESS}"]  # it looks for a way out of the computer else, and there may be none
        api += ["--bind-address", ADDRESS, "--secure-port", port, "--cert-dir", str(self.folder / "certificates")]
        api += ["--service-cluster-ip-range", "10.43.0.0/16", "--authorization-mode", "RBAC", "--allow-privileged"]
        api += ["--service-account-issuer", "https://kubernetes.default.svc.cluster.local"]
        api += [f"--service-account-{kind}-file={self.folder / 'sa.key'}" for kind in ("key", "signing-key")]
        # no controller makes service accounts here
        api += ["--token-auth-file", str(self.folder / "tokens.csv"), "--disable-admission-plugins", "ServiceAccount"]
        for name, command in (("etcd", etcd), ("api", api)):
            with (self.folder / f"{name}.log").open("w") as log:
                self.running.append(subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "HOME": "/"}))
        self._wait()

    def _wait(self) -> None:
        deadline, seen = time.monotonic() + START_SECONDS, "nothing"
        while time.monotonic() < deadline and all(process.poll() is None for process in self.running):
            try:
                answer = self.call("GET", "/readyz")
                if answer.status_code == 200:
                    return
                seen = answer.text[-300:]
            except httpx.HTTPError as error:
                seen = str(error)
            time.sleep(0.3)
        pytest.fail(f"not ready; last: {seen}; log: {(self.folder / 'api.log').read_text()[-1500:]}")

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return httpx.request(method, f"{self.url}{path}", json=body, headers=headers, verify=False, timeout=10)

    def stop(self) -> None:
        for process in reversed(self.running):
            process.terminate()
            process.wait(timeout=30)


@pytest.fixture(scope="module")
def server(flake: Flake, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(flake, tmp_path_factory.mktemp("api"))
    for name in ("etcd", "kube-apiserver"):
        program(name)
    try:
        made.start()
        yield made
    finally:
        made.stop()


def pod(**security: Any) -> dict[str, Any]:
    container = {"name": "a", "image": "a", "securityContext": security}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [container]}}


@pytest.mark.timeout(300)
def test_namespaces_without_a_label_refuse_privileged_pods(server: Server):
    refused = server.call("POST", "/api/v1/namespaces/default/pods?dryRun=All", pod(privileged=True))
    assert refused.status_code == 403
    assert 'violates PodSecurity "baseline:latest"' in refused.json()["message"]
    taken = server.call("POST", "/api/v1/namespaces/default/pods?dryRun=All", pod())
    assert taken.status_code == 201
    assert "would violate PodSecurity" in taken.headers["Warning"]
    assert "restricted:latest" in taken.headers["Warning"]
    assert (
        server.call("POST", "/api/v1/namespaces/kube-system/pods?dryRun=All", pod(privileged=True)).status_code == 201
    )


@pytest.mark.timeout(300)
def test_secrets_are_encrypted_in_etcd_and_absent_from_the_audit_log(server: Server):
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"word": "canary-4711"}}
    assert server.call("POST", "/api/v1/namespaces/default/secrets", secret).status_code == 201
    assert server.call("POST", "/api/v1/namespaces", {"metadata": {"name": "noted"}}).status_code == 201

    key = base64.b64encode(b"/registry/secrets/default/s").decode()
    answer = httpx.post(f"{server.etcd_url}/v3/kv/range", json={"key": key}, timeout=10).json()
    stored = base64.b64decode(answer["kvs"][0]["value"])
    assert stored.startswith(b"k8s:enc:secretbox:v1:derived-1:")
    assert b"canary-4711" not in stored

    log = (server.folder / "var/log/kubernetes/audit.log").read_text()
    entries = [json.loads(line) for line in log.splitlines()]
    noted = [entry for entry in entries if entry["verb"] == "create"]
    levels = {entry["objectRef"]["resource"]: entry["level"] for entry in noted}
    assert (levels["secrets"], levels["namespaces"]) == ("Metadata", "Request")
    assert "canary-4711" not in log
    assert base64.b64encode(b"canary-4711").decode() not in log
