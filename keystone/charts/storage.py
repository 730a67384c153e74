"""Storage of pods: the charts of every class that the settings choose. Exactly one class is the default one."""

from collections.abc import Iterator
from typing import Any

import versions
from keystone.aws import drivers
from keystone.charts import ceph
from keystone.charts.release import Release
from keystone.pools import CLOUD_LABEL, pools
from keystone.settings import Settings, Storage
from keystone.settings.storage import REGION_LABEL

EBS, EFS = "aws-ebs-csi-driver", "aws-efs-csi-driver"
PROXMOX_NAMESPACE, PROXMOX_SECRET, PROXMOX_FILE = "csi-proxmox", "proxmox-clusters", "config.yaml"
"""Where the driver finds clusters and tokens."""
IN_PROXMOX = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [
                {
                    "matchExpressions": [
                        {"key": REGION_LABEL, "operator": "Exists"},
                        {"key": CLOUD_LABEL, "operator": "DoesNotExist"},
                    ]
                }
            ]
        }
    }
}
"""Nodes of the site with a region: those of a cloud's pools have one too."""
NODES_IN_AWS = {CLOUD_LABEL: "aws"}
"""Elsewhere the drivers would crash for want of an instance."""
REGISTRAR_PORT = 9810
"""Of the EBS driver on its machine: its own, 9809, is taken there by the EFS driver."""


def releases(settings: Settings) -> Iterator[Release]:
    storage = settings.storage
    if storage is None:
        return
    if storage.ceph:
        yield from ceph.releases(settings, storage.ceph)
    if storage.local_path:
        yield local_path(storage)
    if storage.longhorn:
        yield longhorn(storage)
    if storage.openebs:
        yield openebs(storage)
    if storage.ebs:
        yield ebs(settings, storage)
    if storage.efs:
        yield efs(settings, storage)
    if storage.proxmox:
        yield proxmox(storage)


def local_path(storage: Storage) -> Release:
    assert storage.local_path
    return Release(
        name="local-path",
        chart="local-path-provisioner",
        repository="https://charts.containeroo.ch",
        version=versions.LOCAL_PATH_CHART,
        namespace="local-path-storage",
        pod_security="privileged",  # its helper pods make folders on the host
        values={
            "storageClass": {
                "create": True,
                "name": "local-path",
                "defaultClass": storage.default_class == "local-path",
                "reclaimPolicy": "Delete",
            },
            # The chart's own is "latest".
            "helperImage": {"repository": "docker.io/library/busybox", "tag": versions.BUSYBOX_IMAGE},
            "nodePathMap": [{"node": "DEFAULT_PATH_FOR_NON_LISTED_NODES", "paths": [storage.local_path.path]}],
        },
    )


def longhorn(storage: Storage) -> Release:
    choice = storage.longhorn
    assert choice
    return Release(
        name="longhorn",
        chart="longhorn",
        repository="https://charts.longhorn.io",
        version=versions.LONGHORN_CHART,
        namespace="longhorn-system",
        pod_security="privileged",
        crd_groups=("longhorn.io",),
        values={
            "csi": {"kubeletRootDir": "/var/lib/kubelet"},
            "defaultSettings": {
                "defaultDataPath": choice.path,
                "defaultReplicaCount": choice.replicas,
                # The second engine keeps one CPU of every node busy.
                "v2DataEngine": False,
                # Without it Helm could not take the release away, and a destroy would hang.
                "deletingConfirmationFlag": True,
            },
            "persistence": {
                "defaultClass": storage.default_class == "longhorn",
                "defaultClassReplicaCount": choice.replicas,
            },
            # Ours hold for the whole namespace; its own would shut Prometheus out where there are none of ours.
            "networkPolicies": {"enabled": False, "restrictInternalTraffic": False},
            # A hook before the account that it runs under: Argo CD would wait for it for ever.
            "preUpgradeChecker": {"jobEnabled": False},
        },
        openings=("api", "webhooks", "nodes"),
    )


def openebs(storage: Storage) -> Release:
    choice = storage.openebs
    assert choice
    off: dict[str, Any] = {"enabled": False}
    return Release(
        name="openebs",
        chart="openebs",
        repository="https://openebs.github.io/openebs",
        version=versions.OPENEBS_CHART,
        namespace="openebs",
        pod_security="privileged",
        values={
            "engines": {"replicated": {"mayastor": off}, "local": {"lvm": off, "zfs": off}},
            "loki": off,
            "alloy": off,
            "localpv-provisioner": {
                "hostpathClass": {
                    "name": "openebs-hostpath",
                    "basePath": choice.path,
                    "isDefaultClass": storage.default_class == "openebs-hostpath",
                },
                "analytics": off,
            },
        },
    )


def with_roles(settings: Settings) -> tuple[str, ...]:
    """The drivers whose roles we make: they are installed where those are, and not with the other storage."""
    storage = settings.storage
    if storage is None or settings.aws is None:
        return ()
    ebs, efs = storage.ebs, storage.efs
    return (*((EBS,) if ebs and not ebs.complete else ()), *((EFS,) if efs and not efs.role_arn else ()))


def ebs(settings: Settings, storage: Storage) -> Release:
    choice = storage.ebs
    assert choice
    region = choice.region or (settings.aws.region if settings.aws else "")
    return Release(
        name=EBS,
        chart="aws-ebs-csi-driver",
        repository="https://kubernetes-sigs.github.io/aws-ebs-csi-driver",
        version=versions.EBS_CSI_CHART,
        namespace="kube-system",
        values={
            # The machine's metadata is one hop away, and tells how many volumes it takes.
            "node": {"nodeSelector": NODES_IN_AWS, "kubeletPath": "/var/lib/kubelet", "hostNetwork": True},
            "sidecars": {"nodeDriverRegistrar": {"healthPort": REGISTRAR_PORT}},
            **ebs_values(settings, storage, region, choice.role_arn, choice.kms_key_arn),
        },
    )


def ebs_values(settings: Settings, storage: Storage, region: str, role_arn: Any, kms_key_arn: Any) -> dict[str, Any]:
    """The values with a role and a key in them, which may be made while the program runs."""
    return {
        "controller": {
            "region": region,
            "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": role_arn}},
            # By it the driver's role knows what is this cluster's.
            "extraVolumeTags": {drivers.CLUSTER_TAG: settings.cluster.name},
        },
        "storageClasses": [
            {
                "name": "ebs-gp3",
                "annotations": _default(storage.default_class == "ebs-gp3"),
                "volumeBindingMode": "WaitForFirstConsumer",
                "allowVolumeExpansion": True,
                "parameters": {"type": "gp3", "encrypted": "true", "kmsKeyId": kms_key_arn},
            }
        ],
    }


def efs(settings: Settings, storage: Storage) -> Release:
    choice = storage.efs
    assert choice
    return Release(
        name=EFS,
        chart="aws-efs-csi-driver",
        repository="https://kubernetes-sigs.github.io/aws-efs-csi-driver/",
        version=versions.EFS_CSI_CHART,
        namespace="kube-system",
        values={
            **efs_values(settings, choice.role_arn),
            "storageClasses": [
                {
                    "name": "efs",
                    "annotations": _default(storage.default_class == "efs"),
                    "mountOptions": ["tls"],
                    "parameters": {
                        "provisioningMode": "efs-ap",
                        "fileSystemId": choice.file_system_id,
                        "directoryPerms": "700",
                        "encryptInTransit": "true",
                    },
                }
            ],
        },
    )


def efs_values(settings: Settings, role_arn: Any) -> dict[str, Any]:
    """The values with a role in them. Its nodes mount with it and make nothing."""
    taints = {
        (taint.key, taint.effect) for pool in pools(settings).values() if pool.cloud == "aws" for taint in pool.taints
    }
    return {
        "controller": {
            "enableMetrics": True,
            "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": role_arn}},
            # It too asks for the instance that it runs on, and knows no other way to its region.
            "nodeSelector": NODES_IN_AWS,
            "tolerations": [{"key": key, "operator": "Exists", "effect": effect} for key, effect in sorted(taints)],
        },
        "node": {"nodeSelector": NODES_IN_AWS},
    }


def proxmox(storage: Storage) -> Release:
    choice = storage.proxmox
    assert choice
    return Release(
        name="proxmox-csi-plugin",
        chart="proxmox-csi-plugin",
        repository="oci://ghcr.io/sergelogvinov/charts",
        version=versions.PROXMOX_CSI_CHART,
        namespace=PROXMOX_NAMESPACE,
        pod_security="privileged",
        values={
            "existingConfigSecret": PROXMOX_SECRET,
            "existingConfigSecretKey": PROXMOX_FILE,
            "metrics": {"enabled": True},
            # On any other machine it would only crash.
            "node": {"affinity": IN_PROXMOX},
            "storageClass": [
                {
                    "name": "proxmox",
                    "storage": choice.storage_id,
                    "reclaimPolicy": "Delete",
                    "fstype": "ext4",
                    "annotations": _default(storage.default_class == "proxmox"),
                }
            ],
        },
        openings=("api", "internet", "lan"),
    )


def _default(chosen: bool) -> dict[str, str]:
    return {"storageclass.kubernetes.io/is-default-class": "true" if chosen else "false"}
