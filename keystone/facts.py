"""The facts that the NixOS modules read: nix/facts/<stack>/cluster.json and one file per host, rendered from settings.

No secrets, and byte-stable: the same settings give the same bytes. The keys are those of nix/modules/facts.nix.
cluster.json names servers and endpoints, never agents, so that one agent more changes no other host's rebuild hash.
"""

import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic.alias_generators import to_camel

from keystone.addressing import nth
from keystone.aws.keys import MintedKey, minted
from keystone.backup import plan
from keystone.backup.plan import Offsite
from keystone.charts.network import INGRESS_POOL
from keystone.errors import KeystoneError
from keystone.files import write_file
from keystone.identities import disk_guid
from keystone.settings import Settings

SCHEMA_VERSION = 1
CLUSTER = "cluster"

# The tenth address of the service range, as k3s and kubeadm choose it.
_DNS_INDEX = 10
_MACHINES_STORE = ("longhorn", "openebs")
_HOST_IDS = uuid.UUID("6d1f1a0e-7f0e-5d0c-9b52-8f6a3c1d2e40")


@dataclass(frozen=True, kw_only=True)
class ServerFacts:
    """One server, as the other machines know it."""

    name: str
    role: str
    address: str
    mesh_name: str


@dataclass(frozen=True, kw_only=True)
class ApiFacts:
    endpoint: str
    sans: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ClusterSection:
    name: str
    domain: str
    distribution: str
    pod_cidr: str
    service_cidr: str
    cluster_dns: str
    cluster_domain: str
    api: ApiFacts
    secrets_encryption: bool
    audit_log: bool
    issuer_host: str | None = None
    authorized_keys: tuple[str, ...]
    storage: tuple[str, ...]
    """The choices of storage that need something of the machines."""
    servers: tuple[ServerFacts, ...]
    """The Primer first, then the other servers by name."""


@dataclass(frozen=True, kw_only=True)
class NetworkSection:
    cni: str
    encryption: str
    load_balancer: str
    gateway: str
    gateway_address: str | None
    """Where the gateway answers, for edges: the first address of its pool; None without that pool."""
    service_mesh: str


@dataclass(frozen=True, kw_only=True)
class DerpFacts:
    region_id: int
    public_map: bool


@dataclass(frozen=True, kw_only=True)
class MeshSection:
    server_url: str
    domain: str
    prefix: str
    tls: str
    derp: DerpFacts


@dataclass(frozen=True, kw_only=True)
class GitopsSection:
    engine: str


@dataclass(frozen=True, kw_only=True)
class ClusterFacts:
    """What every machine of a stack knows: cluster.json."""

    schema_version: int = SCHEMA_VERSION
    stack: str
    cluster: ClusterSection
    network: NetworkSection
    mesh: MeshSection
    gitops: GitopsSection


@dataclass(frozen=True, kw_only=True)
class SiteFacts:
    name: str
    cidr: str
    gateway: str
    nameservers: tuple[str, ...]
    addressing: str


@dataclass(frozen=True, kw_only=True)
class SshFacts:
    port: int
    initrd_port: int
    user: str


@dataclass(frozen=True, kw_only=True)
class TaintFacts:
    key: str
    value: str
    effect: str


@dataclass(frozen=True, kw_only=True)
class HostFacts:
    """What one machine knows of itself: <host>.json."""

    schema_version: int = SCHEMA_VERSION
    name: str
    role: str
    remote: bool
    address: str
    mac: str
    site: SiteFacts
    ssh: SshFacts
    disk: str
    disk_guid: str
    osd_disks: tuple[str, ...]
    host_id: str
    """Eight hexadecimal digits that ZFS writes into its pool."""
    install_generation: int
    layout: str
    unlock: str
    mesh_name: str
    mesh_routes: tuple[str, ...]
    zone: str
    labels: Mapping[str, str]
    taints: tuple[TaintFacts, ...]
    pools: Mapping[str, MintedKey]
    """The parameters that the Primer fills with mesh keys; none on other hosts."""
    offsite: Offsite | None
    """What a server copies off the site; None on other hosts, and without a backup."""


def host_id(cluster: str, host: str) -> str:
    """The host id for ZFS: eight hexadecimal digits, the same for each installation of this host."""
    return uuid.uuid5(_HOST_IDS, f"{cluster}\0{host}").hex[:8]


def cluster_facts(settings: Settings, stack: str) -> ClusterFacts:
    """The facts that all machines share."""
    cluster, network, mesh = settings.cluster, settings.network, settings.mesh
    servers = sorted(settings.servers.items(), key=lambda item: (item[1].role != "primer", item[0]))
    return ClusterFacts(
        stack=stack,
        cluster=ClusterSection(
            name=cluster.name,
            domain=cluster.domain,
            distribution=cluster.distribution,
            pod_cidr=str(cluster.pod_cidr),
            service_cidr=str(cluster.service_cidr),
            cluster_dns=str(nth(cluster.service_cidr, _DNS_INDEX)),
            cluster_domain=cluster.cluster_domain,
            api=ApiFacts(endpoint=cluster.api.endpoint, sans=cluster.api.sans),
            secrets_encryption=cluster.secrets_encryption,
            audit_log=cluster.audit_log,
            issuer_host=cluster.issuer_host,
            authorized_keys=cluster.authorized_keys,
            storage=tuple(name for name in _MACHINES_STORE if getattr(settings.storage, name, None)),
            servers=tuple(
                ServerFacts(name=name, role=host.role, address=str(host.address), mesh_name=mesh.name_of(name))
                for name, host in servers
            ),
        ),
        network=NetworkSection(
            cni=network.cni,
            encryption=network.encryption,
            load_balancer=network.load_balancer.provider,
            gateway=network.gateway,
            gateway_address=str(pool.first) if (pool := network.load_balancer.pools.get(INGRESS_POOL)) else None,
            service_mesh=network.service_mesh,
        ),
        mesh=MeshSection(
            server_url=mesh.server_url,
            domain=mesh.domain,
            prefix=str(mesh.prefix),
            tls=mesh.tls,
            derp=DerpFacts(region_id=mesh.derp.region_id, public_map=mesh.derp.public_map),
        ),
        gitops=GitopsSection(engine=settings.gitops.engine),
    )


def host_facts(settings: Settings, name: str) -> HostFacts:
    """The facts of one machine."""
    host, site = settings.hosts[name], settings.site_of(name)
    return HostFacts(
        name=name,
        role=host.role,
        remote=host.remote,
        address=str(host.address),
        mac=host.mac,
        site=SiteFacts(
            name=host.site,
            cidr=str(site.cidr),
            gateway=str(site.gateway),
            nameservers=tuple(map(str, site.nameservers)),
            addressing=site.addressing,
        ),
        ssh=SshFacts(port=host.ssh.port, initrd_port=host.ssh.initrd_port, user=host.ssh.user),
        disk=host.disk,
        disk_guid=disk_guid(settings.cluster.name, name, host.install_generation),
        osd_disks=host.osd_disks,
        host_id=host_id(settings.cluster.name, name),
        install_generation=host.install_generation,
        layout=host.layout,
        unlock=host.unlock,
        mesh_name=settings.mesh.name_of(name),
        mesh_routes=tuple(sorted(str(route.cidr) for route in settings.mesh.routes.values() if name in route.hosts)),
        zone=host.failure_domain,
        labels=host.labels,
        taints=tuple(TaintFacts(key=taint.key, value=taint.value, effect=taint.effect) for taint in host.taints),
        pools=minted(settings) if host.role == "primer" else {},
        offsite=plan.offsite(settings, name),
    )


def folder(stack: str) -> PurePosixPath:
    """The folder of a stack's facts, relative to the project."""
    return PurePosixPath("nix/facts") / stack


def render(settings: Settings, stack: str) -> dict[str, bytes]:
    """The facts' files by path relative to the project: sorted keys, newline at the end, the same bytes each time."""
    documents: dict[str, ClusterFacts | HostFacts] = {CLUSTER: cluster_facts(settings, stack)}
    documents |= {name: host_facts(settings, name) for name in sorted(settings.hosts)}
    return {f"{folder(stack)}/{name}.json": _encoded(_plain(facts)) for name, facts in documents.items()}


def write(settings: Settings, stack: str, project: Path = Path()) -> list[str]:
    """Write the facts that differ, remove those of hosts that are gone; return the changed paths, sorted.

    Raises KeystoneError when a file cannot be written.
    """
    wanted, changed = render(settings, stack), stale(settings, stack, project)
    try:
        for path in changed:
            if path in wanted:
                write_file(project / path, wanted[path])
            else:
                (project / path).unlink(missing_ok=True)
    except OSError as error:
        raise KeystoneError(
            str(error.filename or folder(stack)),
            f"cannot be written: {error.strerror}",
            "Free the disk or its permissions",
        ) from None
    return changed


def stale(settings: Settings, stack: str, project: Path = Path()) -> list[str]:
    """The paths below nix/facts/<stack> that are missing, differ from the settings or belong to no host; sorted."""
    wanted = render(settings, stack)
    present = {f"{folder(stack)}/{file.name}" for file in (project / folder(stack)).glob("*.json")}
    return sorted(path for path in wanted.keys() | present if _bytes_of(project / path) != wanted.get(path))


def check(settings: Settings, stack: str, project: Path = Path()) -> None:
    """Raise KeystoneError, in one line, when the facts on disk differ from the settings."""
    if differing := stale(settings, stack, project):
        names = ", ".join(PurePosixPath(path).name for path in differing)
        raise KeystoneError(
            str(folder(stack)), f"{names} differ from the settings", f"Run `keystone facts --stack {stack}`"
        )


def rebuild_hash(stack: str, host: str, project: Path = Path()) -> str:
    """A hash of all that the installed system of one host is built from, in hexadecimal.

    That is nix/ without facts/ and secrets/, the host's own facts, cluster.json, its own secrets and the stack's public
    files. Secrets count by recipient and keyed hash, because age makes other bytes for the same text. Raises
    KeystoneError when the host has no facts.
    """
    facts = project / folder(stack)
    parts = [*_tree(project / "nix"), *_secrets(project / "nix" / "secrets" / stack, host)]
    for name in (CLUSTER, host):
        content = _bytes_of(facts / f"{name}.json")
        if content is None:
            raise KeystoneError(
                f"{folder(stack)}/{name}.json", "there is no such file", f"Run `keystone facts --stack {stack}`"
            )
        parts.append((f"facts/{name}.json", content))
    total = hashlib.sha256()
    for path, content in sorted(parts):
        total.update(f"{path}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return total.hexdigest()


def _tree(nix: Path) -> Iterator[tuple[str, bytes]]:
    """The files of nix/ but facts and secrets. Links (`result` of a build) and hidden files are no sources."""
    for file in nix.rglob("*"):
        path = file.relative_to(nix)
        hidden = any(part.startswith(".") or part == "__pycache__" for part in path.parts)
        if path.parts[0] not in ("facts", "secrets") and not hidden and file.is_file() and not file.is_symlink():
            yield f"nix/{path.as_posix()}", file.read_bytes()


def _secrets(secrets: Path, host: str) -> Iterator[tuple[str, bytes]]:
    entries = _entries(secrets / "index.json")
    for file in (secrets / host).glob("*.age"):
        path = f"{host}/{file.name}"
        entry = entries.get(path)
        noted = f"{entry.get('recipient')} {entry.get('fingerprint')}".encode() if entry else file.read_bytes()
        yield f"secrets/{path}", noted
    for file in secrets.glob("*"):
        if file.is_file() and file.name != "index.json" and not file.name.startswith("."):
            yield f"secrets/{file.name}", file.read_bytes()


def _entries(index: Path) -> dict[str, dict[str, str]]:
    """The index of the age files; none when it is missing or broken, so that the files' bytes count."""
    try:
        files = json.loads(index.read_bytes())["files"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {}
    return files if isinstance(files, dict) else {}


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {to_camel(item.name): _plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _encoded(document: Any) -> bytes:
    return (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()


def _bytes_of(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
