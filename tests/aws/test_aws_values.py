"""keystone/aws: names, minted keys, and what machines of a pool are told."""

import json

from keystone import facts
from keystone import pools as shapes
from keystone.aws import karpenter, keys, pools
from keystone.charts import storage
from keystone.iam import policy
from tests.aws.sites import KARPENTER, POOL, site

CI = {"repository": "team/cluster", "environments": {"dev": "up", "dev-preview": "preview"}}


def test_the_primer_mints_a_key_for_each_pool_and_each_kind_of_pipeline() -> None:
    found = keys.minted(site(ci=CI))
    assert {name: (key.parameter, key.tags) for name, key in found.items()} == {
        "pool-spot": ("/keystone/site/pools/spot/mesh-key", ("tag:pool",)),
        "ci": ("/keystone/site/ci/mesh-key", ("tag:ci",)),
        "ci-up": ("/keystone/site/ci-up/mesh-key", ("tag:ci-up",)),
    }
    assert {key.role_arn for key in found.values()} == {"arn:aws:iam::123456789012:role/keystone/site/site-pool-keys"}
    assert {key.key_hours for key in found.values()} == {24}


def test_only_the_primers_facts_name_them() -> None:
    rendered = {path.rpartition("/")[2]: json.loads(text) for path, text in facts.render(site(), "it").items()}
    assert list(rendered["primer.json"]["pools"]) == ["pool-spot"]
    assert rendered["primer.json"]["pools"]["pool-spot"]["keyId"] == "alias/keystone-site"
    assert rendered["w1.json"]["pools"] == {}
    assert rendered["cluster.json"]["cluster"]["issuerHost"] == "oidc.example.org"


def test_the_timers_role_writes_those_parameters_and_no_other() -> None:
    write, encrypt = policy(keys.minter_rights(site(), "KEY"))["Statement"]
    prefix = "arn:aws:ssm:eu-central-1:123456789012:parameter/keystone/site"
    assert write["Resource"] == [f"{prefix}/pools/spot/mesh-key"]
    assert write["Action"] == ["ssm:GetParameter", "ssm:PutParameter"]
    assert encrypt["Condition"] == {"StringEquals": {"kms:ViaService": "ssm.eu-central-1.amazonaws.com"}}


def test_user_data_says_where_the_keys_lie_and_holds_none() -> None:
    text = pools.user_data(site(), "spot")
    assert shapes.parse(text) == {
        "keystone-parameters": "/keystone/site/pools/spot",
        "keystone-labels": "example.org/tier=batch,keystone.internal/cloud=aws,keystone.internal/pool=spot",
        "keystone-taints": "spot=yes:NoSchedule",
    }
    assert len(text) < 16384, "EC2 takes no more"


def test_tags_of_machines_have_keys_that_metadata_can_show() -> None:
    for key, value in pools.tags(site(), "spot").items():
        assert "/" not in key
        assert len(key) <= 128
        assert len(value) <= 256


def test_a_pool_of_karpenter_registers_with_the_taint_that_karpenter_takes_away() -> None:
    told = shapes.parse(pools.user_data(site(nodePools={"batch": KARPENTER}), "batch"))
    assert told[shapes.TAINTS] == "spot=yes:NoSchedule,karpenter.sh/unregistered:NoExecute"


def test_the_autoscaler_finds_the_group_and_knows_its_nodes_before_there_is_one() -> None:
    template = "k8s.io/cluster-autoscaler/node-template"
    assert pools.autoscaler_tags(site(nodePools={"spot": {**POOL, "zones": ["eu-central-1a"]}}), "spot") == {
        "k8s.io/cluster-autoscaler/enabled": "true",
        "k8s.io/cluster-autoscaler/site": "owned",
        f"{template}/label/example.org/tier": "batch",
        f"{template}/label/keystone.internal/cloud": "aws",
        f"{template}/label/keystone.internal/pool": "spot",
        f"{template}/label/topology.kubernetes.io/zone": "eu-central-1a",
        f"{template}/taint/spot": "yes:NoSchedule",
    }


def test_drivers_of_volumes_find_every_machine_of_every_pool() -> None:
    settings = site(nodePools={"spot": POOL, "batch": KARPENTER})
    group = pools.autoscaler_tags(settings, "spot")
    prefix = "k8s.io/cluster-autoscaler/node-template/label/"
    claims = karpenter.node_pool(settings, "batch").spec["template"]["metadata"]["labels"]
    for name in ("spot", "batch"):
        told = shapes.parse(pools.user_data(settings, name))[shapes.LABELS].split(",")
        assert {f"{key}={value}" for key, value in storage.NODES_IN_AWS.items()} <= set(told)
    for key, value in storage.NODES_IN_AWS.items():
        assert group[prefix + key] == claims[key] == value


def test_what_makes_volumes_of_efs_bears_the_taints_of_the_pools() -> None:
    controller = storage.efs_values(site(), "ROLE")["controller"]
    assert controller["tolerations"] == [{"key": "spot", "operator": "Exists", "effect": "NoSchedule"}]
