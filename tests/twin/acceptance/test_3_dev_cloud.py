"""The stack `dev-cloud` from nothing to nothing: dev with a tunnel into it and a pool of machines at AWS."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from keystone.charts.tunnel import origin
from keystone.settings import read
from tests import networks
from tests.twin.acceptance.clouds import CloudCheckout
from tests.twin.acceptance.watching import Argv, changed
from twin.clouds.cloudflare import TOKEN

pytestmark = [pytest.mark.twin, pytest.mark.timeout(1800)]
UP_SECONDS = 600
"""A limit for a busy machine; `make bench` measures."""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, short_folder: Path, argv: Argv) -> Iterator[CloudCheckout]:  # noqa: ARG001
    temporary = short_folder / "c"
    temporary.mkdir()
    made = CloudCheckout(tmp_path_factory.mktemp("cloud") / "keystone", networks.fresh(), temporary)
    yield made
    made.twin("down", limit=180)
    left = made.processes()
    for process in left:
        process.kill()
    assert not left, f"processes are left: {left}"


def test_up_makes_machines_platform_and_tunnel(cloud: CloudCheckout):
    done = cloud.up(limit=UP_SECONDS)
    assert not {word for word in done.rows.values() if word not in ("created", "read")}, done.text
    assert cloud.size == 6
    joined(cloud)


def joined(cloud: CloudCheckout) -> None:
    """Wait until machines and settings are one in mesh and cluster: pools start theirs by themselves."""
    cloud.until("every machine in the mesh", lambda: len(cloud.mesh_nodes()) == cloud.size)
    cloud.until("every machine in the cluster", lambda: len(cloud.nodes()) == cloud.size)


def instances(cloud: CloudCheckout) -> set[str]:
    """The machines of the pools."""
    return cloud.nodes() - set(cloud.hosts())


def test_every_node_is_ready_and_every_pair_pings(cloud: CloudCheckout):
    found, hosts, machines = cloud.verified(), len(cloud.hosts()), sorted(instances(cloud))
    assert (found["node ready"], found["pool node ready"]) == (hosts, len(machines))
    assert (found["mesh ping"], found["mesh ping to pools"]) == (hosts * (hosts - 1), hosts * len(machines))
    pings = {
        (one, other): cloud.console(one, "ping", "--c", "3", "--timeout", "5s", "--until-direct=false", other)
        for one in machines
        for other in sorted(cloud.nodes() - {one})
    }
    assert [pair for pair, said in pings.items() if "pong" not in said] == []
    assert found["mesh ping"] + found["mesh ping to pools"] + len(pings) == 30


def test_a_token_of_the_cluster_gets_a_roles_credentials_and_no_other_does(cloud: CloudCheckout):
    account = cloud.kubectl("get", "serviceaccount", "pool-keys", "--namespace", "keystone-system")
    role = account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"]

    def token(audience: str, name: str = "pool-keys") -> str:
        words = ("create", "token", name, "--namespace", "keystone-system", "--audience", audience)
        return cloud.on("primer", "kubectl", *words).strip()

    sts = cloud.aws("sts")
    given = {"RoleArn": role, "RoleSessionName": "trial"}
    found = sts.assume_role_with_web_identity(**given, WebIdentityToken=token("sts.amazonaws.com"))["Credentials"]
    session = cloud.aws(
        "sts",
        aws_access_key_id=found["AccessKeyId"],
        aws_secret_access_key=found["SecretAccessKey"],
        aws_session_token=found["SessionToken"],
    )
    assert session.get_caller_identity()["Arn"].endswith("/trial")
    for refused in (token("elsewhere"), token("sts.amazonaws.com", "default")):
        with pytest.raises(ClientError, match=r"AccessDenied|InvalidIdentityToken"):
            sts.assume_role_with_web_identity(**given, WebIdentityToken=refused)


def test_each_public_name_leads_through_the_tunnel_behind_a_login(cloud: CloudCheckout):
    tunnel = cloud.config["keystone:tunnel"]
    assert len(tunnel["hostnames"]) == 2
    names = {f"{key}.{tunnel['zone']}" for key in tunnel["hostnames"]}
    objects = cloud.at_cloudflare()
    assert {f"records {name}" for name in names} <= set(objects)
    assert {one for one in objects if one.startswith("apps ")} == {
        f"apps dev-cloud-{key}" for key in tunnel["hostnames"]
    }
    deployment = cloud.kubectl("get", "deployment", "cloudflared-1", "--namespace", "cloudflared")
    assert deployment["status"]["availableReplicas"] == 2


def test_the_ways_in_are_opened_in_the_namespaces_behind_the_names(cloud: CloudCheckout):
    tunnel = read(cloud.stack, cloud.folder).tunnel
    assert tunnel
    spaces = {origin(one).namespace for one in tunnel.hostnames.values()}
    policies = cloud.kubectl("get", "networkpolicies", "--all-namespaces")["items"]
    found = {(one["metadata"]["namespace"], one["metadata"]["name"]) for one in policies}
    assert {(space, "from-cloudflared") for space in spaces} | {("cloudflared", "origins")} <= found


def test_the_stack_keeps_within_its_budgets(cloud: CloudCheckout):
    export = cloud.export()
    assert len(export["deployment"]["resources"]) <= 250
    assert len(json.dumps(export)) <= 1_000_000


def test_a_second_up_and_a_preview_change_nothing_here_and_in_the_clouds(cloud: CloudCheckout):
    before, written = cloud.resources(), cloud.writes_at_cloudflare()
    done = cloud.up()
    assert "no changes" in done.stdout
    assert changed(before, cloud.resources()) == {}
    preview = cloud.keystone("preview", "--expect-no-changes")
    assert preview.ok, preview.text
    assert cloud.writes_at_cloudflare() == written


@pytest.mark.parametrize(("least", "most", "count"), [(3, 5, 3), (1, 1, 1)])
def test_a_pool_grows_and_shrinks_in_place(cloud: CloudCheckout, least: int, most: int, count: int):
    before = cloud.resources()
    with cloud.editing() as config:
        config["keystone:aws"]["nodePools"]["spot"] |= {"min": least, "max": most, "desired": count}
    done = cloud.up()
    assert set(changed(before, cloud.resources()).values()) == {"touched"}, done.text
    joined(cloud)
    cloud.verified()
    assert len(instances(cloud)) == count
    assert cloud.keystone("preview", "--expect-no-changes").ok


def test_no_secret_of_the_clouds_is_in_state_logs_command_lines_or_output(cloud: CloudCheckout, argv: Argv):
    checked = cloud.keystone("check", "secrets", limit=120)
    assert checked.ok, checked.text
    shown = json.loads(cloud.must("pulumi", "stack", "output", "--json", "--show-secrets", limit=60).stdout)
    secrets = [TOKEN, *(token["clientSecret"] for token in shown["serviceTokens"].values())]
    assert len(secrets) > 1
    texts = {"state": json.dumps(cloud.export()), "argv": "\n".join(argv.seen), "said": "\n".join(cloud.said)}
    texts |= cloud.texts(cloud.logs) | cloud.texts(cloud.folder / ".twin" / cloud.stack / "clouds")
    assert [place for place, text in texts.items() for secret in secrets if secret in text] == []


def test_a_destroy_leaves_nothing_in_the_clouds_and_on_this_computer(cloud: CloudCheckout):
    # What the program has never seen: a controller made it for the cluster.
    ec2, tag = cloud.aws("ec2"), {"Key": "kubernetes.io/cluster/dev-cloud", "Value": "owned"}
    [network] = cloud.at_aws()["networks"]
    [subnet, *_] = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [network]}])["Subnets"]
    tagged = [{"ResourceType": "instance", "Tags": [tag]}]
    where = {"SubnetId": subnet["SubnetId"], "ImageId": "ami-0123456789abcdef0"}
    ec2.run_instances(**where, MinCount=1, MaxCount=1, TagSpecifications=tagged)
    ec2.create_network_interface(
        SubnetId=subnet["SubnetId"], TagSpecifications=[{"ResourceType": "network-interface", "Tags": [tag]}]
    )
    balanced = [{"Key": "elbv2.k8s.aws/cluster", "Value": "dev-cloud"}]
    group = ec2.create_security_group(
        GroupName="k8s-traffic-dev-cloud",
        Description="of a load balancer",
        VpcId=network,
        TagSpecifications=[{"ResourceType": "security-group", "Tags": balanced}],
    )["GroupId"]
    subnets = [subnet["SubnetId"]]
    cloud.aws("elbv2").create_load_balancer(Name="k8s-app", Subnets=subnets, SecurityGroups=[group], Tags=balanced)
    engine = cloud.keystone("destroy", limit=600)
    assert engine.ok, engine.text
    assert engine.stdout.count("Removed at AWS, which the cluster had made by itself: ") == 4
    assert cloud.at_cloudflare() == []
    assert cloud.at_aws() == {}
    twin = cloud.twin("down", limit=180)
    assert twin.ok, twin.text
    assert "twin: nothing is left over" in twin.stderr
    assert cloud.processes() == []
    assert not (cloud.folder / ".twin").exists()
    assert list(cloud.temporary.iterdir()) == []
