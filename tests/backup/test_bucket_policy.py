"""The policy of the bucket with the copies: what writers may say of an object's encryption."""

import pytest

from tests.backup.conftest import KEY, lets_in

SCHEME, OF_KEY = "HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION", "HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION_AWS_KMS_KEY_ID"


def test_a_copy_that_says_nothing_gets_the_buckets_own_key() -> None:
    assert lets_in({})


def test_a_copy_may_name_the_buckets_key() -> None:
    assert lets_in({SCHEME: "aws:kms", OF_KEY: KEY})


@pytest.mark.parametrize(
    "said",
    [
        {SCHEME: "aws:kms", OF_KEY: "arn:aws:kms:eu-central-1:999999999999:key/theirs"},
        {SCHEME: "aws:kms"},
        {SCHEME: "AES256"},
    ],
    ids=["a key of others", "AWS' own key", "no key"],
)
def test_a_copy_under_another_key_is_refused(said: dict[str, str]) -> None:
    assert not lets_in(said)
