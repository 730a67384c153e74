"""nix/modules/offsite/copy.sh with the real rclone and the real age, against an S3 on loopback."""

import hashlib
from pathlib import Path

import pytest

from keystone.identities import Identities
from tests.backup.conftest import BUCKET, Store
from tests.recording import ROOT_SECRET

SCRIPT = Path(__file__).resolve().parents[2] / "nix/modules/offsite/copy.sh"
ZFS = """#!/bin/sh
case "$1" in
  list) printf '%s\\n' $SNAPSHOTS ;;
  send) echo "stream of $4"; exit "${ZFS_STATUS:-0}" ;;
esac
"""


def copy(store: Store, *arguments: str, **more: str) -> str:
    done = store.run(["bash", str(SCRIPT), *arguments], **more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def restored(store: Store, key: str, generation: int = 1) -> bytes:
    """What a person gets back with the derived key, by the commands of docs/operations/restore.md."""
    secret = store.folder / f"key-{generation}"
    secret.write_text(Identities(ROOT_SECRET, "site").backup_key(generation).private)
    secret.chmod(0o600)
    sealed = store.folder / "copy.age"
    sealed.write_bytes(store.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())
    done = store.run(["age", "--decrypt", "-i", str(secret), "-o", str(store.folder / "plain"), str(sealed)])
    assert done.returncode == 0, done.stderr
    return (store.folder / "plain").read_bytes()


@pytest.fixture
def snapshots(store: Store) -> Path:
    folder = store.folder / "snapshots"
    folder.mkdir()
    for number in (1, 2):
        (folder / f"etcd-snapshot-primer-{number}.zip").write_bytes(bytes([number]) * 300_000)
    (folder / "unfinished.part").write_text("not yet")
    return folder


@pytest.fixture
def zfs(store: Store) -> None:
    file = store.folder / "bin/zfs"
    file.write_text(ZFS)
    file.chmod(0o755)


def test_each_file_is_copied_once_and_comes_back_as_it_was(store: Store, snapshots: Path) -> None:
    said = copy(store, "files", str(snapshots), "etcd-snapshot-*", "etcd")
    assert said.splitlines() == [f"etcd/etcd-snapshot-primer-{n}.zip.age: copied" for n in (1, 2)]
    wanted = [f"hosts/primer/etcd/etcd-snapshot-primer-{n}.zip.age{end}" for n in (1, 2) for end in ("", ".sum")]
    assert store.names() == sorted(wanted)
    assert restored(store, wanted[0]) == (snapshots / "etcd-snapshot-primer-1.zip").read_bytes()
    assert copy(store, "files", str(snapshots), "etcd-snapshot-*", "etcd") == ""
    versions = store.s3.list_object_versions(Bucket=BUCKET)["Versions"]
    assert len(versions) == len(wanted), "a second run wrote again"


def test_what_lies_in_the_bucket_is_not_the_plain_text_and_its_sum_is_right(store: Store, snapshots: Path) -> None:
    (snapshots / "etcd-snapshot-primer-1.zip").write_bytes(b"canary" * 1000)
    copy(store, "files", str(snapshots), "etcd-snapshot-*", "etcd")
    key = "hosts/primer/etcd/etcd-snapshot-primer-1.zip.age"
    sealed = store.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    seal = store.s3.get_object(Bucket=BUCKET, Key=f"{key}.sum")["Body"].read().decode()
    assert b"canary" not in sealed
    assert seal == f"{hashlib.sha256(sealed).hexdigest()}  etcd-snapshot-primer-1.zip.age\n"


@pytest.mark.usefixtures("zfs")
def test_the_newest_daily_snapshot_of_a_dataset_is_sent_once(store: Store) -> None:
    listed = "p/etcd@autosnap_3_hourly p/etcd@autosnap_2_daily p/etcd@autosnap_1_daily"
    copy(store, "dataset", "p/etcd", "zfs/etcd", SNAPSHOTS=listed)
    key = "hosts/primer/zfs/etcd/autosnap_2_daily.zfs.age"
    assert store.names() == [key, f"{key}.sum"]
    assert restored(store, key) == b"stream of p/etcd@autosnap_2_daily\n"
    assert "copied already" in copy(store, "dataset", "p/etcd", "zfs/etcd", SNAPSHOTS=listed)


@pytest.mark.usefixtures("zfs")
def test_a_stream_that_breaks_off_is_no_copy_and_the_next_run_makes_it(store: Store) -> None:
    broken = store.run(["bash", str(SCRIPT), "dataset", "p/etcd", "zfs/etcd"], SNAPSHOTS="p/etcd@1", ZFS_STATUS="1")
    assert broken.returncode != 0
    assert "zfs/etcd/1.zfs.age: not copied" in broken.stderr
    assert [name for name in store.names() if name.endswith(".sum")] == []
    copy(store, "dataset", "p/etcd", "zfs/etcd", SNAPSHOTS="p/etcd@1")
    assert store.names()[-1].endswith("/1.zfs.age.sum")


def test_a_copy_whose_sum_cannot_be_written_fails_the_run(store: Store, snapshots: Path) -> None:
    store.refused = (".sum",)
    done = store.run(
        ["bash", str(SCRIPT), "files", str(snapshots), "etcd-snapshot-*", "etcd"], RCLONE_LOW_LEVEL_RETRIES="1"
    )
    assert done.returncode != 0
    assert done.stdout == "", "nothing was copied"


@pytest.mark.usefixtures("zfs")
def test_a_dataset_without_a_snapshot_is_told(store: Store) -> None:
    done = store.run(["bash", str(SCRIPT), "dataset", "p/etcd", "zfs/etcd"], SNAPSHOTS="")
    assert done.returncode == 1
    assert done.stderr == "p/etcd has no snapshot yet\n"


def test_a_bucket_that_does_not_answer_ends_the_run_with_its_words(store: Store, snapshots: Path) -> None:
    done = store.run(
        ["bash", str(SCRIPT), "files", str(snapshots), "etcd-snapshot-*", "etcd"],
        BUCKET="nobodys",
        RCLONE_RETRIES="1",
        RCLONE_LOW_LEVEL_RETRIES="1",
    )
    assert done.returncode != 0
    assert done.stdout == ""
