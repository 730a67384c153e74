"""The analyzer that the engine asks over gRPC.

The SDK's own server reads every resource once for each rule of the pack: 1,000 resources and 60 rules take it half a
minute. This one keeps its protocol and its answers, and reads a resource once, for the rules of its type only. It also
refuses what the SDK would let pass with a note: a value that is unknown although it is about to be created, and a rule
that fails.
"""

import os
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from datetime import date
from typing import Any

import grpc
from google.protobuf import empty_pb2, json_format
from pulumi.runtime import proto
from pulumi.runtime.proto import analyzer_pb2_grpc
from pulumi_policy import EnforcementLevel, PolicyConfigSchema, StackValidationPolicy
from pulumi_policy.deserialize import deserialize_properties
from pulumi_policy.policy import _PolicyAnalyzerServicer  # pyright: ignore[reportPrivateUsage]
from pulumi_policy.proxy import UnknownValueError, unknown_checking_proxy

from judging import exceptions
from judging.kinds import ANY, CLUSTER_BASE, canonical
from judging.resource import Resource
from judging.rule import DOCUMENTATION, Finding, Rule

PACK, VERSION = "keystone", "0.1.0"
ABOUT = "Every exception names a resource that is there"
LARGEST_MESSAGE = 400 * 1024 * 1024  # bytes, as the SDK has it
Report = Callable[[str, Rule | None, str, str], None]


class Judge(_PolicyAnalyzerServicer):
    """Judges with `rules`. `day` is the day by which exceptions end; None is today."""

    def __init__(self, rules: Sequence[Rule], day: date | None = None) -> None:
        self.rules = list(rules)
        self._day = day
        self._by_kind: dict[str, list[Rule]] = defaultdict(list)
        for one in self.rules:
            if one.check:
                for kind in one.kinds:
                    self._by_kind[kind].append(one)
        self._stack_rules = [one for one in self.rules if one.check_stack]
        self._exemptions: list[exceptions.Exemption] = []
        self._preview = os.environ.get("PULUMI_DRY_RUN") == "true"
        self._told: dict[str, Resource] = {}
        self._cluster: Resource | None = None
        self._lock = threading.Lock()
        policies = [one.policy() for one in self.rules]
        policies.append(
            StackValidationPolicy(
                exceptions.NAME,
                ABOUT,
                lambda *_: None,
                EnforcementLevel.MANDATORY,
                PolicyConfigSchema(exceptions.SCHEMA),
                remediation_steps="Take the exception out of the configuration",
                url=f"{DOCUMENTATION}#exceptions",
            )
        )
        super().__init__(PACK, VERSION, policies, EnforcementLevel.MANDATORY)

    def Configure(self, request: Any, _context: Any) -> Any:
        """Take the exceptions. Any fault in the configuration ends the run."""
        faults = [
            f"{name}: the level cannot be lowered. Write a dated exception instead."
            for name, config in request.policyConfig.items()
            if config.enforcementLevel != proto.MANDATORY
        ]
        config = request.policyConfig.get(exceptions.NAME)
        given = json_format.MessageToDict(config.properties) if config is not None else {}
        names = {one.name for one in self.rules}
        kept, wrong = exceptions.parse(given.get("list"), names, self._day or exceptions.today())
        faults += wrong
        if faults:
            _context.abort(grpc.StatusCode.INVALID_ARGUMENT, " ".join(faults))
        self._exemptions = kept
        return empty_pb2.Empty()

    def ConfigureStack(self, request: Any, _context: Any) -> Any:
        """A run begins: whether it is a preview, and nothing seen yet."""
        self._preview = request.dry_run
        self._told.clear()
        self._cluster = None
        return proto.AnalyzerStackConfigureResponse()

    def Analyze(self, request: Any, _context: Any) -> Any:
        response = proto.AnalyzeResponse()
        rules = [*self._by_kind.get(canonical(request.type), ()), *self._by_kind.get(ANY, ())]
        if not rules and not _is_component(request.type):
            return response
        it = self._resource(request)
        parent = self._told.get(request.options.parent)
        it.parent = parent if parent and _is_component(parent.kind) else None
        with self._lock:
            self._told[it.urn] = it
            if it.kind in CLUSTER_BASE:
                self._cluster = it
        it.cluster = self._cluster
        for one in rules:
            assert one.check
            self._judge(response, one, it, one.check(it))
        return response

    def Remediate(self, request: Any, _context: Any) -> Any:  # noqa: ARG002 - the protocol names it
        """Nothing is mended in silence, so nothing has to be read for it."""
        return proto.RemediateResponse()

    def AnalyzeStack(self, request: Any, _context: Any) -> Any:
        response = proto.AnalyzeResponse()
        found = {one.urn: self._seen(one) for one in request.resources}
        cluster = next((it for it in found.values() if it.kind in CLUSTER_BASE), None)
        for one in request.resources:
            it = found[one.urn]
            it.parent, it.cluster = found.get(one.parent), cluster
            edges = {*one.dependencies, *(urn for many in one.propertyDependencies.values() for urn in many.urns)}
            it.dependencies = [found[urn] for urn in sorted(edges) if urn in found]
        graph = list(found.values())
        for one in self._stack_rules:
            assert one.check_stack
            self._judge(response, one, None, one.check_stack(graph))
        today = self._day or exceptions.today()
        for entry in self._exemptions:
            if entry.expires - today <= exceptions.NOTICE:
                until = f"the exception from {entry.rule} ends on {entry.expires}"
                text = f"{entry.resource}: {until}; after that day every run fails."
                self._report(response, exceptions.NAME, ABOUT, text, advisory=True)
            if not any(entry.resource in (it.name, it.urn) for it in graph):
                text = f"{entry.resource}: the exception from {entry.rule} is for a resource that is not there."
                self._report(response, exceptions.NAME, ABOUT, text)
        return response

    def _seen(self, request: Any) -> Resource:
        # The engine shows outputs at the end, and those of a component are not what it was told. Nor has a resource any
        # before it is made, where its provider cannot tell.
        told = self._told.get(request.urn)
        if told and (_is_component(told.kind) or not request.properties.fields):
            return told
        return self._resource(request)

    def _resource(self, request: Any) -> Resource:
        return Resource(
            kind=canonical(request.type),
            name=request.name,
            urn=request.urn,
            props=_properties(request.properties),
            protect=request.options.protect,
            provider=request.provider.name if request.HasField("provider") else "",
            provider_props=_properties(request.provider.properties) if request.HasField("provider") else {},
        )

    def _judge(self, response: Any, one: Rule, it: Resource | None, findings: Iterator[Finding]) -> None:
        while True:
            try:
                finding = next(findings, None)
            except UnknownValueError as unknown:
                path = ".".join(unknown.props)
                if self._preview:
                    text = f"{it.name if it else 'stack'}: {path} is not known yet; the update will judge it."
                    self._report(response, one.name, one.says, text, it, advisory=True)
                    return
                # What is about to be created and still unknown can be anything.
                finding, findings = Finding(path, "unknown", "it must be known when it is judged"), iter(())
            except Exception as error:
                # A rule that fails has found nothing out. Only the type is shown: a text may hold a value.
                limit = "what cannot be judged is refused"
                finding, findings = Finding("the resource", f"not readable ({type(error).__name__})", limit), iter(())
            if finding is None:
                return
            on = finding.on or it
            name, urn = (on.name, on.urn) if on else ("stack", "")
            if not any(entry.covers(one.name, name, urn) for entry in self._exemptions):
                self._report(response, one.name, one.says, one.message(name, finding), on, severity=one)

    def _report(
        self,
        response: Any,
        name: str,
        says: str,
        text: str,
        on: Resource | None = None,
        *,
        advisory: bool = False,
        severity: Rule | None = None,
    ) -> None:
        response.diagnostics.append(
            proto.AnalyzeDiagnostic(
                policyName=name,
                policyPackName=PACK,
                policyPackVersion=VERSION,
                description=says,
                message=f"{says}\n{text}",
                urn=on.urn if on else "",
                enforcementLevel=proto.ADVISORY if advisory else proto.MANDATORY,
                severity=self._map_severity(severity.severity if severity else None),
            )
        )


def _is_component(kind: str) -> bool:
    return kind.startswith("keystone:")


def _properties(struct: Any) -> dict[str, Any]:
    return unknown_checking_proxy(deserialize_properties({key: _plain(value) for key, value in struct.fields.items()}))


def _plain(value: Any) -> Any:
    """A protobuf value as Python has it. Five times as fast as the general converter, which dominated a run."""
    which = value.WhichOneof("kind")
    if which == "struct_value":
        return {key: _plain(inner) for key, inner in value.struct_value.fields.items()}
    if which == "list_value":
        return [_plain(inner) for inner in value.list_value.values]
    return None if which in (None, "null_value") else getattr(value, which)


def serve(rules: Sequence[Rule], then: Callable[[], None] = lambda: None) -> None:
    """Serve on a free port of the loopback address, print the port for the engine, do `then`, and stay until ended."""
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=4), options=[("grpc.max_receive_message_length", LARGEST_MESSAGE)]
    )
    analyzer_pb2_grpc.add_AnalyzerServicer_to_server(Judge(rules), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    # The engine waits for the pack's end, and there is nothing to put away.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))
    then()
    while True:
        time.sleep(3600)
