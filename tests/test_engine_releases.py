"""What a failed release leaves in the end: its name, its own last words, and where to read more."""

import io

from keystone.engine.events import Reporter

URN = (
    "urn:pulumi:dev::keystone::keystone:components:ChartRelease$kubernetes:helm.toolkit.fluxcd.io/v2:HelmRelease"
    "::chart-longhorn-release"
)


def said(severity: str, message: str, urn: str = URN) -> dict[str, object]:
    return {"diagnosticEvent": {"severity": severity, "urn": urn, "message": message}}


def test_a_failed_release_repeats_its_last_words_and_names_the_command_for_more() -> None:
    reporter = Reporter(stream=io.StringIO())
    reporter.take(said("warning", "InstallFailed: attempt 1"))
    reporter.take(said("warning", "InstallFailed: no space left on device"))
    reporter.take(said("warning", "Has no .status.conditions"))
    reporter.take(said("error", "timed out waiting for the condition"))
    assert reporter.faults() == [
        "chart-longhorn-release (kubernetes:helm.toolkit.fluxcd.io/v2:HelmRelease):",
        "  timed out waiting for the condition",
        "  last it said: InstallFailed: no space left on device",
        "  more: kubectl -n flux-system describe helmrelease longhorn",
    ]


def test_an_application_is_read_about_in_argos_namespace() -> None:
    reporter = Reporter(stream=io.StringIO())
    reporter.take(
        said(
            "error",
            "timed out",
            URN.replace("helm.toolkit.fluxcd.io/v2:HelmRelease", "argoproj.io/v1alpha1:Application"),
        )
    )
    assert reporter.faults()[-1] == "  more: kubectl -n argocd describe application longhorn"


def test_other_resources_name_no_command() -> None:
    reporter = Reporter(stream=io.StringIO())
    urn = "urn:pulumi:dev::keystone::command:local:Command::install-w1"
    reporter.take(said("error", "exit status 3", urn))
    assert reporter.faults() == ["install-w1 (command:local:Command):", "  exit status 3"]


def test_an_object_that_nobody_has_looked_at_yet_is_no_warning() -> None:
    stream = io.StringIO()
    reporter = Reporter(stream=stream)
    reporter.take(said("warning", "Has no .status.conditions"))
    assert stream.getvalue() == ""


def test_what_a_running_resource_says_is_cut_visibly() -> None:
    stream = io.StringIO()
    reporter = Reporter(stream=stream, last=-1000.0)
    kind = URN.split("::")[2].split("$")[-1]
    reporter.take(
        {"resourcePreEvent": {"metadata": {"op": "create", "urn": URN, "type": kind, "new": {"custom": True}}}}
    )
    reporter.take(said("info", "Resource has condition Ready=False (want True)"))
    reporter.tick()
    assert stream.getvalue() == "  ... chart-longhorn-release 0 s (Resource has condition Ready=False (w...)\n"
