"""Ceph by Rook: three charts. The disks are the hosts' `osdDisks` and no others, encrypted by Rook on the host."""

from collections.abc import Iterator, Mapping
from typing import Any

import versions
from keystone.charts.release import Release
from keystone.settings import Ceph, Settings
from keystone.settings.backup import NAMESPACE as BACKUP
from keystone.settings.hosts import Host, Taint

NAMESPACE = "rook-ceph"
CLUSTER = "rook-ceph-cluster"
"""The release that is the cluster itself, with its pools."""
REPOSITORY = "https://charts.rook.io/release"
GROUPS = ("ceph.rook.io", "objectbucket.io")
CSI_GROUPS = ("csi.ceph.io",)
BLOCK, FILESYSTEM, OBJECT = "ceph-block", "ceph-filesystem", "ceph-bucket"
MANAGER = "builtin-mgr"
OBJECT_STORE = "ceph-objectstore"
"""RGW's service is rook-ceph-rgw-ceph-objectstore.rook-ceph.svc, port 443."""
OBJECT_STORE_HOST = f"rook-ceph-rgw-{OBJECT_STORE}.{NAMESPACE}.svc"
OBJECT_STORE_TLS = f"{OBJECT_STORE}-tls"
"""The Secret with RGW's certificate and key."""
DRIVERS = {"rbd": "rook-ceph.rbd.csi.ceph.com", "cephfs": "rook-ceph.cephfs.csi.ceph.com"}
CLAIM_FIELDS = "maxObjects,maxSize,bucketPolicy"
WANTED_REPLICAS = 3
# NixOS keeps modules outside /lib; the plugins load rbd and ceph by themselves when they are missing.
NIX_FOLDERS = {"nix-store": "/nix", "current-system": "/run/current-system"}


def releases(settings: Settings, ceph: Ceph) -> Iterator[Release]:
    yield operator(settings)
    yield drivers(settings)
    yield cluster(settings, ceph)


def disks(settings: Settings) -> dict[str, tuple[str, ...]]:
    """The disks for Ceph by node."""
    return {name: host.osd_disks for name, host in settings.nodes.items() if host.osd_disks}


def replicas(settings: Settings, ceph: Ceph) -> int:
    """Copies of each object: what is asked for, else 3 or as many as failure domains allow."""
    return ceph.replicas or min(WANTED_REPLICAS, places(settings))


def copied(settings: Settings) -> bool:
    """Whether something reads buckets to copy them off the site."""
    return settings.backup is not None and settings.backup.copies_buckets


def places(settings: Settings) -> int:
    """How many copies can lie apart: on different hosts, or with one host on different disks."""
    found = disks(settings)
    return len(found) if len(found) > 1 else sum(map(len, found.values()))


def failure_domain(settings: Settings) -> str:
    """What may fail without loss of data: a host, or a disk when there is one host alone."""
    return "host" if len(disks(settings)) > 1 else "osd"


def daemon_nodes(settings: Settings) -> int:
    """How many nodes may carry Ceph's daemons: those with its disks, and those that are reserved for nothing."""
    return sum(bool(it.osd_disks) or not _reserving(it) for it in settings.nodes.values())


def _reserving(host: Host) -> list[Taint]:
    """The taints that keep pods away."""
    return [one for one in host.taints if one.effect != "PreferNoSchedule"]


def _tolerations(settings: Settings) -> list[dict[str, str]]:
    """Those of the hosts with disks for Ceph: nobody else could use the disks."""
    taints = {
        (one.key, one.value, one.effect)
        for host in settings.nodes.values()
        if host.osd_disks
        for one in _reserving(host)
    }
    return [
        {"key": key, "operator": "Equal", "value": value, "effect": effect} for key, value, effect in sorted(taints)
    ]


def operator(settings: Settings) -> Release:
    return Release(
        name="rook-ceph",
        chart="rook-ceph",
        repository=REPOSITORY,
        version=f"v{versions.ROOK_CHART}",
        namespace=NAMESPACE,
        pod_security="privileged",  # OSDs open disks, plugins mount volumes
        crd_groups=(*GROUPS, *CSI_GROUPS),
        values={
            "crds": {"enabled": True},
            # The disks are named; nothing may look for others.
            "enableDiscoveryDaemon": False,
            # A claim lets the copies read its bucket by a policy, which Rook takes only when it is told to.
            **({"obcAllowAdditionalConfigFields": CLAIM_FIELDS} if copied(settings) else {}),
        },
        openings=("api", "webhooks", "nodes", "cluster"),
    )


def drivers(settings: Settings) -> Release:
    """Rook's own values for this chart: the names of the drivers are those of the storage classes."""
    volumes = [
        {"mount": {"name": name, "mountPath": path}, "volume": {"name": name, "hostPath": {"path": path}}}
        for name, path in NIX_FOLDERS.items()
    ]
    # Of each driver, not of all in `driverSpecDefaults`: there the chart indents volumes wrongly and renders no YAML,
    # and a driver has its own number of copies and empty lists, which win.
    each = {
        "enabled": True,
        # Whatever a node is reserved for, its pods mount volumes.
        "nodePlugin": {"tolerations": [{"operator": "Exists"}], "volumes": volumes},
        "controllerPlugin": {"replicas": 2 if len(settings.nodes) > 2 else 1},
    }
    return Release(
        name="ceph-csi-drivers",
        chart="ceph-csi-drivers",
        repository="https://ceph.github.io/ceph-csi-operator",
        version=versions.CEPH_CSI_CHART,
        namespace=NAMESPACE,
        pod_security="privileged",
        needs=("rook-ceph",),
        values={
            "operatorConfig": {
                "namespace": NAMESPACE,
                "driverSpecDefaults": {
                    "imageSet": {"name": "rook-csi-operator-image-set-configmap"},
                    "nodePlugin": {"priorityClassName": "system-node-critical"},
                    "controllerPlugin": {"priorityClassName": "system-cluster-critical"},
                },
            },
            "drivers": {
                "rbd": {**each, "name": DRIVERS["rbd"]},
                # The kernel's client speaks the encrypted protocol only when it is told to.
                "cephfs": {**each, "name": DRIVERS["cephfs"], "kernelMountOptions": {"ms_mode": "secure"}},
                "nfs": {"enabled": False},
                "nvmeof": {"enabled": False},
            },
        },
    )


def cluster(settings: Settings, ceph: Ceph) -> Release:
    copies, domain = replicas(settings, ceph), failure_domain(settings)
    pool = {"failureDomain": domain, "replicated": {"size": copies, "requireSafeReplicaSize": copies > 1}}
    default = settings.storage.default_class if settings.storage else None
    return Release(
        name=CLUSTER,
        chart=CLUSTER,
        repository=REPOSITORY,
        version=f"v{versions.ROOK_CHART}",
        namespace=NAMESPACE,
        pod_security="privileged",
        needs=("rook-ceph", "ceph-csi-drivers"),
        limit_seconds=900,
        values={
            "operatorNamespace": NAMESPACE,
            "toolbox": {"enabled": True},
            # Ceph's metrics are served anyway. Rook's own monitors would need Prometheus first, and Prometheus needs
            # volumes first: what reads the metrics comes with it.
            "monitoring": {"enabled": False, "createPrometheusRules": False},
            "cephImage": {"tag": f"v{versions.CEPH_IMAGE}"},
            "cephClusterSpec": spec(settings, ceph),
            "cephBlockPools": [*([_block(pool, default == BLOCK)] if ceph.block else []), _manager(pool)],
            "cephFileSystems": [_filesystem(pool, default == FILESYSTEM, settings)] if ceph.filesystem else [],
            "cephObjectStores": [_object(pool, settings)] if ceph.object else [],
        },
        openings=("api", "webhooks", "nodes", "cluster"),
    )


def spec(settings: Settings, ceph: Ceph) -> dict[str, Any]:
    """The CephCluster: our disks on our nodes, encrypted on disk and on the wire."""
    nodes, tolerations = daemon_nodes(settings), _tolerations(settings)
    return {
        **({"placement": {"all": {"tolerations": tolerations}}} if tolerations else {}),
        # Ceph 20 gives out keys of a new kind, which only Linux 7.0 and newer can use.
        "security": {"cephx": {"csi": {"keyType": "aes"}}},
        "mon": {"count": 3 if nodes >= 3 else 1, "allowMultiplePerNode": False},
        "mgr": {"count": 2 if nodes >= 2 else 1, "allowMultiplePerNode": False},
        "dashboard": {"enabled": True, "ssl": True},
        "network": {"connections": {"encryption": {"enabled": True}, "requireMsgr2": True}},
        "resources": {
            "osd": {
                "requests": {"cpu": "500m", "memory": f"{ceph.osd_memory_gib}Gi"},
                "limits": {"memory": f"{ceph.osd_memory_gib}Gi"},
            },
            "mon": {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}},
            "mgr": {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}},
        },
        "storage": {
            "useAllNodes": False,
            "useAllDevices": False,
            "config": {"encryptedDevice": "true"},
            "nodes": [
                {"name": node, "devices": [{"name": disk} for disk in found]} for node, found in disks(settings).items()
            ],
        },
        # Empty: nothing that this program does can wipe a disk.
        "cleanupPolicy": {"confirmation": ""},
    }


def _secrets(kind: str) -> dict[str, str]:
    names = {
        "provisioner": f"rook-csi-{kind}-provisioner",
        "controller-expand": f"rook-csi-{kind}-provisioner",
        "controller-publish": f"rook-csi-{kind}-provisioner",
        "node-stage": f"rook-csi-{kind}-node",
    }
    found: dict[str, str] = {}
    for use, name in names.items():
        found[f"csi.storage.k8s.io/{use}-secret-name"] = name
        found[f"csi.storage.k8s.io/{use}-secret-namespace"] = NAMESPACE
    return found


def _block(pool: Mapping[str, Any], default: bool) -> dict[str, Any]:
    parameters = {"imageFormat": "2", "imageFeatures": "layering", "csi.storage.k8s.io/fstype": "ext4"}
    return {
        "name": BLOCK,
        "spec": dict(pool),
        "storageClass": {
            "enabled": True,
            "name": BLOCK,
            "isDefault": default,
            "parameters": parameters | _secrets("rbd"),
        },
    }


def _manager(pool: Mapping[str, Any]) -> dict[str, Any]:
    """The manager's own pool. Ceph makes it with three copies on three hosts: on fewer it would never be whole."""
    return {"name": MANAGER, "spec": {"name": ".mgr", **pool}, "storageClass": {"enabled": False}}


def _filesystem(pool: Mapping[str, Any], default: bool, settings: Settings) -> dict[str, Any]:
    return {
        "name": FILESYSTEM,
        "spec": {
            "metadataPool": {"replicated": pool["replicated"], "failureDomain": pool["failureDomain"]},
            "dataPools": [{"name": "data0", **pool}],
            "preserveFilesystemOnDelete": True,
            "metadataServer": {
                "activeCount": 1,
                "activeStandby": len(settings.nodes) > 1,
                "resources": {"requests": {"cpu": "250m", "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
            },
        },
        "storageClass": {
            "enabled": True,
            "name": FILESYSTEM,
            "isDefault": default,
            "pool": "data0",
            "parameters": _secrets("cephfs"),
        },
    }


def _object(pool: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    return {
        "name": OBJECT_STORE,
        "spec": {
            "metadataPool": dict(pool),
            "dataPool": {**pool, "parameters": {"bulk": "true"}},
            "preservePoolsOnDelete": True,
            **({"allowUsersInNamespaces": [BACKUP]} if copied(settings) else {}),
            "gateway": {
                # No plain port: keys and contents travel encrypted or not at all.
                "securePort": 443,
                "sslCertificateRef": OBJECT_STORE_TLS,
                "instances": 2 if len(settings.nodes) > 2 else 1,
                "resources": {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}},
            },
        },
        "storageClass": {"enabled": True, "name": OBJECT, "parameters": {"region": "us-east-1"}},
        "ingress": {"enabled": False},
    }
