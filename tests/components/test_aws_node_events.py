"""components/aws_node_events.py"""

from collections.abc import Callable

import pytest
from pulumi_aws import cloudwatch, ec2, sqs

from tests.aws.programs import only, the_account
from tests.aws.sites import site
from tests.recording import Engine

Deploy = Callable[..., Engine]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_the_news_of_leaving_machines_reach_the_one_who_drains(deploy: Deploy) -> None:
    engine = deploy(the_account(site()))
    [queue] = engine.of(sqs.Queue)
    assert queue.inputs["kmsMasterKeyId"].startswith("arn:aws:kms:")
    assert len(engine.of(cloudwatch.EventRule)) == len(engine.of(cloudwatch.EventTarget)) == 5
    release = engine.named("chart-node-termination-handler-release").inputs["spec"]["values"]
    assert release["queueURL"] == "https://sqs.eu-central-1.amazonaws.com/123456789012/keystone-site-drain"
    role = "arn:aws:iam::123456789012:role/keystone/site/site-node-termination-handler"
    assert release["serviceAccount"]["annotations"] == {"eks.amazonaws.com/role-arn": role}
    assert (
        release["managedTag"]
        in only(engine, ec2.LaunchTemplate, "pool-spot-template").inputs["tagSpecifications"][0]["tags"]
    )
