"""The twin's AWS: what its front refuses although moto would not."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from keystone import iam
from tests.clouds.aws import ACCOUNT, AwsCloud, running
from tests.clouds.aws_issuer import AUDIENCE, HOST, PARAMETER, PROVIDER, SUBJECT, assume, encoded, publish, token
from twin.clouds.aws import access

INVALID, DENIED = "InvalidIdentityToken", "AccessDenied"
NOT_AUTHORIZED = "Not authorized to perform"
NO_PROVIDER = "No OpenIDConnect provider found"


@pytest.fixture(scope="module")
def cloud() -> Iterator[AwsCloud]:
    """An account with an issuer as the program makes it: bucket, distribution, provider, and a role."""
    with running() as one:
        publish(one)
        yield one


def test_a_token_of_the_published_key_gives_the_roles_credentials(cloud: AwsCloud) -> None:
    answer = assume(cloud, token())
    assert answer["SubjectFromWebIdentityToken"] == SUBJECT
    found = answer["Credentials"]
    who = cloud.client("sts", key=found["AccessKeyId"], token=found["SessionToken"]).get_caller_identity()
    assert who["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/pool-keys/test"


def forged() -> str:
    head, _, signature = token().split(".")
    _, body, _ = token(sub="system:serviceaccount:default:other").split(".")
    return f"{head}.{body}.{signature}"


def unsigned() -> str:
    return ".".join([encoded({"alg": "none"}), encoded({"iss": f"https://{HOST}", "aud": AUDIENCE}), ""])


# Each token is made when its test runs: its times count from then, and its text is another one in each process.
@pytest.mark.parametrize(
    ("make", "code", "said"),
    [
        pytest.param(
            lambda: token(aud=["https://kubernetes.default.svc"]), INVALID, "Incorrect token audience", id="aud"
        ),
        pytest.param(lambda: token(aud=None), INVALID, "Incorrect token audience: none", id="no aud"),
        pytest.param(lambda: token(sub="system:serviceaccount:default:pool-keys"), DENIED, NOT_AUTHORIZED, id="sub"),
        pytest.param(lambda: token(sub=None), DENIED, NOT_AUTHORIZED, id="no sub"),
        pytest.param(lambda: token(2), INVALID, "among the published ones", id="key"),
        pytest.param(lambda: token(exp=int(time.time()) - 5), "ExpiredTokenException", "Token expired", id="exp"),
        pytest.param(lambda: token(exp=None), INVALID, "Missing a required claim: exp", id="no exp"),
        pytest.param(lambda: token(nbf=int(time.time()) + 3600), INVALID, "not valid yet", id="nbf"),
        pytest.param(lambda: token(iss="https://other.example.org"), INVALID, NO_PROVIDER, id="iss"),
        pytest.param(lambda: token(iss=f"http://{HOST}"), INVALID, NO_PROVIDER, id="iss by http"),
        pytest.param(lambda: token(alg="RS256"), INVALID, "among the published ones", id="alg"),
        pytest.param(forged, INVALID, "does not verify", id="forged"),
        pytest.param(unsigned, INVALID, "among the published ones", id="unsigned"),
        pytest.param(lambda: "nonsense", INVALID, "not a valid JWT", id="nonsense"),
    ],
)
def test_a_token_that_aws_would_refuse_is_refused(
    cloud: AwsCloud, make: Callable[[], str], code: str, said: str
) -> None:
    with pytest.raises(ClientError) as refused:
        assume(cloud, make())
    assert refused.value.response["Error"]["Code"] == code
    assert said in refused.value.response["Error"]["Message"]


def test_an_unknown_role_is_refused_in_the_words_of_one_that_does_not_trust(cloud: AwsCloud) -> None:
    with pytest.raises(ClientError, match=r"AccessDenied.*Not authorized to perform sts:AssumeRoleWithWebIdentity"):
        assume(cloud, token(), "nobody")


def test_a_role_that_trusts_a_service_alone_takes_no_token(cloud: AwsCloud) -> None:
    roles = cloud.client("iam")
    roles.create_role(RoleName="node", AssumeRolePolicyDocument=iam.service_trust("ec2.amazonaws.com"))
    with pytest.raises(ClientError, match="AccessDenied"):
        assume(cloud, token(), "node")


def test_a_session_may_not_outlast_what_the_role_allows(cloud: AwsCloud) -> None:
    with pytest.raises(ClientError, match="exceeds the MaxSessionDuration"):
        assume(cloud, token(), DurationSeconds=7200)


def test_a_session_writes_the_parameter_of_its_policy_and_no_other(cloud: AwsCloud) -> None:
    found = assume(cloud, token())["Credentials"]
    ssm = cloud.client("ssm", key=found["AccessKeyId"], token=found["SessionToken"])
    ssm.put_parameter(Name=PARAMETER, Value="x", Type="SecureString", Overwrite=True)
    for name, call in (
        ("PutParameter", lambda: ssm.put_parameter(Name="/keystone/other", Value="x", Type="String")),
        ("GetParameter", lambda: ssm.get_parameter(Name=PARAMETER, WithDecryption=True)),
    ):
        with pytest.raises(ClientError, match=f"AccessDeniedException.*not authorized to perform: ssm:{name}"):
            call()


def test_a_boundary_narrows_what_a_policy_allows(cloud: AwsCloud) -> None:
    roles = cloud.client("iam")
    only = iam.Statement(sid="Read", actions=["ssm:GetParameter"], resources=["*"], reason="test")
    arn = roles.create_policy(PolicyName="bound", PolicyDocument=iam.document([only]))["Policy"]["Arn"]
    roles.put_role_permissions_boundary(RoleName="pool-keys", PermissionsBoundary=arn)
    found = assume(cloud, token())["Credentials"]
    ssm = cloud.client("ssm", key=found["AccessKeyId"], token=found["SessionToken"])
    with pytest.raises(ClientError, match="AccessDeniedException"):
        ssm.put_parameter(Name=PARAMETER, Value="x", Type="SecureString", Overwrite=True)
    roles.delete_role_permissions_boundary(RoleName="pool-keys")


@pytest.mark.parametrize("service", ["s3", "ec2", "iam", "ssm", "cloudfront"])
def test_an_unknown_access_key_is_refused(cloud: AwsCloud, service: str) -> None:
    asked = {"s3": "list_buckets", "ec2": "describe_vpcs", "iam": "list_roles", "ssm": "describe_parameters"}
    with pytest.raises(ClientError, match="InvalidClientTokenId"):
        getattr(cloud.client(service, key="AKIAIOSFODNN7EXAMPLE"), asked.get(service, "list_distributions"))()


def test_a_sessions_key_without_its_token_is_refused(cloud: AwsCloud) -> None:
    found = assume(cloud, token())["Credentials"]
    with pytest.raises(ClientError, match="InvalidClientTokenId"):
        cloud.client("sts", key=found["AccessKeyId"]).get_caller_identity()


def test_what_moto_cannot_do_is_said_at_once(cloud: AwsCloud) -> None:
    with pytest.raises(ClientError, match=r"NotImplemented.*the twin's AWS"):
        cloud.client("iam").simulate_principal_policy(PolicySourceArn=PROVIDER, ActionNames=["s3:GetObject"])


@pytest.mark.parametrize(
    ("effect", "extra", "verdict"),
    [
        ("Allow", {}, True),
        ("Allow", {"Condition": {"StringEquals": {"aws:RequestedRegion": "us-east-1"}}}, False),
        ("Allow", {"Condition": {"NumericLessThan": {"x": "1"}}}, False),
        ("Allow", {"Condition": {"Null": {"x": "true", "aws:RequestedRegion": "false"}}}, True),
        ("Deny", {}, False),
        ("Allow", {"Resource": "arn:aws:ssm:*:*:parameter/other/*"}, False),
        ("Allow", {"Action": "ssm:Get*"}, True),
        ("Allow", {"Action": "SSM:GETPARAMETER"}, True),
    ],
)
def test_policies_are_weighed_as_iam_does(effect: str, extra: dict[str, Any], verdict: bool) -> None:
    statement = {
        "Effect": effect,
        "Action": ["ssm:GetParameter"],
        "Resource": ["arn:aws:ssm:*:*:parameter/a/*"],
        **extra,
    }
    resource = "arn:aws:ssm:eu-central-1:1:parameter/a/b"
    context = {"aws:requestedregion": "eu-central-1"}
    assert access.allowed([{"Statement": [statement]}], "ssm:GetParameter", resource, context) is verdict


def test_a_denial_wins_over_every_allowance() -> None:
    allow = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    deny = {"Effect": "Deny", "Action": "ssm:*", "Resource": "*", "Condition": {"DateLessThan": {"x": "y"}}}
    assert not access.allowed([{"Statement": [allow, deny]}], "ssm:GetParameter", "x", {})
