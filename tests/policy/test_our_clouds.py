"""The pack over our pools at GCP, Azure and Hetzner: it passes, and every mutation of what it guards is noticed."""

import base64
import json
from typing import Any

import pytest
from judging.kinds import CLUSTER_BASE

from tests.charts.test_cloud_pools import CLOUDS
from tests.components.test_cloud_pools import deploy
from tests.policy import court, flips
from tests.recording import plain

TOKEN = "hskey-auth-" + "A1b2C3d4E5f6" * 3
POD = "spec.deploymentTemplate.spec.template.spec"
EXPLAINED: flips.Explained = {
    ("chart-pinned", "version", lambda it: it.kind.endswith("HelmRelease")): "its version lies in its spec",
    (
        "deletion-not-forced",
        "*",
        lambda it: it.kind.endswith("HelmRelease"),
    ): "a file system or an object store has it",
    ("mesh-key-short-lived", "create", lambda it: "command" not in it.kind): "a command has it",
    ("object-store-tls", "spec.gateway", lambda it: it.kind.endswith("HelmRelease")): "an object store has it",
}
FREE = (
    "keystone:components:ChartRelease",
    "kubernetes:compute.gcp.m.upbound.io/v1beta1:InstanceGroupManager",
    "kubernetes:apiextensions.crossplane.io/v1alpha1:ManagedResourceActivationPolicy",
    "kubernetes:source.toolkit.fluxcd.io/v1:HelmRepository",
    "pulumi:providers:kubernetes",
    "pulumi:pulumi:Stack",
    "test:index:Anything",
)
"""No rule is about these: how many machines, which kinds of a provider, where charts come from."""


def cases() -> list[court.Case]:
    return [
        court.Case(kind=one.kind, name=one.name, props=plain(one.inputs), protect=one.protect, provider=one.provider)
        for one in deploy(**CLOUDS).resources
    ]


def made(kind: str) -> court.Case:
    return next(one for one in cases() if one.kind.endswith(f":{kind}"))


def test_the_pack_judges_every_kind_of_thing_that_pools_are_made_of() -> None:
    judged = {kind for one in court.rules() for kind in one.kinds} - set(CLUSTER_BASE)
    assert {one.kind for one in cases()} - judged - set(FREE) == set()


def test_every_flip_of_a_guarded_property_is_noticed() -> None:
    tried, missed = flips.missed(cases(), EXPLAINED, lambda case: [case])
    assert tried > 40
    assert missed == [], "\n".join(missed)


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("LinuxVirtualMachineScaleSet", "spec.forProvider.encryptionAtHostEnabled", False),
        ("LinuxVirtualMachineScaleSet", "spec.forProvider.dataDisk", [{"lun": 1}]),
        ("LinuxVirtualMachineScaleSet", "spec.forProvider.userData", base64.b64encode(TOKEN.encode()).decode()),
        ("LinuxVirtualMachineScaleSet", "spec.forProvider.customData", TOKEN),
        ("DeploymentRuntimeConfig", f"{POD}.hostNetwork", True),
        ("DeploymentRuntimeConfig", f"{POD}.containers.0.securityContext.privileged", True),
        ("DeploymentRuntimeConfig", f"{POD}.containers.0.env", [{"name": "TOKEN", "value": TOKEN}]),
        ("InstanceTemplate", "spec.forProvider.disk.1", {"diskSizeGb": 50}),
        ("InstanceTemplate", "spec.forProvider.disk", []),
        ("InstanceTemplate", "spec.forProvider.metadata.startup-script", f"tailscale up --auth-key {TOKEN}"),
        ("InstanceTemplate", "spec.forProvider.metadataStartupScript", f"tailscale up --auth-key {TOKEN}"),
    ],
)
def test_what_is_weaker_than_ours_is_refused(kind: str, path: str, value: Any) -> None:
    assert court.judge([made(kind)]).violations == []
    assert court.judge([made(kind).changed({path: value})]).broken


def test_a_credential_in_what_hetzners_autoscaler_tells_machines_is_noticed() -> None:
    [release] = [one for one in cases() if "hetzner" in one.name and one.kind.endswith(":HelmRelease")]
    path = "spec.values.extraEnv.HCLOUD_CLUSTER_CONFIG"
    config = json.loads(base64.b64decode(release.props["spec"]["values"]["extraEnv"]["HCLOUD_CLUSTER_CONFIG"]))
    [group] = config["nodeConfigs"].values()
    group["cloudInit"] += f"mesh-key={TOKEN}\n"
    told = base64.b64encode(json.dumps(config).encode()).decode()
    assert court.judge([release]).violations == []
    assert court.judge([release.changed({path: told})]).broken == {"chart-no-credentials"}
