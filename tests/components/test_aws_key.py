"""components/aws_key.py"""

from collections.abc import Callable

import pytest
from pulumi_aws import kms

from tests.aws.programs import statements, the_identity
from tests.aws.sites import site
from tests.recording import Engine

Deploy = Callable[..., Engine]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_the_key_is_rotated_protected_and_used_by_nobody_outside_the_account(deploy: Deploy) -> None:
    [key] = deploy(the_identity(site())).of(kms.Key)
    assert key.inputs["enableKeyRotation"] is True
    assert key.protect
    for one in statements(key.inputs["policy"]).values():
        if one["Principal"] == {"AWS": "*"}:
            assert one["Condition"]["StringEquals"]["kms:CallerAccount"] == "123456789012"
