"""The program of a stack file, recorded, as the engine would describe its resources to the pack."""

import runpy
from functools import cache
from pathlib import Path
from typing import Any

import pulumi
import pulumi.runtime
import yaml
from pulumi.output import Unknown
from pulumi.runtime.stack import Stack

from keystone import facts
from keystone.settings import read
from tests import test_program
from tests.policy import court
from tests.recording import Engine, Recorded, answers, plain, run
from tests.settings.test_examples import CLUSTERS


def _recorded(stack: str, folder: Path, *, preview: bool) -> tuple[Engine, dict[str, Any]]:
    """What the program registers, and its exports; a preview does not know them all, and shows none."""
    exports: dict[str, Any] = {}

    def build() -> None:
        runpy.run_path(str(test_program.PROJECT / "__main__.py"))
        root = pulumi.runtime.get_root_resource()
        assert isinstance(root, Stack)
        pulumi.Output.from_input(dict(root.outputs)).apply(exports.update)

    test_program._set(yaml.safe_load((folder / f"Pulumi.{stack}.yaml").read_text())["config"])
    try:
        return run(build, preview=preview, stack=stack), exports
    finally:
        pulumi.runtime.set_all_config({})


def example(stack: str, folder: Path) -> None:
    """Lay an example out as a user does: its stack file and its facts in the project's folder."""
    text = (test_program.PROJECT / CLUSTERS[stack] / f"Pulumi.{stack}.yaml").read_text()
    (folder / f"Pulumi.{stack}.yaml").write_text(text)
    facts.write(read(stack, folder), stack, folder)


def _wire(value: Any) -> Any:
    """A recorded input as a policy gets it."""
    if isinstance(value, Unknown):
        return court.UNKNOWN
    if isinstance(value, dict):
        return {key: _wire(inner) for key, inner in value.items()}
    return [_wire(inner) for inner in value] if isinstance(value, list) else value


def _answering(props: dict[str, Any], endpoint: str) -> dict[str, Any]:
    """A provider's inputs; the kubeconfig, which recording makes up, leads to the stack's own API."""
    shown = {key: plain(value) for key, value in props.items()}
    if isinstance(shown.get("kubeconfig"), str):
        shown["kubeconfig"] = f"clusters: [{{cluster: {{server: {endpoint}}}}}]"
    return _wire(shown)


@cache
def cases(stack: str, folder: Path = test_program.PROJECT, *, preview: bool = False) -> tuple[court.Case, ...]:
    """The program's resources, components first. Run it in the folder of the stack file."""
    engine, found = _recorded(stack, folder, preview=preview)
    providers = {one.name: one.inputs for one in engine.resources if one.kind.startswith("pulumi:providers:")}
    endpoint = read(stack, folder).cluster.api.endpoint
    components = {one.name: one for one in engine.resources if one.kind.startswith("keystone:")}
    by_name: dict[str, list[Recorded]] = {}
    for one in engine.resources:
        by_name.setdefault(one.name, []).append(one)
    made: dict[tuple[str, str], court.Case] = {}

    def case(one: Recorded) -> court.Case:
        if (one.kind, one.name) not in made:
            made[one.kind, one.name] = describe(one)
        return made[one.kind, one.name]

    def describe(one: Recorded) -> court.Case:
        parent = components.get(one.parent)
        others = (other for name in sorted(one.dependencies) for other in by_name.get(name, []) if other is not one)
        # A role's ARN is an output, and the pack compares it.
        told = answers(one.kind, one.inputs) if one.kind.endswith(":Role") and not preview else {}
        return court.Case(
            kind=one.kind,
            name=one.name,
            props=_wire({**one.inputs, **told}),
            protect=one.protect,
            provider=one.provider,
            provider_props=_answering(providers.get(one.provider, {}), endpoint),
            parent=case(parent).urn if parent and parent is not one else "",
            depends_on=tuple(case(other).urn for other in others),
        )

    first = sorted(engine.resources, key=lambda one: not one.kind.startswith("keystone:"))
    exports = court.Case(kind="pulumi:pulumi:Stack", name=stack, props=found)
    return (*map(case, first), exports)
