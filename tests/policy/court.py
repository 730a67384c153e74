"""Asks the pack as the engine does: over its gRPC messages, but within the process."""

from __future__ import annotations

import copy
import runpy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format
from judging.resource import words
from judging.rule import ABSENT, Rule
from judging.server import Judge
from pulumi.runtime.proto import analyzer_pb2

from tests.recording import plain

HERE = Path(__file__).parent
PACK = HERE.parents[1] / "policy"
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""How a value that is not known yet travels to a policy."""
OPEN = {"pulumi": "", "keystone": "", "command": "default"}


@cache
def rules() -> tuple[Rule, ...]:
    """The pack's list, as it serves it."""
    return tuple(runpy.run_path(str(PACK / "__main__.py"), run_name="pack")["RULES"])


def rule(name: str) -> Rule:
    [found] = [one for one in rules() if one.name == name]
    return found


@dataclass(frozen=True, kw_only=True)
class Case:
    """One resource as the engine describes it; `provider` is the name of its provider."""

    kind: str
    name: str
    props: dict[str, Any] = field(default_factory=dict)
    protect: bool = True
    provider: str | None = None
    provider_props: dict[str, Any] = field(default_factory=dict)
    parent: str = ""
    depends_on: tuple[str, ...] = ()

    @property
    def urn(self) -> str:
        return f"urn:pulumi:site::keystone::{self.kind}::{self.name}"

    def changed(self, changes: Mapping[str, Any]) -> Case:
        """A copy with values set at paths; ABSENT takes one out."""
        props = copy.deepcopy(self.props)
        for path, value in changes.items():
            put(props, path, value)
        return replace(self, props=props)


def put(props: Any, path: str, value: Any) -> None:
    """Set a value at a dotted path, making what is missing on the way."""
    *way, last = words(path)
    for index, word in enumerate(way):
        following = [*way, last][index + 1]
        if isinstance(props, list):
            while len(props) <= int(word):
                props.append({})
            props = props[int(word)]
        else:
            if not isinstance(props.get(word), dict | list):
                props[word] = [] if following.isdigit() else {}
            # What is secret is changed within its wrapping.
            props = plain(props[word])
    if isinstance(props, list):
        while len(props) <= int(last):
            props.append({})
        if value == ABSENT:
            del props[int(last)]
        else:
            props[int(last)] = value
    elif value == ABSENT:
        props.pop(last, None)
    else:
        props[last] = value


@cache
def catalogue() -> dict[str, Case]:
    """The good resources by name."""
    return {name: _case(name, entry) for name, entry in yaml.safe_load((HERE / "catalogue.yaml").read_text()).items()}


def _case(name: str, entry: Mapping[str, Any]) -> Case:
    entry = dict(entry)
    return Case(
        kind=entry["kind"],
        name=entry.get("name", name),
        props=entry.get("props") or {},
        protect=entry.get("protect", True),
        provider=entry.get("provider"),
        provider_props=entry.get("providerProps") or {},
        parent=entry.get("parent", ""),
        depends_on=tuple(entry.get("dependsOn", ())),
    )


def varied(entry: Mapping[str, Any]) -> Case:
    """A case of the corpus: `from` a good resource, with `set` and `unset` paths and other options."""
    base = catalogue()[entry["from"]]
    changes = {**dict.fromkeys(entry.get("unset", ()), ABSENT), **entry.get("set", {})}
    options = {key: entry[key] for key in ("name", "protect", "provider", "parent", "kind") if key in entry}
    if "providerProps" in entry:
        options["provider_props"] = entry["providerProps"]
    if "dependsOn" in entry:
        options["depends_on"] = tuple(entry["dependsOn"])
    return replace(base.changed(changes), **options)


@dataclass(frozen=True)
class Verdict:
    """What the pack said: (rule, message) of each violation, and of each note."""

    violations: list[tuple[str, str]]
    notes: list[tuple[str, str]]

    @property
    def broken(self) -> set[str]:
        return {name for name, _ in self.violations}


def judge(
    cases: Sequence[Case],
    *,
    only: Iterable[Rule] | None = None,
    preview: bool = False,
    whole: bool = False,
    exceptions: list[dict[str, str]] | None = None,
    day: date | None = None,
) -> Verdict:
    """Judge resources one by one and, with `whole`, as a graph."""
    court = Judge(list(only) if only is not None else list(rules()), day)
    court.ConfigureStack(analyzer_pb2.AnalyzerStackConfigureRequest(stack="site", dry_run=preview), None)
    configure(court, exceptions)
    answers = [court.Analyze(request(one, cases), None) for one in cases]
    if whole:
        answers.append(court.AnalyzeStack(graph(cases), None))
    found = [d for answer in answers for d in answer.diagnostics]
    hard = analyzer_pb2.MANDATORY
    return Verdict(
        [(d.policyName, d.message.partition("\n")[2]) for d in found if d.enforcementLevel == hard],
        [(d.policyName, d.message.partition("\n")[2]) for d in found if d.enforcementLevel != hard],
    )


class Refused(Exception):
    """The pack ended the run."""


class _Context:
    def abort(self, _code: Any, details: str) -> None:
        raise Refused(details)


def configure(court: Judge, exceptions: list[dict[str, str]] | None = None, level: int | None = None) -> None:
    """Hand the pack its configuration, as the engine does from the file."""
    config = analyzer_pb2.ConfigureAnalyzerRequest()
    for name in [*(one.name for one in court.rules), "exceptions"]:
        config.policyConfig[name].enforcementLevel = analyzer_pb2.MANDATORY if level is None else level  # type: ignore[assignment]
    if exceptions is not None:
        config.policyConfig["exceptions"].properties.update({"list": exceptions})
    court.Configure(config, _Context())


def _urns(cases: Sequence[Case]) -> dict[str, str]:
    known = {name: one.urn for name, one in catalogue().items()}
    return {**known, **{one.name: one.urn for one in cases}}


def request(case: Case, cases: Sequence[Case] = ()) -> Any:
    """The engine's question about one resource."""
    asked = analyzer_pb2.AnalyzeRequest(type=case.kind, urn=case.urn, name=case.name)
    _fill(asked, case)
    if case.parent:
        asked.options.parent = _parent(case, cases)
    return asked


def _parent(case: Case, cases: Sequence[Case]) -> str:
    by_entry = {**{name: one.urn for name, one in catalogue().items()}, **_urns(cases)}
    return case.parent if case.parent.startswith("urn:") else by_entry[case.parent]


def _fill(message: Any, case: Case) -> None:
    json_format.ParseDict(case.props, message.properties)
    message.options.protect = case.protect
    provider = case.provider
    if provider is None:
        package = case.kind.partition(":")[0]
        provider = OPEN.get(package, package)
    if provider:
        message.provider.name = provider
        message.provider.type = f"pulumi:providers:{case.kind.partition(':')[0]}"
        json_format.ParseDict(case.provider_props, message.provider.properties)


def graph(cases: Sequence[Case]) -> Any:
    """The engine's question about the whole stack."""
    asked = analyzer_pb2.AnalyzeStackRequest()
    urns = _urns(cases)
    for one in cases:
        message = asked.resources.add(type=one.kind, urn=one.urn, name=one.name)
        _fill(message, one)
        if one.kind.startswith("keystone:"):
            # The engine shows outputs here, and components have none.
            message.properties.Clear()
        if one.parent:
            message.parent = _parent(one, cases)
        message.dependencies.extend(urns.get(name, name) for name in one.depends_on)
    return asked
