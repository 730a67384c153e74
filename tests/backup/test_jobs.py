"""The jobs in the cluster: their scripts with the real rclone against an S3 on loopback, and their pods."""

import subprocess
from typing import Any

import pytest

from keystone.backup import plan
from keystone.charts import backup
from keystone.settings import Settings, parse
from tests.backup.conftest import BUCKET, Store
from tests.recording import document
from tests.test_dry_run import faults

ROLES = {backup.VERIFY: "arn:aws:iam::123456789012:role/v", backup.BUCKETS: "arn:aws:iam::123456789012:role/b"}


def site(**chosen: Any) -> Settings:
    base = document(servers=3)
    base["cluster"]["issuerHost"] = "oidc.example.org"
    for name in ("w1", "w2"):
        base["hosts"][name]["osdDisks"] = [f"/dev/disk/by-id/{name}-osd"]
    base["aws"] = {"region": "eu-central-1", "accountId": "123456789012"}
    base["platform"] = {"certManager": {}}
    base["storage"] = {"default": "ceph-block", "ceph": {}}
    base["backup"] = chosen
    return parse(base)


def jobs(settings: Settings) -> dict[str, dict[str, Any]]:
    assert settings.backup
    return backup.jobs(settings, settings.backup, ROLES)


def pod(job: dict[str, Any]) -> dict[str, Any]:
    return job["jobTemplate"]["spec"]["template"]["spec"]


def run(store: Store, job: dict[str, Any], **more: str) -> subprocess.CompletedProcess[str]:
    """The job's command in the job's environment; paths of the pod become ones of the test."""
    container = pod(job)["containers"][0]
    given = {one["name"]: one["value"] for one in container["env"] if "value" in one}
    here = {name: value for name, value in given.items() if not value.startswith(("/", "https://"))}
    return store.run(container["command"], **{**here, **more})


def seal(store: Store, place: str) -> None:
    store.s3.put_object(Bucket=BUCKET, Key=f"{place}/x.age.sum", Body=b"sum")


# --- are the copies new? ---


def test_the_check_passes_when_every_place_has_a_new_copy_and_asks_for_no_contents(store: Store) -> None:
    settings = site()
    assert settings.backup
    for source in plan.sources(settings, settings.backup):
        seal(store, source.prefix)
    store.readable = False
    done = run(store, jobs(settings)[backup.VERIFY])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "hosts/primer/etcd: 1 copies of the last 26 hours" in done.stdout.splitlines()


def test_the_check_names_each_place_without_a_new_copy(store: Store) -> None:
    settings = site(zfs="never")
    seal(store, "hosts/primer/etcd")
    seal(store, "hosts/s2/etcd")
    done = run(store, jobs(settings)[backup.VERIFY])
    assert done.returncode == 1
    assert [line for line in done.stdout.splitlines() if "no copy" in line] == [
        "hosts/s3/etcd: no copy of the last 26 hours",
        "hosts/primer/headscale: no copy of the last 26 hours",
    ]


def test_an_old_copy_does_not_count(store: Store) -> None:
    store.s3.put_object(Bucket=BUCKET, Key="hosts/primer/etcd/x.age.sum", Body=b"sum")
    done = run(store, jobs(site())[backup.VERIFY], EXPECTED="hosts/primer/etcd 0")
    assert done.stdout == "hosts/primer/etcd: no copy of the last 0 hours\n"


def test_a_copy_without_its_sum_does_not_count(store: Store) -> None:
    store.s3.put_object(Bucket=BUCKET, Key="hosts/primer/etcd/x.age", Body=b"half")
    done = run(store, jobs(site())[backup.VERIFY], EXPECTED="hosts/primer/etcd 26")
    assert done.stdout == "hosts/primer/etcd: no copy of the last 26 hours\n"


def test_a_bucket_that_cannot_be_listed_fails_the_check(store: Store) -> None:
    done = run(store, jobs(site())[backup.VERIFY], BUCKET="nobodys", EXPECTED="hosts/primer/etcd 26")
    # rclone tells a missing bucket and a missing place alike.
    assert (done.returncode, done.stdout) == (1, "hosts/primer/etcd: no copy of the last 26 hours\n")
    gone = run(
        store, jobs(site())[backup.VERIFY], EXPECTED="hosts/primer/etcd 26", RCLONE_S3_ENDPOINT="https://127.0.0.1:1"
    )
    assert (gone.returncode, gone.stdout) == (1, "hosts/primer/etcd: cannot be listed\n")


# --- buckets ---


@pytest.fixture
def photos(store: Store) -> dict[str, str]:
    """A bucket of the object store, and how its job reaches it."""
    where = {"LocationConstraint": "eu-central-1"}
    store.s3.create_bucket(Bucket="photos", CreateBucketConfiguration=where)
    for name in ("a.jpg", "b/c.jpg"):
        store.s3.put_object(Bucket="photos", Key=name, Body=name.encode() * 10)
    return {
        "RCLONE_CONFIG_STORE_ENDPOINT": store.url,
        "RCLONE_CONFIG_STORE_ACCESS_KEY_ID": "reader",
        "RCLONE_CONFIG_STORE_SECRET_ACCESS_KEY": "secret",
        "RCLONE_CONFIG_STORE_REGION": "eu-central-1",
        "RCLONE_CA_CERT": str(store.folder / "ca.crt"),
    }


def copied(store: Store) -> list[str]:
    return [name.removeprefix("buckets/photos/") for name in store.names()]


def test_a_bucket_is_followed_and_what_went_stays_as_a_version(store: Store, photos: dict[str, str]) -> None:
    job = jobs(site(objectBuckets=["photos"]))[backup.BUCKETS]
    assert run(store, job, **photos).stdout == "photos: copied\n"
    assert copied(store) == ["done.sum", "objects/a.jpg", "objects/b/c.jpg"]
    store.s3.delete_object(Bucket="photos", Key="a.jpg")
    assert run(store, job, **photos).returncode == 0
    assert copied(store) == ["done.sum", "objects/b/c.jpg"]
    kept = store.s3.list_object_versions(Bucket=BUCKET, Prefix="buckets/photos/objects/a.jpg")["Versions"]
    assert len(kept) == 1
    again = store.s3.list_object_versions(Bucket=BUCKET, Prefix="buckets/photos/objects/b")["Versions"]
    assert len(again) == 1, "what is unchanged is not written again"


def test_an_empty_store_empties_no_copy(store: Store, photos: dict[str, str]) -> None:
    job = jobs(site(objectBuckets=["photos"]))[backup.BUCKETS]
    run(store, job, **photos)
    for name in ("a.jpg", "b/c.jpg"):
        store.s3.delete_object(Bucket="photos", Key=name)
    done = run(store, job, **photos)
    assert (done.returncode, done.stdout) == (1, "photos: empty or not readable; its copy stays as it is\n")
    assert copied(store) == ["done.sum", "objects/a.jpg", "objects/b/c.jpg"]


def test_one_bucket_that_fails_does_not_keep_the_others_back(store: Store, photos: dict[str, str]) -> None:
    done = run(store, jobs(site(objectBuckets=["gone", "photos"]))[backup.BUCKETS], **photos)
    assert done.returncode == 1
    assert done.stdout == "gone: empty or not readable; its copy stays as it is\nphotos: copied\n"


# --- pods and policies ---


def test_only_what_is_chosen_has_a_job() -> None:
    assert set(jobs(site())) == {"verify-backup"}
    assert set(jobs(site(objectBuckets=["photos"]))) == {"verify-backup", "buckets-backup"}


@pytest.mark.parametrize("name", [backup.VERIFY, backup.BUCKETS])
def test_a_pod_has_a_token_for_aws_and_neither_keys_nor_rights(name: str) -> None:
    spec = pod(jobs(site(objectBuckets=["photos"]))[name])
    [container] = spec["containers"]
    [token] = spec["volumes"][0]["projected"]["sources"]
    assert token["serviceAccountToken"]["audience"] == "sts.amazonaws.com"
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert "@sha256:" in container["image"]
    assert not [one for one in container["env"] if one["name"].startswith(("AWS_ACCESS", "AWS_SECRET"))]


def test_the_job_that_copies_buckets_reaches_the_object_store_and_the_check_does_not() -> None:
    settings = site(objectBuckets=["photos"])
    assert settings.backup
    names = [it.name for it in backup.network_policies(settings, settings.backup)]
    assert names == ["default-deny", "object-store"]
    plain = site()
    assert plain.backup
    assert [it.name for it in backup.network_policies(plain, plain.backup)] == ["default-deny"]


def test_the_reader_of_buckets_is_a_user_that_the_definition_takes() -> None:
    settings = site(objectBuckets=["photos"])
    assert settings.backup
    found = backup.reader(settings, settings.backup)
    assert found
    thing = {"apiVersion": found.api, "kind": found.kind, "metadata": {"name": found.name}, "spec": found.spec}
    assert faults(thing) == []
    plain = site()
    assert plain.backup
    assert backup.reader(plain, plain.backup) is None
