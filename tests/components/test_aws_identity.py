"""components/aws_identity.py"""

import json
from collections.abc import Callable

import pytest
from pulumi_aws import iam
from pulumi_kubernetes.core.v1 import ServiceAccount

from keystone.aws import names
from tests.aws.programs import CI, statements, the_identity
from tests.aws.sites import site
from tests.recording import ROOT_SECRET, Engine

Deploy = Callable[..., Engine]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_aws_trusts_the_issuer_when_its_documents_can_be_read(deploy: Deploy) -> None:
    engine = deploy(the_identity(site(tunnel=True)))
    provider = engine.named("identity-provider")
    assert provider.inputs == {"url": "https://oidc.example.org", "clientIdLists": ["sts.amazonaws.com"]}
    assert {"identity-issuer-keys", "identity-issuer-discovery", "identity-issuer-name"} <= provider.dependencies


def test_every_role_is_bounded_and_trusts_exact_subjects(deploy: Deploy) -> None:
    roles = {one.inputs["name"]: one.inputs for one in deploy(the_identity(site(ci=CI))).of(iam.Role)}
    assert set(roles) == {"site-pool-keys", "site-ci-preview", "site-ci-up"}
    assert {role["permissionsBoundary"] for role in roles.values()} == {names.boundary_arn(site())}
    trusted = {
        name: json.loads(role["assumeRolePolicy"])["Statement"][0]["Condition"]["StringEquals"]
        for name, role in roles.items()
    }
    github = "token.actions.githubusercontent.com"
    assert trusted["site-pool-keys"]["oidc.example.org:sub"] == "system:serviceaccount:keystone-system:pool-keys"
    assert trusted["site-ci-preview"] == {
        f"{github}:aud": "sts.amazonaws.com",
        f"{github}:sub": "repo:team/cluster:environment:site-preview",
    }
    assert {role["maxSessionDuration"] for role in roles.values() if role["name"] == "site-ci-up"} == {10800}
    assert trusted["site-ci-up"][f"{github}:sub"] == [
        "repo:team/cluster:environment:hotfix",
        "repo:team/cluster:environment:site",
    ]


def test_a_preview_reads_its_own_mesh_key_and_changes_nothing(deploy: Deploy) -> None:
    ci = {**CI, "stateBucket": "team-state"}
    rights = deploy(the_identity(site(ci=ci))).named("identity-preview-rights").inputs["policy"]
    found = statements(rights)
    actions = {action for one in found.values() for action in one["Action"]}
    changing = {one for one in actions if not one.partition(":")[2].startswith(("Get", "List", "Describe"))}
    assert changing == {"kms:Decrypt", "s3:PutObject", "s3:DeleteObject"}
    assert found["LockState"]["Resource"] == ["arn:aws:s3:::team-state/.pulumi/locks/*"]
    own = ["arn:aws:ssm:eu-central-1:123456789012:parameter/keystone/site/ci/mesh-key"]
    assert found["DecryptParameters"]["Condition"]["StringLike"] == {"kms:EncryptionContext:PARAMETER_ARN": own}


def test_what_a_deploying_job_may_fits_into_a_role(deploy: Deploy) -> None:
    engine = deploy(the_identity(site(ci=CI, hostedZoneId="Z123")))
    assert len(engine.named("identity-up-rights").inputs["policy"]) <= 10240
    [boundary] = engine.of(iam.Policy)
    assert len(boundary.inputs["policy"]) <= 6144


def test_the_provider_of_github_is_made_unless_the_account_has_it(deploy: Deploy) -> None:
    made = deploy(the_identity(site(ci=CI)))
    assert {one.inputs["url"] for one in made.of(iam.OpenIdConnectProvider)} == {
        "https://oidc.example.org",
        "https://token.actions.githubusercontent.com",
    }
    assert "identity-github" in made.named("identity-up").dependencies
    there = deploy(the_identity(site(ci={**CI, "providerIsThere": True}))).of(iam.OpenIdConnectProvider)
    assert [one.name for one in there] == ["identity-provider"]


def test_the_timers_account_is_there_only_where_there_are_keys_to_mint(deploy: Deploy) -> None:
    [found] = deploy(the_identity(site())).of(ServiceAccount)
    assert found.inputs["metadata"]["annotations"] == {
        "eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/keystone/site/site-pool-keys"
    }
    assert found.inputs["automountServiceAccountToken"] is False
    assert deploy(the_identity(site(nodePools={}))).of(ServiceAccount) == []


def test_a_given_boundary_is_taken_as_it_is(deploy: Deploy) -> None:
    given = "arn:aws:iam::123456789012:policy/team/bound"
    engine = deploy(the_identity(site(permissionsBoundary=given)))
    assert engine.of(iam.Policy) == []
    assert {role.inputs["permissionsBoundary"] for role in engine.of(iam.Role)} == {given}


def test_the_root_secret_reaches_no_resource(deploy: Deploy) -> None:
    engine = deploy(the_identity(site(ci=CI, tunnel=True)))
    text = json.dumps([one.inputs for one in engine.resources])
    assert ROOT_SECRET not in text
    assert "PRIVATE KEY" not in text
