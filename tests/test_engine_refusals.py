"""keystone/engine/refusals.py: what the official plugins say when a cloud refuses, and what people are told to do."""

import io
from typing import Any

import pytest

from keystone.engine import refusals
from keystone.engine.events import Reporter

ROLE, BUCKET, TUNNEL = "aws:iam/role:Role", "aws:s3/bucket:Bucket", "cloudflare:index/zeroTrustTunnelCloudflared:Z"
RECORD, PROVIDER = "cloudflare:index/dnsRecord:DnsRecord", "pulumi:providers:aws"
HEAD = "urn:pulumi:dev::keystone::"
URN = f"{HEAD}keystone:components:Aws$keystone:components:WorkloadRole${ROLE}::aws-reader-role"
API = "https://api.cloudflare.com/client/v4"


def at_aws(operation: str, status: int, said: str) -> str:
    """As terraform-provider-aws ends its errors."""
    return f"operation error {operation}, https response error StatusCode: {status}, RequestID: 277306c3-5a41, {said}"


def at_cloudflare(path: str, status: str, code: int, message: str) -> str:
    """As the client of the cloudflare plugin ends its errors."""
    answer = f'{{"success":false,"errors":[{{"code":{code},"message":"{message}"}}],"messages":[],"result":null}}'
    return f'failed to make http request: POST "{API}/{path}": {status} {answer}'


TAKEN = [
    (
        ROLE,
        "1 error occurred:\n\t* creating IAM Role (reader): "
        + at_aws("IAM: CreateRole", 409, "EntityAlreadyExists: Role with name reader already exists."),
    ),
    (
        BUCKET,
        "creating S3 Bucket (copies): " + at_aws("S3: CreateBucket", 409, "BucketAlreadyExists: ") + ": provider=aws",
    ),
    (BUCKET, at_aws("S3: CreateBucket", 409, "BucketAlreadyOwnedByYou: Your previous request succeeded")),
    ("aws:ssm/parameter:Parameter", at_aws("SSM: PutParameter", 400, "ParameterAlreadyExists: The parameter exists.")),
    ("aws:sqs/queue:Queue", at_aws("SQS: CreateQueue", 400, "QueueNameExists: A queue with the same name exists")),
    ("aws:autoscaling/group:Group", at_aws("Auto Scaling: CreateAutoScalingGroup", 400, "AlreadyExists: by this name")),
    (
        "aws:ec2/securityGroup:SecurityGroup",
        at_aws("EC2: CreateSecurityGroup", 400, "api error InvalidGroup.Duplicate: The security group already exists"),
    ),
    (
        "aws:route53/record:Record",
        at_aws(
            "Route 53: ChangeResourceRecordSets", 400, "InvalidChangeBatch: [Tried to create it: it already exists]"
        ),
    ),
    (TUNNEL, at_cloudflare("accounts/a/cfd_tunnel", "409 Conflict", 1013, "You already have a tunnel with this name")),
    (RECORD, at_cloudflare("zones/z/dns_records", "400 Bad Request", 81053, "An A, AAAA or CNAME record exists")),
    (RECORD, at_cloudflare("zones/z/dns_records", "400 Bad Request", 81057, "The record already exists.")),
    (RECORD, at_cloudflare("zones/z/dns_records", "400 Bad Request", 81058, "An identical record already exists.")),
]
CURES = [
    (
        PROVIDER,
        "validating provider credentials: retrieving caller identity from STS: "
        + at_aws("STS: GetCallerIdentity", 403, "api error ExpiredToken: The security token is expired"),
        refusals.AWS_LOGIN,
    ),
    (
        PROVIDER,
        at_aws("STS: GetCallerIdentity", 403, "api error InvalidClientTokenId: The security token is invalid."),
        refusals.AWS_LOGIN,
    ),
    ("aws:ec2/vpc:Vpc", at_aws("EC2: CreateVpc", 400, "ExpiredTokenException: expired"), refusals.AWS_LOGIN),
    (PROVIDER, "Invalid credentials: No valid credential sources found.", refusals.AWS_LOGIN),
    (ROLE, at_aws("IAM: CreateRole", 403, "api error AccessDenied: User: x is not authorized"), refusals.AWS_RIGHT),
    (ROLE, at_aws("IAM: CreateRole", 409, "LimitExceeded: Cannot exceed quota"), refusals.AWS_QUOTA),
    ("aws:ec2/vpc:Vpc", at_aws("EC2: CreateVpc", 400, "api error VpcLimitExceeded: The maximum"), refusals.AWS_QUOTA),
    (
        TUNNEL,
        at_cloudflare("accounts/a/cfd_tunnel", "403 Forbidden", 10000, "Authentication error"),
        refusals.CLOUDFLARE_TOKEN,
    ),
    (RECORD, at_cloudflare("zones/z/dns_records", "400 Bad Request", 9109, "Invalid"), refusals.CLOUDFLARE_TOKEN),
]


@pytest.mark.parametrize(("kind", "text"), TAKEN)
def test_a_taken_name_is_known_by_the_official_plugins_words(kind: str, text: str) -> None:
    assert refusals.taken(kind, text)


@pytest.mark.parametrize(("kind", "text", "cure"), CURES)
def test_a_refusal_of_the_official_plugin_says_what_to_do(kind: str, text: str, cure: str) -> None:
    assert not refusals.taken(kind, text)
    assert refusals.cure(kind, text) == cure


def test_other_errors_stay_as_they_are() -> None:
    for kind, text in [
        (ROLE, at_aws("IAM: CreateRole", 400, "MalformedPolicyDocument: Syntax errors in policy.")),
        (RECORD, at_cloudflare("zones/z/dns_records", "400 Bad Request", 81045, "Record quota exceeded.")),
        ("command:local:Command", "AlreadyExists: AccessDenied: whatever a command prints"),
    ]:
        assert not refusals.taken(kind, text)
        assert refusals.cure(kind, text) == ""


def created(text: str) -> Reporter:
    """A reporter that saw the create of a role fail."""
    new: dict[str, Any] = {
        "urn": URN,
        "type": ROLE,
        "custom": True,
        "parent": f"{HEAD}keystone:components:Aws$keystone:components:WorkloadRole::aws-reader",
        "provider": f"{HEAD}pulumi:providers:aws::aws::0b2cd4a5",
        "inputs": {"name": "reader"},
    }
    reporter = Reporter(stream=io.StringIO())
    reporter.take({"resourcePreEvent": {"metadata": {"op": "create", "urn": URN, "type": ROLE, "new": new}}})
    reporter.take({"diagnosticEvent": {"urn": URN, "severity": "error", "message": text}})
    return reporter


@pytest.mark.parametrize(("found", "shown"), [({URN: "reader"}, "reader"), ({}, "ITS-ID")])
def test_a_taken_name_shows_the_command_that_takes_its_owner_over(found: dict[str, str], shown: str) -> None:
    reporter = created(TAKEN[0][1])
    assert [one["urn"] for one in reporter.taken()] == [URN]
    reporter.owners = found
    assert reporter.faults()[-2:] == [
        "  cure: something that this stack did not make has the name. Remove it, or let the stack take it over:",
        f"    pulumi import '{ROLE}' 'aws-reader-role' '{shown}'"
        f" --parent 'aws-reader={HEAD}keystone:components:Aws$keystone:components:WorkloadRole::aws-reader'"
        f" --provider 'aws={HEAD}pulumi:providers:aws::aws'",
    ]


def test_an_expired_credential_is_one_clear_line() -> None:
    reporter = created(CURES[0][1])
    assert reporter.taken() == []
    assert reporter.faults()[-1] == f"  cure: {refusals.AWS_LOGIN}"
