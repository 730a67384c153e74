"""components/namespace_secret.py"""

import pulumi
from pulumi_kubernetes.core.v1 import ConfigMap, Secret

from components.namespace_secret import with_secret
from tests.components.platforms import Anything
from tests.recording import Engine, is_secret, plain, run


def deploy(*, preview: bool = False) -> Engine:
    def build() -> None:
        data = {"token": "canary"}
        namespace = with_secret("dns", "provider", data, namespace=pulumi.Output.from_input("dns"), parent=Anything())
        ConfigMap("user", metadata={"namespace": namespace})

    return run(build, preview=preview)


def test_who_uses_the_namespaces_name_comes_after_the_secret() -> None:
    engine = deploy()
    assert engine.named("user").inputs["metadata"] == {"namespace": "dns"}
    assert "dns" in engine.named("user").dependencies


def test_the_content_stays_a_secret() -> None:
    [secret] = deploy().of(Secret)
    assert is_secret(secret.inputs["stringData"])
    assert plain(secret.inputs["stringData"]) == {"token": "canary"}


def test_a_preview_shows_the_same() -> None:
    assert {r.name for r in deploy(preview=True).resources} == {r.name for r in deploy().resources}
