"""The judge: it fails closed, reads exceptions strictly, and never shows a credential."""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest
from judging.resource import Resource
from judging.rule import HIGH, Finding, Findings, rule, stack_rule
from judging.server import Judge
from pulumi.runtime.proto import analyzer_pb2

from tests.policy import court

DAY = date(2026, 11, 21)
CLEAR = court.catalogue()["volume"].changed({"encrypted": False})


def _exception(**changes: str) -> dict[str, str]:
    entry = {"resource": "volume", "rule": "ebs-volume-encrypted", "reason": "a scratch disk for a load test"}
    return {**entry, "expires": "2026-12-31", **changes}


def test_a_violation_says_resource_value_limit_and_cure() -> None:
    [(name, text)] = court.judge([CLEAR]).violations
    assert name == "ebs-volume-encrypted"
    assert text == "volume: encrypted is false; it must be true. Set encrypted to true and kms_key_id to a key of ours."


def test_all_faults_of_a_resource_are_reported_at_once() -> None:
    case = court.catalogue()["volume"].changed({"encrypted": False, "kmsKeyId": ""})
    assert len(court.judge([case]).violations) == 2


def test_an_unknown_value_is_a_note_at_preview_and_refused_at_update() -> None:
    case = court.catalogue()["volume"].changed({"encrypted": court.UNKNOWN})
    preview, update = court.judge([case], preview=True), court.judge([case])
    assert not preview.violations
    assert preview.notes == [("ebs-volume-encrypted", "volume: encrypted is not known yet; the update will judge it.")]
    assert [text for _, text in update.violations] == [
        "volume: encrypted is unknown; it must be known when it is judged."
        " Set encrypted to true and kms_key_id to a key of ours."
    ]


def test_what_is_known_is_refused_at_preview_although_the_rest_is_not() -> None:
    case = court.catalogue()["volume"].changed({"encrypted": False, "kmsKeyId": court.UNKNOWN})
    verdict = court.judge([case], preview=True)
    assert verdict.broken == {"ebs-volume-encrypted"}
    assert len(verdict.notes) == 1


def test_an_unknown_value_in_the_graph_is_a_note_at_preview_and_refused_at_update() -> None:
    tunnel = court.catalogue()["tunnel"].changed({"config": court.UNKNOWN})
    assert court.judge([tunnel], whole=True).broken >= {"hostname-behind-access"}
    assert not court.judge([tunnel], whole=True, preview=True).violations


def test_a_rule_that_fails_refuses_and_shows_no_value() -> None:
    @rule("breaks", "Always breaks", ("aws:ebs/volume:Volume",), HIGH, cure="Mend the rule")
    def breaks(_: Resource) -> Findings:
        raise RuntimeError("hunter2")
        yield

    [(_, text)] = court.judge([court.catalogue()["volume"]], only=[breaks]).violations
    assert "not readable (RuntimeError); what cannot be judged is refused" in text
    assert "hunter2" not in text


def test_a_message_shows_a_url_without_its_user_and_password() -> None:
    source = court.catalogue()["helm-repository"].changed({"spec.url": "http://reader:hunter2x9@charts.example.org"})
    [(rule, said)] = court.judge([source]).violations
    assert rule == "source-over-tls"
    assert "spec.url is http://charts.example.org;" in said


def test_an_unknown_variable_hides_no_credential_beside_it() -> None:
    variables = [{"name": "LATER", "value": court.UNKNOWN}, {"name": "DB_PASSWORD", "value": "hunter2x9"}]
    case = court.catalogue()["deployment"].changed({"spec.template.spec.containers.0.env": variables})
    verdict = court.judge([case], preview=True)
    assert verdict.broken == {"environment-no-credentials"}
    assert [rule for rule, _ in verdict.notes] == ["environment-no-credentials"]


def test_a_document_that_is_no_json_is_refused() -> None:
    case = court.catalogue()["role"].changed({"assumeRolePolicy": "{"})
    assert court.judge([case]).broken == {"trust-pinned", "trust-no-wildcard"}


@pytest.mark.parametrize("text", ['{"Statement": []}', '{"Statement": ["x"]}', "[]", "null", '"x"'])
def test_a_document_without_statements_is_refused(text: str) -> None:
    case = court.catalogue()["role"].changed({"assumeRolePolicy": text})
    assert court.judge([case]).broken == {"trust-pinned", "trust-no-wildcard"}


def test_chart_values_that_are_no_map_are_refused() -> None:
    case = court.catalogue()["argo"].changed({"spec.source.helm.valuesObject": ["adminPassword"]})
    assert "chart-no-credentials" in court.judge([case]).broken


def test_chart_values_that_come_as_text_are_refused() -> None:
    case = court.catalogue()["argo"].changed({"spec.source.helm": {"values": "adminPassword: hunter2-hunter2"}})
    assert court.judge([case]).broken == {"chart-values-seen"}


def test_a_secret_value_is_judged_as_its_plain_one() -> None:
    wrapped = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "value": "AKIA" + "A" * 16}
    case = court.catalogue()["system"].changed({"environment.KEY": wrapped})
    verdict = court.judge([court.catalogue()["host"], case])
    assert verdict.broken == {"command-no-credentials"}
    assert "AKIA" not in str(verdict)


def test_an_exception_lets_its_resource_break_its_rule_alone() -> None:
    assert not court.judge([CLEAR], exceptions=[_exception()], day=DAY).violations
    other = court.catalogue()["file-system"].changed({"encrypted": False})
    assert court.judge([CLEAR, other], exceptions=[_exception()], day=DAY).broken == {"efs-encrypted"}


def test_an_exception_may_name_the_urn() -> None:
    assert not court.judge([CLEAR], exceptions=[_exception(resource=CLEAR.urn)], day=DAY).violations


def test_an_exception_does_not_reach_another_resource_or_rule() -> None:
    for entry in (_exception(resource="volume2"), _exception(rule="efs-encrypted")):
        assert court.judge([CLEAR], exceptions=[entry], day=DAY).broken == {"ebs-volume-encrypted"}


def test_an_exception_holds_through_its_last_day_and_fails_on_the_next() -> None:
    entry = _exception(expires=str(DAY))
    assert not court.judge([CLEAR], exceptions=[entry], day=DAY).violations
    with pytest.raises(court.Refused, match=r"ebs-volume-encrypted on volume ended on 2026-11-21. Mend the resource"):
        court.judge([CLEAR], exceptions=[entry], day=DAY + timedelta(days=1))


def test_an_exception_that_ends_within_a_month_is_spoken_of_while_it_still_holds() -> None:
    late, soon = (_exception(expires=str(DAY + timedelta(days=days))) for days in (31, 30))
    assert not court.judge([CLEAR], whole=True, exceptions=[late], day=DAY).notes
    verdict = court.judge([CLEAR], whole=True, exceptions=[soon], day=DAY)
    assert not verdict.violations
    assert verdict.notes == [
        (
            "exceptions",
            "volume: the exception from ebs-volume-encrypted ends on 2026-12-21; after that day every run fails.",
        )
    ]


def test_an_exception_from_a_stack_rule_names_the_resource_in_the_graph() -> None:
    tunnel = court.catalogue()["tunnel"]
    entry = _exception(resource="tunnel", rule="hostname-behind-access")
    assert court.judge([tunnel], whole=True).broken == {"hostname-behind-access"}
    assert not court.judge([tunnel], whole=True, exceptions=[entry], day=DAY).violations


def test_an_exception_for_a_resource_that_is_gone_fails() -> None:
    verdict = court.judge([court.catalogue()["queue"]], whole=True, exceptions=[_exception()], day=DAY)
    assert verdict.violations == [
        ("exceptions", "volume: the exception from ebs-volume-encrypted is for a resource that is not there.")
    ]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"rule": "no-such-rule"}, "there is no rule no-such-rule"),
        ({"reason": "because"}, "has less than 15 characters"),
        ({"reason": "   "}, "must be texts"),
        ({"expires": "2026-13-01"}, "which is no day"),
        ({"expires": "tomorrow"}, "which is no day"),
        ({"expires": "2099-01-01"}, "more than a year"),
        ({"until": "2026-12-01"}, "must have exactly"),
    ],
)
def test_a_faulty_exception_ends_the_run(changes: dict[str, str], says: str) -> None:
    with pytest.raises(court.Refused, match=says):
        court.judge([CLEAR], exceptions=[_exception(**changes)], day=DAY)


def test_all_faulty_exceptions_are_named_at_once() -> None:
    with pytest.raises(court.Refused) as caught:
        court.judge([], exceptions=[_exception(rule="a"), _exception(reason="b")], day=DAY)
    assert "exceptions.list.0" in str(caught.value)
    assert "exceptions.list.1" in str(caught.value)


@pytest.mark.parametrize("level", [analyzer_pb2.ADVISORY, analyzer_pb2.DISABLED, analyzer_pb2.REMEDIATE])
def test_a_level_cannot_be_lowered(level: int) -> None:
    with pytest.raises(court.Refused, match="the level cannot be lowered"):
        court.configure(Judge(list(court.rules())), level=level)


def test_the_engine_is_told_every_rule_with_its_level_and_severity() -> None:
    info = Judge(list(court.rules())).GetAnalyzerInfo(None, None)
    assert {one.name for one in info.policies} == {*(one.name for one in court.rules()), "exceptions"}
    assert {one.enforcementLevel for one in info.policies} == {analyzer_pb2.MANDATORY}
    assert all(one.severity for one in info.policies if one.name != "exceptions")
    assert info.supportsConfig


def test_a_command_is_judged_by_the_component_that_it_lies_in() -> None:
    install = court.catalogue()["install"]
    loose = court.Case(**{**install.__dict__, "protect": False, "parent": "host-loopback"})
    assert not court.judge([court.catalogue()["host-loopback"], loose]).violations
    # Without having seen the host, nobody knows its address.
    assert court.judge([loose]).broken == {"install-protected"}


def test_a_new_run_forgets_the_components_of_the_last() -> None:
    court_of_one = Judge(list(court.rules()))
    host = court.catalogue()["host-loopback"]
    court_of_one.Analyze(court.request(host), None)
    court_of_one.ConfigureStack(analyzer_pb2.AnalyzerStackConfigureRequest(dry_run=False), None)
    loose = court.Case(**{**court.catalogue()["install"].__dict__, "protect": False, "parent": host.urn})
    assert len(court_of_one.Analyze(court.request(loose), None).diagnostics) == 1


def test_a_stack_rule_keeps_what_it_found_before_it_met_an_unknown_value() -> None:
    @stack_rule("finds", "Finds one and breaks", ("aws:ebs/volume:Volume",), HIGH, cure="Mend the rule")
    def finds(graph: list[Resource]) -> Iterator[Finding]:
        yield Finding("the resource", "bad", "it must be good", graph[0])
        raise ValueError

    assert len(court.judge([CLEAR], only=[finds], whole=True).violations) == 2


def test_every_shape_of_value_is_read_as_the_sdk_reads_it() -> None:
    from judging.server import _properties
    from pulumi_policy.deserialize import _serialize_property

    props: dict[str, Any] = {"a": [1, 1.5, True, None, "x", {"b": []}], "c": {}, "d": ""}
    message = analyzer_pb2.AnalyzeRequest()
    message.properties.update(props)
    assert _serialize_property(_properties(message.properties)) == props
