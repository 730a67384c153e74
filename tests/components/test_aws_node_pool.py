"""components/aws_node_pool.py"""

import base64
import json
from collections.abc import Callable

import pytest
from pulumi_aws import autoscaling, ec2, iam

from keystone.identities import Identities
from keystone.pools import parse
from tests.aws.programs import only, statements, the_account
from tests.aws.sites import KARPENTER, POOL, site
from tests.recording import ROOT_SECRET, Engine

Deploy = Callable[..., Engine]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_machines_are_told_where_their_keys_lie_and_carry_none(deploy: Deploy) -> None:
    engine = deploy(the_account(site()))
    template = only(engine, ec2.LaunchTemplate, "pool-spot-template").inputs
    text = base64.b64decode(template["userData"]).decode()
    assert parse(text)["keystone-parameters"] == "/keystone/site/pools/spot"
    token = Identities(ROOT_SECRET, "site").agent_token()
    inputs = json.dumps([one.inputs for one in engine.resources if one.kind != "aws:ssm/parameter:Parameter"])
    assert token not in inputs
    assert token.rpartition(":")[2] not in inputs
    assert ROOT_SECRET not in inputs


def test_machines_have_encrypted_disks_strict_metadata_and_no_key_pair(deploy: Deploy) -> None:
    template = only(deploy(the_account(site())), ec2.LaunchTemplate, "pool-spot-template").inputs
    [disk] = template["blockDeviceMappings"]
    assert (disk["deviceName"], disk["ebs"]["encrypted"], disk["ebs"]["volumeType"]) == ("/dev/xvda", "true", "gp3")
    assert disk["ebs"]["kmsKeyId"].startswith("arn:aws:kms:")
    assert template["metadataOptions"] == {
        "httpEndpoint": "enabled",
        "httpTokens": "required",
        "httpPutResponseHopLimit": 1,
        "instanceMetadataTags": "enabled",
    }
    assert "keyName" not in template


def test_a_machine_reads_its_own_pools_parameters_and_no_others(deploy: Deploy) -> None:
    engine = deploy(the_account(site(nodePools={"one": POOL, "two": POOL})))
    found = statements(only(engine, iam.RolePolicy, "pool-one-rights").inputs["policy"])
    own = ["arn:aws:ssm:eu-central-1:123456789012:parameter/keystone/site/pools/one/*"]
    assert found["ReadParameters"]["Resource"] == own
    assert found["DecryptParameters"]["Condition"]["StringLike"]["kms:EncryptionContext:PARAMETER_ARN"] == own


def test_a_group_mixes_spot_and_on_demand_over_its_zones(deploy: Deploy) -> None:
    capacity = {"onDemandBase": 1, "spotPercent": 80}
    [group] = deploy(the_account(site(nodePools={"spot": {**POOL, "capacity": capacity}}))).of(autoscaling.Group)
    mixed = group.inputs["mixedInstancesPolicy"]
    assert mixed["instancesDistribution"] == {
        "onDemandBaseCapacity": 1,
        "onDemandPercentageAboveBaseCapacity": 20,
        "spotAllocationStrategy": "price-capacity-optimized",
    }
    assert [one["instanceType"] for one in mixed["launchTemplate"]["overrides"]] == ["t3.medium", "t3a.medium"]
    assert (group.inputs["minSize"], group.inputs["maxSize"]) == (1, 3)
    assert len(group.inputs["vpcZoneIdentifiers"]) == 2


def test_machines_leave_a_zone_that_is_given_up(deploy: Deploy) -> None:
    [group] = deploy(the_account(site())).of(autoscaling.Group)
    # The provider takes its own words here, not the SDK's.
    assert group.inputs["instanceRefresh"]["triggers"] == ["vpc_zone_identifier"]
    assert "AZRebalance" in group.inputs["suspendedProcesses"]


def test_tags_with_slashes_stay_on_the_group(deploy: Deploy) -> None:
    engine = deploy(the_account(site()))
    [group] = engine.of(autoscaling.Group)
    keys = {one["key"]: one["propagateAtLaunch"] for one in group.inputs["tags"]}
    assert keys["k8s.io/cluster-autoscaler/site"] is False
    template = only(engine, ec2.LaunchTemplate, "pool-spot-template").inputs
    for one in template["tagSpecifications"]:
        assert not [key for key in one["tags"] if "/" in key]


def test_a_leaving_machine_waits_for_its_drain_and_the_drainer_outlives_the_group(deploy: Deploy) -> None:
    engine = deploy(the_account(site()))
    [group] = engine.of(autoscaling.Group)
    [hook] = group.inputs["initialLifecycleHooks"]
    assert hook["lifecycleTransition"] == "autoscaling:EC2_INSTANCE_TERMINATING"
    assert {"chart-node-termination-handler-release", "chart-aws-node-lifecycle-release"} <= group.dependencies
    assert {"pool-spot-mesh-key", "pool-spot-agent-token"} <= group.dependencies


def test_a_pool_without_an_autoscaler_has_none(deploy: Deploy) -> None:
    engine = deploy(the_account(site(nodePools={"fixed": {**POOL, "scaler": "none", "desired": 2}})))
    assert not any("cluster-autoscaler" in one.name for one in engine.resources)
    [group] = engine.of(autoscaling.Group)
    assert group.inputs["desiredCapacity"] == 2
    assert not any("cluster-autoscaler" in one["key"] for one in group.inputs["tags"])


def test_karpenters_pool_has_a_class_and_a_node_pool_and_no_group(deploy: Deploy) -> None:
    engine = deploy(the_account(site(nodePools={"batch": KARPENTER})))
    assert engine.of(autoscaling.Group) == engine.of(ec2.LaunchTemplate) == []
    spec = engine.named("pool-batch-class").inputs["spec"]
    assert spec["instanceProfile"] == "site-pool-batch"
    assert "keystone-parameters=/keystone/site/pools/batch" in spec["userData"]
    assert spec["metadataOptions"]["httpTokens"] == "required"
    nodes = engine.named("pool-batch-nodes").inputs["spec"]
    assert nodes["limits"] == {"nodes": "3"}
    assert nodes["template"]["spec"]["startupTaints"][0]["key"] == "node.cilium.io/agent-not-ready"
    assert "chart-karpenter-release" in engine.named("pool-batch-class").dependencies
    settings = engine.named("chart-karpenter-release").inputs["spec"]["values"]["settings"]
    assert settings["interruptionQueue"] == "keystone-site-karpenter"


def test_karpenters_class_has_the_time_to_go_that_its_machines_need(deploy: Deploy) -> None:
    """It goes after the last machine: drained, and then ended by EC2, which takes minutes too."""
    engine = deploy(the_account(site(nodePools={"batch": KARPENTER})))
    drain = engine.named("pool-batch-nodes").inputs["spec"]["template"]["spec"]["terminationGracePeriod"]
    removal = engine.named("pool-batch-class").timeouts["delete"]
    assert (drain, removal) == ("300s", "20m")


def test_more_machines_change_the_groups_numbers_and_nothing_else(deploy: Deploy) -> None:
    few, many = (deploy(the_account(site(nodePools={"spot": {**POOL, "max": top}}))) for top in (3, 9))
    before, after = ({(one.kind, one.name): one.inputs for one in run.resources} for run in (few, many))
    assert [name for (kind, name), inputs in before.items() if after[kind, name] != inputs] == ["pool-spot-group"]
    assert before.keys() == after.keys()
