"""The cluster's part of the copies off the site: a job that copies buckets, and one that asks whether copies are new.

Both run rclone: one static program, released every few weeks, that reads Ceph's S3 and writes AWS', takes a web
identity from its environment, and needs no repository of its own that only it could read again. restic would need the
right to delete in the bucket, for its locks and for pruning; here the bucket's own lock and lifecycle do that.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import versions
from keystone import iam
from keystone.backup import plan
from keystone.charts import ceph
from keystone.charts.objects import Thing
from keystone.charts.policies import policy
from keystone.settings import Backup, Settings

IMAGE = f"docker.io/rclone/rclone:{versions.RCLONE_IMAGE}"
USER = 65532
TOKEN_FOLDER, TOKEN_FILE = "/var/run/secrets/keystone/aws", "token"
TOKEN_SECONDS = 3600
AUTHORITY = "object-store-authority"
AUTHORITY_FOLDER, AUTHORITY_FILE = "/etc/keystone", "ca.crt"
SYSTEM_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
VERIFY, BUCKETS = "verify-backup", "buckets-backup"
READER = "backup"
"""The user of the object store that reads the buckets. A bucket's policy names it: arn:aws:iam:::user/backup."""
READER_SECRET = f"rook-ceph-object-user-{ceph.OBJECT_STORE}-{READER}"
SCHEDULES = {VERIFY: "23 */2 * * *", BUCKETS: "41 1 * * *"}
LIMIT_SECONDS = {VERIFY: 600, BUCKETS: 20 * 3600}

# Each line of $EXPECTED is a place in the bucket and how many hours old its newest sum may be. 3 is rclone's word for a
# place that is not there.
VERIFY_SCRIPT = """\
set -u
failed=0
while read -r place hours; do
  status=0
  found=$(rclone lsf -R --files-only --max-age "${hours}h" --include '*.sum' ":s3:$BUCKET/$place/") || status=$?
  if [ "$status" != 0 ] && [ "$status" != 3 ]; then
    echo "$place: cannot be listed"
    failed=1
  elif [ -z "$found" ]; then
    echo "$place: no copy of the last $hours hours"
    failed=1
  else
    echo "$place: $(echo "$found" | wc -l) copies of the last $hours hours"
  fi
done <<LIST
$EXPECTED
LIST
exit $failed
"""
# A store that answers with nothing must not empty the copy of its bucket.
BUCKETS_SCRIPT = """\
set -u
failed=0
for name in $NAMES; do
  if ! one=$(rclone lsf --recursive --files-only "store:$name" | head -n 1) || [ -z "$one" ]; then
    echo "$name: empty or not readable; its copy stays as it is"
    failed=1
    continue
  fi
  if rclone sync --update --fast-list "store:$name" ":s3:$BUCKET/$PREFIX/$name/objects"; then
    date -u +%FT%TZ | rclone rcat ":s3:$BUCKET/$PREFIX/$name/done.sum" && echo "$name: copied" || failed=1
  else
    failed=1
  fi
done
exit $failed
"""


def jobs(settings: Settings, backup: Backup, roles: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The specs of the CronJobs by name; `roles` are the ARNs of their roles by service account."""
    expected = "\n".join(f"{it.prefix} {it.limit_hours}" for it in plan.sources(settings, backup))
    found = {VERIFY: _job(VERIFY, VERIFY_SCRIPT, _environment(settings, backup, roles[VERIFY], EXPECTED=expected))}
    if names := plan.object_buckets(settings, backup):
        secret = {"STORE_ACCESS_KEY_ID": "AccessKey", "STORE_SECRET_ACCESS_KEY": "SecretKey"}
        environment = [
            *_environment(settings, backup, roles[BUCKETS], NAMES=" ".join(names), PREFIX=plan.BUCKET_PREFIX),
            *_variables(
                RCLONE_CONFIG_STORE_TYPE="s3",
                RCLONE_CONFIG_STORE_PROVIDER="Ceph",
                RCLONE_CONFIG_STORE_ENDPOINT=f"https://{ceph.OBJECT_STORE_HOST}",
                # The store's certificate is by our own authority, AWS' by a public one.
                RCLONE_CA_CERT=f"{SYSTEM_AUTHORITIES},{AUTHORITY_FOLDER}/{AUTHORITY_FILE}",
            ),
            *(
                {
                    "name": f"RCLONE_CONFIG_{name}",
                    "valueFrom": {"secretKeyRef": {"name": READER_SECRET, "key": key}},
                }
                for name, key in secret.items()
            ),
        ]
        found[BUCKETS] = _job(BUCKETS, BUCKETS_SCRIPT, environment, authority=True)
    return found


def _variables(**values: Any) -> list[dict[str, Any]]:
    return [{"name": name, "value": value} for name, value in values.items()]


def _environment(settings: Settings, backup: Backup, role: Any, **more: str) -> list[dict[str, Any]]:
    assert settings.aws
    return _variables(
        AWS_ROLE_ARN=role,
        AWS_WEB_IDENTITY_TOKEN_FILE=f"{TOKEN_FOLDER}/{TOKEN_FILE}",
        AWS_REGION=settings.aws.region,
        BUCKET=plan.bucket_name(settings, backup),
        HOME="/tmp",
        **plan.rclone(settings.aws.region),
        **more,
    )


def _job(name: str, script: str, environment: list[dict[str, Any]], *, authority: bool = False) -> dict[str, Any]:
    mounts = [
        {"name": "identity", "mountPath": TOKEN_FOLDER, "readOnly": True},
        {"name": "scratch", "mountPath": "/tmp"},
    ]
    token = {"audience": iam.AUDIENCE, "expirationSeconds": TOKEN_SECONDS, "path": TOKEN_FILE}
    volumes: list[dict[str, Any]] = [
        {"name": "identity", "projected": {"sources": [{"serviceAccountToken": token}], "defaultMode": 0o440}},
        {"name": "scratch", "emptyDir": {"sizeLimit": "64Mi"}},
    ]
    if authority:
        mounts.append({"name": "authority", "mountPath": AUTHORITY_FOLDER, "readOnly": True})
        volumes.append({"name": "authority", "configMap": {"name": AUTHORITY}})
    container = {
        "name": "rclone",
        "image": IMAGE,
        "command": ["sh", "-c", script],
        "env": environment,
        "volumeMounts": mounts,
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }
    pod = {
        "serviceAccountName": name,
        # The token that it needs is projected; one for the API it needs not.
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": volumes,
    }
    return {
        "schedule": SCHEDULES[name],
        "timeZone": "Etc/UTC",
        # Two copies at once would only be in each other's way.
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": 3600,
        "successfulJobsHistoryLimit": 1,
        "failedJobsHistoryLimit": 3,
        "jobTemplate": {
            "spec": {
                "backoffLimit": 2,
                "activeDeadlineSeconds": LIMIT_SECONDS[name],
                "template": {"metadata": {"labels": labels(name)}, "spec": pod},
            }
        },
    }


def labels(name: str) -> dict[str, str]:
    """What marks the pods of a job."""
    return {"app.kubernetes.io/name": name}


def network_policies(settings: Settings, backup: Backup) -> Iterator[Thing]:
    """Nothing reaches the pods; they reach AWS, and the one that copies buckets the object store."""
    closed = policy(settings, plan.NAMESPACE, ["internet"])
    if closed is None:
        return
    yield closed
    if plan.object_buckets(settings, backup):
        store = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": ceph.NAMESPACE}}}
        yield Thing(
            api="networking.k8s.io/v1",
            kind="NetworkPolicy",
            name="object-store",
            namespace=plan.NAMESPACE,
            spec={
                "podSelector": {"matchLabels": labels(BUCKETS)},
                "policyTypes": ["Egress"],
                "egress": [{"to": [{**store, "podSelector": {"matchLabels": {"app": "rook-ceph-rgw"}}}]}],
            },
        )


def reader_policy(bucket: str) -> str:
    """What lets the reader into a bucket: the policy of its claim, as `additionalConfig.bucketPolicy`."""
    place = f"arn:aws:s3:::{bucket}"
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": [f"arn:aws:iam:::user/{READER}"]},
        "Action": ["s3:GetObject", "s3:ListBucket"],
        "Resource": [place, f"{place}/*"],
    }
    return iam.encoded({"Version": iam.VERSION, "Statement": [statement]})


def reader(settings: Settings, backup: Backup) -> Thing | None:
    """The user of the object store that reads buckets; Rook answers with a Secret in the same namespace."""
    if not plan.object_buckets(settings, backup):
        return None
    return Thing(
        api="ceph.rook.io/v1",
        kind="CephObjectStoreUser",
        name=READER,
        namespace=plan.NAMESPACE,
        spec={
            "store": ceph.OBJECT_STORE,
            "clusterNamespace": ceph.NAMESPACE,
            "displayName": "reads buckets for copies off the site",
        },
    )
