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
    """Apply the stages of the kinds that have just been defined.

    kwok reads a kind's OpenAPI once, when its stage appears, and never again: one that comes too early does nothing.
    """
    for definition in definitions:
        spec = definition["spec"]
        for version in spec["versions"]:
            api = f"{spec['group']}/{version['name']}"
            for stage in _by_kind().get((api, spec["names"]["kind"]), []):
                await cluster.described(api, spec["names"]["kind"])
                await cluster.apply(stage)
