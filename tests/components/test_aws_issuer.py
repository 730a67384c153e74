"""components/aws_issuer.py"""

import json
from collections.abc import Callable

import pytest
from pulumi_aws import s3

from keystone import issuer
from keystone.identities import Identities
from tests.aws.programs import the_identity
from tests.aws.sites import site
from tests.recording import ROOT_SECRET, Engine

Deploy = Callable[..., Engine]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_the_issuers_documents_are_public_and_hold_nothing_else(deploy: Deploy) -> None:
    settings = site(signingKeyGeneration=2, publishedKeyGeneration=1)
    objects = deploy(the_identity(settings)).of(s3.BucketObjectv2)
    expected = issuer.documents("oidc.example.org", Identities(ROOT_SECRET, "site"), (1, 2))
    assert {one.inputs["key"]: one.inputs["content"] for one in objects} == expected
    assert {one.inputs["contentType"] for one in objects} == {"application/json"}
    assert len(json.loads(expected[issuer.KEYS])["keys"]) == 2
