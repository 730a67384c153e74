"""components/aws_identity.py, aws_issuer.py, aws_key.py, aws_bucket.py, public_record.py"""

import json
from collections.abc import Callable
from typing import Any

import pulumi
import pytest
from pulumi_aws import acm, cloudfront, iam, kms, s3, ssm
from pulumi_kubernetes.core.v1 import ServiceAccount

from components.aws_identity import AwsIdentity, AwsIdentityArgs
from components.aws_key import AwsKey, AwsKeyArgs
from keystone import issuer
from keystone.aws import names
from keystone.identities import Identities
from keystone.settings import Settings
from tests.aws.sites import site
from tests.components.accounts import account
from tests.recording import ROOT_SECRET, Engine, is_secret, plain

__all__ = ["account"]

Deploy = Callable[..., Engine]
CI = {"repository": "team/cluster", "environments": {"site": "up", "site-preview": "preview", "hotfix": "up"}}
pytestmark = [pytest.mark.usefixtures("account"), pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def build(settings: Settings) -> Callable[[], object]:
    def program() -> object:
        key = AwsKey("key", AwsKeyArgs(settings=settings))
        return AwsIdentity(
            "identity",
            AwsIdentityArgs(
                settings=settings,
                root=pulumi.Output.secret(ROOT_SECRET),
                key_arn=key.arn,
                namespace="keystone-system",
            ),
        )

    return program


def statements(document: str) -> dict[str, Any]:
    return {one["Sid"]: one for one in json.loads(document)["Statement"]}


def test_the_issuers_documents_are_public_and_hold_nothing_else(deploy: Deploy) -> None:
    settings = site(signingKeyGeneration=2, publishedKeyGeneration=1)
    objects = deploy(build(settings)).of(s3.BucketObjectv2)
    expected = issuer.documents("oidc.example.org", Identities(ROOT_SECRET, "site"), (1, 2))
    assert {one.inputs["key"]: one.inputs["content"] for one in objects} == expected
    assert {one.inputs["contentType"] for one in objects} == {"application/json"}
    assert len(json.loads(expected[issuer.KEYS])["keys"]) == 2


def test_the_bucket_is_read_by_the_distribution_alone_and_over_tls(deploy: Deploy) -> None:
    engine = deploy(build(site()))
    [policy], [distribution] = engine.of(s3.BucketPolicy), engine.of(cloudfront.Distribution)
    found = statements(policy.inputs["policy"])
    assert set(found) == {"TlsOnly", "Distribution"}
    assert found["TlsOnly"]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert found["Distribution"]["Principal"] == {"Service": "cloudfront.amazonaws.com"}
    assert found["Distribution"]["Action"] == ["s3:GetObject"]
    assert distribution.name in policy.dependencies
    [origin] = distribution.inputs["origins"]
    [bucket] = engine.of(s3.Bucket)
    assert origin["domainName"] == f"{bucket.inputs['bucket']}.s3.eu-central-1.amazonaws.com"
    assert origin["originAccessControlId"] == "identity-issuer-access-id"
    [block] = engine.of(s3.BucketPublicAccessBlock)
    assert {block.inputs[key] for key in block.inputs if key != "bucket"} == {True}


def test_documents_come_when_the_bucket_is_closed(deploy: Deploy) -> None:
    [one, _] = deploy(build(site())).of(s3.BucketObjectv2)
    assert {"identity-issuer-policy", "identity-issuer-block", "identity-issuer-encryption"} <= one.dependencies


def test_aws_trusts_the_issuer_when_its_documents_can_be_read(deploy: Deploy) -> None:
    engine = deploy(build(site(tunnel=True)))
    provider = engine.named("identity-provider")
    assert provider.inputs == {"url": "https://oidc.example.org", "clientIdLists": ["sts.amazonaws.com"]}
    assert {"identity-issuer-keys", "identity-issuer-discovery", "identity-issuer-name"} <= provider.dependencies


def test_names_are_made_in_the_tunnels_zone_unproxied(deploy: Deploy) -> None:
    engine = deploy(build(site(tunnel=True)))
    name, proof = (engine.named(f"identity-issuer-{what}").inputs for what in ("name", "proof"))
    assert (name["name"], name["content"]) == ("oidc.example.org", "d111111abcdef8.cloudfront.net")
    assert (proof["name"], proof["content"]) == ("_0123.oidc.example.org", "_4567.acm-validations.aws")
    assert {name["proxied"], proof["proxied"]} == {False}
    [validation] = engine.of(acm.CertificateValidation)
    assert "identity-issuer-proof" in validation.dependencies
    assert validation.inputs["region"] == "us-east-1"


def test_names_are_made_in_route_53_where_its_zone_is_given(deploy: Deploy) -> None:
    name = deploy(build(site(tunnel=True, hostedZoneId="Z123"))).named("identity-issuer-name").inputs
    assert (name["zoneId"], name["type"], name["records"]) == ("Z123", "CNAME", ["d111111abcdef8.cloudfront.net"])


def test_who_keeps_the_zone_elsewhere_is_told_which_records_to_make(
    deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("pulumi.log.warn", lambda text, *_: said.append(text))
    deploy(build(site()))
    assert sorted(said) == [
        "Make this DNS record, or the update waits for it in vain: _0123.oidc.example.org. CNAME "
        "_4567.acm-validations.aws.",
        "Make this DNS record, or the update waits for it in vain: oidc.example.org CNAME "
        "d111111abcdef8.cloudfront.net",
    ]


def test_every_role_is_bounded_and_trusts_exact_subjects(deploy: Deploy) -> None:
    roles = {one.inputs["name"]: one.inputs for one in deploy(build(site(ci=CI))).of(iam.Role)}
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
    assert trusted["site-ci-up"][f"{github}:sub"] == [
        "repo:team/cluster:environment:hotfix",
        "repo:team/cluster:environment:site",
    ]


def test_a_preview_reads_its_own_mesh_key_and_changes_nothing(deploy: Deploy) -> None:
    ci = {**CI, "stateBucket": "team-state"}
    rights = deploy(build(site(ci=ci))).named("identity-preview-rights").inputs["policy"]
    found = statements(rights)
    actions = {action for one in found.values() for action in one["Action"]}
    changing = {one for one in actions if not one.partition(":")[2].startswith(("Get", "List", "Describe"))}
    assert changing == {"kms:Decrypt", "s3:PutObject", "s3:DeleteObject"}
    assert found["LockState"]["Resource"] == ["arn:aws:s3:::team-state/.pulumi/locks/*"]
    own = ["arn:aws:ssm:eu-central-1:123456789012:parameter/keystone/site/ci/mesh-key"]
    assert found["DecryptParameters"]["Condition"]["StringLike"] == {"kms:EncryptionContext:PARAMETER_ARN": own}


def test_what_a_deploying_job_may_fits_into_a_role(deploy: Deploy) -> None:
    engine = deploy(build(site(ci=CI, hostedZoneId="Z123")))
    assert len(engine.named("identity-up-rights").inputs["policy"]) <= 10240
    [boundary] = engine.of(iam.Policy)
    assert len(boundary.inputs["policy"]) <= 6144


def test_the_provider_of_github_is_made_unless_the_account_has_it(deploy: Deploy) -> None:
    made = deploy(build(site(ci=CI)))
    assert {one.inputs["url"] for one in made.of(iam.OpenIdConnectProvider)} == {
        "https://oidc.example.org",
        "https://token.actions.githubusercontent.com",
    }
    assert "identity-github" in made.named("identity-up").dependencies
    there = deploy(build(site(ci={**CI, "providerIsThere": True}))).of(iam.OpenIdConnectProvider)
    assert [one.name for one in there] == ["identity-provider"]


def test_mesh_keys_of_pipelines_lie_in_encrypted_parameters_that_the_timer_fills(deploy: Deploy) -> None:
    parameters = {one.inputs["name"]: one.inputs for one in deploy(build(site(ci=CI))).of(ssm.Parameter)}
    assert set(parameters) == {"/keystone/site/ci/mesh-key", "/keystone/site/ci-up/mesh-key"}
    for inputs in parameters.values():
        assert inputs["type"] == "SecureString"
        assert inputs["keyId"].startswith("arn:aws:kms:")
        assert is_secret(inputs["valueWo"])
        assert plain(inputs["valueWoVersion"]) == 1
        assert "value" not in inputs


def test_the_timers_account_is_there_only_where_there_are_keys_to_mint(deploy: Deploy) -> None:
    [found] = deploy(build(site())).of(ServiceAccount)
    assert found.inputs["metadata"]["annotations"] == {
        "eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/keystone/site/site-pool-keys"
    }
    assert found.inputs["automountServiceAccountToken"] is False
    assert deploy(build(site(nodePools={}))).of(ServiceAccount) == []


def test_a_given_boundary_is_taken_as_it_is(deploy: Deploy) -> None:
    given = "arn:aws:iam::123456789012:policy/team/bound"
    engine = deploy(build(site(permissionsBoundary=given)))
    assert engine.of(iam.Policy) == []
    assert {role.inputs["permissionsBoundary"] for role in engine.of(iam.Role)} == {given}


def test_the_key_is_rotated_protected_and_used_by_nobody_outside_the_account(deploy: Deploy) -> None:
    [key] = deploy(build(site())).of(kms.Key)
    assert key.inputs["enableKeyRotation"] is True
    assert key.protect
    for one in statements(key.inputs["policy"]).values():
        if one["Principal"] == {"AWS": "*"}:
            assert one["Condition"]["StringEquals"]["kms:CallerAccount"] == "123456789012"


def test_the_root_secret_reaches_no_resource(deploy: Deploy) -> None:
    engine = deploy(build(site(ci=CI, tunnel=True)))
    text = json.dumps([one.inputs for one in engine.resources])
    assert ROOT_SECRET not in text
    assert "PRIVATE KEY" not in text
