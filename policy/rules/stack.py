"""What only the whole graph can show: pools join the mesh, roles are used, buckets are complete, data has a backup."""

import re
from collections.abc import Iterable, Iterator

from judging.credentials import decoded
from judging.kinds import component, custom, sdk
from judging.resource import Resource, is_map, maps, strings
from judging.rule import CRITICAL, HIGH, MEDIUM, Finding, Findings, stack_rule
from pulumi_policy.proxy import UnknownValueError

from rules import charts
from rules.exposure_cloudflare import APPLICATION, ASKING, TUNNEL_CONFIG
from rules.safety import SCRATCH, on_loopback

GROUP = (
    *sdk("pulumi_aws.autoscaling", "Group"),
    *sdk("pulumi_aws.ec2", "Fleet", "SpotFleetRequest"),
    *sdk("pulumi_aws.eks", "NodeGroup"),
)
TEMPLATE = sdk("pulumi_aws.ec2", "LaunchTemplate")
MACHINE = sdk("pulumi_aws.ec2", "Instance", "SpotInstanceRequest")
NODE_CLASS = custom("karpenter.k8s.aws/v1", "EC2NodeClass")
ROLE = sdk("pulumi_aws.iam", "Role")
ATTACHED = sdk("pulumi_aws.iam", "RolePolicy", "RolePolicyAttachment", "PolicyAttachment", "RolePoliciesExclusive")
BUCKET = sdk("pulumi_aws.s3", "Bucket", "BucketV2")
STACK = "pulumi:pulumi:Stack"
BACKUP = component("Backup")
STATEFUL = (
    *component("CephStorage"),
    *custom("ceph.rook.io/v1", "CephCluster"),
    *sdk("pulumi_kubernetes.core.v1", "PersistentVolumeClaim"),
    *sdk("pulumi_kubernetes.apps.v1", "StatefulSet"),
    *sdk("pulumi_aws.efs", "FileSystem"),
    *charts.CHARTS,
)
STATEFUL_CHARTS = (charts.CEPH, "longhorn")
# What the image of pools reads in its user data (nix/images/pool-node.nix): where the key of the mesh lies. It joins
# by nothing else, and a machine without this line joins nowhere.
JOINS = re.compile(r"^keystone-parameters=\S", re.MULTILINE)


def _of(graph: Iterable[Resource], kinds: Iterable[str]) -> Iterator[Resource]:
    wanted = set(kinds)
    return (it for it in graph if it.kind in wanted)


def _joins(it: Resource) -> bool:
    texts = [it.at(path) for path in ("userData", "userDataBase64", "spec.userData")]
    return any(JOINS.search(decoded(text)) for text in texts if isinstance(text, str))


@stack_rule(
    "pool-joins-mesh",
    "Every pool of machines at EC2 joins over the mesh",
    (*GROUP, *MACHINE, *NODE_CLASS),
    CRITICAL,
    cure="Start the machines with the user data that the node pool component makes",
    reference="OWASP Kubernetes Top Ten 2022, K07",
)
def pool(graph: list[Resource]) -> Findings:
    for it in _of(graph, (*MACHINE, *NODE_CLASS)):
        if not _joins(it):
            yield Finding("userData", "without the mesh", "its machines would reach the API from outside", it)
    for it in _of(graph, GROUP):
        templates = [one for one in it.dependencies if one.kind in TEMPLATE]
        if not templates or not all(map(_joins, templates)):
            yield Finding("launchTemplate", "without the mesh", "its machines would reach the API from outside", it)


@stack_rule(
    "role-used",
    "Every IAM role is used by something",
    ROLE,
    MEDIUM,
    cure="Remove it, or give it to what needs it; a role for CI is used when the stack exports its ARN",
    reference="OWASP Top 10 2021, A01",
)
def role(graph: list[Resource]) -> Findings:
    used = {
        one.urn
        for it in graph
        if it.kind not in ATTACHED and not it.kind.startswith(("keystone:", "pulumi:"))
        for one in it.dependencies
    }
    unused = [it for it in _of(graph, ROLE) if it.urn not in used]
    # Exports are read only where they decide: a preview does not know them all.
    exported = {text for it in graph if unused and it.kind == STACK for _, _, text in strings(it.props)}
    for it in unused:
        if str(it.at("arn")) not in exported:
            yield Finding("the role", "unused", "nobody would notice who takes it", it)


PARTS = (
    (
        sdk("pulumi_aws.s3", "BucketServerSideEncryptionConfiguration", "BucketServerSideEncryptionConfigurationV2"),
        "a configuration of its encryption",
    ),
    (sdk("pulumi_aws.s3", "BucketPublicAccessBlock"), "a block of public access"),
    (sdk("pulumi_aws.s3", "BucketPolicy"), "a policy that wants TLS"),
    (sdk("pulumi_aws.s3", "BucketVersioning", "BucketVersioningV2"), "versioning"),
)


@stack_rule(
    "bucket-complete",
    "Every bucket has its encryption, its block of public access, its TLS policy and its versioning",
    BUCKET,
    HIGH,
    cure="Make the missing resource for this bucket",
    reference="CIS AWS Foundations 3.0.0, 2.1.1 and 2.1.4",
)
def bucket(graph: list[Resource]) -> Findings:
    for it in _of(graph, BUCKET):
        for kinds, what in PARTS:
            if not any(it in part.dependencies or _names(part, it) for part in _of(graph, kinds)):
                yield Finding("the bucket", f"without {what}", "a bucket needs all four", it)


def _names(part: Resource, it: Resource) -> bool:
    return part.at("bucket") is not None and part.at("bucket") in (it.at("bucket"), it.at("id"))


@stack_rule(
    "hostname-behind-access",
    "Every hostname of a tunnel has an Access application",
    TUNNEL_CONFIG,
    CRITICAL,
    cure="Make an Access application for the hostname, or list it as public with a dated exception",
    reference="OWASP Top 10 2021, A01",
)
def hostname(graph: list[Resource]) -> Findings:
    guarded: set[str] = set()
    for it in _of(graph, APPLICATION):
        if it.at("type") not in ASKING:
            continue
        guarded |= {text.partition("/")[0] for text in (it.at("domain"),) if isinstance(text, str) and "/" not in text}
        for path in ("destinations", "selfHostedDomains"):
            for _, one in it.each(path):
                text = one.get("uri") if is_map(one) else one
                if isinstance(text, str) and "/" not in text:
                    guarded.add(text)
    for it in _of(graph, TUNNEL_CONFIG):
        for path, one in it.each("config.ingresses"):
            name = one.get("hostname")
            if name and name not in guarded and f"*.{name.partition('.')[2]}" not in guarded:
                yield Finding(f"{path}.hostname", str(name), "no Access application covers the whole of it", it)


@stack_rule(
    "stateful-has-backup",
    "What holds data has a backup that covers such data",
    STATEFUL,
    HIGH,
    cure="Fill in the section backup of the stack file; volumes are in none of its copies, so let another tool copy "
    "them and say so in a dated exception. Only what lies behind a loopback address may go without",
    reference="OWASP Top 10 2021, A08",
)
def backup(graph: list[Resource]) -> Findings:
    covered = {kind for it in _of(graph, BACKUP) for kind in it.at("covers") or ()}
    unknown: UnknownValueError | None = None
    for it in _of(graph, STATEFUL):
        if it.kind in charts.CHARTS and charts.name(it) not in STATEFUL_CHARTS:
            continue
        # A component is where its parts are, and speaks for them.
        if any(one.kind in STATEFUL for one in _parents(it)):
            continue
        parts = [one for one in graph if it in _parents(one)] if it.kind.startswith("keystone:") else [it]
        known = [one for one in parts if one.kind.startswith(("aws:", "kubernetes:"))]
        if known and all(on_loopback(one) for one in known):
            continue
        try:
            if it.at("metadata.namespace") in SCRATCH:
                continue
        except UnknownValueError as error:  # it hides no other
            unknown = unknown or error
            continue
        for kind in it.at("holds") or ("volume",):
            if kind not in covered:
                yield Finding(f"a {kind} there", "without a backup", "what is lost there would be lost for good", it)
    if unknown:
        raise unknown


def _parents(it: Resource) -> list[Resource]:
    found = []
    while it.parent is not None:
        it = it.parent
        found.append(it)
    return found


@stack_rule(
    "service-account-role-exists",
    "A role that a service account names is one of this stack",
    sdk("pulumi_kubernetes.core.v1", "ServiceAccount"),
    MEDIUM,
    cure="Take the ARN from the role's output",
    reference="OWASP Top 10 2021, A07",
)
def service_account(graph: list[Resource]) -> Findings:
    known = {it.at("arn") for it in _of(graph, ROLE)}
    for it in _of(graph, sdk("pulumi_kubernetes.core.v1", "ServiceAccount")):
        for path, inner in maps(it.at("metadata.annotations"), "metadata.annotations"):
            arn = inner.get("eks.amazonaws.com/role-arn")
            if arn and arn not in known:
                yield Finding(path, str(arn), "a role of elsewhere is trusted by nobody here", it)


RULES = (pool, role, bucket, hostname, backup, service_account)
