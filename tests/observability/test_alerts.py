"""Promises of the alert rules: each fires when it must and only then, says what is wrong, and has a runbook."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import toolchain
from keystone.alerts import ALERTS, PAGE, RUNBOOKS, Alert, chosen, page, rules, runbook
from tests.observability.cases import CASES, Case
from tests.observability.queries import site

PROJECT = Path(__file__).resolve().parents[2]
BY_NAME = {alert.name: alert for alert in ALERTS}
# Building promtool from nothing takes two minutes on two cores.
BUILD_SECONDS = 900


@pytest.fixture(scope="module")
def promtool() -> Path:
    return toolchain.ensure(["promtool"])["promtool"]


def run(promtool: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [str(promtool), *arguments]
    clean = {"PATH": os.environ["PATH"], "HOME": str(cwd)}
    return subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True, timeout=100, check=False)


@pytest.mark.timeout(BUILD_SECONDS)
def test_prometheus_own_tool_takes_the_rules(promtool: Path, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules(ALERTS)))
    done = run(promtool, "check", "rules", "--lint=all", "--lint-fatal", "rules.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(ALERTS)} rules found" in done.stdout


@pytest.mark.timeout(BUILD_SECONDS)
@pytest.mark.parametrize("name", CASES)
def test_it_fires_when_it_must_and_only_then(name: str, promtool: Path, tmp_path: Path) -> None:
    alert, case = BY_NAME[name], CASES[name]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules([alert])))
    tests = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": list(_tests(alert, case))}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(tests))
    done = run(promtool, "test", "rules", "tests.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def _tests(alert: Alert, case: Case) -> Iterator[dict[str, Any]]:
    def series(given: dict[str, str]) -> dict[str, Any]:
        return {"interval": "1m", "input_series": [{"series": key, "values": value} for key, value in given.items()]}

    def expects(minute: int, alerts: list[dict[str, Any]]) -> dict[str, Any]:
        return {"eval_time": f"{minute}m", "alertname": alert.name, "exp_alerts": alerts}

    said = [
        {
            "exp_labels": {**labels, "severity": alert.severity},
            "exp_annotations": {"summary": summary, "runbook_url": runbook(alert)},
        }
        for labels, summary in case.says
    ]
    early = [] if case.early is None else [expects(case.early, [])]
    yield {**series(dict(case.fires)), "alert_rule_test": [*early, expects(case.at, said)]}
    yield {**series(dict(case.quiet)), "alert_rule_test": [expects(case.at, [])]}


@pytest.mark.timeout(BUILD_SECONDS)
@pytest.mark.parametrize("name", ["EtcdMemberMissing", "LogsNotArriving", "MeshControllerDown", "TunnelDisconnected"])
def test_silence_counts_as_a_fault_where_somebody_must_speak(name: str, promtool: Path, tmp_path: Path) -> None:
    alert = BY_NAME[name]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules([alert])))
    fires = f'count(ALERTS{{alertname="{name}", alertstate="firing"}})'
    test = {
        "interval": "1m",
        "input_series": [{"series": "other", "values": "1x90"}],
        "promql_expr_test": [{"expr": fires, "eval_time": "90m", "exp_samples": [{"value": 1}]}],
    }
    tests = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [test]}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(tests))
    done = run(promtool, "test", "rules", "tests.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(BUILD_SECONDS)
def test_a_wrong_expectation_is_noticed(promtool: Path, tmp_path: Path) -> None:
    alert = BY_NAME["HostNotReady"]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules([alert])))
    wrong = Case(fires=CASES[alert.name].quiet, says=CASES[alert.name].says)
    tests = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": list(_tests(alert, wrong))}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(tests))
    done = run(promtool, "test", "rules", "tests.yaml", cwd=tmp_path)
    assert done.returncode != 0
    assert "HostNotReady" in done.stdout + done.stderr


def test_every_alert_has_a_case() -> None:
    assert set(CASES) == set(BY_NAME)
    assert len(BY_NAME) == len(ALERTS), "a name stands twice"
    assert all(case.quiet and case.says for case in CASES.values())


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    written = {path.stem for path in (PROJECT / RUNBOOKS).glob("*.md")} - {"README"}
    assert written == set(BY_NAME)


@pytest.mark.parametrize("name", BY_NAME)
def test_a_runbook_says_what_it_means_where_to_look_and_what_to_do(name: str) -> None:
    text = (PROJECT / RUNBOOKS / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n")
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings == ["## What it means", "## Look", "## Mend"]
    look = text.partition("## Look")[2].partition("## Mend")[0]
    assert "```" in look, "somebody who was just woken wants a command to type"
    assert BY_NAME[name].severity in text.partition("## What it means")[2].partition("## Look")[0]


def test_the_reference_page_is_that_of_the_rules() -> None:
    assert (PROJECT / PAGE).read_text() == page(), f"run `.venv/bin/python -m keystone.alerts > {PAGE}`"


def test_alerts_about_what_a_stack_lacks_are_left_out() -> None:
    small = {alert.name for alert in chosen(site(full=False))}
    full = {alert.name for alert in chosen(site())}
    assert {"CephError", "TunnelDisconnected", "CertificateExpires"} <= full - small
    assert "HostNotReady" in small
    assert "ArgoApplicationNotHealthy" not in full
    assert {alert.name for alert in chosen(site(gitops={"engine": "argocd"}))} ^ full == {
        "ArgoApplicationNotHealthy",
        "FluxObjectNotReady",
    }


def test_links_to_runbooks_follow_the_settings() -> None:
    alert = BY_NAME["HostNotReady"]
    [group] = rules([alert], "https://docs.example.org/runbooks")["groups"]
    assert group["rules"][0]["annotations"]["runbook_url"] == "https://docs.example.org/runbooks/HostNotReady.md"
    [group] = rules([alert])["groups"]
    assert (PROJECT / group["rules"][0]["annotations"]["runbook_url"]).is_file()
