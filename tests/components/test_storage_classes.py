"""Classes other than Ceph's."""

from components.storage_classes import StorageClasses, StorageClassesArgs
from keystone import charts
from tests.components.platforms import names, settings
from tests.recording import run


def test_every_chosen_class_but_cephs_is_installed() -> None:
    chosen = settings(storage={"default": "longhorn", "ceph": {}, "localPath": {}, "longhorn": {}})

    def build() -> None:
        args = StorageClassesArgs(settings=chosen, releases=charts.releases(chosen), namespaces=names(chosen))
        StorageClasses("storage", args)

    engine = run(build)
    installed = {r.name for r in engine.resources if r.name.endswith("-release")}
    assert installed == {"chart-local-path-release", "chart-longhorn-release"}
