"""keystone/iam.py"""

import json

import pytest

from keystone import iam
from keystone.errors import KeystoneError
from keystone.iam import Statement

READ = Statement(sid="Read", actions=("s3:ListBucket", "s3:GetObject"), resources=("arn:aws:s3:::b",), reason="to see")


def test_a_document_is_the_same_each_time_and_keeps_its_reasons_to_itself() -> None:
    text = iam.document([READ])
    assert text == (
        '{"Statement":[{"Action":["s3:GetObject","s3:ListBucket"],"Effect":"Allow","Resource":["arn:aws:s3:::b"],'
        '"Sid":"Read"}],"Version":"2012-10-17"}'
    )
    assert "to see" not in text


def test_conditions_and_denials_are_written_where_given() -> None:
    one = Statement(
        sid="No",
        effect="Deny",
        actions=("s3:*",),
        resources=("*",),
        reason="plain requests",
        principal={"AWS": "*"},
        conditions={"Bool": {"aws:SecureTransport": "false"}},
    )
    [statement] = json.loads(iam.document([one]))["Statement"]
    assert statement["Effect"] == "Deny"
    assert statement["Principal"] == {"AWS": "*"}
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_trust_names_audience_and_subject_exactly() -> None:
    subject = iam.service_account("keystone-system", "pool-keys")
    [statement] = json.loads(iam.web_identity_trust("arn:p", "oidc.example.org", subject))["Statement"]
    assert statement["Principal"] == {"Federated": "arn:p"}
    assert statement["Condition"] == {
        "StringEquals": {
            "oidc.example.org:aud": "sts.amazonaws.com",
            "oidc.example.org:sub": "system:serviceaccount:keystone-system:pool-keys",
        }
    }


@pytest.mark.parametrize("subject", ["system:serviceaccount:apps:*", "", "repo:team/cluster:?"])
def test_trust_in_a_wildcard_is_refused(subject: str) -> None:
    with pytest.raises(KeystoneError, match="does not name its subjects exactly"):
        iam.web_identity_trust("arn:p", "oidc.example.org", subject)


def test_a_role_has_the_clusters_path_and_a_name_that_iam_takes() -> None:
    arn = iam.role_arn("aws", "123456789012", "home", "pool-keys")
    assert arn == "arn:aws:iam::123456789012:role/keystone/home/home-pool-keys"
    with pytest.raises(KeystoneError, match="IAM takes 64"):
        iam.role_name("c" * 40, "r" * 30)
