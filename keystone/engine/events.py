"""Turns the engine's events into lines for people: what was done, what is running, what failed (in full, and last)."""

import json
import sys
import time
from dataclasses import dataclass, field
from typing import Any, TextIO

from keystone.engine import refusals
from keystone.wire import SIGNATURE, kind_of, name_of

DONE = {
    "create": "created",
    "update": "updated",
    "delete": "deleted",
    "replace": "replaced",
    "create-replacement": "created anew",
    "delete-replaced": "old one deleted",
    "read": "read",
    "read-replacement": "read anew",
    "discard": "forgotten",
    "discard-replaced": "forgotten",
    "import": "imported",
    "import-replacement": "imported anew",
    "refresh": "refreshed",
    "remove-pending-replace": "old one forgotten",
}
PLANNED = {
    **{op: f"would be {word}" for op, word in DONE.items()},
    "delete-replaced": "old one would be deleted",
    "remove-pending-replace": "old one would be forgotten",
}
# A replacement comes as three events; one line is enough.
SILENT = ("same", "replace")
HEARTBEAT_SECONDS = 30
# A command's line that asks a person to do something begins so, and is always shown.
NOTE = "note: "
# What the Kubernetes plugin says of an object that nobody has looked at yet, also after what its controller said.
NOT_YET = "Has no .status.conditions"
PROTECTED = ("\nbecause it is protected", "\nas it is currently marked for protection")


def _cured(urn: str, text: str) -> str:
    """An error as it is told. The engine's advice on a protected resource is to change the program."""
    if not any(words in text for words in PROTECTED):
        return text
    stack = urn.removeprefix("urn:pulumi:").partition("::")[0]
    return f"it is protected. If it may go: `pulumi state unprotect '{urn}' --stack {stack}`, then try again."


def _log_command(urn: str) -> str:
    """Where more is to be read about a release that failed; empty for everything else."""
    kind = kind_of(urn).rpartition(":")[2]
    release = name_of(urn).removeprefix("chart-").removesuffix("-release")
    where = {"HelmRelease": "flux-system", "Application": "argocd"}.get(kind)
    return f"kubectl -n {where} describe {kind.lower()} {release}" if where else ""


@dataclass
class Reporter:
    """Reads events one by one. A terminal gets a live line about what is running; elsewhere one comes at times."""

    preview: bool = False
    verbose: bool = False
    stream: TextIO = field(default_factory=lambda: sys.stdout)
    counts: dict[str, int] = field(default_factory=dict)
    errors: dict[str, list[str]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    running: dict[str, tuple[str, float]] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)  # the last line of each running command
    warned: set[str] = field(default_factory=set)
    warnings: dict[str, str] = field(default_factory=dict)  # the last warning about each resource
    asked: dict[str, dict[str, Any]] = field(default_factory=dict)  # what is being created
    owners: dict[str, str] = field(default_factory=dict)  # what an import takes of those whose name is taken
    advice: list[str] = field(default_factory=list)  # what policies say and do not insist on
    outputs: dict[str, Any] = field(default_factory=dict)
    unchanged: int = 0
    changed: bool = False
    """Whether anything is, or would be, other than before: any step, and outputs too. Secrets say nothing of themselves
    in events; a secret output changes with the resource that it comes from."""
    started: float = field(default_factory=time.monotonic)
    finished: bool = False
    last: float = field(default_factory=time.monotonic)

    @property
    def live(self) -> bool:
        """Whether there is a terminal to keep a line on."""
        return self.stream.isatty()

    def line(self, text: str) -> None:
        """Print a line above the live one."""
        self.stream.write(f"\r\x1b[K{text}\n" if self.live else f"{text}\n")
        self.stream.flush()
        self.last = time.monotonic()

    def tick(self) -> None:
        """Call it about once a second."""
        now = time.monotonic()
        if not self.running or self.finished:
            return
        if self.live:
            self.stream.write(f"\r{self._status()[:118]}\x1b[K")
            self.stream.flush()
        elif now - self.last >= HEARTBEAT_SECONDS:
            self.line(self._status())

    def _status(self) -> str:
        now = time.monotonic()
        shown = sorted(self.running.items(), key=lambda one: one[1][1])
        parts = []
        for urn, (_, since) in shown[:4]:
            word = self.said.get(urn, "")
            word = word if len(word) <= 40 else f"{word[:37]}..."
            parts.append(f"{name_of(urn)} {now - since:.0f} s{f' ({word})' if word else ''}")
        more = f", and {len(shown) - 4} more" if len(shown) > 4 else ""
        return f"  ... {', '.join(parts)}{more}"

    def busy(self) -> str:
        """What is running, for a message about a time limit."""
        return ", ".join(sorted(name_of(urn) for urn in self.running)) or "nothing"

    def take(self, event: dict[str, Any]) -> None:
        """One event of the engine."""
        if found := event.get("diagnosticEvent"):
            self._diagnostic(found)
        elif found := event.get("resourcePreEvent"):
            self._begin(found["metadata"])
        elif found := event.get("resOutputsEvent"):
            self._end(found["metadata"])
        elif found := event.get("resOpFailedEvent"):
            metadata = found["metadata"]
            self.failed.append(metadata["urn"])
            self.running.pop(metadata["urn"], None)
            self.line(self._row("!", metadata, "FAILED"))
        elif found := event.get("policyEvent"):
            self._policy(found)
        elif found := event.get("summaryEvent"):
            self.finished = True
            self.unchanged = (found.get("resourceChanges") or {}).get("same", 0)

    def _policy(self, event: dict[str, Any]) -> None:
        text = f"policy {event.get('policyName', '')}: {event.get('message', '').strip()}"
        if event.get("enforcementLevel") == "mandatory":
            self.errors.setdefault(event.get("resourceUrn", ""), []).append(text)
        else:
            self.advice.append(f"warning: {name_of(event.get('resourceUrn', ''))}: {text}")
            self.line(self.advice[-1])

    def _diagnostic(self, event: dict[str, Any]) -> None:
        urn, text = event.get("urn", ""), event.get("message", "").rstrip()
        match event.get("severity"):
            # Debug messages hold the values of secrets: they go no further.
            case "debug":
                return
            case "warning" if text == NOT_YET:
                return
            case "error":
                self.errors.setdefault(urn, []).append(text)
            case "warning":
                self.warnings[urn] = text
                if text not in self.warned:
                    self.warned.add(text)
                    self.line(f"warning: {name_of(urn)}: {text}" if urn else f"warning: {text}")
            case _:
                lines = [one for one in text.splitlines() if one.strip()]
                if lines:
                    self.said[urn] = lines[-1].strip()
                for one in lines:
                    if one.startswith(NOTE):
                        self.line(one)
                    elif self.verbose:
                        self.line(f"    {name_of(urn)}: {one}")

    def _shown(self, metadata: dict[str, Any]) -> bool:
        new = metadata.get("new") or metadata.get("old") or {}
        # Components and providers are bookkeeping: what is in them is what happens.
        return bool(new.get("custom")) and not metadata["type"].startswith("pulumi:")

    def _row(self, sign: str, metadata: dict[str, Any], word: str) -> str:
        return f"  {sign} {name_of(metadata['urn']):<28} {metadata['type']:<40} {word}"

    def _sign(self, op: str) -> str:
        return {"create": "+", "delete": "-", "update": "~"}.get(op.split("-")[0], "*")

    def _begin(self, metadata: dict[str, Any]) -> None:
        op = metadata["op"]
        self.changed |= op != "same"
        if op in ("create", "create-replacement"):
            self.asked[metadata["urn"]] = metadata["new"]
        if op in SILENT or not self._shown(metadata):
            return
        if self.preview:
            changed = sorted(metadata.get("detailedDiff") or metadata.get("diffs") or metadata.get("keys") or [])
            why = f" ({', '.join(changed)})" if changed and not op.startswith(("create", "delete")) else ""
            self.counts[op] = self.counts.get(op, 0) + 1
            self.line(self._row(self._sign(op), metadata, f"{PLANNED.get(op, op)}{why}"))
        else:
            self.running[metadata["urn"]] = (op, time.monotonic())

    def _end(self, metadata: dict[str, Any]) -> None:
        op, urn = metadata["op"], metadata["urn"]
        before, after = ((metadata.get(one) or {}).get("outputs") or {} for one in ("old", "new"))
        self.changed |= op != "same" or before != after
        if metadata["type"] == "pulumi:pulumi:Stack":
            self.outputs = after
        began = self.running.pop(urn, None)
        self.said.pop(urn, None)
        if self.preview or op in SILENT or not self._shown(metadata):
            return
        self.counts[op] = self.counts.get(op, 0) + 1
        took = f"  {time.monotonic() - began[1]:.0f} s" if began else ""
        self.line(self._row(self._sign(op), metadata, f"{DONE.get(op, op)}{took}"))

    def summary(self) -> str:
        """One line: how many of what, and how long it took."""
        words = PLANNED if self.preview else DONE
        parts = [f"{count} {words.get(op, op)}" for op, count in sorted(self.counts.items())]
        if not self.counts:
            parts = ["no changes"]
        if self.failed:
            parts.append(f"{len(self.failed)} failed")
        return f"{', '.join(parts)}; {time.monotonic() - self.started:.0f} s"

    def taken(self) -> list[dict[str, Any]]:
        """What could not be created because something has its name."""
        return [one for urn, one in self.asked.items() if self._taken(urn)]

    def _taken(self, urn: str) -> bool:
        return urn in self.asked and any(refusals.taken(kind_of(urn), text) for text in self.errors.get(urn, []))

    def _cures(self, urn: str, texts: list[str]) -> list[str]:
        if self._taken(urn):
            return refusals.takeover(self.asked[urn], self.owners.get(urn))
        found = {refusals.cure(kind_of(urn), text): None for text in texts}
        return [f"cure: {one}" for one in found if one]

    def faults(self) -> list[str]:
        """Every error in full, the resource's name above its text; the general ones first."""
        lines = []
        for urn, texts in sorted(self.errors.items()):
            kept = [text for text in texts if text not in ("update failed", "preview failed")]
            if not kept:
                continue
            if urn:
                lines.append(f"{name_of(urn)} ({kind_of(urn)}):")
            lines += [f"  {one}" if urn else one for text in kept for one in _cured(urn, text).splitlines()]
            lines += [f"  {one}" for one in self._cures(urn, kept)] if urn else []
            # A release tells why it fails while the engine waits; in the end the engine knows only that it waited.
            if urn in self.warnings:
                lines.append(f"  last it said: {self.warnings[urn]}")
            if command := _log_command(urn):
                lines.append(f"  more: {command}")
        return lines

    def results(self) -> list[str]:
        """The stack's outputs, one line each; secrets stay hidden. None of a preview: it knows only some."""
        lines = []
        if self.preview:
            return lines
        for name, value in sorted(self.outputs.items()):
            if isinstance(value, dict) and SIGNATURE in value:
                value = "[secret]"
            text = " ".join(value.split()) if isinstance(value, str) else json.dumps(value)
            lines.append(f"  {name + ':':<24} {text if len(text) <= 160 else text[:157] + '...'}")
        return lines
