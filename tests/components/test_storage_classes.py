"""Classes other than Ceph's."""

import pulumi
from pulumi_kubernetes.core.v1 import Secret

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
