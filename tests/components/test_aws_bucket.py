"""components/aws_bucket.py"""

from collections.abc import Callable

import pytest
from pulumi_aws import cloudfront, s3

from tests.aws.programs import statements, the_identity
from tests.aws.sites import site
from tests.recording import Engine

Deploy = Callable[..., Engine]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_the_bucket_is_read_by_the_distribution_alone_and_over_tls(deploy: Deploy) -> None:
    engine = deploy(the_identity(site()))
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
    [one, _] = deploy(the_identity(site())).of(s3.BucketObjectv2)
    assert {
        "identity-issuer-documents-policy",
        "identity-issuer-documents-block",
        "identity-issuer-documents-encryption",
    } <= one.dependencies
