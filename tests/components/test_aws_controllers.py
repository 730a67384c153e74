"""components/aws_controllers.py"""

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from pulumi_aws import iam

from tests.aws.judged import cases
from tests.aws.programs import the_account
from tests.aws.sites import KARPENTER, POOL, site
from tests.policy import court
from tests.recording import Engine

Deploy = Callable[..., Engine]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_aws_controller_is_told_where_the_cluster_is_and_asks_no_metadata(deploy: Deploy) -> None:
    config = deploy(the_account(site())).named("aws-nodes-config").inputs["data"]["cloud.conf"]
    assert config == (
        "[Global]\nZone=eu-central-1a\nVPC=aws-network-vpc-id\nSubnetID=aws-network-private-eu-central-1a-id\n"
        "KubernetesClusterID=site\n"
    )


def values(engine: Engine, release: str) -> dict[str, Any]:
    return engine.named(f"chart-{release}-release").inputs["spec"]["values"]


def test_aws_controller_takes_its_role_by_a_token_of_its_own_since_its_chart_annotates_no_account(
    deploy: Deploy,
) -> None:
    engine = deploy(the_account(site()))
    given = values(engine, "aws-node-lifecycle")
    environment = {one["name"]: one["value"] for one in given["env"]}
    assert environment["AWS_ROLE_ARN"].endswith("role/keystone/site/site-aws-node-lifecycle")
    [mount] = [one for one in given["extraVolumeMounts"] if one["name"] == "identity"]
    assert environment["AWS_WEB_IDENTITY_TOKEN_FILE"] == f"{mount['mountPath']}/token"
    [volume] = [one for one in given["extraVolumes"] if one["name"] == "identity"]
    [source] = volume["projected"]["sources"]
    assert source["serviceAccountToken"] == {
        "audience": "sts.amazonaws.com",
        "expirationSeconds": 3600,
        "path": "token",
    }
    assert "serviceAccount" not in given


def test_on_machines_of_their_own_controllers_get_policies_for_these_and_no_roles(deploy: Deploy) -> None:
    engine = deploy(the_account(site(credentials="instanceProfile")))
    policies = {one.inputs["name"] for one in engine.of(iam.Policy)}
    assert {"site-cluster-autoscaler", "site-node-termination-handler", "site-aws-node-lifecycle"} <= policies
    assert not [one for one in engine.of(iam.Role) if "autoscaler" in one.name]
    assert values(engine, "node-termination-handler")["serviceAccount"]["annotations"] == {}
    assert "extraEnv" not in values(engine, "node-termination-handler")


def test_a_static_key_is_read_from_a_secret_of_the_user_and_refused_by_the_pack(deploy: Deploy) -> None:
    engine = deploy(the_account(site(credentials="secret", nodePools={"spot": POOL, "batch": KARPENTER})))
    reference = {"name": "aws-credentials", "key": "AWS_SECRET_ACCESS_KEY"}
    assert values(engine, "cluster-autoscaler")["extraEnvSecrets"]["AWS_SECRET_ACCESS_KEY"] == reference
    environments = (
        values(engine, "node-termination-handler")["extraEnv"],
        values(engine, "aws-node-lifecycle")["env"],
        values(engine, "karpenter")["controller"]["env"],
    )
    for environment in environments:
        assert {"name": "AWS_SECRET_ACCESS_KEY", "valueFrom": {"secretKeyRef": reference}} in environment
    broken = court.judge(cases(engine)).broken
    assert broken == {"pool-controllers-short-lived"}
    dated = {
        "resource": "aws-nodes",
        "rule": "pool-controllers-short-lived",
        "reason": "until the issuer's zone is ours",
        "expires": "2026-12-31",
    }
    assert court.judge(cases(engine), exceptions=[dated], day=date(2026, 12, 1)).broken == set()
    with pytest.raises(court.Refused, match="ended on 2026-12-31"):
        court.judge(cases(engine), exceptions=[dated], day=date(2027, 1, 1))
