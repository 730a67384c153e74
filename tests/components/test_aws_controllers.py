"""components/aws_controllers.py"""

from collections.abc import Callable

import pytest

from tests.aws.programs import the_account
from tests.aws.sites import site
from tests.recording import Engine

Deploy = Callable[..., Engine]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_aws_controller_is_told_where_the_cluster_is_and_asks_no_metadata(deploy: Deploy) -> None:
    config = deploy(the_account(site())).named("aws-nodes-config").inputs["data"]["cloud.conf"]
    assert config == (
        "[Global]\nZone=eu-central-1a\nVPC=aws-network-vpc-id\nSubnetID=aws-network-private-eu-central-1a-id\n"
        "KubernetesClusterID=site\n"
    )
