"""How long the policy pack takes to start, and to judge a thousand resources over the engine's own protocol."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc

COUNT = 1000
PREFIX = ".venv/bin/python -m keystone.hosts"
# One of each sort that a stack of ours is made of: type, inputs, provider.
MIX: tuple[tuple[str, dict[str, Any], str], ...] = (
    (
        "keystone:components:Host",
        {
            "disk": {"layout": "zfs-luks", "encryption": "luks2", "unlock": "tpm2"},
            "address": "10.0.0.7",
            "protect": True,
        },
        "",
    ),
    (
        "command:local:Command",
        {
            "create": f"{PREFIX} system NAME",
            "update": f"{PREFIX} system NAME",
            "environment": {"KEYSTONE_STACK": "site", "KEYSTONE_REBUILD_HASH": "0f" * 32},
            "stdin": "ab" * 32,
            "logging": "stderr",
        },
        "default",
    ),
    ("kubernetes:core/v1:NodePatch", {"metadata": {"name": "NAME", "labels": {"role": "agent"}}}, "kubernetes"),
    (
        "kubernetes:core/v1:Namespace",
        {"metadata": {"name": "NAME", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}},
        "kubernetes",
    ),
    (
        "kubernetes:helm.toolkit.fluxcd.io/v2:HelmRelease",
        {
            "spec": {
                "chart": {"spec": {"chart": "NAME", "version": "1.2.3"}},
                "values": {f"section{n}": {"enabled": True, "host": f"x{n}.example.org", "n": n} for n in range(20)},
            }
        },
        "kubernetes",
    ),
    (
        "kubernetes:core/v1:ConfigMap",
        {"metadata": {"name": "NAME"}, "data": {"NAME.yaml": "listen: 0.0.0.0:8080\nlevel: info\n" * 20}},
        "kubernetes",
    ),
    (
        "aws:iam/role:Role",
        {
            "assumeRolePolicy": '{"Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, '
            '"Action": "sts:AssumeRole"}]}'
        },
        "aws",
    ),
)


def _resources() -> list[Any]:
    made = []
    for number in range(COUNT):
        kind, inputs, provider = MIX[number % len(MIX)]
        name = f"n{number}"
        one = analyzer_pb2.AnalyzerResource(type=kind, name=name, urn=f"urn:pulumi:site::keystone::{kind}::{name}")
        json_format.Parse(json_format.MessageToJson(_struct(inputs)).replace("NAME", name), one.properties)
        if provider:
            one.provider.name = provider
        made.append(one)
    return made


def _struct(inputs: dict[str, Any]) -> Any:
    message = analyzer_pb2.AnalyzeRequest()
    message.properties.update(inputs)
    return message.properties


def measure(project: Path) -> tuple[float, float, int]:
    """(seconds until the pack serves, seconds to judge `COUNT` resources and their graph, violations found)."""
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, str(project / "policy")], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        port = int(process.stdout.readline())
        ready = time.monotonic()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            pack = analyzer_pb2_grpc.AnalyzerStub(channel)
            pack.ConfigureStack(analyzer_pb2.AnalyzerStackConfigureRequest(stack="site"))
            resources = _resources()
            begun = time.monotonic()
            found = 0
            for one in resources:
                question = analyzer_pb2.AnalyzeRequest(
                    type=one.type, name=one.name, urn=one.urn, properties=one.properties, provider=one.provider
                )
                found += len(pack.Analyze(question).diagnostics)
            pack.AnalyzeStack(analyzer_pb2.AnalyzeStackRequest(resources=resources))
            return ready - started, time.monotonic() - begun, found
    finally:
        process.kill()
        process.wait(timeout=10)
