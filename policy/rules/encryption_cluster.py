"""Encryption of hosts and of the cluster: disks, Secrets, traffic, Ceph, storage classes, object storage."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from judging.kinds import CLUSTER_BASE, component, custom, sdk
from judging.resource import Resource, is_map, is_true, read
from judging.rule import ABSENT, CRITICAL, HIGH, Finding, Findings, rule, show

from rules import charts

LAYOUTS = ("zfs-luks", "ext4-luks")
UNLOCKS = ("tpm2", "remote", "both")
TRAFFIC = ("wireguard",)
CEPH = custom("ceph.rook.io/v1", "CephCluster")
# Volumes of these lie on disks that another rule holds encrypted: Ceph's OSDs, EFS, the hosts' own disks.
ENCRYPTED_BELOW = (
    "rook-ceph.rbd.csi.ceph.com",
    "rook-ceph.cephfs.csi.ceph.com",
    "rook-ceph.ceph.rook.io/bucket",
    "efs.csi.aws.com",
    "rancher.io/local-path",
    "driver.longhorn.io",
    "openebs.io/local",
    "local.csi.openebs.io",
    "zfs.csi.openebs.io",
    "kubernetes.io/no-provisioner",
)
ENCRYPTED_BY = {"ebs.csi.aws.com": ("encrypted", "kmsKeyId")}


@rule(
    "host-disk-encrypted",
    "Every installed host has its disk under LUKS2, unlocked by TPM2 or by passphrase over initrd SSH",
    component("Host"),
    CRITICAL,
    cure="Set the host's layout to zfs-luks or ext4-luks and unlock to tpm2, remote or both",
    reference="OWASP Top 10 2021, A02",
    guards={
        "disk.encryption": ("none", "luks1", ABSENT),
        "disk.layout": ("zfs", "ext4", ABSENT),
        "disk.unlock": ("keyfile", "none", ABSENT),
        "disk": (ABSENT,),
    },
)
def host_disk(it: Resource) -> Findings:
    for key, allowed in (("encryption", ("luks2",)), ("layout", LAYOUTS), ("unlock", UNLOCKS)):
        value = it.at(f"disk.{key}")
        if value not in allowed:
            yield Finding(f"disk.{key}", show(value), f"it must be {' or '.join(allowed)}")


@rule(
    "cluster-secrets-encrypted",
    "Kubernetes encrypts its Secrets in etcd and keeps an audit log",
    CLUSTER_BASE,
    CRITICAL,
    cure="Set cluster.secretsEncryption and cluster.auditLog to true",
    reference="OWASP Kubernetes Top Ten 2022, K08",
    guards={"secretsEncryption": (False, ABSENT), "auditLog": (False, ABSENT)},
)
def cluster_secrets(it: Resource) -> Findings:
    for key in ("secretsEncryption", "auditLog"):
        if it.at(key) is not True:
            yield Finding(key, show(it.at(key)), "it must be true")


@rule(
    "pod-traffic-encrypted",
    "Traffic between pods of different nodes is encrypted",
    CLUSTER_BASE,
    CRITICAL,
    cure="Set network.encryption to wireguard",
    reference="OWASP Top 10 2021, A02",
    guards={"podEncryption": ("none", ABSENT)},
)
def pod_traffic(it: Resource) -> Findings:
    if it.at("podEncryption") not in TRAFFIC:
        yield Finding("podEncryption", show(it.at("podEncryption")), f"it must be {' or '.join(TRAFFIC)}")


@rule(
    "mesh-controller-tls",
    "Hosts reach the mesh's controller over TLS only",
    component("MeshNetwork"),
    CRITICAL,
    cure="Set mesh.serverUrl to an https URL",
    reference="OWASP Top 10 2021, A02",
    guards={"serverUrl": ("http://203.0.113.7:8080", ABSENT)},
)
def mesh_tls(it: Resource) -> Findings:
    url = it.at("serverUrl")
    if not isinstance(url, str) or not url.startswith("https://"):
        yield Finding("serverUrl", show(url), "it must begin with https://")


@rule(
    "cni-chart-encrypts",
    "A network plugin that a chart brings encrypts the traffic between nodes",
    charts.CHARTS,
    CRITICAL,
    cure="Set encryption.enabled to true and encryption.type to wireguard in the chart's values",
    reference="OWASP Top 10 2021, A02",
    guards={"spec.values.encryption.enabled": (False, ABSENT), "spec.values.encryption.type": ("none",)},
)
def cni_chart(it: Resource) -> Findings:
    if charts.name(it) != "cilium":
        return
    path, values = charts.values(it)
    if not is_true(read(values, "encryption.enabled")):
        yield Finding(f"{path}.encryption.enabled", show(read(values, "encryption.enabled")), "it must be true")
    kind = read(values, "encryption.type")
    if kind not in (None, "wireguard", "ipsec"):
        yield Finding(f"{path}.encryption.type", show(kind), "it must be wireguard or ipsec")


def _ceph(it: Resource) -> tuple[str, Mapping[str, Any]] | None:
    """(path, spec) of a Ceph cluster, from its own resource or from its chart."""
    if it.kind in CEPH:
        return "spec", it.at("spec") or {}
    if charts.name(it) != charts.CEPH:
        return None
    path, values = charts.values(it)
    return f"{path}.cephClusterSpec", values.get("cephClusterSpec") or {}


@rule(
    "ceph-osd-encrypted",
    "Ceph encrypts its OSDs",
    (*CEPH, *charts.CHARTS),
    CRITICAL,
    cure='Set storage.config.encryptedDevice to "true", and encrypted on every device set',
    reference="OWASP Top 10 2021, A02",
    guards={
        "spec.storage.config.encryptedDevice": ("false", ABSENT),
        "spec.storage": (ABSENT,),
        "spec.values.cephClusterSpec.storage.config.encryptedDevice": ("false", ABSENT),
    },
)
def ceph_osd(it: Resource) -> Findings:
    found = _ceph(it)
    if not found:
        return
    path, spec = found
    sets = read(spec, "storage.storageClassDeviceSets") or []
    for index in range(len(sets)):
        if not is_true(sets[index].get("encrypted")):
            place = f"{path}.storage.storageClassDeviceSets.{index}.encrypted"
            yield Finding(place, show(sets[index].get("encrypted")), "it must be true")
    place = "storage.config.encryptedDevice"
    if not sets and not is_true(read(spec, place)):
        yield Finding(f"{path}.{place}", show(read(spec, place)), 'it must be "true"')
    nodes = read(spec, "storage.nodes") or []
    for index in range(len(nodes)):
        # A node's own config wins over the cluster's, and a device's over the node's.
        below = [("config", nodes[index].get("config"))]
        below += [(f"devices.{n}.config", read(d, "config")) for n, d in enumerate(nodes[index].get("devices") or [])]
        for inner, config in below:
            if is_map(config) and "encryptedDevice" in config and not is_true(config["encryptedDevice"]):
                where = f"{path}.storage.nodes.{index}.{inner}.encryptedDevice"
                yield Finding(where, show(config["encryptedDevice"]), 'it must be "true"')


@rule(
    "ceph-wire-encrypted",
    "Ceph encrypts its traffic",
    (*CEPH, *charts.CHARTS),
    CRITICAL,
    cure="Set network.connections.encryption.enabled to true",
    reference="OWASP Top 10 2021, A02",
    guards={
        "spec.network.connections.encryption.enabled": (False, ABSENT),
        "spec.network": (ABSENT,),
        "spec.values.cephClusterSpec.network.connections.encryption.enabled": (False, ABSENT),
    },
)
def ceph_wire(it: Resource) -> Findings:
    found = _ceph(it)
    if found:
        place = "network.connections.encryption.enabled"
        value = read(found[1], place)
        if not is_true(value):
            yield Finding(f"{found[0]}.{place}", show(value), "it must be true")


def _class(path: str, provisioner: Any, parameters: Any) -> Findings:
    """A storage class: encrypted by its parameters, or on disks that are."""
    if provisioner in ENCRYPTED_BELOW:
        return
    wanted = ENCRYPTED_BY.get(str(provisioner))
    if wanted is None:
        yield Finding(f"{path}provisioner", show(provisioner), "of this one nobody knows whether it encrypts")
        return
    for key in wanted:
        value = read(parameters, key)
        if not value or (key == "encrypted" and not is_true(value)):
            yield Finding(f"{path}parameters.{key}", show(value), "volumes must be encrypted")


@rule(
    "storage-class-encrypted",
    "Storage classes create encrypted volumes only",
    sdk("pulumi_kubernetes.storage.v1", "StorageClass"),
    HIGH,
    cure='Set parameters.encrypted to "true" (and kmsKeyId for EBS), or use a provisioner on encrypted disks',
    reference="OWASP Top 10 2021, A02",
    guards={
        "parameters.encrypted": ("false", ABSENT),
        "parameters.kmsKeyId": (ABSENT,),
        "parameters": (ABSENT,),
        "provisioner": ("kubernetes.io/aws-ebs", ABSENT),
    },
)
def storage_class(it: Resource) -> Findings:
    yield from _class("", it.at("provisioner"), it.at("parameters"))


@rule(
    "chart-storage-class-encrypted",
    "Storage classes that charts bring create encrypted volumes only",
    charts.CHARTS,
    HIGH,
    cure="Set encrypted to \"true\" (and kmsKeyId for EBS) in the class's parameters in the chart's values",
    reference="OWASP Top 10 2021, A02",
    guards={"spec.values.storageClasses.0.parameters.encrypted": ("false", ABSENT)},
)
def chart_storage_class(it: Resource) -> Findings:
    path, values = charts.values(it)
    if charts.name(it) == "aws-ebs-csi-driver":
        for index, one in enumerate(values.get("storageClasses") or []):
            place = f"{path}.storageClasses.{index}."
            yield from _class(place, one.get("provisioner") or "ebs.csi.aws.com", one.get("parameters"))


def _stores(it: Resource) -> Iterator[tuple[str, Any, Any]]:
    """(path, spec, ingress) of an object store, or of each that the chart makes."""
    if it.kind not in charts.CHARTS:
        yield "spec", it.at("spec"), None
    elif charts.name(it) == charts.CEPH:
        path, values = charts.values(it)
        for index, one in enumerate(values.get("cephObjectStores") or []):
            yield f"{path}.cephObjectStores.{index}.spec", one.get("spec"), one.get("ingress")


@rule(
    "object-store-tls",
    "Ceph's object storage is served over TLS, or to the cluster's encrypted network alone",
    (*custom("ceph.rook.io/v1", "CephObjectStore"), *charts.CHARTS),
    HIGH,
    cure="Set gateway.securePort and gateway.sslCertificateRef, or leave hostNetwork and the ingress out",
    reference="OWASP Top 10 2021, A02",
    guards={
        "spec.gateway": ({"port": 80, "hostNetwork": True}, ABSENT),
        "spec.gateway.securePort": (ABSENT,),
        "spec.gateway.sslCertificateRef": ("", ABSENT),
        "spec.values.cephObjectStores.0.spec.gateway": ({"port": 80, "hostNetwork": True},),
        "spec.values.cephObjectStores.0.ingress": ({"enabled": True},),
    },
)
def object_store(it: Resource) -> Findings:
    for path, spec, ingress in _stores(it):
        port, secure = read(spec, "gateway.port"), read(spec, "gateway.securePort")
        if port and is_true(read(spec, "gateway.hostNetwork")):
            yield Finding(f"{path}.gateway.port", show(port), "on the host's network keys would travel in clear text")
        if secure and not read(spec, "gateway.sslCertificateRef"):
            yield Finding(f"{path}.gateway.sslCertificateRef", "not set", "TLS needs it")
        if not port and not secure:
            yield Finding(f"{path}.gateway.securePort", "not set", "it must say how it is served")
        if is_true(read(ingress, "enabled")) and not read(ingress, "tls"):
            yield Finding(f"{path.removesuffix('.spec')}.ingress.tls", "not set", "keys would travel in clear text")


# A Service's name leads nowhere but into the cluster, whose network is encrypted by a rule of its own.
INSIDE = re.compile(r"^(?:http://)?[a-z0-9-]+\.[a-z0-9-]+\.svc(?:\.cluster\.local)?(?::\d+)?/?$")


@rule(
    "loki-tls",
    "Loki keeps its chunks over TLS, or within the cluster's encrypted network",
    charts.CHARTS,
    HIGH,
    cure="Give loki.storage.s3 an https endpoint and insecure false, or the name of a Service of the cluster",
    reference="OWASP Top 10 2021, A02",
    guards={
        "spec.values.loki.storage.s3.insecure": (True, "true"),
        "spec.values.loki.storage.s3.endpoint": ("http://s3.example.org", "http://192.168.7.10:9000"),
    },
)
def loki(it: Resource) -> Findings:
    if charts.name(it) != "loki":
        return
    path, values = charts.values(it)
    for place in ("loki.storage.s3", "loki.storage_config.aws", "loki.structuredConfig.storage_config.aws"):
        endpoint, insecure = read(values, f"{place}.endpoint"), is_true(read(values, f"{place}.insecure"))
        if isinstance(endpoint, str) and INSIDE.match(endpoint):
            continue
        if insecure:
            yield Finding(f"{path}.{place}.insecure", "true", "chunks must travel over TLS")
        if isinstance(endpoint, str) and endpoint.startswith("http://"):
            yield Finding(f"{path}.{place}.endpoint", endpoint, "chunks must travel over TLS")


RULES = (
    host_disk,
    cluster_secrets,
    pod_traffic,
    mesh_tls,
    cni_chart,
    ceph_osd,
    ceph_wire,
    storage_class,
    chart_storage_class,
    object_store,
    loki,
)
