"""Pools at other clouds: an autoscaler each, and groups that Crossplane makes."""

from typing import Any

import pulumi
from pulumi_kubernetes import Provider
from pulumi_kubernetes.core.v1 import Secret

from components.cloud_pools import CloudPools, CloudPoolsArgs
from keystone import charts
from keystone.charts import operators
from tests.charts.test_cloud_pools import CLOUDS, site
from tests.components.platforms import Anything
from tests.dry_run import faults, objects
from tests.policy import court
from tests.recording import ROOT_SECRET, Engine, is_secret, plain, run


def deploy(**clouds: Any) -> Engine:
    settings = site(**clouds)

    def build() -> None:
        opts = pulumi.ResourceOptions(providers=[Provider("kubernetes", kubeconfig="x")])
        crossplane = {operators.CROSSPLANE: Anything("crossplane")} if operators.wants_crossplane(settings) else {}
        args = CloudPoolsArgs(
            settings=settings,
            releases=charts.releases(settings),
            namespaces={release.namespace: release.namespace for release in charts.releases(settings).values()},
            after=crossplane,
            root=pulumi.Output.secret(ROOT_SECRET),
            hetzner_token=pulumi.Output.secret("hetzner-canary"),
        )
        CloudPools("pools", args, opts=opts)

    return run(build)


def test_only_what_is_chosen_is_made() -> None:
    made = [one.name for one in deploy(hetzner=CLOUDS["hetzner"]).resources if one.name.endswith("-release")]
    assert made == ["chart-cluster-autoscaler-hetzner-release"]


def test_a_group_comes_after_the_provider_that_brings_its_kind() -> None:
    engine = deploy(gcp=CLOUDS["gcp"])
    group = engine.named("pools-InstanceGroupManager-site-go")
    assert "pools-gcp.m.upbound.io-ClusterProviderConfig-default" in group.dependencies
    account = engine.named("pools-gcp.m.upbound.io-ClusterProviderConfig-default")
    assert "pools-pkg.crossplane.io-Provider-provider-gcp-compute" in account.dependencies
    assert group.inputs["metadata"]["namespace"] == "cloud-nodes"


def test_the_autoscaler_starts_when_its_identity_is_there() -> None:
    engine = deploy(gcp=CLOUDS["gcp"])
    assert "pools-gcp-identity-cloud-nodes" in engine.named("chart-cluster-autoscaler-gcp-release").dependencies
    assert "private_key" not in engine.named("pools-gcp-identity-crossplane-system").inputs["data"]["credentials.json"]


def test_hetzners_autoscaler_comes_after_the_secret_that_its_pods_want() -> None:
    for engine in (deploy(hetzner=CLOUDS["hetzner"]), deploy(**CLOUDS)):
        [secret] = engine.of(Secret)
        release = engine.named("chart-cluster-autoscaler-hetzner-release")
        assert "pools-hetzner" in release.dependencies
        reference = release.inputs["spec"]["values"]["extraEnvSecrets"]["HCLOUD_TOKEN"]
        assert secret.inputs["metadata"] == {"name": reference["name"], "namespace": "cloud-nodes"}
        assert is_secret(secret.inputs["stringData"])
        assert plain(secret.inputs["stringData"]) == {reference["key"]: "hetzner-canary"}


def test_without_hetzner_there_is_no_such_secret() -> None:
    assert not deploy(gcp=CLOUDS["gcp"], azure=CLOUDS["azure"]).of(Secret)


def test_an_api_server_would_take_every_object() -> None:
    found = list(objects(deploy(**CLOUDS).resources))
    assert [fault for thing in found for fault in faults(thing)] == []


def test_the_policy_pack_passes_but_for_the_static_token_of_hetzner() -> None:
    assert violations(gcp=CLOUDS["gcp"], azure=CLOUDS["azure"]) == []
    assert [name for name, _ in violations(**CLOUDS)] == ["cloud-pools-short-lived"]


def violations(**clouds: Any) -> list[tuple[str, str]]:
    engine = deploy(**clouds)
    cases = [
        court.Case(kind=one.kind, name=one.name, props=one.inputs, protect=one.protect, provider=one.provider)
        for one in engine.resources
    ]
    return court.judge(cases).violations
