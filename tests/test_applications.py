"""keystone/applications.py: what an application that does not come says, read from a scripted Primer."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from keystone import applications
from keystone.commands import engine as command
from keystone.engine import Run, _failure
from keystone.engine.events import Reporter
from keystone.errors import KeystoneError
from tests.hosts.machines import Fake, context, installed, play

PREFIX = "urn:pulumi:dev::keystone::keystone:components:ChartRelease$"
LONGHORN, VPA, OTHER = (
    f"{PREFIX}kubernetes:argoproj.io/v1alpha1:Application::{name}"
    for name in ("chart-longhorn-release", "chart-vpa-release", "gitops-application-apps")
)
FLUX = f"{PREFIX}kubernetes:helm.toolkit.fluxcd.io/v2:HelmRelease::chart-longhorn-release"
FAILED: dict[str, Any] = {
    "sync": {"status": "OutOfSync"},
    "health": {"status": "Missing"},
    "conditions": [{"type": "SyncError", "message": "Failed last sync attempt: no space"}],
    "operationState": {"phase": "Failed", "message": "one or more objects failed to apply, reason: no space"},
}
HANGING: dict[str, Any] = {
    "sync": {"status": "Synced"},
    "health": {"status": "Progressing", "message": "Waiting for rollout to finish:\n0 of 1 updated"},
    "operationState": {"phase": "Running", "message": "waiting for healthy state of apps/Deployment/vpa"},
}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (FAILED, "sync Failed: one or more objects failed to apply, reason: no space; health Missing"),
        (
            HANGING,
            "sync Running: waiting for healthy state of apps/Deployment/vpa; "
            "health Progressing: Waiting for rollout to finish: 0 of 1 updated",
        ),
        (
            {
                "conditions": [{"type": "ComparisonError", "message": "chart not found"}],
                "operationState": {"phase": "Succeeded", "message": "successfully synced"},
                "health": {"status": "Degraded", "message": "back-off"},
            },
            "chart not found; health Degraded: back-off",
        ),
        ({}, ""),
    ],
)
def test_an_application_says_what_keeps_it(status: dict[str, Any], expected: str) -> None:
    assert applications.words(status) == expected


def primer(**items: dict[str, Any]) -> tuple[Any, Fake]:
    given = context()
    listed = {"items": [{"metadata": {"name": name}, "status": status} for name, status in items.items()]}
    return given, installed(given, "primer", {"kubectl get applications --namespace argocd": json.dumps(listed)})


def test_only_the_failed_applications_are_read_of() -> None:
    given, fake = primer(longhorn=FAILED, vpa=HANGING, healthy=FAILED)
    said = play(lambda: applications.last_words(given, [LONGHORN, VPA, FLUX, OTHER]), fake)
    assert said == {LONGHORN: applications.words(FAILED), VPA: applications.words(HANGING)}


def test_a_failed_up_ends_with_the_words_of_each_release() -> None:
    reporter = Reporter(stream=io.StringIO())
    for urn in (LONGHORN, VPA):
        reporter.failed.append(urn)
        reporter.take({"diagnosticEvent": {"severity": "error", "urn": urn, "message": "timed out"}})
    words = {LONGHORN: applications.words(FAILED), VPA: applications.words(HANGING)}
    run = Run(verb="up", stack="dev", last_words=lambda urns: {urn: words[urn] for urn in urns})
    text = str(_failure(run, reporter, "", 1))
    assert "last it said: sync Failed: one or more objects failed to apply, reason: no space" in text
    assert "last it said: sync Running: waiting for healthy state of apps/Deployment/vpa" in text
    assert "more: kubectl -n argocd describe application longhorn" in text


def test_a_primer_that_does_not_answer_hides_no_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # there is no stack file here
    assert command._last_words("dev", [LONGHORN]) == {}


def test_without_a_failed_application_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise KeystoneError("primer", "was asked", "")

    monkeypatch.setattr(applications, "last_words", refuse)
    assert command._last_words("dev", [FLUX]) == {}
