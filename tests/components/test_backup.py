"""components/backup.py: the bucket that keeps, the roles that add, the jobs that copy."""

import json
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest
from pulumi_kubernetes import Provider
from pulumi_kubernetes.batch.v1 import CronJob
from pulumi_kubernetes.core.v1 import Namespace

from components.backup import Backup, BackupArgs
from components.workload_role import Trust
from keystone.backup import catalogue
from tests import recording
from tests.backup.test_jobs import site
from tests.components.platforms import Anything
from tests.policy import court
from tests.recording import ROOT_SECRET, Engine, run

PROVIDER = "arn:aws:iam::123456789012:oidc-provider/oidc.example.org"
BOUNDARY = "arn:aws:iam::123456789012:policy/keystone/site/site-boundary"
VERSIONED_LATE = ("backup-catalogue", "backup-verify-backup-job")


def deploy(*, preview: bool = False, **chosen: Any) -> Engine:
    settings = site(**chosen)
    assert settings.backup
    backup = settings.backup

    def build() -> None:
        cloud = aws.Provider("aws", region="eu-central-1")
        cluster = Provider("kubernetes", kubeconfig="x", cluster_identifier="c")
        inside = pulumi.ResourceOptions(providers=[cloud, cluster])
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        after = Namespace("nodes", metadata={"name": "nodes", "labels": labels}, opts=inside)
        args = BackupArgs(
            settings=settings,
            backup=backup,
            stack="home",
            identity=Trust(
                cluster="site",
                issuer_host="oidc.example.org",
                provider_arn=PROVIDER,
                provider=Anything("provider"),
                boundary_arn=BOUNDARY,
            ),
            root=pulumi.Output.secret(ROOT_SECRET),
            after=after,
        )
        pulumi.export("bucket", Backup("backup", args, opts=inside).bucket)

    return run(build, preview=preview)


def cases(engine: Engine) -> list[court.Case]:
    return [
        court.Case(
            kind=one.kind,
            name=one.name,
            props={**one.inputs, **recording.answers(one.kind, one.inputs)},
            protect=one.protect,
            provider=one.provider,
            depends_on=tuple(one.dependencies),
        )
        for one in engine.resources
        if one.kind != "pulumi:pulumi:Stack"
    ]


def test_the_bucket_keeps_what_it_has() -> None:
    engine = deploy()
    assert engine.named("backup-copies-bucket").inputs == {
        "bucket": "keystone-site-backup-123456789012-eu-central-1",
        "objectLockEnabled": True,
    }
    assert engine.named("backup-copies-versions").inputs["versioningConfiguration"] == {"status": "Enabled"}
    lock = engine.named("backup-copies-lock").inputs["rule"]["defaultRetention"]
    assert lock == {"mode": "GOVERNANCE", "days": 14}
    assert {engine.named(name).protect for name in ("backup-copies-bucket", "backup-key")} == {True}


def test_copies_of_machines_end_by_age_and_those_of_buckets_when_they_were_replaced() -> None:
    rules = {rule["id"]: rule for rule in deploy(retentionDays=60).named("backup-copies-lifecycle").inputs["rules"]}
    assert (rules["hosts"]["filter"], rules["hosts"]["expiration"]) == ({"prefix": "hosts/"}, {"days": 60})
    assert "days" not in rules["replaced"]["expiration"]
    assert rules["replaced"]["noncurrentVersionExpiration"] == {"noncurrentDays": 60}


def test_a_lock_that_nobody_lifts_is_a_choice() -> None:
    engine = deploy(lock={"mode": "compliance", "days": 30})
    assert engine.named("backup-copies-lock").inputs["rule"]["defaultRetention"] == {"mode": "COMPLIANCE", "days": 30}


def test_nothing_lies_in_the_bucket_before_it_is_locked_encrypted_and_closed() -> None:
    engine = deploy()
    before = {f"backup-copies-{it}" for it in ("block", "owner", "encryption", "policy", "lock", "lifecycle")}
    for name in VERSIONED_LATE:
        assert before <= engine.named(name).dependencies, name
    assert "backup-policy-default-deny" in engine.named("backup-verify-backup-job").dependencies


def test_the_catalogue_lies_beside_the_copies_under_the_buckets_key() -> None:
    engine = deploy()
    settings = site()
    assert settings.backup
    found = engine.named("backup-catalogue").inputs
    assert found["content"] == catalogue.text(settings, settings.backup, "home")
    assert (found["key"], found["serverSideEncryption"]) == ("catalogue.json", "aws:kms")
    assert found["forceDestroy"] is False


def test_each_service_account_has_a_role_for_itself_alone() -> None:
    engine = deploy(objectBuckets=["photos"])
    for who, role in (("hosts", "hosts"), ("verify-backup", "verify"), ("buckets-backup", "buckets")):
        found = engine.named(f"backup-{who}-role").inputs
        assert found["name"] == f"site-backup-{role}"
        assert found["permissionsBoundary"] == BOUNDARY
        [statement] = json.loads(found["assumeRolePolicy"])["Statement"]
        tests = statement["Condition"]["StringEquals"]
        assert tests["oidc.example.org:sub"] == f"system:serviceaccount:backup:{who}"
        assert tests["oidc.example.org:aud"] == "sts.amazonaws.com"
        assert engine.named(f"backup-account-{who}").inputs["metadata"]["namespace"] == "backup"


def test_the_jobs_are_told_their_role_and_stand_in_a_restricted_namespace() -> None:
    engine = deploy(objectBuckets=["photos"])
    assert (
        engine.named("backup-namespace").inputs["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        == "restricted"
    )
    jobs = {job.inputs["metadata"]["name"]: job for job in engine.of(CronJob)}
    assert set(jobs) == {"verify-backup", "buckets-backup"}
    for name, job in jobs.items():
        [container] = job.inputs["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
        env = {one["name"]: one.get("value") for one in container["env"]}
        assert env["AWS_WEB_IDENTITY_TOKEN_FILE"] == "/var/run/secrets/keystone/aws/token"
        assert f"backup-{name}-role" in job.dependencies
        assert f"backup-{name}-rights" in job.dependencies, "no job runs before its role has its rights"


def test_the_job_that_copies_buckets_waits_for_its_reader() -> None:
    engine = deploy(objectBuckets=["photos"])
    assert "backup-reader" in engine.named("backup-buckets-backup-job").dependencies
    assert "BEGIN CERTIFICATE" in engine.named("backup-authority").inputs["data"]["ca.crt"]


def test_the_settings_alone_take_the_protection_off() -> None:
    engine = deploy(protect=False)
    assert not any(one.protect for one in engine.resources)
    # The catalogue's older versions are locked; else nothing is forced.
    assert [one.name for one in engine.resources if one.inputs.get("forceDestroy")] == ["backup-catalogue"]


@pytest.mark.parametrize("chosen", [{}, {"objectBuckets": ["photos"]}], ids=["plain", "with buckets"])
def test_the_policy_pack_passes(chosen: dict[str, Any]) -> None:
    verdict = court.judge(cases(deploy(**chosen)), whole=True)
    assert verdict.violations == []


def test_the_stack_counts_as_one_with_a_backup() -> None:
    [rule] = [one for one in court.rules() if one.name == "stateful-has-backup"]
    assert court.judge(cases(deploy()), only=[rule], whole=True).violations == []


def test_a_preview_names_every_resource() -> None:
    assert sorted(one.name for one in deploy(preview=True).resources) == sorted(one.name for one in deploy().resources)
