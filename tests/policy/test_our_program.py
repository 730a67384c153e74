"""The pack over our own program: no violation for any stack file, and every mutation of what it guards is noticed."""

from dataclasses import replace

import pytest
from judging.kinds import CLUSTER_BASE
from judging.resource import read
from rules.exposure_cluster import PRIVILEGED

from tests import test_program
from tests.policy import court, flips, recorded

# Mutations that a rule rightly does not notice: (rule, guarded path, which resources) and why.
EXPLAINED: flips.Explained = {
    ("install-by-generation", "*", lambda it: not it.name.startswith("install-")): "only installs go by generation",
    ("trigger-by-generation", "*", lambda it: it.name.startswith("install-")): "install-by-generation is stricter",
    ("object-store-tls", "spec.gateway", lambda it: it.kind.endswith("HelmRelease")): "an object store has it",
    ("chart-pinned", "version", lambda it: it.kind.endswith("HelmRelease")): "its version lies in its spec",
    (
        "deletion-not-forced",
        "spec.preserveFilesystemOnDelete",
        lambda it: it.kind.endswith("HelmRelease"),
    ): "a file system has it",
    (
        "deletion-not-forced",
        "spec.preservePoolsOnDelete",
        lambda it: it.kind.endswith("HelmRelease"),
    ): "an object store has it",
    ("mesh-key-short-lived", "create", lambda it: "command" not in it.kind): "a command has it",
    (
        "provider-no-static-keys",
        "*",
        lambda it: "127." in str(it.props.get("endpoints")),
    ): "a twin of AWS takes any key",
    ("tunnel-record-proxied", "*", lambda it: it.name.startswith("aws-")): "it leads to CloudFront or proves a name",
    (
        "chart-not-privileged",
        "*",
        lambda it: read(it.props, "spec.targetNamespace") in PRIVILEGED,
    ): "the namespace is listed with its reason",
    ("host-protected", "*", lambda it: it.props["address"].startswith("127.")): "a host of a twin may be wiped",
}


COMPOSITES = (
    *(f"Aws{name}" for name in ("Account", "Bucket", "Controllers", "Identity", "Issuer", "Key", "Network")),
    *("AwsNodeEvents", "AwsNodePool", "WorkloadRole"),
    "Tunnel",
    "ChartRelease",
    "ClusterNetwork",
    "Logs",
    "Namespaces",
    "Observability",
    "Platform",
    "StorageClasses",
)
FREE_KINDS = (
    "aws:acm/certificate:Certificate",
    "aws:acm/certificateValidation:CertificateValidation",
    "aws:cloudfront/originAccessControl:OriginAccessControl",
    "aws:cloudwatch/eventRule:EventRule",
    "aws:cloudwatch/eventTarget:EventTarget",
    "aws:ec2/eip:Eip",
    "aws:ec2/internetGateway:InternetGateway",
    "aws:ec2/natGateway:NatGateway",
    "aws:ec2/route:Route",
    "aws:ec2/routeTable:RouteTable",
    "aws:ec2/routeTableAssociation:RouteTableAssociation",
    "aws:ec2/subnet:Subnet",
    "aws:ec2/vpc:Vpc",
    "aws:iam/instanceProfile:InstanceProfile",
    "aws:kms/alias:Alias",
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
    "aws:s3/bucketObjectv2:BucketObjectv2",
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
    "cloudflare:index/zeroTrustAccessServiceToken:ZeroTrustAccessServiceToken",
    "cloudflare:index/zeroTrustTunnelCloudflared:ZeroTrustTunnelCloudflared",
    "kubernetes:cert-manager.io/v1:Certificate",
    "kubernetes:cert-manager.io/v1:ClusterIssuer",
    "kubernetes:cilium.io/v2:CiliumLoadBalancerIPPool",
    "kubernetes:cilium.io/v2:CiliumNetworkPolicy",
    "kubernetes:cilium.io/v2alpha1:CiliumL2AnnouncementPolicy",
    "kubernetes:gateway.networking.k8s.io/v1:Gateway",
    "kubernetes:gateway.networking.k8s.io/v1:HTTPRoute",
    "kubernetes:monitoring.coreos.com/v1:PodMonitor",
    "kubernetes:monitoring.coreos.com/v1:PrometheusRule",
    "kubernetes:objectbucket.io/v1alpha1:ObjectBucketClaim",
    "kubernetes:networking.k8s.io/v1:NetworkPolicy",
    "kubernetes:policy/v1:PodDisruptionBudget",
    "kubernetes:source.toolkit.fluxcd.io/v1:HelmRepository",
    "kubernetes:source.toolkit.fluxcd.io/v1:OCIRepository",
)


@pytest.fixture(params=test_program.STACKS)
def cases(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[court.Case]:
    """The program's resources, parents first, as the engine would describe them."""
    monkeypatch.chdir(test_program.PROJECT)
    return list(recorded.cases(request.param))


def test_no_stack_of_ours_breaks_a_rule(cases: list[court.Case]) -> None:
    verdict = court.judge(cases, whole=True)
    assert verdict.violations == []
    assert verdict.notes == []


def test_the_pack_judges_every_kind_of_thing_that_the_program_makes(cases: list[court.Case]) -> None:
    judged = {kind for one in court.rules() for kind in one.kinds}
    free = {
        "keystone:components:Primer",
        "pulumi:providers:kubernetes",
        "kubernetes:core/v1:NodePatch",
        "pulumi:pulumi:Stack",
    }
    # These only hold others together, or say what no rule is about: pools, certificates, claims of buckets, sources.
    free |= {f"keystone:components:{name}" for name in COMPOSITES}
    assert {one.kind for one in cases} <= judged | free | set(FREE_KINDS)


def _family(case: court.Case, cases: list[court.Case]) -> list[court.Case]:
    """The resource with the component that it lies in, and the cluster's."""
    return [one for one in cases if one.urn == case.parent or (one.kind in CLUSTER_BASE and one is not case)] + [case]


def test_every_flip_of_a_guarded_property_is_noticed(cases: list[court.Case]) -> None:
    tried, missed = flips.missed(cases, EXPLAINED, lambda case: _family(case, cases))
    assert tried > 100
    assert missed == [], "\n".join(missed)


def test_every_explanation_is_still_needed(cases: list[court.Case]) -> None:
    for name, _, which in EXPLAINED:
        found = [case for case in cases if case.kind in court.rule(name).kinds]
        # A stack without a cloud has nothing that its rules are about.
        assert any(map(which, found)) or not found or name == "host-protected"


def test_an_unprotected_host_is_noticed_on_every_address_but_loopback(cases: list[court.Case]) -> None:
    hosts = [case for case in cases if case.kind == "keystone:components:Host"]
    assert hosts
    for host in hosts:
        elsewhere = host.changed({"address": "192.168.7.31", "protect": False})
        assert court.judge([elsewhere]).broken == {"host-protected"}


def test_every_default_provider_is_noticed(cases: list[court.Case]) -> None:
    for case in cases:
        if case.kind.partition(":")[0] in ("kubernetes", "aws", "cloudflare"):
            flipped = court.judge([replace(case, provider="default")])
            assert "no-default-provider" in flipped.broken, case.name


def test_an_install_without_protection_is_noticed_on_every_address_but_loopback(cases: list[court.Case]) -> None:
    installs = [case for case in cases if case.name.startswith("install-")]
    assert installs
    for case in installs:
        [host] = [one for one in cases if one.urn == case.parent]
        elsewhere = host.changed({"address": "192.168.7.31", "protect": True})
        assert court.judge([elsewhere, replace(case, protect=False)]).broken == {"install-protected"}


def test_every_command_line_and_environment_of_ours_is_searched_for_credentials(cases: list[court.Case]) -> None:
    token = "ghp_" + "A1b2C3d4E5f6" * 3
    commands = [case for case in cases if case.kind == "command:local:Command"]
    for case in commands:
        for path in ("create", "update", *(f"environment.{key}" for key in case.props.get("environment", {}))):
            said = court.judge(_family(case.changed({path: f"{read(case.props, path)} {token}"}), cases))
            assert said.broken == {"command-no-credentials"}, (case.name, path)
            assert token not in str(said)
