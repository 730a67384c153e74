"""Ceph: three charts in order, then a mount test of every class."""

from typing import Any

from components.ceph_storage import CephStorage, CephStorageArgs
from keystone import charts
from tests.components.platforms import names, settings
from tests.recording import Engine, run


def deploy(test: bool = True, **ceph: Any) -> Engine:
    chosen = settings(storage={"default": "local-path", "localPath": {}, "ceph": ceph})
    assert chosen.storage
    choice = chosen.storage.ceph
    assert choice
    where = names(chosen)
    if not test:
        del where["keystone-tests"]

    def build() -> None:
        args = CephStorageArgs(
            settings=chosen, ceph=choice, releases=charts.releases(chosen), namespaces=where, after={}
        )
        CephStorage("ceph", args)

    return run(build)


def test_its_charts_are_installed_each_after_those_that_it_needs() -> None:
    engine = deploy()
    order = [r.name for r in engine.resources if r.name.endswith("-release")]
    assert order == ["chart-rook-ceph-release", "chart-ceph-csi-drivers-release", "chart-rook-ceph-cluster-release"]
    assert engine.named("chart-rook-ceph-cluster-release").inputs["spec"]["dependsOn"] == [
        {"name": "rook-ceph"},
        {"name": "ceph-csi-drivers"},
    ]


def test_a_job_writes_and_reads_a_volume_of_each_class_and_a_bucket_is_asked_for() -> None:
    engine = deploy()
    for kind in ("ceph-block", "ceph-filesystem"):
        assert engine.named(f"{kind}-claim").inputs["spec"]["storageClassName"] == kind
        pod = engine.named(f"{kind}-mount-test").inputs["spec"]["template"]["spec"]
        assert pod["volumes"][0]["persistentVolumeClaim"] == {"claimName": kind}
        assert "test " in pod["containers"][0]["command"][2]
        assert "@sha256:" in pod["containers"][0]["image"]
    bucket = engine.named("ceph-bucket-test").inputs
    assert bucket["metadata"]["annotations"] == {"pulumi.com/waitFor": "jsonpath={.status.phase}=Bound"}
    assert bucket["spec"]["storageClassName"] == "ceph-bucket"


def test_the_tests_wait_for_the_cluster() -> None:
    engine = deploy()
    assert "chart-rook-ceph-cluster-release" in engine.named("ceph-block-claim").dependencies
    assert "ceph-block-claim" in engine.named("ceph-block-mount-test").dependencies


def test_a_class_that_is_not_chosen_is_not_tested() -> None:
    tested = {r.name for r in deploy(filesystem=False, object=False).resources if "test" in r.name}
    assert tested == {"ceph-block-mount-test"}
    assert not [r.name for r in deploy(test=False).resources if "test" in r.name or "claim" in r.name]
