"""Volumes for claims: what a storage driver's provisioner does, without a volume.

A claim of a known class gets a PersistentVolume that is its own; the real controller manager binds the two. Classes
that wait for a pod are served once the scheduler has chosen the node, as in life.
"""

from __future__ import annotations

import logging
from typing import Any

from keystone.errors import KeystoneError
from twin.charts.cluster import Cluster

log = logging.getLogger("twin.charts")
Object = dict[str, Any]
SELECTED_NODE = "volume.kubernetes.io/selected-node"


async def provide(cluster: Cluster) -> None:
    """Serve claims for ever."""
    async for what, claim in cluster.watch("v1", "PersistentVolumeClaim"):
        if what == "DELETED" or claim.get("status", {}).get("phase") == "Bound" or "volumeName" in claim["spec"]:
            continue
        name = claim["spec"].get("storageClassName")
        if not name:
            continue
        try:
            found = await cluster.get(
                {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name}}
            )
            if found is None:
                continue
            node = claim["metadata"].get("annotations", {}).get(SELECTED_NODE)
            if found["volumeBindingMode"] == "Immediate" or node:
                await cluster.apply(_volume(claim, found))
        except KeystoneError as error:
            log.warning("claim %s: %s", claim["metadata"]["name"], error)


def _volume(claim: Object, chosen: Object) -> Object:
    metadata, spec = claim["metadata"], claim["spec"]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": f"pvc-{metadata['uid']}",
            "annotations": {"pv.kubernetes.io/provisioned-by": chosen["provisioner"]},
        },
        "spec": {
            "accessModes": spec["accessModes"],
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
            },
            **_source(chosen["provisioner"], metadata["uid"]),
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": chosen["metadata"]["name"],
            "volumeMode": spec.get("volumeMode", "Filesystem"),
        },
    }


def _source(provisioner: str, uid: str) -> Object:
    """Drivers of CSI have plain names; those with a path in it give out folders of the node."""
    if "/" in provisioner:
        return {"hostPath": {"path": f"/var/lib/volumes/{uid}", "type": "DirectoryOrCreate"}}
    return {"csi": {"driver": provisioner, "volumeHandle": uid}}
