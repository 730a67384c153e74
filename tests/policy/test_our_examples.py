"""The pack over the examples: stacks with a real API's address and a real account, where nothing is a twin's."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from judging.kinds import CLUSTER_BASE, sdk
from rules import credentials, exposure_cluster, safety, stack, static_keys, supply

from tests import test_program
from tests.policy import court, recorded
from tests.settings.test_examples import CLUSTERS

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
Exceptions = list[dict[str, str]]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each example laid out as a user does."""
    found = {name: tmp_path_factory.mktemp(name) for name in CLUSTERS}
    for name, folder in found.items():
        recorded.example(name, folder)
    return found


@pytest.fixture(params=sorted(CLUSTERS))
def example(
    request: pytest.FixtureRequest, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> tuple[str, tuple[court.Case, ...]]:
    monkeypatch.chdir(folders[request.param])
    return request.param, recorded.cases(request.param, folders[request.param])


def _shipped(name: str) -> Exceptions:
    file = test_program.PROJECT / CLUSTERS[name] / f"exceptions.{name}.json"
    return json.loads(file.read_text())["exceptions"]["list"] if file.exists() else []


def _before(entries: Exceptions) -> date:
    """A day on which they hold and are not spoken of: what a user takes over is dated anew."""
    return min((date.fromisoformat(one["expires"]) for one in entries), default=date(2027, 1, 1)) - timedelta(days=60)


def test_an_example_breaks_no_rule_with_the_exceptions_that_lie_beside_it(example: tuple[str, Any]) -> None:
    name, cases = example
    entries = _shipped(name)
    verdict = court.judge(cases, whole=True, exceptions=entries, day=_before(entries))
    assert verdict.violations == []
    assert verdict.notes == []


def test_every_shipped_exception_is_needed(example: tuple[str, Any]) -> None:
    name, cases = example
    needed = {(rule, text.partition(":")[0]) for rule, text in court.judge(cases, whole=True).violations}
    assert needed == {(one["rule"], one["resource"]) for one in _shipped(name)}


def test_all_that_holds_data_is_noticed_without_its_protection(example: tuple[str, Any]) -> None:
    name, cases = example
    cluster = [case for case in cases if case.kind in CLUSTER_BASE]
    held = [case for case in cases if case.protect and case.kind in safety.data_protected.kinds]
    assert held or name not in ("home", "hybrid")
    for case in held:
        said = court.judge([*cluster, replace(case, protect=False)])
        assert said.broken == {"data-protected"}, case.name


# What a rule on the whole stack would miss: each of these taken out alone.
PARTS: dict[str, tuple[str, ...]] = {
    "bucket-complete": tuple(kind for kinds, _ in stack.PARTS for kind in kinds),
    "hostname-behind-access": stack.APPLICATION,
    "role-used": sdk("pulumi_aws.iam", "InstanceProfile"),
    "service-account-role-exists": stack.ROLE,
    "pool-joins-mesh": stack.TEMPLATE,
}


def _named_by_an_account(case: court.Case, cases: Sequence[court.Case]) -> bool:
    return any(one.kind.endswith(":ServiceAccount") and case.props["arn"] in str(one.props) for one in cases)


def test_a_part_that_is_taken_out_is_noticed(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    tried = set()
    for name in ("hybrid", "rented"):
        monkeypatch.chdir(folders[name])
        cases = recorded.cases(name, folders[name])
        for rule, case in ((rule, case) for rule, kinds in PARTS.items() for case in cases if case.kind in kinds):
            if case.kind in stack.ROLE and not _named_by_an_account(case, cases):
                continue
            rest = [one for one in cases if one is not case]
            said = court.judge(rest, only=[court.rule(rule)], whole=True)
            assert said.broken == {rule}, (name, rule, case.name)
            tried.add(rule)
    assert tried == set(PARTS)


def test_data_behind_a_real_address_is_noticed_by_a_first_preview(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folders["home"])
    cases = recorded.cases("home", folders["home"], preview=True)
    assert court.judge(cases, whole=True, preview=True).broken == {"stateful-has-backup"}
    [release] = [case for case in cases if case.protect and case.kind in safety.data_protected.kinds]
    cluster = [case for case in cases if case.kind in CLUSTER_BASE]
    assert court.judge([*cluster, replace(release, protect=False)], preview=True).broken == {"data-protected"}


def test_a_volume_is_noticed_that_no_copy_covers(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folders["home"])
    cases = recorded.cases("home", folders["home"])
    backup = court.catalogue()["backup"]
    covered = backup.changed({"covers": ["bucket", "volume"]})
    assert not court.judge([*cases, covered], whole=True).violations
    [(rule, text)] = court.judge([*cases, backup], whole=True).violations
    assert rule == "stateful-has-backup"
    assert text.startswith("ceph: a volume there is without a backup")


# What only an update can judge, since AWS chooses it: keys' and distributions' ids, ARNs of roles with their rights,
# queues' URLs, the values of certificates' proofs; and documents that hold one of these.
IN_CHARTS = (
    "chart-aws-node-lifecycle-release: spec.values.env.1.value",
    "chart-cluster-autoscaler-release: spec.values.rbac.serviceAccount.annotations.eks.amazonaws.com/role-arn",
    "chart-node-termination-handler-release: spec.values.queueURL",
)
NOT_KNOWN_YET = {
    *(
        (one.name, place)
        for one in (
            supply.chart_image,
            exposure_cluster.chart_service,
            exposure_cluster.chart_workload,
            credentials.chart,
            static_keys.chart_keys,
        )
        for place in IN_CHARTS
    ),
    ("iam-policy-not-admin", "aws-identity-pool-keys-rights: policy"),
    ("iam-policy-not-admin", "aws-nodes-node-termination-handler-rights: policy"),
    ("iam-policy-not-admin", "pool-spot-rights: policy"),
    ("launch-template-encrypted", "pool-spot-template: blockDeviceMappings.0.ebs.kmsKeyId"),
    ("resource-policy-no-wildcard", "aws-identity-issuer-documents-policy: policy"),
    ("resource-policy-no-wildcard", "aws-nodes-drain-events-policy: policy"),
    (
        "s3-customer-key",
        "aws-identity-issuer-documents-encryption: rules.0.applyServerSideEncryptionByDefault.kmsMasterKeyId",
    ),
    ("s3-tls-only", "aws-identity-issuer-documents-policy: policy"),
    ("service-account-role-exists", "stack: metadata.annotations.eks.amazonaws.com/role-arn"),
    ("sqs-encrypted", "aws-nodes-drain-events-queue: kmsMasterKeyId"),
    ("tunnel-record-proxied", "aws-identity-issuer-name: content"),
    ("tunnel-record-proxied", "aws-identity-issuer-proof: content"),
}


def test_a_first_preview_leaves_to_the_update_what_the_cloud_alone_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(test_program.PROJECT)
    verdict = court.judge(recorded.cases("dev-cloud", preview=True), whole=True, preview=True)
    assert verdict.violations == []
    found = {(rule, text.partition(" is not known yet")[0]) for rule, text in verdict.notes}
    assert found == NOT_KNOWN_YET
