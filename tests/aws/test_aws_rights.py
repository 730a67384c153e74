"""keystone/aws/page.py, deployer.py, rights.py: what may be done at AWS, as documents and as a page."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from keystone import iam
from keystone.aws import controllers, deployer, keys, leftovers, operators, page, pipelines, rights
from keystone.aws.__main__ import main
from keystone.settings.operators import AwsService
from tests.aws.sites import KARPENTER, POOL, site

PROJECT = Path(__file__).resolve().parents[2]


def test_the_page_is_what_the_policies_say() -> None:
    assert (PROJECT / page.PATH).read_text() == page.page(), f"python -m keystone.aws > {page.PATH}"


def test_every_statement_has_a_reason_and_a_name_of_its_own() -> None:
    found = deployer.statements(site(hostedZoneId="Z123"))
    assert all(len(one.reason) > 10 for one in found)
    assert len({one.sid for one in found}) == len(found)


def test_who_runs_the_program_gets_documents_that_iam_takes() -> None:
    settings = site(hostedZoneId="Z123")
    documents = deployer.documents(settings)
    assert [len(iam.encoded(one)) <= deployer.MAX_POLICY for one in documents] == [True] * len(documents)
    sids = [one["Sid"] for document in documents for one in document["Statement"]]
    assert sids == [one.sid for one in deployer.statements(settings)]


def test_who_runs_the_program_makes_no_role_beyond_the_bound_and_touches_no_identity_elsewhere() -> None:
    for one in deployer.statements(site()):
        if any(action.startswith("iam:") for action in one.actions):
            where = (
                "role/aws-service-role/",
                "role/keystone/site/",
                "policy/keystone/site/",
                "profile/keystone/site/",
                "oidc-provider/",
            )
            assert all(any(part in resource for part in where) for resource in one.resources), one.sid
        if "iam:CreateRole" in one.actions:
            bound = "arn:aws:iam::123456789012:policy/keystone/site/boundary"
            assert one.conditions == {"StringEquals": {"iam:PermissionsBoundary": bound}}
        assert "*" not in one.actions
        assert not {"iam:*", "kms:*", "ec2:*", "s3:*"} & set(one.actions)


def granted(statements: list[iam.Statement]) -> dict[str, Any]:
    """What a list of statements says of roles of AWS' services: their ARNs, and the services."""
    [one] = [one for one in statements if "iam:CreateServiceLinkedRole" in one.actions]
    [services] = one.conditions["StringEquals"].values()
    assert list(one.conditions["StringEquals"]) == ["iam:AWSServiceName"]
    root = "arn:aws:iam::123456789012:role/aws-service-role"
    return {service: place.removeprefix(f"{root}/") for service, place in zip(services, one.resources, strict=True)}


def test_in_a_fresh_account_the_first_use_of_a_service_makes_its_role_and_no_other() -> None:
    settings = site(nodePools={"spot": POOL, "batch": KARPENTER})
    groups = {"autoscaling.amazonaws.com": "autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"}
    spot = {"spot.amazonaws.com": "spot.amazonaws.com/AWSServiceRoleForEC2Spot"}
    databases = {"rds.amazonaws.com": "rds.amazonaws.com/AWSServiceRoleForRDS"}
    assert granted(deployer.statements(settings)) == groups | spot
    assert granted(controllers.karpenter(settings, "QUEUE", "KEY")) == spot
    assert granted(operators.statements(settings, "rds")) == databases
    nodes = {"eks-nodegroup.amazonaws.com": "eks-nodegroup.amazonaws.com/AWSServiceRoleForAmazonEKSNodegroup"}
    clusters = {"eks.amazonaws.com": "eks.amazonaws.com/AWSServiceRoleForAmazonEKS"} | nodes
    assert granted(operators.statements(settings, "eks")) == clusters
    assert granted(rights.boundary(settings)) == groups | databases | spot | clusters


def test_what_only_looks_is_seen_by_the_names_of_its_actions() -> None:
    everything = deployer.statements(site(hostedZoneId="Z123"))
    verbless = {action for one in everything for action in one.actions if action.partition(":")[2].startswith("*")}
    assert verbless == {"autoscaling:*"}, "its Describe calls stand for themselves; others would be lost to who looks"
    looks = {action for one in deployer.reading(everything) for action in one.actions}
    assert {"autoscaling:Describe*", "iam:GetInstanceProfile", "iam:GetOpenID*", "sqs:GetQueue*"} <= looks
    assert not {action for action in looks if action.startswith("kms:Decrypt")}


def test_prices_may_be_asked_for_wherever_they_are_told() -> None:
    [bound] = [one for one in rights.boundary(site()) if "pricing:GetProducts" in one.actions]
    assert bound.conditions == {}
    assert bound.actions == ("pricing:GetProducts",)


def test_another_part_of_aws_has_its_name_in_every_arn() -> None:
    ci = {"repository": "team/cluster", "environments": {"site": "up"}, "stateBucket": "team-state"}
    pool = {**POOL, "zones": ["us-gov-west-1a"]}
    settings = site(region="us-gov-west-1", nodePools={"spot": pool}, ci=ci, hostedZoneId="Z123")
    assert settings.aws
    assert settings.aws.ci
    found = [
        *pipelines.statements(settings, settings.aws.ci, "up", "KEY"),
        *controllers.karpenter(settings, "QUEUE", "KEY"),
        *keys.minter_rights(settings, "KEY"),
        *rights.boundary(settings),
        *rights.key_policy(settings),
        *rights.machine(settings, "spot", "KEY"),
        *(one for service in get_args(AwsService) for one in operators.statements(settings, service)),
    ]
    arns = re.findall(r"arn:[a-z-]*:", iam.document(found))
    assert len(arns) > 50
    assert set(arns) == {"arn:aws-us-gov:"}


def test_without_pools_nobody_needs_rights_to_start_machines() -> None:
    actions = {action for one in deployer.statements(site(nodePools={})) for action in one.actions}
    assert not [one for one in actions if one.startswith(("ec2:Create", "ec2:Run", "autoscaling:", "sqs:", "events:"))]


def test_a_destroy_removes_what_carries_one_of_the_clusters_tags_and_nothing_else() -> None:
    found = {one.sid: one for one in deployer.statements(site())}
    tags = {}
    for sid in deployer.LEFTOVER_SIDS:
        [(key, value)] = found[sid].conditions["StringEquals"].items()
        tags[key.removeprefix("aws:ResourceTag/")] = value
    assert tags == leftovers.tags("site")


def test_the_policy_of_a_stack_is_printed_for_iam(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(PROJECT)
    assert main(["--stack", "dev-cloud"]) == 0
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {document["Version"] for document in documents} == {"2012-10-17"}
    assert main(["--stack", "dev"]) == 1
    assert capsys.readouterr().err == "Pulumi.dev.yaml: has no section aws. Name a stack that has one.\n"
