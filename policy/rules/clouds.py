"""Machines at other clouds than AWS, as Crossplane makes them: their disks and addresses."""

from collections.abc import Iterator, Mapping
from typing import Any

from judging.kinds import custom
from judging.resource import Resource, is_list, is_map
from judging.rule import ABSENT, HIGH, Finding, Findings, rule, show

GCP = custom("compute.gcp.m.upbound.io/v1beta1", "InstanceTemplate")
AZURE = custom("compute.azure.m.upbound.io/v1beta1", "LinuxVirtualMachineScaleSet")
# Crossplane merges both; the first size of a group stands in the second.
ROOTS = ("spec.forProvider", "spec.initProvider")


def _maps(it: Resource, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for root in ROOTS:
        yield from ((place, one) for place, one in it.each(f"{root}.{path}") if is_map(one))


@rule(
    "cloud-machine-encrypted",
    "Machines of pools at GCP and Azure have disks under a customer key",
    (*GCP, *AZURE),
    HIGH,
    cure="Name diskEncryptionKey.kmsKeySelfLink on every disk (GCP); diskEncryptionSetId on every disk and "
    "encryptionAtHostEnabled (Azure)",
    reference="OWASP Top 10 2021, A02",
    guards={
        "spec.forProvider.disk.0.diskEncryptionKey.kmsKeySelfLink": ("", ABSENT),
        "spec.forProvider.disk.0.diskEncryptionKey": (ABSENT,),
        "spec.forProvider.disk": (ABSENT,),
        "spec.forProvider.osDisk.diskEncryptionSetId": ("", ABSENT),
        "spec.forProvider.osDisk": (ABSENT,),
        "spec.forProvider.encryptionAtHostEnabled": (ABSENT,),
    },
)
def encrypted(it: Resource) -> Findings:
    disks, key = ("disk", "diskEncryptionKey.kmsKeySelfLink") if it.kind in GCP else ("dataDisk", "diskEncryptionSetId")
    roots = [place for place, _ in it.each(f"spec.forProvider.{disks}")]
    if it.kind in AZURE:
        roots.append("spec.forProvider.osDisk")
        if it.at("spec.forProvider.encryptionAtHostEnabled") is not True:
            value = show(it.at("spec.forProvider.encryptionAtHostEnabled"))
            yield Finding("spec.forProvider.encryptionAtHostEnabled", value, "caches and temporary disks are in clear")
    elif not roots:
        yield Finding("spec.forProvider.disk", "without a disk", "it must name each disk with its key")
    for root in roots:
        if not it.at(f"{root}.{key}"):
            yield Finding(f"{root}.{key}", show(it.at(f"{root}.{key}")), "it must be a customer key")


@rule(
    "cloud-machine-private",
    "Machines of pools at GCP and Azure have no public address",
    (*GCP, *AZURE),
    HIGH,
    cure="Leave accessConfig, ipv6AccessConfig and publicIpAddress out: machines reach the mesh by the cloud's NAT",
    reference="OWASP Top 10 2021, A05",
    guards={
        "spec.forProvider.networkInterface.0.accessConfig": ([{}], [{"networkTier": "PREMIUM"}]),
        "spec.forProvider.networkInterface.0.ipv6AccessConfig": ([{"networkTier": "PREMIUM"}],),
        "spec.forProvider.networkInterface.0.ipConfiguration.0.publicIpAddress": ([{"name": "out"}],),
    },
)
def private(it: Resource) -> Findings:
    for path, interface in _maps(it, "networkInterface"):
        for key in ("accessConfig", "ipv6AccessConfig"):
            if interface.get(key):
                yield Finding(f"{path}.{key}", "set", "everybody could reach the machine")
        configurations = interface.get("ipConfiguration")
        for index, one in enumerate(configurations if is_list(configurations) else ()):
            if one.get("publicIpAddress"):
                yield Finding(f"{path}.ipConfiguration.{index}.publicIpAddress", "set", "everybody could reach it")


RULES = (encrypted, private)
