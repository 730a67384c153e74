"""components/mount_job.py"""

from components.mount_job import mount_job
from tests.components.platforms import Anything
from tests.recording import Engine, run


def deploy(*, preview: bool = False) -> Engine:
    def build() -> None:
        anything = Anything()
        mount_job("test", "job", ["one", "two"], namespace="there", parent=anything, after=[anything])

    return run(build, preview=preview)


def test_one_pod_mounts_a_claim_of_each_class() -> None:
    engine = deploy()
    job = engine.named("test").inputs
    assert job["metadata"] == {"name": "job", "namespace": "there"}
    pod = job["spec"]["template"]["spec"]
    assert {it["name"]: it["persistentVolumeClaim"]["claimName"] for it in pod["volumes"]} == {
        "one": "one",
        "two": "two",
    }
    assert {engine.named(f"{kind}-claim").inputs["spec"]["storageClassName"] for kind in ("one", "two")} == {
        "one",
        "two",
    }


def test_a_preview_shows_the_same() -> None:
    assert {r.name for r in deploy(preview=True).resources} == {r.name for r in deploy().resources}
