"""Buckets for claims: what the bucket provisioner of Rook does, without a bucket.

A claim of a class of Rook gets an ObjectBucket, a Secret with keys and a ConfigMap with the address, both of the
claim's name and with the entries that applications read, and then is Bound. They go with the claim: the real garbage
collector takes what it owns.
https://rook.io/docs/rook/latest/Storage-Configuration/Object-Storage-RGW/ceph-object-bucket-claim/
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import string
from typing import Any

import httpx

from keystone.errors import KeystoneError
from twin.charts.cluster import Cluster

log = logging.getLogger("twin.charts")
Object = dict[str, Any]
API = "objectbucket.io/v1alpha1"
PROVISIONER = "ceph.rook.io/bucket"
RETRY_SECONDS = 0.5
LABELS = {"bucket-provisioner": "rook-ceph.ceph.rook.io-bucket"}


async def provide(cluster: Cluster) -> None:
    """Serve claims for ever."""
    async with asyncio.TaskGroup() as group:
        working: dict[str, asyncio.Task[None]] = {}
        async for what, claim in cluster.watch(API, "ObjectBucketClaim"):
            uid = claim["metadata"]["uid"]
            if what == "DELETED" or "deletionTimestamp" in claim["metadata"]:
                if task := working.pop(uid, None):
                    task.cancel()
                working[uid] = group.create_task(_try(_release, cluster, claim))
            elif uid not in working and claim.get("status", {}).get("phase") != "Bound":
                working[uid] = group.create_task(_try(_serve, cluster, claim))


async def _try(work: Any, cluster: Cluster, claim: Object) -> None:
    """Again and again until it is done: the class and its store may come after the claim."""
    said = ""
    while True:
        try:
            if await work(cluster, claim):
                return
        except (KeystoneError, httpx.TransportError) as error:
            if said != str(error):
                said = str(error)
                log.warning("bucket claim %s: %s", claim["metadata"]["name"], said)
        except Exception:
            log.exception("bucket claim %s", claim["metadata"]["name"])  # others are served all the same
            return
        await asyncio.sleep(RETRY_SECONDS)


async def _serve(cluster: Cluster, claim: Object) -> bool:
    name, namespace, spec = claim["metadata"]["name"], claim["metadata"]["namespace"], claim["spec"]
    chosen = await cluster.get(_named("storage.k8s.io/v1", "StorageClass", spec["storageClassName"]))
    if chosen is None:
        return False
    if not chosen["provisioner"].endswith(PROVISIONER):
        return True  # somebody else's
    parameters = chosen["parameters"]
    store = await cluster.get(
        _named("ceph.rook.io/v1", "CephObjectStore", parameters["objectStoreName"], parameters["objectStoreNamespace"])
    )
    if store is None or store.get("status", {}).get("phase") != "Ready":
        return False
    bucket = spec.get("bucketName") or f"{spec['generateBucketName']}-{claim['metadata']['uid']}"
    gateway = store["spec"]["gateway"]
    address = {
        "BUCKET_HOST": f"rook-ceph-rgw-{store['metadata']['name']}.{store['metadata']['namespace']}.svc",
        "BUCKET_NAME": bucket,
        "BUCKET_PORT": str(gateway.get("port") or gateway["securePort"]),
        "BUCKET_REGION": parameters.get("region", ""),
        "BUCKET_SUBREGION": "",
    }
    owned = _named("v1", "Secret", name, namespace)
    if await cluster.get(owned) is None:  # keys stay what they are
        keys = {"AWS_ACCESS_KEY_ID": _random(20), "AWS_SECRET_ACCESS_KEY": _random(40)}
        await cluster.apply(_owned(owned, claim) | {"stringData": keys})
    await cluster.apply(_owned(_named("v1", "ConfigMap", name, namespace), claim) | {"data": address})
    held = _named(API, "ObjectBucket", _bucket(claim))
    await cluster.apply(
        held
        | {
            "spec": {
                "storageClassName": spec["storageClassName"],
                "reclaimPolicy": "Delete",
                "claimRef": {"kind": "ObjectBucketClaim", "name": name, "namespace": namespace},
                "endpoint": {
                    "bucketHost": address["BUCKET_HOST"],
                    "bucketName": bucket,
                    "bucketPort": int(address["BUCKET_PORT"]),
                    "region": address["BUCKET_REGION"],
                    "additionalConfig": dict(spec.get("additionalConfig", {})),
                },
            }
        }
    )
    await cluster.patch(claim, {"spec": {"bucketName": bucket, "objectBucketName": _bucket(claim)}})
    await cluster.patch_status(held, {"phase": "Bound"})
    await cluster.patch_status(claim, {"phase": "Bound"})
    return True


async def _release(cluster: Cluster, claim: Object) -> bool:
    held = _named(API, "ObjectBucket", _bucket(claim))
    if await cluster.get(held) is not None:
        await cluster.delete(held)
    return True


def _bucket(claim: Object) -> str:
    return f"obc-{claim['metadata']['namespace']}-{claim['metadata']['name']}"


def _named(api: str, kind: str, name: str, namespace: str = "") -> Object:
    place = {"namespace": namespace} if namespace else {}
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, **place}}


def _owned(thing: Object, claim: Object) -> Object:
    owner = {"apiVersion": API, "kind": "ObjectBucketClaim", "name": claim["metadata"]["name"]}
    reference = {**owner, "uid": claim["metadata"]["uid"], "blockOwnerDeletion": True, "controller": True}
    return {**thing, "metadata": {**thing["metadata"], "labels": LABELS, "ownerReferences": [reference]}}


def _random(length: int) -> str:
    return "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(length))
