"""Rules about storage, GitOps and the services of the platform."""

from collections.abc import Iterator, Mapping

from keystone.settings.faults import Fault
from keystone.settings.gitops import Gitops
from keystone.settings.hosts import Host
from keystone.settings.network import Network
from keystone.settings.platform import Platform
from keystone.settings.storage import REGION_LABEL, Storage


def storage_has_one_default_class(storage: Storage | None) -> Iterator[Fault]:
    if storage is None:
        return
    if not storage.classes:
        yield Fault(
            "storage", "it chooses no class for volumes", "Add ceph, localPath or another, or leave storage out"
        )
    elif storage.default is None and len(storage.classes) > 1:
        yield Fault(
            "storage.default",
            f"is missing, and there are {len(storage.classes)} classes",
            f"Name one of {', '.join(storage.classes)}",
        )
    elif storage.default is not None and storage.default not in storage.classes:
        yield Fault(
            "storage.default",
            f"{storage.default} is not one of the chosen classes",
            f"Name one of {', '.join(storage.classes)}, or choose what makes {storage.default}",
        )


def ceph_has_disks(storage: Storage | None, hosts: Mapping[str, Host]) -> Iterator[Fault]:
    if storage is None or storage.ceph is None:
        return
    disks = {name: host.osd_disks for name, host in hosts.items() if host.osd_disks and host.role != "edge"}
    if not disks:
        yield Fault("storage.ceph", "no host has osdDisks", "Give whole disks to at least one server or agent")
        return
    places, kind = (len(disks), "hosts") if len(disks) > 1 else (sum(map(len, disks.values())), "disks")
    if storage.ceph.replicas and storage.ceph.replicas > places:
        yield Fault(
            "storage.ceph.replicas",
            f"{storage.ceph.replicas} copies need as many {kind} with osdDisks; there are {places}",
            f"Take at most {places}, or add {kind}",
        )


def longhorn_has_a_file_system(storage: Storage | None, hosts: Mapping[str, Host]) -> Iterator[Fault]:
    """Longhorn asks where a file lies on the disk, and ZFS does not tell (longhorn/longhorn#533)."""
    if storage is None or storage.longhorn is None:
        return
    if unfit := sorted(name for name, host in hosts.items() if host.role != "edge" and host.layout == "zfs-luks"):
        yield Fault(
            "storage.longhorn",
            f"its copies cannot lie on ZFS, the layout of {', '.join(unfit)}",
            "Install these with layout: ext4-luks, or take ceph or openebs",
        )


def proxmox_disks_are_encrypted(storage: Storage | None) -> Iterator[Fault]:
    if storage and storage.proxmox and not storage.proxmox.encrypted_by_host:
        yield Fault(
            "storage.proxmox.encryptedByHost",
            "Proxmox CSI does not encrypt volumes, and the storage below is said not to be encrypted either",
            "Put the storage on an encrypted disk and set it to true, or take another class",
        )


def proxmox_finds_machines(storage: Storage | None, hosts: Mapping[str, Host]) -> Iterator[Fault]:
    nodes = [host for host in hosts.values() if host.role != "edge"]
    if storage and storage.proxmox and not any(REGION_LABEL in host.labels for host in nodes):
        yield Fault(
            "storage.proxmox",
            f"no host has the label {REGION_LABEL}, by which its driver finds the machine",
            "Give its virtual machines this label, with the region of proxmoxConfig, and their Proxmox host as zone",
        )


def phases_follow_phases(gitops: Gitops) -> Iterator[Fault]:
    phases = gitops.repository.phases if gitops.repository else {}
    done: set[str] = set()
    for name, phase in phases.items():
        for before in phase.after:
            if before not in phases:
                yield Fault(
                    f"gitops.repository.phases.{name}.after", f"there is no phase {before}", "Name a phase of this list"
                )
                done.add(before)
    while ready := {name for name, phase in phases.items() if name not in done and set(phase.after) <= done}:
        done |= ready
    if left := sorted(phases.keys() - done):
        yield Fault("gitops.repository.phases", f"{', '.join(left)} wait for one another", "Break the circle")


def argo_knows_no_order(gitops: Gitops) -> Iterator[Fault]:
    phases = gitops.repository.phases if gitops.repository else {}
    if gitops.engine == "argocd":
        for name in (name for name, phase in phases.items() if phase.after):
            yield Fault(
                f"gitops.repository.phases.{name}.after",
                "is for Flux alone: Argo CD knows no order between applications",
                "Remove it, for each is tried again until it fits; or take gitops.engine: flux",
            )


def ssh_repositories_have_a_key_and_a_known_server(gitops: Gitops) -> Iterator[Fault]:
    repository = gitops.repository
    if repository is None:
        return
    place = "gitops.repository.login"
    if repository.login is None:
        if repository.url.startswith("ssh://"):
            yield Fault(place, "is missing, and ssh lets nobody in without a key", f"Add {place}, or take an https URL")
    elif gitops.wants_known_hosts != (repository.login.known_hosts is not None):
        yield Fault(
            f"{place}.knownHosts",
            "is missing, and Flux talks to no ssh server that it does not know"
            if gitops.wants_known_hosts
            else "is for Flux and an ssh URL alone",
            "Give what `ssh-keyscan HOST` says, compared with what the server's owner publishes"
            if gitops.wants_known_hosts
            else "Remove it",
        )


def dns_provider_has_its_server(platform: Platform | None) -> Iterator[Fault]:
    choice = platform.external_dns if platform else None
    if choice and (choice.provider == "pdns") != (choice.server is not None):
        yield Fault(
            "platform.externalDns.server",
            "is for the provider pdns, which needs it"
            if choice.provider == "pdns"
            else "is for the provider pdns alone",
            "Give the URL of the PowerDNS API" if choice.provider == "pdns" else "Remove it",
        )


def linkerd_has_certificates(network: Network, platform: Platform | None) -> Iterator[Fault]:
    # Its proxies trust an issuer of two days, which somebody has to make anew in time.
    if network.service_mesh == "linkerd" and (platform is None or platform.cert_manager is None):
        yield Fault(
            "network.serviceMesh",
            "linkerd's issuer comes from cert-manager, which is not chosen",
            "Add platform.certManager, or take istio, cilium or none",
        )


RULES = (
    storage_has_one_default_class,
    ceph_has_disks,
    longhorn_has_a_file_system,
    proxmox_disks_are_encrypted,
    proxmox_finds_machines,
    phases_follow_phases,
    argo_knows_no_order,
    ssh_repositories_have_a_key_and_a_known_server,
    dns_provider_has_its_server,
    linkerd_has_certificates,
)
