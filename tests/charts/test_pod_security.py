"""Every chart's pods are let into its namespace: the twin's placeholders would be, whatever the real ones say.

`pod-security.json` has for each release the lowest level of its pods as Helm renders them with our values, `asked`
being what these say of security. Another version or another such value is to be rendered and recorded again with
tests/charts/pod_security.py; so is a value that brings further pods, which no test sees.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from keystone.charts import Release, namespaces, releases
from keystone.charts.release import CONTAINER, POD
from tests.charts.pod_security import LEVELS, level, pods
from tests.observability.test_monitors import catalogue

RECORDED: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "pod-security.json").read_text())
_SECURITY = re.compile("securityContext|hostNetwork|hostPort|hostPath", re.IGNORECASE)


def chosen() -> dict[str, tuple[Release, str]]:
    """Each release of the catalogue with the level of its namespace; those of privileged ones have nothing to prove."""
    found: dict[str, tuple[Release, str]] = {}
    for settings in catalogue():
        all_of_them = releases(settings)
        levels = namespaces(all_of_them.values())
        for release in all_of_them.values():
            if levels.get(release.namespace, "privileged") != "privileged":
                found.setdefault(release.name, (release, levels[release.namespace]))
    return found


def asked(values: Any, way: str = "") -> Iterator[tuple[str, Any]]:
    """What values say of security, by path."""
    if not isinstance(values, Mapping) or not values:
        if _SECURITY.search(way):
            yield way, values
        return
    for key, value in values.items():
        yield from asked(value, f"{way}/{key}" if way else key)


def test_every_release_is_recorded_or_has_a_written_reason() -> None:
    assert chosen().keys() == RECORDED["rendered"].keys() | RECORDED["unproven"].keys()
    for name, reason in RECORDED["unproven"].items():
        print(f"not rendered: {name}: {reason}")


@pytest.mark.parametrize("name", RECORDED["rendered"])
def test_the_pods_of_a_release_are_let_into_its_namespace(name: str) -> None:
    (release, wanted), record = chosen()[name], RECORDED["rendered"][name]
    assert release.version == record["version"], f"render it again from {record['source']}"
    assert dict(asked(json.loads(json.dumps(release.values)))) == record["asked"], "render it again"
    assert LEVELS.index(record["level"]) >= LEVELS.index(wanted)


STRICT: dict[str, Any] = {"securityContext": POD, "containers": [{"name": "a", "securityContext": CONTAINER}]}
LESS: dict[str, tuple[dict[str, Any], str]] = {
    "the contexts that we give": ({}, "restricted"),
    "no contexts": ({"securityContext": {}, "containers": [{"name": "a"}]}, "baseline"),
    "no seccomp profile": ({"securityContext": {"runAsNonRoot": True}}, "baseline"),
    "a container that may be root": (
        {"containers": [{"name": "a", "securityContext": {**CONTAINER, "runAsNonRoot": False}}]},
        "baseline",
    ),
    "a second container without a context": ({"initContainers": [{"name": "b"}]}, "baseline"),
    "a volume of another sort": ({"volumes": [{"name": "v", "nfs": {}}]}, "baseline"),
    "a folder of the host": ({"volumes": [{"name": "v", "hostPath": {}}]}, "privileged"),
    "the host's network": ({"hostNetwork": True}, "privileged"),
    "a port of the host": ({"containers": [{"name": "a", "ports": [{"hostPort": 80}]}]}, "privileged"),
    "a right of the kernel": (
        {"containers": [{"name": "a", "securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}}]},
        "privileged",
    ),
}


@pytest.mark.parametrize(("change", "expected"), LESS.values(), ids=LESS)
def test_the_level_of_a_pod_is_the_strictest_that_lets_it_in(change: dict[str, Any], expected: str) -> None:
    job = {"kind": "CronJob", "metadata": {"name": "it"}}
    job["spec"] = {"jobTemplate": {"spec": {"template": {"spec": {**STRICT, **change}}}}}
    [(name, spec)] = pods([job, None, {"kind": "Service"}])
    assert (name, level(spec)) == ("CronJob/it", expected)
