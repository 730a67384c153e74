"""What the recording engine saw, as the policy pack is asked about it."""

from tests.aws.answers import answers
from tests.policy import court
from tests.recording import Engine, Recorded, plain

API = "clusters: [{cluster: {server: https://192.168.1.10:6443}}]"


def cases(engine: Engine) -> list[court.Case]:
    """Every resource, parents first, with its provider's inputs and those that it depends on."""
    providers = {one.name: one.inputs for one in engine.resources if one.kind.startswith("pulumi:providers:")}
    by_name: dict[str, list[Recorded]] = {}
    for one in engine.resources:
        by_name.setdefault(one.name, []).append(one)

    def urn(one: Recorded) -> str:
        return f"urn:pulumi:site::keystone::{one.kind}::{one.name}"

    def parent(one: Recorded) -> str:
        found = [it for it in by_name.get(one.parent, []) if it.kind.startswith("keystone:") and it is not one]
        return urn(found[0]) if found else ""

    def provided(one: Recorded) -> dict[str, object]:
        inputs = {key: plain(value) for key, value in providers.get(one.provider, {}).items()}
        return {**inputs, "kubeconfig": API} if "kubeconfig" in inputs else inputs

    def known(one: Recorded) -> dict[str, object]:
        """Roles have their ARN too: the pack compares it."""
        return {**one.inputs, **answers(one.kind, one.inputs)} if one.kind.endswith(":Role") else one.inputs

    return [
        court.Case(
            kind=one.kind,
            name=one.name,
            props=known(one),
            protect=one.protect,
            provider=one.provider,
            provider_props=provided(one),
            parent=parent(one),
            depends_on=tuple(urn(it) for name in one.dependencies for it in by_name.get(name, []) if it is not one),
        )
        for one in sorted(engine.resources, key=lambda one: not one.kind.startswith("keystone:"))
    ]
