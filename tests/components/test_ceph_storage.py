"""Ceph: three charts in order, then a mount test of every class."""

import subprocess
from pathlib import Path
from typing import Any

import pulumi
from cryptography import x509

from components.ceph_storage import CephStorage, CephStorageArgs
from keystone import charts
from keystone.charts import mount_test
from keystone.identities import Identities
from tests.components.platforms import names, settings
from tests.recording import ROOT_SECRET, Engine, is_secret, plain, run


def deploy(test: bool = True, protect: bool = False, **ceph: Any) -> Engine:
    storage = {"default": "local-path", "localPath": {}, "ceph": ceph, "mountTest": test}
    chosen = settings(storage=storage, protectHosts=protect)
    assert chosen.storage
    choice = chosen.storage.ceph
    assert choice
    where = names(chosen)

    def build() -> None:
        args = CephStorageArgs(
            settings=chosen,
            ceph=choice,
            root=pulumi.Output.secret(ROOT_SECRET),
            releases=charts.releases(chosen),
            namespaces=where,
            after={},
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


def test_the_cluster_with_its_data_is_protected_where_hosts_are() -> None:
    for protect in (True, False):
        protected = {r.name for r in deploy(protect=protect).resources if r.protect}
        assert protected == ({"chart-rook-ceph-cluster-release"} if protect else set())


def test_a_job_writes_and_reads_a_volume_of_each_class_and_a_bucket_is_asked_for() -> None:
    engine = deploy()
    pod = engine.named("ceph-mount-test").inputs["spec"]["template"]["spec"]
    claimed = {it["name"]: it["persistentVolumeClaim"]["claimName"] for it in pod["volumes"]}
    assert claimed == {kind: kind for kind in ("ceph-block", "ceph-filesystem")}
    for kind in claimed:
        assert engine.named(f"{kind}-claim").inputs["spec"]["storageClassName"] == kind
    assert "@sha256:" in pod["containers"][0]["image"]
    bucket = engine.named("ceph-bucket-test").inputs
    assert bucket["metadata"]["annotations"] == {"pulumi.com/waitFor": "jsonpath={.status.phase}=Bound"}
    assert bucket["spec"]["storageClassName"] == "ceph-bucket"


def test_the_script_of_the_mount_test_tells_a_volume_that_does_not_keep_what_is_written(tmp_path: Path) -> None:
    volumes = [tmp_path / "volumes" / name for name in ("ceph-block", "ceph-filesystem")]
    for volume in volumes:
        volume.mkdir(parents=True)
    script = mount_test.job({"ceph-block": "a", "ceph-filesystem": "b"})["template"]["spec"]["containers"][0]["command"]
    line = [script[0], script[1], script[2].replace("/volumes/", f"{tmp_path}/volumes/")]
    good = subprocess.run(line, capture_output=True, text=True, timeout=20, check=False)
    assert (good.returncode, good.stdout, [*volumes[0].iterdir()]) == (0, "", [])
    (volumes[1] / "probe").mkdir()  # what cannot be written
    bad = subprocess.run(line, capture_output=True, text=True, timeout=20, check=False)
    assert (bad.returncode, bad.stdout) == (1, f"{volumes[1]}: failed\n")


def test_a_job_puts_an_object_into_the_bucket_and_gets_it_back_with_the_keys_of_its_claim(tmp_path: Path) -> None:
    engine = deploy()
    job = engine.named("ceph-bucket-test-job")
    assert job.dependencies >= {"ceph-bucket-test", "ceph-bucket-test-authority"}
    pod = job.inputs["spec"]["template"]["spec"]
    [container] = pod["containers"]
    claim = engine.named("ceph-bucket-test").inputs["metadata"]["name"]
    assert container["envFrom"] == [{"secretRef": {"name": claim}}, {"configMapRef": {"name": claim}}]
    authority = engine.named("ceph-bucket-test-authority").inputs
    assert {"name": "authority", "configMap": {"name": authority["metadata"]["name"]}} in pod["volumes"]
    assert authority["data"] == {"ca.crt": Identities(ROOT_SECRET, "site").mesh_ca()[0]}
    assert "@sha256:" in container["image"]
    # A stand-in that keeps one object in a file.
    rclone = tmp_path / "rclone"
    rclone.write_text(
        '#!/bin/sh\ncase $1 in rcat) cat >"$STORE";; cat) cat "$STORE";; deletefile) rm "$STORE";; esac\n'
    )
    rclone.chmod(0o755)
    for store, expected in ((tmp_path / "object", (0, "")), (Path("/dev/full"), (1, "bucket: failed\n"))):
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "STORE": str(store), "BUCKET_NAME": "probe"}
        done = subprocess.run(
            container["command"], env=environment, capture_output=True, text=True, timeout=20, check=False
        )
        assert (done.returncode, done.stdout) == expected
    assert not (tmp_path / "object").exists()


def test_the_tests_wait_for_the_cluster() -> None:
    engine = deploy()
    assert "chart-rook-ceph-cluster-release" in engine.named("ceph-block-claim").dependencies
    assert engine.named("ceph-mount-test").dependencies >= {"ceph-block-claim", "ceph-filesystem-claim"}


def test_a_class_that_is_not_chosen_is_not_tested() -> None:
    tested = {r.name for r in deploy(filesystem=False, object=False).resources if "test" in r.name}
    assert tested == {"ceph-mount-test"}
    assert not [r.name for r in deploy(test=False).resources if "test" in r.name or "claim" in r.name]


def test_the_object_store_speaks_tls_alone_with_a_certificate_of_the_private_authority() -> None:
    engine = deploy()
    secret = engine.named("ceph-object-store-tls").inputs
    gateway = engine.named("chart-rook-ceph-cluster-release").inputs["spec"]["values"]["cephObjectStores"][0]["spec"]
    assert gateway["gateway"]["sslCertificateRef"] == secret["metadata"]["name"]
    assert (gateway["gateway"]["securePort"], "port" in gateway["gateway"]) == (443, False)
    assert secret["type"] == "kubernetes.io/tls"
    assert is_secret(secret["stringData"])
    found = plain(secret["stringData"])["tls.crt"]
    assert found.endswith(Identities(ROOT_SECRET, "site").mesh_ca()[0])
    leaf = x509.load_pem_x509_certificate(found.encode())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "rook-ceph-rgw-ceph-objectstore.rook-ceph.svc" in names.get_values_for_type(x509.DNSName)
    assert "ceph-object-store-tls" in engine.named("chart-rook-ceph-cluster-release").dependencies
