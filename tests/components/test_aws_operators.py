"""Drivers, AWS' controllers and Crossplane: each with a role for its own things alone."""

import json
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest
from pulumi_kubernetes import Provider

from components.aws_operators import AwsOperators, AwsOperatorsArgs
from components.storage_classes import StorageClasses, StorageClassesArgs
from components.workload_role import Trust
from keystone import charts
from keystone.aws import operators as rights
from keystone.charts import storage
from keystone.charts.operators import ACK_VERSIONS
from keystone.settings import Settings, parse
from tests import recording
from tests.components.platforms import Anything
from tests.dry_run import faults, objects
from tests.policy import court
from tests.recording import Engine, document, run

KEY = "arn:aws:kms:eu-central-1:123456789012:key/7d0e2b1c-1111-2222-3333-444455556666"
STORAGE: dict[str, Any] = {"default": "ebs-gp3", "ebs": {}, "efs": {"fileSystemId": "fs-0123abcd"}}
EVERYTHING: dict[str, Any] = {
    "storage": STORAGE,
    "operators": {"ack": {"services": ["ec2", "eks", "iam"]}, "crossplane": {"aws": ["s3", "rds"]}},
}


def settings(**sections: Any) -> Settings:
    given = document(agents=3)
    given["cluster"]["issuerHost"] = "oidc.example.org"
    given["aws"] = {"region": "eu-central-1", "accountId": "123456789012"}
    given["platform"] = {"certManager": {}}
    return parse({**given, **sections})


def deploy(**sections: Any) -> Engine:
    chosen = settings(**sections)

    def build() -> None:
        given = [aws.Provider("aws", region="eu-central-1"), Provider("kubernetes", kubeconfig="x")]
        args = AwsOperatorsArgs(
            settings=chosen,
            releases=charts.releases(chosen),
            namespaces={release.namespace: release.namespace for release in charts.releases(chosen).values()},
            identity=Trust(
                cluster="site",
                issuer_host="oidc.example.org",
                provider_arn="arn:aws:iam::123456789012:oidc-provider/oidc.example.org",
                provider=Anything("provider"),
                boundary_arn="arn:aws:iam::123456789012:policy/keystone/site/boundary",
            ),
            key_arn=KEY,
            webhook=Anything("webhook"),
        )
        AwsOperators("operators", args, opts=pulumi.ResourceOptions(providers=given))

    return run(build)


def values(engine: Engine, release: str) -> dict[str, Any]:
    return engine.named(f"chart-{release}-release").inputs["spec"]["values"]


def role(engine: Engine, name: str) -> tuple[str, list[dict[str, Any]]]:
    """(the one subject that a role trusts, its statements)"""
    trust = json.loads(engine.named(f"operators-{name}-role").inputs["assumeRolePolicy"])
    given = json.loads(engine.named(f"operators-{name}-rights").inputs["policy"])
    return trust["Statement"][0]["Condition"]["StringEquals"]["oidc.example.org:sub"], given["Statement"]


def test_nothing_is_made_that_is_not_chosen() -> None:
    assert [one.name for one in deploy().resources if one.kind.startswith(("aws:iam", "kubernetes:"))] == []


def test_a_driver_takes_its_role_the_clusters_key_and_the_accounts_region() -> None:
    engine = deploy(storage=STORAGE)
    found = values(engine, "aws-ebs-csi-driver")
    assert found["controller"]["region"] == "eu-central-1"
    assert found["controller"]["serviceAccount"]["annotations"] == {
        "eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/keystone/site/site-ebs-csi"
    }
    assert found["storageClasses"][0]["parameters"]["kmsKeyId"] == KEY
    assert found["node"]["nodeSelector"] == {"keystone.internal/cloud": "aws"}
    assert found["node"]["hostNetwork"], "a pod is two hops away from the machine's metadata"
    assert role(engine, "ebs-csi")[0] == "system:serviceaccount:kube-system:ebs-csi-controller-sa"
    assert role(engine, "efs-csi")[0] == "system:serviceaccount:kube-system:efs-csi-controller-sa"


def test_a_driver_changes_only_volumes_that_carry_the_tag_that_it_gives() -> None:
    engine = deploy(storage=STORAGE)
    _, statements = role(engine, "ebs-csi")
    given = values(engine, "aws-ebs-csi-driver")["controller"]["extraVolumeTags"]
    own = next(one for one in statements if one["Sid"] == "Own")
    assert "ec2:DeleteVolume" in own["Action"]
    assert own["Condition"]["StringEquals"] == {f"aws:ResourceTag/{tag}": value for tag, value in given.items()}


def test_drivers_whose_roles_are_given_come_with_the_other_storage() -> None:
    arn = "arn:aws:iam::123456789012:role/csi"
    given = settings(
        storage={**STORAGE, "ebs": {"roleArn": arn, "kmsKeyArn": KEY, "region": "eu-west-1"}, "localPath": {}}
    )
    assert storage.with_roles(given) == ("aws-efs-csi-driver",)

    def build() -> None:
        found = charts.releases(given)
        namespaces = {release.namespace: release.namespace for release in found.values()}
        StorageClasses("storage", StorageClassesArgs(settings=given, releases=found, namespaces=namespaces))

    names = {one.name for one in run(build).resources if one.name.endswith("-release")}
    assert names == {"chart-aws-ebs-csi-driver-release", "chart-local-path-release"}


@pytest.mark.parametrize("service", sorted(ACK_VERSIONS))
def test_each_controller_has_its_own_role_and_reconciles_what_that_allows(service: str) -> None:
    engine = deploy(operators={"ack": {"services": [service]}})
    subject, _ = role(engine, f"ack-{service}")
    assert subject == f"system:serviceaccount:ack-system:ack-{service}"
    found = values(engine, f"ack-{service}")
    assert found["reconcile"]["resources"] == list(rights.KINDS[service])  # type: ignore[index]
    assert found["deletionPolicy"] == "retain"
    assert found["serviceAccount"]["name"] == f"ack-{service}"
    assert found["aws"] == {"region": "eu-central-1"}
    assert "webhook" in engine.named(f"chart-ack-{service}").dependencies


@pytest.mark.parametrize("service", sorted(ACK_VERSIONS))
def test_no_operator_reaches_what_is_not_its_own(service: str) -> None:
    for one in rights.statements(settings(), service):  # type: ignore[arg-type]
        wide = [place for place in one.resources if place == "*"]
        # Whole services are never given; everywhere, an operator only looks, or by its tag.
        assert not [action for action in one.actions if action.endswith(":*")]
        reads = all(action.split(":")[1].startswith(("Describe", "Get", "List")) for action in one.actions)
        tagged = any("keystone-operator" in key for tests in one.conditions.values() for key in tests)
        assert not wide or reads or tagged, one.sid
        others = (
            "keystone-site-backup-123456789012-eu-central-1",
            "site-issuer-123456789012",
            "/keystone/site/site-backup-hosts",
        )
        assert not [place for place in one.resources if any(place.rstrip("*").endswith(other) for other in others)]


def test_roles_that_an_operator_makes_are_bounded() -> None:
    [made] = [one for one in rights.statements(settings(), "iam") if "iam:CreateRole" in one.actions]
    assert made.conditions == {
        "StringEquals": {"iam:PermissionsBoundary": "arn:aws:iam::123456789012:policy/keystone/site/boundary"}
    }
    assert made.resources == ["arn:aws:iam::123456789012:role/keystone/site/operators/*"]


def test_crossplane_activates_the_kinds_of_chosen_services_alone() -> None:
    engine = deploy(operators={"crossplane": {"aws": ["s3"]}})
    assert values(engine, "crossplane")["provider"] == {"defaultActivations": []}
    active = engine.named("operators-provider-aws-s3-ManagedResourceActivationPolicy").inputs["spec"]["activate"]
    assert "buckets.s3.aws.m.upbound.io" in active
    assert {one.split(".", 1)[1] for one in active} == {"s3.aws.m.upbound.io"}


def test_a_provider_runs_under_its_own_account_and_is_waited_for() -> None:
    engine = deploy(operators={"crossplane": {"aws": ["s3"]}})
    runtime = engine.named("operators-provider-aws-s3-DeploymentRuntimeConfig").inputs["spec"]
    assert runtime["serviceAccountTemplate"]["metadata"]["name"] == "provider-aws-s3"
    provider = engine.named("operators-provider-aws-s3-Provider").inputs
    assert provider["metadata"]["annotations"] == {"pulumi.com/waitFor": "condition=Healthy"}
    assert provider["spec"]["package"].startswith("xpkg.upbound.io/upbound/provider-aws-s3:v")
    assert provider["spec"]["runtimeConfigRef"] == {"name": "provider-aws-s3"}
    assert "operators-provider-aws-s3-Provider" in engine.named("operators-account").dependencies


def test_an_api_server_would_take_every_object() -> None:
    found = list(objects(deploy(**EVERYTHING).resources))
    assert len(found) > 10
    assert [fault for thing in found for fault in faults(thing)] == []


def test_the_policy_pack_passes() -> None:
    engine = deploy(**EVERYTHING)
    cases = [
        court.Case(
            kind=one.kind,
            name=one.name,
            props={**one.inputs, **recording.answers(one.kind, one.inputs)},
            protect=one.protect,
            provider=one.provider,
            depends_on=tuple(one.dependencies),
        )
        for one in engine.resources
    ]
    verdict = court.judge(cases, whole=True)
    assert [one for one in verdict.violations if one[0] != "stateful-has-backup"] == []
