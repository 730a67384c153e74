"""Sections `sites` and `hosts`: the networks that machines stand in, and the machines."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StrictStr

from keystone import addressing
from keystone.settings.model import (
    Address,
    Bool,
    Cidr,
    DiskPath,
    Ed25519PublicKey,
    Generation,
    Label,
    Mac,
    Model,
    Port,
    Range,
    Serial,
    UserName,
    Wrong,
)

Role = Literal["primer", "server", "agent", "edge"]
Addressing = Literal["static", "dhcp-reservation"]
Layout = Literal["zfs-luks", "ext4-luks"]
Unlock = Literal["tpm2", "remote", "both"]

RESERVED_HOST_NAMES = frozenset({"cluster"})
"""nix/facts/<stack>/cluster.json holds the cluster's facts; a host of that name would overwrite it."""

_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


def _host_name(value: str) -> str:
    if value in RESERVED_HOST_NAMES:
        raise Wrong(f"no host may be called {value!r}: the cluster's own facts have this name", "Give it another name")
    return value


def _qualified_name(value: str) -> str:
    prefix, slash, name = value.rpartition("/")
    if not _NAME.fullmatch(name) or (slash and not addressing.is_domain(prefix)):
        raise Wrong(
            f"{value!r} is not a Kubernetes label or taint key",
            "Use up to 63 letters, digits, '-', '_' and '.', if need be after a DNS prefix and '/'",
        )
    return value


def _label_value(value: str) -> str:
    if value and not _NAME.fullmatch(value):
        raise Wrong(f"{value!r} is not a Kubernetes label value", "Use up to 63 letters, digits, '-', '_' and '.'")
    return value


HostName = Annotated[Label, AfterValidator(_host_name)]
QualifiedName = Annotated[StrictStr, AfterValidator(_qualified_name)]
LabelValue = Annotated[StrictStr, AfterValidator(_label_value)]


class Site(Model):
    """One local network with machines in it."""

    cidr: Cidr = Field(description="range of the local network, such as 192.168.1.0/24")
    gateway: Address = Field(description="address of the router, such as 192.168.1.1")
    nameservers: tuple[Address, ...] = Field(min_length=1, description="addresses of the DNS servers")
    dhcp_range: Range | None = Field(default=None, description="addresses that the router gives away: first-last")
    addressing: Addressing = Field(
        default="static", description="whether hosts set their address themselves or get it by a DHCP reservation"
    )


class Ssh(Model):
    """How a machine is reached for installing and deploying."""

    port: Port = Field(default=22, description="port of the SSH server, in the installer and afterwards")
    user: UserName = Field(default="root", description="user to log in as")
    kexec_port: Port = Field(
        default=22,
        description="port of the installer that kexec starts in place of a running system; nixos-anywhere's is on 22",
    )
    initrd_port: Port = Field(default=2223, description="port of the SSH server in the initrd, for unlocking the disk")


class Taint(Model):
    """A taint of the Kubernetes node."""

    key: QualifiedName = Field(description="key of the taint")
    value: LabelValue = Field(default="", description="value of the taint")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] = Field(description="what the taint does")


class Host(Model):
    """One machine."""

    role: Role = Field(description="primer (exactly one), server, agent or edge")
    site: Label = Field(description="name of the site that the machine stands in")
    remote: Bool = Field(default=False, description="whether the host reaches the servers over the mesh alone")
    address: Address = Field(description="address in the site's range")
    mac: Mac = Field(description="MAC address of the network card that has the address")
    ssh: Ssh = Field(default=Ssh(), description="how the machine is reached: {port, user, initrdPort}")
    disk: DiskPath = Field(description="disk that the system is installed on, by its id")
    disk_serial: Serial = Field(description="serial number of that disk, as lsblk shows it")
    osd_disks: tuple[DiskPath, ...] = Field(default=(), description="whole disks for Ceph, by their ids")
    machine_serial: Serial | None = Field(default=None, description="serial number of the machine (DMI product serial)")
    installer_host_key: Ed25519PublicKey | None = Field(
        default=None, description="public SSH host key of the installer, recorded out of band"
    )
    install_generation: Generation = Field(default=1, description="a higher number asks for a new installation")
    layout: Layout = Field(default="zfs-luks", description="file system on the encrypted disk")
    unlock: Unlock = Field(default="tpm2", description="how the disk is unlocked: TPM2, SSH in the initrd, or both")
    zone: Label | None = Field(default=None, description="failure domain; the site's name when left out")
    labels: Mapping[QualifiedName, LabelValue] = Field(
        default_factory=dict, description="labels of the Kubernetes node"
    )
    taints: tuple[Taint, ...] = Field(default=(), description="taints of the Kubernetes node: {key, value, effect}")

    @property
    def failure_domain(self) -> str:
        return self.zone or self.site

    @property
    def control_plane(self) -> bool:
        return self.role in ("primer", "server")
