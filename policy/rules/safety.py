"""Nothing is lost by mistake: installs and data are protected, deletions not forced, hosts installed by generation."""

import re
from collections.abc import Iterator
from typing import Any

from judging.kinds import component, custom, sdk
from judging.resource import Resource, document, is_list, is_loopback, is_map, is_true, read, strings
from judging.rule import ABSENT, CRITICAL, HIGH, MEDIUM, Finding, Findings, rule, show
from pulumi_policy.proxy import UnknownValueError

from rules import charts

COMMAND = sdk("pulumi_command.local", "Command")
HOST = component("Host")
# The volumes there are made to be written, read and thrown away.
SCRATCH = ("keystone-tests",)
DATA_AWS = (
    *sdk("pulumi_aws.s3", "Bucket", "BucketV2"),
    *sdk("pulumi_aws.efs", "FileSystem"),
    *sdk("pulumi_aws.kms", "Key"),
    *sdk("pulumi_aws.ebs", "Volume"),
    *sdk("pulumi_aws.rds", "Instance", "Cluster"),
    *sdk("pulumi_aws.dynamodb", "Table"),
)
DATA_CLUSTER = (
    *custom("ceph.rook.io/v1", "CephCluster", "CephBlockPool", "CephFilesystem", "CephObjectStore"),
    *sdk("pulumi_kubernetes.core.v1", "PersistentVolumeClaim"),
)


@rule(
    "host-protected",
    "An installed host cannot be removed or reinstalled without taking its protection off first",
    HOST,
    CRITICAL,
    cure="Set protectHosts to true; only hosts on loopback addresses may go without",
    reference="NIST SP 800-53 Rev. 5, CM-3",
    guards={"protect": (False, ABSENT)},
)
def host_protected(it: Resource) -> Findings:
    if it.at("protect") is not True and not is_loopback(it.at("address")):
        yield Finding("protect", show(it.at("protect")), "its address is not a loopback address")


def _is_install(it: Resource) -> bool:
    return it.name.startswith("install-") and (it.parent is None or it.parent.kind in HOST)


@rule(
    "install-protected",
    "The command that installs a host is protected",
    COMMAND,
    CRITICAL,
    cure="Pass protect=True to the install command; only hosts on loopback addresses may go without",
    reference="NIST SP 800-53 Rev. 5, CM-3",
)
def install_protected(it: Resource) -> Findings:
    if not _is_install(it) or it.protect:
        return
    if it.parent is None or not is_loopback(it.parent.at("address")):
        yield Finding("protect", "false", "a slip would wipe a disk")


@rule(
    "install-by-generation",
    "Only a raised generation installs a host again",
    COMMAND,
    CRITICAL,
    cure="Let triggers hold the host's installGeneration alone, set update, and leave delete out",
    reference="NIST SP 800-53 Rev. 5, CM-3",
    guards={
        "triggers": (["sha256:0123"], [1, 2], [1.5], [], ABSENT),
        "update": (ABSENT,),
        "delete": ("sgdisk --zap-all /dev/disk/by-id/x",),
    },
)
def install_generation(it: Resource) -> Findings:
    if not _is_install(it):
        return
    triggers = it.at("triggers")
    found = list(triggers) if is_list(triggers) else []
    whole = len(found) == 1 and not isinstance(found[0], bool) and isinstance(found[0], int | float)
    if not whole or found[0] != int(found[0]) or found[0] < 1:
        yield Finding(
            "triggers", show(found[0]) if len(found) == 1 else "not one generation", "a change of it wipes a disk"
        )
    if not it.at("update"):
        yield Finding("update", "not set", "any other change would install again")
    if it.at("delete"):
        yield Finding("delete", "set", "removing a host from the settings must not touch its disk")


@rule(
    "trigger-by-generation",
    "No command is replaced by a hash, a time or a secret",
    (*COMMAND, *sdk("pulumi_command.remote", "Command")),
    HIGH,
    cure="Let triggers hold generations; pass a hash by environment, which updates",
    reference="NIST SP 800-53 Rev. 5, CM-3",
    guards={"triggers": (["sha256:0123"], ["2026-11-21T00:00:00Z"])},
)
def triggers(it: Resource) -> Findings:
    if _is_install(it):
        return
    for path, _, _ in strings(it.at("triggers"), "triggers"):
        yield Finding(path, "a text", "a changed trigger replaces the command")


@rule(
    "data-protected",
    "What holds data at AWS or in the cluster is protected from deletion",
    (*DATA_AWS, *DATA_CLUSTER, *charts.CHARTS),
    HIGH,
    cure="Pass protect=True; only what lies behind a loopback address may go without",
    reference="NIST SP 800-53 Rev. 5, SI-12",
)
def data_protected(it: Resource) -> Findings:
    if it.kind in charts.CHARTS and charts.name(it) != charts.CEPH:
        return
    if not it.protect and not on_loopback(it) and it.at("metadata.namespace") not in SCRATCH:
        yield Finding("protect", "false", "a slip would delete data")


def on_loopback(it: Resource) -> bool:
    """Whether the resource's provider talks to this machine alone: data there is a test's."""
    if it.kind.startswith("aws:"):
        found = it.provider_props.get("endpoints")
        parts = document(found) if found else []
        parts = [parts] if is_map(parts) else parts
        addresses = [one for part in parts if is_map(part) for one in part.values()]
        return bool(addresses) and all(map(is_loopback, addresses))
    try:
        kubeconfig: Any = it.provider_props.get("kubeconfig")
    except UnknownValueError:
        if it.cluster is None:
            raise
        kubeconfig = None
    if kubeconfig is None and it.cluster is not None:
        # Nobody knows it before the first update, and over the whole stack a preview does not show it at all. The
        # program says where the API is.
        return is_loopback(it.cluster.at("endpoint"))
    servers = re.findall(r"""server["']?:\s*["']?(\S+?)["',]*(?:\s|$|})""", kubeconfig or "")
    return bool(servers) and all(map(is_loopback, servers))


@rule(
    "deletion-not-forced",
    "No deletion takes contents along",
    (
        *sdk("pulumi_aws.s3", "Bucket", "BucketV2"),
        *sdk("pulumi_aws.ecr", "Repository"),
        *custom("ceph.rook.io/v1", "CephCluster", "CephFilesystem", "CephObjectStore"),
        *charts.CHARTS,
    ),
    HIGH,
    cure="Leave force_destroy, force_delete and cleanupPolicy.confirmation out; keep pools on deletion",
    reference="NIST SP 800-53 Rev. 5, SI-12",
    guards={
        "forceDestroy": (True,),
        "forceDelete": (True,),
        "spec.cleanupPolicy.confirmation": ("yes-really-destroy-data",),
        "spec.preserveFilesystemOnDelete": (False, ABSENT),
        "spec.preservePoolsOnDelete": (False, ABSENT),
        "spec.values.cephClusterSpec.cleanupPolicy.confirmation": ("yes-really-destroy-data",),
        "spec.values.cephFileSystems.0.spec.preserveFilesystemOnDelete": (False, ABSENT),
        "spec.values.cephObjectStores.0.spec.preservePoolsOnDelete": (False, ABSENT),
    },
)
def forced(it: Resource) -> Findings:
    for key in ("forceDestroy", "forceDelete"):
        if it.at(key):
            yield Finding(key, show(it.at(key)), "a deletion must fail while there is data")
    for path, kind, spec in _ceph_parts(it):
        if confirmed := read(spec, "cleanupPolicy.confirmation"):
            place = f"{path}.cleanupPolicy.confirmation"
            yield Finding(place, show(confirmed), "a deletion must fail while there is data")
        key = KEPT.get(kind)
        if key and not is_true(read(spec, key)):
            yield Finding(f"{path}.{key}", show(read(spec, key)), "it must be true")


KEPT = {"CephFilesystem": "preserveFilesystemOnDelete", "CephObjectStore": "preservePoolsOnDelete"}
CHART_PARTS = {"CephFilesystem": "cephFileSystems", "CephObjectStore": "cephObjectStores"}


def _ceph_parts(it: Resource) -> Iterator[tuple[str, str, Any]]:
    """(path, kind, spec) of a Ceph resource, or of each that the chart makes."""
    if it.kind not in charts.CHARTS:
        yield "spec", it.kind.rpartition(":")[2], it.at("spec")
    elif charts.name(it) == charts.CEPH:
        path, values = charts.values(it)
        yield f"{path}.cephClusterSpec", "CephCluster", values.get("cephClusterSpec")
        for kind, key in CHART_PARTS.items():
            for index, one in enumerate(values.get(key) or []):
                yield f"{path}.{key}.{index}.spec", kind, one.get("spec")


@rule(
    "deletion-protection-on",
    "Databases, load balancers and tables have their own deletion protection",
    (
        *sdk("pulumi_aws.rds", "Instance", "Cluster"),
        *sdk("pulumi_aws.lb", "LoadBalancer"),
        *sdk("pulumi_aws.dynamodb", "Table"),
    ),
    MEDIUM,
    cure="Set deletion_protection to true (a table: deletion_protection_enabled, a balancer: enable_...)",
    reference="AWS Foundational Security Best Practices 1.0.0, RDS.8, DynamoDB.6 and ELB.6",
    guards={
        "deletionProtection": (False, ABSENT),
        "deletionProtectionEnabled": (False, ABSENT),
        "enableDeletionProtection": (False, ABSENT),
    },
)
def deletion_protection(it: Resource) -> Findings:
    keys = {"aws:dynamodb": "deletionProtectionEnabled", "aws:lb": "enableDeletionProtection"}
    key = keys.get(it.kind.partition("/")[0], "deletionProtection")
    if it.at(key) is not True:
        yield Finding(key, show(it.at(key)), "it must be true")


@rule(
    "bucket-versioned",
    "Buckets keep what is overwritten or deleted",
    sdk("pulumi_aws.s3", "BucketVersioning", "BucketVersioningV2"),
    MEDIUM,
    cure="Set versioning_configuration.status to Enabled",
    reference="OWASP Top 10 2021, A08",
    guards={"versioningConfiguration.status": ("Suspended", "Disabled", ABSENT)},
)
def versioned(it: Resource) -> Findings:
    status = it.at("versioningConfiguration.status")
    if status != "Enabled":
        yield Finding("versioningConfiguration.status", show(status), "it must be Enabled")


RULES = (
    host_protected,
    install_protected,
    install_generation,
    triggers,
    data_protected,
    forced,
    deletion_protection,
    versioned,
)
