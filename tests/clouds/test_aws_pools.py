"""Instances at the twin's AWS are machines: they join mesh and cluster with what their role reads, and leave both."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from keystone import facts, iam, mesh_policy
from keystone.aws import keys, names, pools
from keystone.identities import Identities
from keystone.settings import parse
from tests import networks
from tests.clouds.aws import REGION, AwsCloud
from tests.clouds.aws_issuer import put_issuer
from tests.twin.sites import ROOT_SECRET, STACK, Trial, document
from twin import clouds
from twin.pools import Pools
from twin.services.aws_calls import AwsRefused, instance_credentials, parameter
from twin.services.kube import ApiError, Kube
from twin.services.pool_keys import UNIT
from twin.site import Site
from twin.supervisor import Supervisor

pytestmark = [pytest.mark.twin, pytest.mark.timeout(300)]
NETWORK = networks.fresh()
HOST = "issuer.example.org"
POOL = "spot"
WAIT_SECONDS = 60.0


def section(url: str) -> dict[str, Any]:
    pool = {
        "scaler": "none",
        "instanceTypes": ["t3.medium", "t3a.medium"],
        "min": 0,
        "max": 5,
        "desired": 2,
        "zones": [f"{REGION}a", f"{REGION}b"],
        "imageId": "ami-0123456789abcdef0",
        "labels": {"keystone.internal/kind": "burst"},
        "taints": [{"key": "keystone.internal/spot", "value": "true", "effect": "NoSchedule"}],
    }
    common = {"region": REGION, "accountId": "210987654321", "endpoints": {"default": url}}
    return {**common, "network": {"cidr": "10.60.0.0/20"}, "nodePools": {POOL: pool}}


class Stage:
    """A Primer with its services, the twin's AWS, and the pools' watcher, all in one event loop."""

    def __init__(self, folder: Path) -> None:
        self.cloud = AwsCloud(f"http://{NETWORK.at(2)}:5000")
        sections = {"aws": section(self.cloud.url), "platform": {"certManager": {}}}
        self.settings = parse({**document(NETWORK, 0, issuerHost=HOST), **sections})
        site = Site(stack=STACK, project=folder, settings=self.settings, network=IPv4Network(str(NETWORK)))
        site.make_folders()
        site.make_run_folder()
        self.site = Trial(site, Supervisor(site.logs, site.pids), Identities(ROOT_SECRET, STACK))
        for path, content in facts.render(self.settings, STACK).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        authority = folder / "nix/secrets" / STACK / "mesh-ca.crt"
        authority.parent.mkdir(parents=True)
        authority.write_bytes(self.site.identities.mesh_ca()[0].encode())
        self.pools = Pools(self.site.site, self.site.supervisor, self.kube)

    def kube(self) -> Kube:
        return self.site.services("primer")["k3s"].control_plane.client()  # pyright: ignore[reportAttributeAccessIssue]

    async def start(self) -> None:
        for spec in clouds.specs(self.site.site):
            await self.site.supervisor.start(spec)
        units = self.site.services("primer")
        for unit in ("headscale", "k3s", "tailscaled"):
            await units[unit].start()
        policy = json.dumps(mesh_policy.policy(self.settings))
        await self.site.must("primer", "headscale", "policy", "set", "-f", "/dev/stdin", stdin=policy.encode())
        async with self.kube() as kube:
            await kube.create("/api/v1/namespaces", {"metadata": {"name": names.SYSTEM_NAMESPACE}})
            accounts = f"/api/v1/namespaces/{names.SYSTEM_NAMESPACE}/serviceaccounts"
            await kube.create(accounts, {"metadata": {"name": names.POOL_KEYS}})
        await units[UNIT].start()
        self.pools.start()

    def publish(self) -> None:
        """What the program makes: the issuer, the timer's role, the pool's parameters and its machines' role."""
        put_issuer(self.cloud, HOST, self.site.identities)
        roles, cluster = self.cloud.client("iam"), self.settings.cluster.name
        provider = f"arn:aws:iam::210987654321:oidc-provider/{HOST}"
        subject = f"system:serviceaccount:{names.SYSTEM_NAMESPACE}:{names.POOL_KEYS}"
        trust = iam.web_identity_trust(provider, HOST, subject)
        called = iam.role_name(cluster, names.POOL_KEYS)
        roles.create_role(RoleName=called, Path=iam.path(cluster), AssumeRolePolicyDocument=trust)
        rights = iam.document(keys.minter_rights(self.settings, "arn:aws:kms:*:*:key/*"))
        roles.put_role_policy(RoleName=called, PolicyName="rights", PolicyDocument=rights)
        self._machine_role()

    def _machine_role(self) -> None:
        roles = self.cloud.client("iam")
        roles.create_role(RoleName="machine", AssumeRolePolicyDocument=iam.service_trust("ec2.amazonaws.com"))
        own = names.parameter_arn(self.settings, f"{names.pool_prefix(self.settings, POOL)}/*")
        read = iam.Statement(sid="Read", actions=["ssm:GetParameter"], resources=[own], reason="test")
        roles.put_role_policy(RoleName="machine", PolicyName="rights", PolicyDocument=iam.document([read]))
        roles.create_instance_profile(InstanceProfileName="machine")
        roles.add_role_to_instance_profile(InstanceProfileName="machine", RoleName="machine")

    def parameters(self) -> None:
        ssm, prefix = self.cloud.client("ssm"), names.pool_prefix(self.settings, POOL)
        ssm.put_parameter(Name=f"{prefix}/{names.MESH_KEY}", Value="not minted yet", Type="SecureString")
        token = self.site.identities.agent_token()
        ssm.put_parameter(Name=f"{prefix}/{names.AGENT_TOKEN}", Value=token, Type="SecureString")

    def group(self, desired: int) -> None:
        ec2, groups = self.cloud.client("ec2"), self.cloud.client("autoscaling")
        vpc = ec2.create_vpc(CidrBlock="10.60.0.0/20")["Vpc"]["VpcId"]
        subnets = [
            ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.60.{n}.0/24", AvailabilityZone=f"{REGION}{zone}")["Subnet"][
                "SubnetId"
            ]
            for n, zone in enumerate("ab")
        ]
        tags = [{"Key": key, "Value": item} for key, item in pools.tags(self.settings, POOL).items()]
        data = {
            "ImageId": "ami-0123456789abcdef0",
            "InstanceType": "t3.medium",
            "IamInstanceProfile": {"Name": "machine"},
            "UserData": base64.b64encode(pools.user_data(self.settings, POOL).encode()).decode(),
            "TagSpecifications": [{"ResourceType": "instance", "Tags": tags}],
        }
        template = ec2.create_launch_template(LaunchTemplateName="pool", LaunchTemplateData=data)["LaunchTemplate"]
        groups.create_auto_scaling_group(
            AutoScalingGroupName="pool",
            MinSize=0,
            MaxSize=5,
            DesiredCapacity=desired,
            VPCZoneIdentifier=",".join(subnets),
            LaunchTemplate={"LaunchTemplateId": template["LaunchTemplateId"], "Version": "1"},
        )

    def scale(self, desired: int) -> None:
        self.cloud.client("autoscaling").set_desired_capacity(AutoScalingGroupName="pool", DesiredCapacity=desired)

    async def nodes(self) -> dict[str, Any]:
        async with self.kube() as kube:
            found = (await kube.get("/api/v1/nodes"))["items"]
        return {node["metadata"]["name"]: node for node in found if node["metadata"]["name"] != "primer"}

    async def mesh(self) -> dict[str, Any]:
        listed = json.loads(await self.site.must("primer", "headscale", "nodes", "list", "-o", "json"))
        return {node["given_name"]: node for node in listed or []}

    def joined(self) -> list[str]:
        return [name for name, one in self.pools.status().items() if one["state"] == "joined"]

    async def stop(self) -> None:
        await self.pools.stop()
        await self.site.services("primer")[UNIT].stop()
        await self.site.stop()


async def until(true: Callable[[], Awaitable[bool]], what: Callable[[], Any], seconds: float = WAIT_SECONDS) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    while not await true():
        assert asyncio.get_running_loop().time() < deadline, what()
        await asyncio.sleep(0.3)


@pytest.fixture(scope="module")
def stage(runner: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    one = Stage(tmp_path_factory.mktemp("pools"))
    try:
        runner.run(one.start())
        yield one
    finally:
        runner.run(one.stop())


def ready(node: dict[str, Any]) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in node["status"]["conditions"])


def test_1_without_its_role_the_timer_mints_nothing_and_says_why(runner: asyncio.Runner, stage: Stage) -> None:
    unit = stage.site.services("primer")[UNIT]

    async def look() -> None:
        await until(lambda: said("No OpenIDConnect provider"), unit.problem)

    async def said(words: str) -> bool:
        return words in unit.problem()

    runner.run(look())
    assert unit.state() == "inactive"
    stage.publish()

    async def look_again() -> None:
        await until(lambda: said("ParameterNotFound"), unit.problem)

    runner.run(look_again())
    assert stage.cloud.client("ssm").describe_parameters()["Parameters"] == []


def test_2_the_timer_fills_the_parameter_with_a_key_of_the_pool(runner: asyncio.Runner, stage: Stage) -> None:
    stage.parameters()
    ssm, name = stage.cloud.client("ssm"), f"{names.pool_prefix(stage.settings, POOL)}/{names.MESH_KEY}"

    async def minted() -> bool:
        value = await asyncio.to_thread(lambda: ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"])
        return value != "not minted yet"

    runner.run(until(minted, stage.site.services("primer")[UNIT].problem))
    listed = json.loads(runner.run(stage.site.must("primer", "headscale", "preauthkeys", "list", "-o", "json")))
    [key] = [one for one in listed if "tag:pool" in one.get("acl_tags", [])]
    assert key["reusable"]
    assert key["ephemeral"]
    before = ssm.get_parameter(Name=name)["Parameter"]["Version"]
    runner.run(stage.site.services("primer")[UNIT].start())
    assert ssm.get_parameter(Name=name)["Parameter"]["Version"] == before + 1


def test_3_instances_join_mesh_and_cluster_as_their_tags_and_user_data_say(
    runner: asyncio.Runner, stage: Stage
) -> None:
    stage.group(2)

    async def two() -> bool:
        nodes = await stage.nodes()
        return len(nodes) == 2 and all(map(ready, nodes.values())) and len(stage.joined()) == 2

    runner.run(until(two, stage.pools.status))
    nodes, mesh = runner.run(stage.nodes()), runner.run(stage.mesh())
    zones = set()
    for name, node in nodes.items():
        zone = node["metadata"]["labels"]["topology.kubernetes.io/zone"]
        zones.add(zone)
        assert node["spec"]["providerID"] == f"aws:///{zone}/{name}"
        assert node["metadata"]["labels"]["keystone.internal/kind"] == "burst"
        assert node["metadata"]["labels"]["topology.kubernetes.io/region"] == REGION
        assert node["metadata"]["labels"]["keystone.internal/pool"] == POOL
        assert node["metadata"]["labels"]["keystone.internal/cloud"] == "aws"
        taint = {"key": "keystone.internal/spot", "value": "true", "effect": "NoSchedule"}
        assert taint in node["spec"]["taints"]
        assert mesh[name]["tags"] == ["tag:pool"]
        assert node["status"]["addresses"][0]["address"] in mesh[name]["ip_addresses"]
    assert zones == {f"{REGION}a", f"{REGION}b"}


def test_4_a_machines_role_reads_its_own_parameters_alone(runner: asyncio.Runner, stage: Stage) -> None:
    stage.cloud.client("ssm").put_parameter(Name="/keystone/other", Value="x", Type="SecureString")
    name = stage.joined()[0]

    async def read(what: str) -> str:
        credentials = await instance_credentials(stage.cloud.url, name)
        return await parameter(stage.cloud.url, REGION, credentials, what)

    token = f"{names.pool_prefix(stage.settings, POOL)}/{names.AGENT_TOKEN}"
    assert runner.run(read(token)) == stage.site.identities.agent_token()
    with pytest.raises(AwsRefused, match="AccessDeniedException"):
        runner.run(read("/keystone/other"))


def test_5_machines_reach_each_other_in_the_mesh(runner: asyncio.Runner, stage: Stage) -> None:
    one, other = stage.joined()
    code, out, err = runner.run(stage.pools.run(one, ["ping", "--until-direct=false", "--c=3", "--timeout=10s", other]))
    assert code == 0, out + err
    assert "pong" in out


def test_6_a_smaller_group_takes_machines_out_of_mesh_and_cluster(runner: asyncio.Runner, stage: Stage) -> None:
    before = set(stage.joined())
    stage.scale(1)

    async def one_left() -> bool:
        return len(await stage.nodes()) == 1 and len(stage.pools.machines) == 1 and not stage.pools.leaving

    runner.run(until(one_left, stage.pools.status))
    [left] = stage.joined()
    [gone] = before - {left}
    assert gone not in runner.run(stage.mesh())
    assert left in runner.run(stage.mesh())
    assert not (stage.site.site.root / "pools" / gone).exists()

    async def password() -> None:
        async with stage.kube() as kube:
            await kube.get(f"/api/v1/namespaces/kube-system/secrets/{gone}.node-password.k3s")

    with pytest.raises(ApiError, match="404"):
        runner.run(password())


def test_7_machines_come_back_after_the_twin_has_stopped(runner: asyncio.Runner, stage: Stage) -> None:
    [name] = stage.joined()
    runner.run(stage.pools.stop())
    assert not ready(runner.run(stage.nodes())[name])

    async def start() -> None:
        stage.pools.start()

    runner.run(start())

    async def again() -> bool:
        return stage.joined() == [name] and ready((await stage.nodes())[name])

    runner.run(until(again, stage.pools.status))
    assert list(runner.run(stage.nodes())) == [name]


def test_8_an_instance_of_somebody_else_is_no_machine_of_ours(runner: asyncio.Runner, stage: Stage) -> None:
    ec2 = stage.cloud.client("ec2")
    started = ec2.run_instances(ImageId="ami-0123456789abcdef0", MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    runner.run(asyncio.sleep(3))
    assert started not in stage.pools.machines
