"""The primer's control plane: real etcd, kube-apiserver, controller manager and scheduler, and kwok for the pods.

Everything listens on the primer's own address. Certificates come from the cluster's CAs, which are derived from the
stack's root secret, so the API's identity survives any reinstallation; leaves are issued anew at each start, as in k3s.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import ssl
from pathlib import Path

import httpx
import yaml
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keystone.errors import KeystoneError
from twin.charts.controller import ChartController
from twin.charts.orders import Orders
from twin.files import write_private
from twin.services import InstalledSystem
from twin.services.certificates import Authority
from twin.services.facts import (
    CONTROLLER_MANAGER_PORT,
    ETCD_PEER_PORT,
    ETCD_PORT,
    JOIN_PORT,
    SCHEDULER_PORT,
    Facts,
)
from twin.services.join import JoinServer
from twin.services.kube import Kube, write_kubeconfig
from twin.services.layout import Layout, environment
from twin.supervisor import Child, Spec, Supervisor
from twin.tools import tool

log = logging.getLogger("twin.control_plane")
STAGES = Path(__file__).with_name("stages")
CA_FILES = ("server-ca", "client-ca", "request-header-ca", "etcd/server-ca", "etcd/peer-ca")
AUDIT_POLICY = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata"}]}
NODE_LABEL = "kwok.x-k8s.io/node=fake"
API_SECONDS = 90.0


class ControlPlane:
    """Starts and stops the control plane of one primer."""

    def __init__(self, system: InstalledSystem, facts: Facts, supervisor: Supervisor) -> None:
        self.system = system
        self.facts = facts
        self.layout = Layout(system.root)
        self._supervisor = supervisor
        self._children: list[Child] = []
        self._kube: Kube | None = None
        self._join: JoinServer | None = None
        self._charts: ChartController | None = None

    @property
    def failed(self) -> str:
        """The names of the processes that stay down; empty when there are none."""
        return ", ".join(child.spec.name for child in self._children if child.failed)

    @property
    def running(self) -> bool:
        return bool(self._children) and all(child.running for child in self._children)

    async def start(self) -> None:
        """Start all, in order; raises KeystoneError naming the process that does not come up."""
        try:
            self._write_authorities()
            self._write_leaves()
            self._write_configuration()
            await self._run("etcd", self._etcd(), self._etcd_ready)
            await self._run("kube-apiserver", self._apiserver(), self._api_ready)
            kube = self._kube = self.client()
            for path in sorted(STAGES.glob("*.yaml")):
                await self._apply(kube, path)
            await asyncio.gather(
                self._run(
                    "kube-controller-manager", self._controller_manager(), self._healthy(CONTROLLER_MANAGER_PORT)
                ),
                self._run("kube-scheduler", self._scheduler(), self._healthy(SCHEDULER_PORT)),
                self._run("kwok", self._kwok(), None),
            )
            await self._open_door(kube)
            self._charts = ChartController(kube, Orders(self.layout.chart_orders))
            self._charts.start(self.system.cluster)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop in the opposite order; etcd is the last, so that nothing loses what it wrote."""
        if self._charts is not None:
            await self._charts.stop()
            self._charts = None
        if self._join is not None:
            await self._join.stop()
            self._join = None
        if self._kube is not None:
            await self._kube.close()
            self._kube = None
        children, self._children = self._children, []
        users = [child for child in children if child.spec.name.rpartition("-")[2] in ("manager", "scheduler", "kwok")]
        await asyncio.gather(*(child.stop() for child in users))
        for child in reversed([child for child in children if child not in users]):
            await child.stop()

    def client(self) -> Kube:
        """An administrator's client; the caller closes it."""
        tls = self.layout.tls
        return Kube(self._url, tls / "server-ca.crt", tls / "client-admin.crt", tls / "client-admin.key")

    @property
    def _url(self) -> str:
        return f"https://{self.system.address}:{self.facts.api_port}"

    async def _run(self, program: str, arguments: list[str], ready) -> None:
        spec = Spec(
            name=f"{self.system.name}-{program}",
            argv=[str(tool(program)), *arguments],
            environment=environment(self.system.root),
            cwd=self.system.root,
            ready=ready,
            ready_limit=API_SECONDS,
        )
        self._children.append(await self._supervisor.start(spec))

    # --- files ---

    def _secret(self, name: str) -> bytes:
        try:
            return self.system.secrets[name]
        except KeyError:
            raise KeystoneError(
                f"{self.system.name}: secret {name}", "is not among the machine's secrets", "Render the age files again"
            ) from None

    def _authority(self, name: str) -> Authority:
        return Authority(self._secret(f"{name}.crt".replace("/", "--")), self._secret(f"{name}.key".replace("/", "--")))

    def _write_authorities(self) -> None:
        tls = self.layout.tls
        for name in CA_FILES:
            authority = self._authority(name)
            write_private(tls / f"{name}.crt", authority.certificate)
            write_private(tls / f"{name}.key", authority.key)
        write_private(tls / "service.key", self._secret("service-account-key"))

    def _write_leaves(self) -> None:
        facts, address = self.facts, self.system.address
        local = ("127.0.0.1", "localhost", address)
        service = "kubernetes.default.svc"
        inside = (
            f"{service}.{facts.cluster_domain}",
            service,
            "kubernetes.default",
            "kubernetes",
            facts.service_address,
        )
        ours = (self.system.name, facts.mesh_name(self.system.name))
        server, client = self._authority("server-ca"), self._authority("client-ca")
        etcd, peer = self._authority("etcd/server-ca"), self._authority("etcd/peer-ca")
        leaves = {
            "serving-kube-apiserver": server.issue(
                "kube-apiserver", names=(*facts.sans, *local, *inside, *ours), server=True
            ),
            "serving-loopback": server.issue("k3s", names=(*local, *ours), server=True),
            "client-admin": client.issue("system:admin", organization="system:masters", client=True),
            "client-controller": client.issue("system:kube-controller-manager", client=True),
            "client-scheduler": client.issue("system:kube-scheduler", client=True),
            "client-kwok": client.issue("system:kwok", organization="system:masters", client=True),
            "client-kube-apiserver": client.issue("system:apiserver", organization="system:masters", client=True),
            "client-auth-proxy": self._authority("request-header-ca").issue("system:auth-proxy", client=True),
            "etcd/server": etcd.issue("etcd-server", names=local, server=True, client=True),
            "etcd/peer": peer.issue("etcd-peer", names=local, server=True, client=True),
            "etcd/client": etcd.issue("etcd-client", client=True),
        }
        for name, (certificate, key) in leaves.items():
            write_private(self.layout.tls / f"{name}.crt", certificate)
            write_private(self.layout.tls / f"{name}.key", key)
        ca = server.certificate
        for name, path in {
            "client-admin": self.layout.admin_kubeconfig,
            "client-controller": self._cred("controller"),
            "client-scheduler": self._cred("scheduler"),
            "client-kwok": self._cred("kwok"),
        }.items():
            certificate, key = leaves[name]
            write_kubeconfig(path, server=self._url, ca=ca, certificate=certificate, key=key)

    def _cred(self, name: str) -> Path:
        return self.layout.server / "cred" / f"{name}.kubeconfig"

    def _write_configuration(self) -> None:
        # The key is derived, so that a restored database can be read by a reinstalled primer.
        seed = HKDF(SHA256(), 32, b"twin", b"secrets encryption").derive(self._secret("server-token").strip())
        sealed = {"secretbox": {"keys": [{"name": "key1", "secret": base64.b64encode(seed).decode()}]}}
        plain: dict[str, dict] = {"identity": {}}
        providers = [sealed, plain] if self.facts.secrets_encryption else [plain, sealed]
        encryption = {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "EncryptionConfiguration",
            "resources": [{"resources": ["secrets"], "providers": providers}],
        }
        write_private(self._cred("encryption-config"), yaml.safe_dump(encryption).encode())
        write_private(self.layout.server / "audit.yaml", yaml.safe_dump(AUDIT_POLICY).encode())
        (self.layout.server / "logs").mkdir(mode=0o700, exist_ok=True)
        (self.layout.server / "db").mkdir(mode=0o700, exist_ok=True)

    # --- command lines ---

    def _etcd(self) -> list[str]:
        tls, name, address = self.layout.tls / "etcd", self.system.name, self.system.address
        client, peer = f"https://{address}:{ETCD_PORT}", f"https://{address}:{ETCD_PEER_PORT}"
        return [
            f"--name={name}",
            f"--data-dir={self.layout.server / 'db/etcd'}",
            *(f"--listen-client-urls={client}", f"--advertise-client-urls={client}"),
            *(f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"),
            f"--initial-cluster={name}={peer}",
            *("--client-cert-auth", f"--trusted-ca-file={tls / 'server-ca.crt'}"),
            *(f"--cert-file={tls / 'server.crt'}", f"--key-file={tls / 'server.key'}"),
            *("--peer-client-cert-auth", f"--peer-trusted-ca-file={tls / 'peer-ca.crt'}"),
            *(f"--peer-cert-file={tls / 'peer.crt'}", f"--peer-key-file={tls / 'peer.key'}"),
            # Only a crash of the whole computer could lose data by this; killing etcd cannot.
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]

    def _apiserver(self) -> list[str]:
        tls, facts, server = self.layout.tls, self.facts, self.layout.server
        audit = [
            f"--audit-log-path={server / 'logs/audit.log'}",
            f"--audit-policy-file={server / 'audit.yaml'}",
            *("--audit-log-maxage=30", "--audit-log-maxbackup=2", "--audit-log-maxsize=20"),
        ]
        return [
            *(f"--bind-address={self.system.address}", f"--secure-port={facts.api_port}"),
            f"--advertise-address={self.system.address}",
            # The primer's address is a loopback one, which an Endpoints object may not hold.
            "--endpoint-reconciler-type=none",
            f"--etcd-servers=https://{self.system.address}:{ETCD_PORT}",
            f"--etcd-cafile={tls / 'etcd/server-ca.crt'}",
            *(f"--etcd-certfile={tls / 'etcd/client.crt'}", f"--etcd-keyfile={tls / 'etcd/client.key'}"),
            f"--tls-cert-file={tls / 'serving-kube-apiserver.crt'}",
            f"--tls-private-key-file={tls / 'serving-kube-apiserver.key'}",
            f"--client-ca-file={tls / 'client-ca.crt'}",
            f"--cert-dir={tls / 'temporary'}",
            *("--authorization-mode=Node,RBAC", "--anonymous-auth=false", "--profiling=false"),
            *("--enable-admission-plugins=NodeRestriction", "--allow-privileged=true"),
            f"--service-cluster-ip-range={facts.service_cidr}",
            *self._issuer_flags(),
            f"--service-account-key-file={tls / 'service.key'}",
            f"--service-account-signing-key-file={tls / 'service.key'}",
            f"--encryption-provider-config={self._cred('encryption-config')}",
            f"--requestheader-client-ca-file={tls / 'request-header-ca.crt'}",
            *(
                "--requestheader-allowed-names=system:auth-proxy",
                "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            ),
            *("--requestheader-group-headers=X-Remote-Group", "--requestheader-username-headers=X-Remote-User"),
            f"--proxy-client-cert-file={tls / 'client-auth-proxy.crt'}",
            f"--proxy-client-key-file={tls / 'client-auth-proxy.key'}",
            f"--kubelet-client-certificate={tls / 'client-kube-apiserver.crt'}",
            f"--kubelet-client-key={tls / 'client-kube-apiserver.key'}",
            *(audit if facts.audit_log else []),
        ]

    def _issuer_flags(self) -> list[str]:
        """A public issuer signs, and tokens of the cluster's own stay valid, as on a machine (nix/modules/k3s)."""
        own, public = self.facts.issuer, self.facts.public_issuer
        if not public:
            return [f"--service-account-issuer={own}", f"--api-audiences={own},k3s"]
        return [
            *(f"--service-account-issuer={one}" for one in (public, own)),
            f"--service-account-jwks-uri={public}/openid/v1/jwks",
            f"--api-audiences={own},k3s,sts.amazonaws.com",
        ]

    def _serving(self, port: int) -> list[str]:
        tls = self.layout.tls
        return [
            *(f"--bind-address={self.system.address}", f"--secure-port={port}", "--profiling=false"),
            f"--tls-cert-file={tls / 'serving-loopback.crt'}",
            f"--tls-private-key-file={tls / 'serving-loopback.key'}",
            # There is one of each; taking a lease would only delay the start.
            "--leader-elect=false",
        ]

    def _controller_manager(self) -> list[str]:
        tls, facts = self.layout.tls, self.facts
        kubeconfig = self._cred("controller")
        return [
            *self._serving(CONTROLLER_MANAGER_PORT),
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={tls / 'service.key'}",
            f"--root-ca-file={tls / 'server-ca.crt'}",
            *("--allocate-node-cidrs=true", f"--cluster-cidr={facts.pod_cidr}"),
            f"--service-cluster-ip-range={facts.service_cidr}",
            f"--cluster-signing-cert-file={tls / 'client-ca.crt'}",
            f"--cluster-signing-key-file={tls / 'client-ca.key'}",
            # A machine that died is noticed within seconds; the twin's kubelets renew their leases every 5 s.
            *("--node-monitor-period=2s", "--node-monitor-grace-period=20s"),
        ]

    def _scheduler(self) -> list[str]:
        kubeconfig = self._cred("scheduler")
        return [
            *self._serving(SCHEDULER_PORT),
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
        ]

    def _kwok(self) -> list[str]:
        return [
            f"--kubeconfig={self._cred('kwok')}",
            *("--manage-all-nodes=false", f"--manage-nodes-with-label-selector={NODE_LABEL}"),
            # The nodes' status and leases belong to the kubelet stand-ins, pods to kwok.
            "--node-lease-duration-seconds=0",
            "--enable-crds=Stage",
            f"--cidr={self.facts.pod_cidr}",
            f"--node-ip={self.system.address}",
            *("--node-port=0", "--server-address="),
        ]

    # --- readiness ---

    async def _etcd_ready(self) -> bool:
        tls = self.layout.tls / "etcd"
        context = ssl.create_default_context(cafile=str(tls / "server-ca.crt"))
        context.load_cert_chain(tls / "client.crt", tls / "client.key")
        async with httpx.AsyncClient(verify=context, timeout=3.0, trust_env=False) as client:
            answer = await client.get(f"https://{self.system.address}:{ETCD_PORT}/health")
        return answer.json().get("health") == "true"

    async def _api_ready(self) -> bool:
        async with self.client() as kube:
            return await kube.ready()

    def _healthy(self, port: int):
        async def probe() -> bool:
            context = ssl.create_default_context(cafile=str(self.layout.tls / "server-ca.crt"))
            async with httpx.AsyncClient(verify=context, timeout=3.0, trust_env=False) as client:
                answer = await client.get(f"https://{self.system.address}:{port}/healthz")
            return answer.status_code == 200

        return probe

    # --- content ---

    async def _apply(self, kube: Kube, path: Path) -> None:
        """Apply the objects of a file; a custom resource waits, bounded, until its kind is served."""
        for item in yaml.safe_load_all(path.read_text()):
            await apply_object(kube, item)

    async def _open_door(self, kube: Kube) -> None:
        tokens = {
            "server": self._secret("server-token").decode(),
            "node": self._secret("agent-token").decode(),
        }
        self._join = JoinServer(kube, self._secret("server-ca.crt"), self._authority("client-ca"), tokens)
        tls = self.layout.tls
        await self._join.start(
            self.system.address, JOIN_PORT, tls / "serving-loopback.crt", tls / "serving-loopback.key"
        )


PATHS = {
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "Stage": "/apis/kwok.x-k8s.io/v1alpha1/stages",
}


async def apply_object(kube: Kube, item: dict, limit: float = 15.0) -> None:
    """Apply one object of a kind in PATHS; retried while its definition is not served yet (limit in seconds)."""
    path = f"{PATHS[item['kind']]}/{item['metadata']['name']}"
    loop = asyncio.get_running_loop()
    deadline = loop.time() + limit
    while True:
        with contextlib.suppress(httpx.TransportError):
            try:
                await kube.apply(path, item)
                return
            except KeystoneError:
                if loop.time() > deadline:
                    raise
        if loop.time() > deadline:
            raise KeystoneError(path, f"could not be applied within {limit:.0f} s")
        await asyncio.sleep(0.2)
