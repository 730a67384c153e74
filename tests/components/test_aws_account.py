"""components/aws_account.py, aws_network.py, aws_node_pool.py, aws_controllers.py, aws_node_events.py"""

import base64
import json
from collections.abc import Callable
from typing import Any

import pulumi
import pytest
from judging.resource import read
from judging.rule import ABSENT
from pulumi_aws import autoscaling, cloudwatch, ec2, iam, sqs, ssm, vpc
from pulumi_kubernetes.core.v1 import ConfigMap

import providers
from components.aws_account import AwsAccount, AwsAccountArgs
from keystone import charts
from keystone.aws import deployer, pools
from keystone.identities import Identities
from keystone.settings import Settings
from tests.aws.judged import cases
from tests.aws.sites import KARPENTER, POOL, site
from tests.components.accounts import account
from tests.policy import court
from tests.recording import ROOT_SECRET, Engine, is_secret, plain

__all__ = ["account"]

Deploy = Callable[..., Engine]
CI = {"repository": "team/cluster", "environments": {"site": "up", "site-preview": "preview"}}
BOTH = {"spot": POOL, "batch": KARPENTER}
pytestmark = [pytest.mark.usefixtures("account"), pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def build(settings: Settings) -> Callable[[], object]:
    def program() -> object:
        kubernetes = providers.kubernetes("kubeconfig", "site")
        assert settings.aws
        given = [kubernetes, providers.aws(settings.aws, "site")]
        if settings.tunnel:
            given.append(providers.cloudflare("token", settings.tunnel))
        inside = pulumi.ResourceOptions(provider=kubernetes)
        releases = charts.releases(settings)
        made = AwsAccount(
            "aws",
            AwsAccountArgs(
                settings=settings,
                root=pulumi.Output.secret(ROOT_SECRET),
                namespace="keystone-system",
                namespaces={release.namespace: release.namespace for release in releases.values()},
                releases={"cert-manager": ConfigMap("cert-manager", data={}, opts=inside)},
            ),
            opts=pulumi.ResourceOptions(providers=given),
        )
        pulumi.export("pipelineRoles", made.pipelines)
        return made

    return program


def named(engine: Engine, kind: type[pulumi.Resource], name: str) -> Any:
    [found] = [one for one in engine.of(kind) if one.name == name]
    return found


def statements(document: str) -> dict[str, Any]:
    return {one["Sid"]: one for one in json.loads(document)["Statement"]}


def test_a_pools_machines_let_nothing_in_and_send_what_the_mesh_needs(deploy: Deploy) -> None:
    engine = deploy(build(site()))
    [group] = engine.of(ec2.SecurityGroup)
    assert "ingress" not in group.inputs
    assert engine.of(vpc.SecurityGroupIngressRule) == []
    rules = {
        (one.inputs["ipProtocol"], one.inputs["fromPort"], one.inputs["toPort"])
        for one in engine.of(vpc.SecurityGroupEgressRule)
    }
    assert rules == {("tcp", 443, 443), ("tcp", 8443, 8443), ("udp", 1024, 65535)}


def test_subnets_follow_from_their_zone_and_reach_the_world_by_nat(deploy: Deploy) -> None:
    engine = deploy(build(site()))
    subnets = {one.name: (one.inputs["cidrBlock"], one.inputs["availabilityZone"]) for one in engine.of(ec2.Subnet)}
    assert subnets == {
        "aws-network-private-eu-central-1a": ("10.60.0.0/20", "eu-central-1a"),
        "aws-network-private-eu-central-1b": ("10.60.16.0/20", "eu-central-1b"),
        "aws-network-public-eu-central-1a": ("10.60.128.0/20", "eu-central-1a"),
    }
    assert len(engine.of(ec2.NatGateway)) == 1
    [network] = plain(named(engine, ec2.LaunchTemplate, "pool-spot-template").inputs["networkInterfaces"])
    assert network["associatePublicIpAddress"] == "false"


def test_a_gateway_per_zone_and_none_at_all_are_choices(deploy: Deploy) -> None:
    each = deploy(build(site(network={"cidr": "10.60.0.0/16", "nat": "perZone"})))
    assert len(each.of(ec2.NatGateway)) == 2
    none = deploy(build(site(network={"cidr": "10.60.0.0/16", "nat": "none"})))
    assert none.of(ec2.NatGateway) == []
    [network] = named(none, ec2.LaunchTemplate, "pool-spot-template").inputs["networkInterfaces"]
    assert network["associatePublicIpAddress"] == "true"


def test_given_subnets_are_taken_and_no_network_is_made(deploy: Deploy) -> None:
    given = {"vpcId": "vpc-0123456789abcdef0", "subnetIds": {f"eu-central-1{z}": f"subnet-0123456{z}" for z in "ab"}}
    engine = deploy(build(site(network=given)))
    assert [one.kind for one in engine.resources if one.kind.startswith("aws:ec2/vpc:")] == []
    [group] = engine.of(autoscaling.Group)
    assert group.inputs["vpcZoneIdentifiers"] == ["subnet-0123456a", "subnet-0123456b"]


def test_machines_are_told_where_their_keys_lie_and_carry_none(deploy: Deploy) -> None:
    engine = deploy(build(site()))
    template = named(engine, ec2.LaunchTemplate, "pool-spot-template").inputs
    text = base64.b64decode(template["userData"]).decode()
    assert pools.parse(text)["keystone-parameters"] == "/keystone/site/pools/spot"
    token = Identities(ROOT_SECRET, "site").agent_token()
    inputs = json.dumps([one.inputs for one in engine.resources if one.kind != "aws:ssm/parameter:Parameter"])
    assert token not in inputs
    assert token.rpartition(":")[2] not in inputs
    assert ROOT_SECRET not in inputs


def test_machines_have_encrypted_disks_strict_metadata_and_no_key_pair(deploy: Deploy) -> None:
    template = named(deploy(build(site())), ec2.LaunchTemplate, "pool-spot-template").inputs
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
    engine = deploy(build(site(nodePools={"one": POOL, "two": POOL})))
    found = statements(named(engine, iam.RolePolicy, "pool-one-rights").inputs["policy"])
    own = ["arn:aws:ssm:eu-central-1:123456789012:parameter/keystone/site/pools/one/*"]
    assert found["ReadParameters"]["Resource"] == own
    assert found["DecryptParameters"]["Condition"]["StringLike"]["kms:EncryptionContext:PARAMETER_ARN"] == own


def test_the_agent_token_is_written_and_never_stored(deploy: Deploy) -> None:
    engine = deploy(build(site()))
    token = named(engine, ssm.Parameter, "pool-spot-agent-token").inputs
    assert is_secret(token["valueWo"])
    assert plain(token["valueWo"]) == Identities(ROOT_SECRET, "site").agent_token()
    assert (token["name"], token["type"]) == ("/keystone/site/pools/spot/agent-token", "SecureString")
    assert "value" not in token


def test_a_group_mixes_spot_and_on_demand_over_its_zones(deploy: Deploy) -> None:
    capacity = {"onDemandBase": 1, "spotPercent": 80}
    [group] = deploy(build(site(nodePools={"spot": {**POOL, "capacity": capacity}}))).of(autoscaling.Group)
    mixed = group.inputs["mixedInstancesPolicy"]
    assert mixed["instancesDistribution"] == {
        "onDemandBaseCapacity": 1,
        "onDemandPercentageAboveBaseCapacity": 20,
        "spotAllocationStrategy": "price-capacity-optimized",
    }
    assert [one["instanceType"] for one in mixed["launchTemplate"]["overrides"]] == ["t3.medium", "t3a.medium"]
    assert (group.inputs["minSize"], group.inputs["maxSize"]) == (1, 3)
    assert len(group.inputs["vpcZoneIdentifiers"]) == 2


def test_tags_with_slashes_stay_on_the_group(deploy: Deploy) -> None:
    engine = deploy(build(site()))
    [group] = engine.of(autoscaling.Group)
    keys = {one["key"]: one["propagateAtLaunch"] for one in group.inputs["tags"]}
    assert keys["k8s.io/cluster-autoscaler/site"] is False
    template = named(engine, ec2.LaunchTemplate, "pool-spot-template").inputs
    for one in template["tagSpecifications"]:
        assert not [key for key in one["tags"] if "/" in key]


def test_a_leaving_machine_waits_for_its_drain_and_the_drainer_outlives_the_group(deploy: Deploy) -> None:
    engine = deploy(build(site()))
    [group] = engine.of(autoscaling.Group)
    [hook] = group.inputs["initialLifecycleHooks"]
    assert hook["lifecycleTransition"] == "autoscaling:EC2_INSTANCE_TERMINATING"
    assert {"chart-node-termination-handler-release", "chart-aws-node-lifecycle-release"} <= group.dependencies
    assert {"pool-spot-mesh-key", "pool-spot-agent-token"} <= group.dependencies


def test_the_news_of_leaving_machines_reach_the_one_who_drains(deploy: Deploy) -> None:
    engine = deploy(build(site()))
    [queue] = engine.of(sqs.Queue)
    assert queue.inputs["kmsMasterKeyId"].startswith("arn:aws:kms:")
    assert len(engine.of(cloudwatch.EventRule)) == len(engine.of(cloudwatch.EventTarget)) == 5
    release = engine.named("chart-node-termination-handler-release").inputs["spec"]["values"]
    assert release["queueURL"] == "https://sqs.eu-central-1.amazonaws.com/123456789012/keystone-site-drain"
    role = "arn:aws:iam::123456789012:role/keystone/site/site-node-termination-handler"
    assert release["serviceAccount"]["annotations"] == {"eks.amazonaws.com/role-arn": role}
    assert (
        release["managedTag"]
        in named(engine, ec2.LaunchTemplate, "pool-spot-template").inputs["tagSpecifications"][0]["tags"]
    )


def test_a_pool_without_an_autoscaler_has_none(deploy: Deploy) -> None:
    engine = deploy(build(site(nodePools={"fixed": {**POOL, "scaler": "none", "desired": 2}})))
    assert not any("cluster-autoscaler" in one.name for one in engine.resources)
    [group] = engine.of(autoscaling.Group)
    assert group.inputs["desiredCapacity"] == 2
    assert not any("cluster-autoscaler" in one["key"] for one in group.inputs["tags"])


def test_karpenters_pool_has_a_class_and_a_node_pool_and_no_group(deploy: Deploy) -> None:
    engine = deploy(build(site(nodePools={"batch": KARPENTER})))
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


def test_aws_controller_is_told_where_the_cluster_is_and_asks_no_metadata(deploy: Deploy) -> None:
    config = deploy(build(site())).named("aws-nodes-config").inputs["data"]["cloud.conf"]
    assert config == (
        "[Global]\nZone=eu-central-1a\nVPC=aws-network-id\nSubnetID=aws-network-private-eu-central-1a-id\n"
        "KubernetesClusterID=site\n"
    )


def test_no_cluster_without_pools_gets_controllers(deploy: Deploy) -> None:
    engine = deploy(build(site(nodePools={})))
    assert not any(one.kind.startswith(("aws:ec2", "aws:autoscaling", "aws:sqs")) for one in engine.resources)


def test_more_machines_change_the_groups_numbers_and_nothing_else(deploy: Deploy) -> None:
    few, many = (deploy(build(site(nodePools={"spot": {**POOL, "max": top}}))) for top in (3, 9))
    before, after = ({(one.kind, one.name): one.inputs for one in run.resources} for run in (few, many))
    assert [name for (kind, name), inputs in before.items() if after[kind, name] != inputs] == ["pool-spot-group"]
    assert before.keys() == after.keys()


def test_one_pool_more_leaves_the_others_alone(deploy: Deploy) -> None:
    one, two = deploy(build(site())), deploy(build(site(nodePools={"spot": POOL, "extra": POOL})))
    before, after = ({(it.kind, it.name): it.inputs for it in run.resources} for run in (one, two))
    assert before.keys() < after.keys()
    assert {name for (kind, name), inputs in before.items() if after[kind, name] != inputs} == {
        # The Primer's timer fills one parameter more.
        "aws-identity-pool-keys-rights",
    }
    assert {name for _, name in after.keys() - before.keys() if not name.startswith("pool-extra")} == set()


def test_a_preview_of_nothing_made_yet_shows_every_resource(deploy: Deploy) -> None:
    settings = site(nodePools=BOTH, ci=CI, tunnel=True)
    made, previewed = deploy(build(settings)), deploy(build(settings), preview=True)
    assert {r.name for r in previewed.resources} == {r.name for r in made.resources}


def test_who_runs_the_program_may_make_every_kind_of_it(deploy: Deploy) -> None:
    settings = site(nodePools=BOTH, ci=CI, hostedZoneId="Z123")
    kinds = {one.kind for one in deploy(build(settings)).resources if one.kind.startswith("aws:")}
    serves = {kind: sid for sid, known in deployer.SERVES.items() for kind in known}
    assert kinds - serves.keys() == set()
    assert set(deployer.SERVES) <= {one.sid for one in deployer.statements(settings)}


def judged(deploy: Deploy, **aws: Any) -> list[court.Case]:
    """The account's resources, and the stack with what it exports."""
    found = cases(deploy(build(site(**aws))))
    roles = {one.name: one.props["arn"] for one in found if one.kind == "aws:iam/role:Role"}
    exports = {kind: roles[f"aws-identity-{kind}"] for kind in ("preview", "up")}
    return [*found, court.Case(kind="pulumi:pulumi:Stack", name="site", props={"pipelineRoles": exports})]


def test_the_policy_pack_finds_no_fault_with_it(deploy: Deploy) -> None:
    verdict = court.judge(judged(deploy, nodePools=BOTH, ci=CI, tunnel=True), whole=True)
    assert verdict.violations == []
    assert verdict.notes == []


# Mutations that a rule rightly does not notice: (rule, guarded path) and why.
EXPLAINED = {
    ("image-of-known-owner", "spec.amiSelectorTerms.0.owner"): "the image is named by its id, whoever owns it",
}


def test_every_flip_of_what_the_pack_guards_is_noticed(deploy: Deploy) -> None:
    found = judged(deploy, nodePools=BOTH, ci=CI, tunnel=True)
    tried, missed = 0, []
    for case in (one for one in found if one.kind.startswith(("aws:", "kubernetes:karpenter"))):
        for rule in (one for one in court.rules() if case.kind in one.kinds):
            for path, value in ((path, value) for path, values in rule.guards.items() for value in values):
                other = path.startswith("spec.") != case.kind.startswith("kubernetes:")
                before = plain(read(case.props, path))
                if other or before == value or (value == ABSENT and before is None) or (rule.name, path) in EXPLAINED:
                    continue
                tried += 1
                parent = [one for one in found if one.urn == case.parent]
                if rule.name not in court.judge([*parent, case.changed({path: value})]).broken:
                    missed.append(f"{rule.name}: {case.kind} {case.name} {path} = {value!r}")
    assert tried > 60
    assert missed == [], "\n".join(missed)
