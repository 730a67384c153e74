"""Classes other than Ceph's."""

import pulumi
from pulumi_kubernetes.core.v1 import PersistentVolumeClaim, Secret

from components.storage_classes import StorageClasses, StorageClassesArgs
from keystone import charts
from tests.components.platforms import names, settings
from tests.recording import is_secret, plain, run


def test_every_chosen_class_but_cephs_is_installed() -> None:
    chosen = settings(storage={"default": "longhorn", "ceph": {}, "localPath": {}, "longhorn": {}})

    def build() -> None:
        args = StorageClassesArgs(settings=chosen, releases=charts.releases(chosen), namespaces=names(chosen))
        StorageClasses("storage", args)

    engine = run(build)
    installed = {r.name for r in engine.resources if r.name.endswith("-release")}
    assert installed == {"chart-local-path-release", "chart-longhorn-release"}


def test_a_job_writes_and_reads_a_volume_of_each_class_that_hosts_can_mount() -> None:
    role = "arn:aws:iam::123456789012:role/csi"
    storage = {
        "default": "longhorn",
        "localPath": {},
        "longhorn": {},
        "openebs": {},
        "efs": {"roleArn": role, "fileSystemId": "fs-0123abcd"},
    }
    for tested in (True, False):
        chosen = settings(storage={**storage, "mountTest": tested})
        args = StorageClassesArgs(settings=chosen, releases=charts.releases(chosen), namespaces=names(chosen))
        engine = run(lambda args=args: StorageClasses("storage", args) and None)
        claims = {r.inputs["spec"]["storageClassName"] for r in engine.of(PersistentVolumeClaim)}
        assert claims == ({"local-path", "longhorn", "openebs-hostpath"} if tested else set())
        if tested:
            job = engine.named("storage-mount-test")
            volumes = job.inputs["spec"]["template"]["spec"]["volumes"]
            assert {it["persistentVolumeClaim"]["claimName"] for it in volumes} == claims
            claim = engine.named("local-path-claim")
            assert "chart-local-path-release" in claim.dependencies
            # Its volume is made where the pod goes: waiting for it first would be waiting for ever.
            assert claim.inputs["metadata"]["annotations"] == {"pulumi.com/skipAwait": "true"}


def test_proxmox_driver_comes_after_the_secret_that_its_pods_want() -> None:
    chosen = settings(storage={"proxmox": {"storageId": "zfs", "encryptedByHost": True}})

    def build() -> None:
        args = StorageClassesArgs(
            settings=chosen,
            releases=charts.releases(chosen),
            namespaces=names(chosen),
            proxmox_config=pulumi.Output.secret("clusters: []"),
        )
        StorageClasses("storage", args)

    engine = run(build)
    [secret] = engine.of(Secret)
    release = engine.named("chart-proxmox-csi-plugin-release")
    assert "storage-proxmox" in release.dependencies
    values = release.inputs["spec"]["values"]
    assert secret.inputs["metadata"] == {"name": values["existingConfigSecret"], "namespace": "csi-proxmox"}
    assert is_secret(secret.inputs["stringData"])
    assert plain(secret.inputs["stringData"]) == {values["existingConfigSecretKey"]: "clusters: []"}
