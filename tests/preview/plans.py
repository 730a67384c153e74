"""Previews for tests: those of the real engine beside this file, and made ones in the engine's own form."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
STACK = "urn:pulumi:dev::keystone::pulumi:pulumi:Stack::keystone-dev"
COMMAND = "command:local:Command"


def urn(kind: str, name: str, parent: str = STACK) -> str:
    """The URN of a resource below another one."""
    chain = "" if parent == STACK else f"{parent.split('::')[2]}$"
    return f"urn:pulumi:dev::keystone::{chain}{kind}::{name}"


def step(
    op: str,
    kind: str,
    name: str,
    *,
    parent: str = STACK,
    old: Mapping[str, Any] | None = None,
    new: Mapping[str, Any] | None = None,
    diff: Mapping[str, str] | None = None,
    protect: bool = False,
) -> dict[str, Any]:
    """A step of the digest, as the engine writes one."""
    place = urn(kind, name, parent)

    def state(inputs: Mapping[str, Any] | None) -> dict[str, Any]:
        return {"urn": place, "type": kind, "parent": parent, "inputs": dict(inputs or {}), "protect": protect}

    found: dict[str, Any] = {"op": op, "urn": place}
    if op != "create":
        found["oldState"] = state(old)
    if op != "delete":
        found["newState"] = state(new)
    found["detailedDiff"] = {path: {"kind": what, "inputDiff": False} for path, what in (diff or {}).items()} or None
    return found


def digest(*steps: dict[str, Any], diagnostics: list[dict[str, Any]] | None = None) -> str:
    """A digest of these steps."""
    summary: dict[str, int] = {}
    for one in steps:
        summary[one["op"]] = summary.get(one["op"], 0) + 1
    return json.dumps({"steps": steps, "diagnostics": diagnostics or [], "changeSummary": summary})


def events(
    *steps: dict[str, Any],
    more: list[dict[str, Any]] | None = None,
    packs: Mapping[str, str] | None = None,
) -> str:
    """The event stream of these steps. `more` are events before the summary."""
    found: list[dict[str, Any]] = [
        {
            "resourcePreEvent": {
                "metadata": {
                    "op": one["op"],
                    "urn": one["urn"],
                    "logical": True,
                    "old": one.get("oldState"),
                    "new": one.get("newState"),
                    "detailedDiff": {
                        path: {"diffKind": what["kind"], "inputDiff": False}
                        for path, what in (one["detailedDiff"] or {}).items()
                    },
                }
            }
        }
        for one in steps
    ]
    found += more or []
    found.append({"summaryEvent": {"isPreview": True, "PolicyPacks": dict(packs or {}), "result": "succeeded"}})
    return "\n".join(json.dumps({"sequence": number, **event}) for number, event in enumerate(found)) + "\n"


def policy(name: str, where: str, text: str, *, mandatory: bool = True) -> dict[str, Any]:
    """What a policy says."""
    level = "mandatory" if mandatory else "advisory"
    about = {"policyName": name, "policyPackName": "keystone", "enforcementLevel": level, "severity": "high"}
    return {"policyEvent": {"resourceUrn": where, "message": f"The rule's description\n{text}\n", **about}}


def diagnostic(severity: str, text: str, where: str = "") -> dict[str, Any]:
    """What the engine or a provider says."""
    return {"diagnosticEvent": {"urn": where, "message": text, "severity": severity, "prefix": f"{severity}: "}}


def host_steps(
    name: str, op: str, *, generation: tuple[int, int] = (1, 1), hashes: tuple[str, str] = ("a", "b")
) -> list[dict[str, Any]]:
    """The component of a host with its three commands, all with one operation."""
    host = urn("keystone:components:Host", name)
    mesh = urn("keystone:components:MeshNetwork", "mesh")

    def command(purpose: str, number: int, parent: str = host) -> dict[str, Any]:
        inputs = [
            {
                "create": f".venv/bin/python -m keystone.hosts {purpose} {name}",
                "stdin": "[secret]",
                "triggers": [generation[side]] if purpose == "install" else None,
                "environment": {"KEYSTONE_REBUILD_HASH": hashes[side]} if purpose == "system" else {},
            }
            for side in (0, 1)
        ]
        diff = {"triggers[0]": "update-replace"} if number == 0 and op == "replace" else {"environment": "update"}
        return step(op, COMMAND, f"{purpose}-{name}", parent=parent, old=inputs[0], new=inputs[1], diff=diff)

    component = step("same" if op in ("replace", "update") else op, "keystone:components:Host", name)
    return [component, command("install", 0), command("system", 1), command("join", 2, mesh)]


def thousand() -> str:
    """A preview of a thousand resources in which nearly everything changes, and policies and providers complain."""
    steps: list[dict[str, Any]] = [step("update", "keystone:components:MeshNetwork", "mesh")]
    for number in range(100):
        op = ("replace", "delete", "create", "update", "same")[number % 5]
        steps += host_steps(f"host{number:03}", op, generation=(1, 2 if op == "replace" else 1))
    for pool in range(20):
        above = step("same", "keystone:components:AwsNodePool", f"pool-{pool:02}")
        steps.append(above)
        steps.append(
            step(
                "update",
                "aws:autoscaling/group:Group",
                f"pool-{pool:02}-group",
                parent=above["urn"],
                old={"minSize": 1, "maxSize": 3},
                new={"minSize": 1, "maxSize": 3 + pool},
                diff={"maxSize": "update"},
            )
        )
        steps += [
            step(
                ("replace", "update", "create", "delete")[number % 4],
                "aws:ebs/volume:Volume",
                f"pool-{pool:02}-a-volume-with-a-rather-long-name-{number:02}",
                parent=above["urn"],
                old={"size": 20, "type": "gp2"},
                new={"size": 40, "type": "gp3"},
                diff={"size": "update", "type": "update-replace", 'tags["a rather long key of a tag"]': "add"},
            )
            for number in range(27)
        ]
    steps += [step("create", "kubernetes:core/v1:ConfigMap", f"config-{n}") for n in range(1000 - len(steps))]
    said = [
        policy("volume-encrypted", one["urn"], f"{one['urn']}: encrypted is false. Set it.") for one in steps[-120:]
    ]
    said += [diagnostic("warning", f"warning number {n}: {'something is odd ' * 20}") for n in range(60)]
    return events(*steps, more=said, packs={"keystone|local|policy": "0.1.0"})
