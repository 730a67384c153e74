"""The mount test: for each class a small volume that a pod writes and reads, and for buckets an object.

A class that exists is not a class that works: drivers that cannot mount show only here. AWS' classes are left out: only
machines of a pool can use their volumes, and there may be none.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import versions
from keystone.charts import backup, ceph
from keystone.charts.objects import Thing
from keystone.charts.release import Opening, PodSecurity
from keystone.settings import Settings

TEST_NAMESPACE = "keystone-tests"
CEPH_JOB, CLASSES_JOB, BUCKET_JOB = "mount-test", "mount-test-classes", "mount-test-bucket"
OTHERS = ("local-path", "longhorn", "openebs-hostpath", "proxmox")
BUCKET = "probe"
"""The claim, and the Secret and the ConfigMap with keys and name that Rook makes of it."""
AUTHORITY = "object-store-authority"
"""The ConfigMap with the certificate of who signs the object store's."""
IMAGE = f"docker.io/library/busybox:{versions.BUSYBOX_IMAGE}"
TEXT = "keystone"
LIMIT_SECONDS = 480


def namespaces(settings: Settings) -> dict[str, tuple[PodSecurity, tuple[Opening, ...]]]:
    """The namespace of the tests, when there are any."""
    wanted = jobs(settings)
    return {TEST_NAMESPACE: ("restricted", ("cluster",) if BUCKET_JOB in wanted else ())} if wanted else {}


def jobs(settings: Settings) -> dict[str, tuple[str, ...]]:
    """The Jobs of the tests, with the classes that each tries."""
    storage = settings.storage
    if storage is None or not storage.mount_test:
        return {}
    found = {
        CEPH_JOB: tuple(it for it in storage.classes if it in (ceph.BLOCK, ceph.FILESYSTEM)),
        CLASSES_JOB: tuple(it for it in storage.classes if it in OTHERS),
        BUCKET_JOB: (ceph.OBJECT,) if storage.ceph and storage.ceph.object else (),
    }
    return {job: classes for job, classes in found.items() if classes}


def claim(name: str) -> Any:
    """A claim of the class, of the smallest size that all drivers make."""
    mode = "ReadWriteMany" if name == ceph.FILESYSTEM else "ReadWriteOnce"
    return {"storageClassName": name, "accessModes": [mode], "resources": {"requests": {"storage": "1Gi"}}}


def job(volumes: Mapping[str, Any]) -> Any:
    """A Job that writes a file on every volume, reads it back and compares; class -> name of the claim.

    One pod for all: what it waits for while it does not start, or says when it fails, names the class.
    """
    script = (
        f'for volume in /volumes/*; do echo "{TEXT}" > "$volume/probe" && sync && '
        f'test "$(cat "$volume/probe")" = "{TEXT}" && rm "$volume/probe" || {{ echo "$volume: failed"; exit 1; }}; done'
    )
    mounts = [{"name": name, "mountPath": f"/volumes/{name}"} for name in volumes]
    container = {"name": "probe", "image": IMAGE, "command": ["sh", "-c", script], "volumeMounts": mounts}
    claimed = [{"name": name, "persistentVolumeClaim": {"claimName": it}} for name, it in volumes.items()]
    return _job(container, claimed, memory="64Mi")


def bucket_job() -> Any:
    """A Job that puts an object into the bucket, gets it back and compares."""
    script = (
        f'probe="store:$BUCKET_NAME/probe"; echo "{TEXT}" | rclone rcat "$probe" && '
        f'test "$(rclone cat "$probe")" = "{TEXT}" && rclone deletefile "$probe" || '
        '{ echo "bucket: failed"; exit 1; }'
    )
    variables = {
        "HOME": "/tmp",
        "RCLONE_CONFIG": "/dev/null",
        "RCLONE_CA_CERT": f"{backup.AUTHORITY_FOLDER}/{backup.AUTHORITY_FILE}",
        "RCLONE_CONFIG_STORE_TYPE": "s3",
        "RCLONE_CONFIG_STORE_PROVIDER": "Ceph",
        "RCLONE_CONFIG_STORE_ENDPOINT": f"https://{ceph.OBJECT_STORE_HOST}",
        "RCLONE_CONFIG_STORE_ENV_AUTH": "true",
        # The claim's user may make no bucket, and the bucket is there.
        "RCLONE_S3_NO_CHECK_BUCKET": "true",
    }
    container = {
        "name": "probe",
        "image": backup.IMAGE,
        "command": ["sh", "-c", script],
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        "envFrom": [{"secretRef": {"name": BUCKET}}, {"configMapRef": {"name": BUCKET}}],
        "volumeMounts": [
            {"name": "authority", "mountPath": backup.AUTHORITY_FOLDER, "readOnly": True},
            {"name": "scratch", "mountPath": "/tmp"},
        ],
    }
    volumes = [
        {"name": "authority", "configMap": {"name": AUTHORITY}},
        {"name": "scratch", "emptyDir": {"sizeLimit": "64Mi"}},
    ]
    return _job(container, volumes, memory="256Mi")


def _job(container: Mapping[str, Any], volumes: Sequence[Mapping[str, Any]], *, memory: str) -> Any:
    """A Job of one pod with no right that it does not need; `memory` is its limit."""
    limits = {
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": memory}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [{**container, **limits}],
        "volumes": volumes,
    }
    return {"backoffLimit": 2, "activeDeadlineSeconds": LIMIT_SECONDS, "template": {"spec": pod}}


def bucket() -> Thing:
    """A bucket of the smallest kind; bound means that the gateway of the object store answers and gives out keys."""
    return Thing(
        api="objectbucket.io/v1alpha1",
        kind="ObjectBucketClaim",
        name=BUCKET,
        namespace=TEST_NAMESPACE,
        wait="jsonpath={.status.phase}=Bound",
        spec={
            "generateBucketName": "probe",
            "storageClassName": ceph.OBJECT,
            "additionalConfig": {"maxObjects": "10"},
        },
    )
