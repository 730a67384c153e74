"""The mount test: for each class a small volume that a pod writes and reads, and a bucket that is asked for.

A class that exists is not a class that works: drivers that cannot mount show only here.
"""

from collections.abc import Mapping
from typing import Any

import versions
from keystone.charts import ceph
from keystone.charts.objects import Thing
from keystone.charts.release import Opening, PodSecurity
from keystone.settings import Settings

TEST_NAMESPACE = "keystone-tests"
JOB = "mount-test"
IMAGE = f"docker.io/library/busybox:{versions.BUSYBOX_IMAGE}"
TEXT = "keystone"
LIMIT_SECONDS = 480


def namespaces(settings: Settings) -> dict[str, tuple[PodSecurity, tuple[Opening, ...]]]:
    """The namespace of the tests, when there are any."""
    choice = settings.storage.ceph if settings.storage else None
    return {TEST_NAMESPACE: ("restricted", ())} if choice and choice.mount_test else {}


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
    container = {
        "name": "probe",
        "image": IMAGE,
        "command": ["sh", "-c", script],
        "volumeMounts": [{"name": name, "mountPath": f"/volumes/{name}"} for name in volumes],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
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
        "containers": [container],
        "volumes": [{"name": name, "persistentVolumeClaim": {"claimName": it}} for name, it in volumes.items()],
    }
    return {"backoffLimit": 2, "activeDeadlineSeconds": LIMIT_SECONDS, "template": {"spec": pod}}


def bucket() -> Thing:
    """A bucket of the smallest kind; bound means that the gateway of the object store answers and gives out keys."""
    return Thing(
        api="objectbucket.io/v1alpha1",
        kind="ObjectBucketClaim",
        name="probe",
        namespace=TEST_NAMESPACE,
        wait="jsonpath={.status.phase}=Bound",
        spec={
            "generateBucketName": "probe",
            "storageClassName": ceph.OBJECT,
            "additionalConfig": {"maxObjects": "10"},
        },
    )
