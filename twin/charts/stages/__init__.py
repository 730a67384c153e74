"""kwok Stages: the status that the real controllers would give to custom resources, one file per API group."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from twin.charts.cluster import Cluster
from twin.charts.definitions import Definition

HERE = Path(__file__).parent


@cache
def _by_kind() -> dict[tuple[str, str], list[dict[str, Any]]]:
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for path in sorted(HERE.glob("*.yaml")):
        for stage in yaml.safe_load_all(path.read_text()):
            target = stage["spec"]["resourceRef"]
            found.setdefault((target["apiGroup"], target["kind"]), []).append(stage)
    return found


async def follow(cluster: Cluster, definitions: Iterable[Definition]) -> None:
    """Apply the stages of the kinds that have just been defined: kwok cannot watch a kind that is not served."""
    for definition in definitions:
        spec = definition["spec"]
        for version in spec["versions"]:
            api = f"{spec['group']}/{version['name']}"
            for stage in _by_kind().get((api, spec["names"]["kind"]), []):
                await cluster.collection(api, spec["names"]["kind"])  # waits until it is served
                await cluster.apply(stage)
