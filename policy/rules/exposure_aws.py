"""What of AWS can be reached from outside: ports, metadata, buckets, databases."""

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from judging.kinds import custom, sdk
from judging.resource import Resource, is_map
from judging.rule import ABSENT, CRITICAL, HIGH, Finding, Findings, rule, show

GROUPS = sdk("pulumi_aws.ec2", "SecurityGroup", "DefaultSecurityGroup")
OLD_RULE = sdk("pulumi_aws.ec2", "SecurityGroupRule")
NEW_RULE = sdk("pulumi_aws.vpc", "SecurityGroupIngressRule")
# SSH, RDP, the Kubernetes API, k3s' join port, etcd, the kubelet.
GUARDED = {22: "SSH", 3389: "RDP", 6443: "the API", 9345: "k3s", 2379: "etcd", 2380: "etcd", 10250: "the kubelet"}
# Shorter prefixes than these are the world, whether written as one range or as two halves.
WORLD = {4: 8, 6: 16}
ANY_PROTOCOL = ("-1", "all", "none")
PUBLIC_ACLS = ("public-read", "public-read-write", "authenticated-read")
PUBLIC_GROUPS = ("AllUsers", "AuthenticatedUsers")


def _world(value: Any) -> bool:
    try:
        network = ipaddress.ip_network(str(value), strict=False)
    except ValueError:
        return False
    return network.prefixlen < WORLD[network.version]


def _protocol(value: Any) -> str:
    """A protocol as AWS reads it: a number, or a name in any case of letters; "none" where nothing is said."""
    return str(int(value)) if isinstance(value, int | float) else str(value).lower()


def _doors(it: Resource) -> Iterator[tuple[str, list[Any], Mapping[str, Any]]]:
    """(path, ranges, rule) of every rule that lets something in."""
    if it.kind in GROUPS:
        for path, one in it.each("ingress"):
            yield path, [*(one.get("cidrBlocks") or []), *(one.get("ipv6CidrBlocks") or [])], one
    elif it.kind in NEW_RULE:
        yield "the rule", [it.at("cidrIpv4"), it.at("cidrIpv6")], it.props
    elif it.at("type") == "ingress":
        yield "the rule", [*(it.at("cidrBlocks") or []), *(it.at("ipv6CidrBlocks") or [])], it.props


@rule(
    "security-group-closed",
    "Nobody outside reaches SSH, the API, etcd or a kubelet",
    (*GROUPS, *OLD_RULE, *NEW_RULE),
    CRITICAL,
    cure="Remove the rule: hosts and people come over the mesh, whose traffic arrives on connections made from inside",
    reference="CIS AWS Foundations 3.0.0, 5.2 and 5.3",
    guards={
        "ingress": (
            [{"protocol": "tcp", "fromPort": 22, "toPort": 22, "cidrBlocks": ["0.0.0.0/0"]}],
            [{"protocol": "tcp", "fromPort": 1, "toPort": 65535, "ipv6CidrBlocks": ["::/0"]}],
        )
    },
)
def security_group(it: Resource) -> Findings:
    for path, ranges, one in _doors(it):
        wide = [str(value) for value in ranges if value and _world(value)]
        if not wide:
            continue
        protocol = one.get("protocol") if it.kind not in NEW_RULE else one.get("ipProtocol")
        low, high = one.get("fromPort"), one.get("toPort")
        name = _protocol(protocol)
        if name not in (*ANY_PROTOCOL, "tcp", "6"):
            continue
        if name in ANY_PROTOCOL or low is None or high is None or low == -1:
            low, high = 0, 65535
        hit = sorted({name for port, name in GUARDED.items() if low <= port <= high})
        if hit:
            yield Finding(path, f"open to {', '.join(wide)}", f"it lets everybody to {', '.join(hit)}")


@rule(
    "imds-v2",
    "Machines at EC2 give their credentials by IMDSv2 only, and to no pod",
    (
        *sdk("pulumi_aws.ec2", "LaunchTemplate", "Instance", "SpotInstanceRequest", "LaunchConfiguration"),
        *custom("karpenter.k8s.aws/v1", "EC2NodeClass"),
    ),
    CRITICAL,
    cure="Set http_tokens to required and http_put_response_hop_limit to 1",
    reference="CIS AWS Foundations 3.0.0, 5.6",
    guards={
        "metadataOptions.httpTokens": ("optional", ABSENT),
        "metadataOptions.httpPutResponseHopLimit": (2, ABSENT),
        "metadataOptions": (ABSENT,),
        "spec.metadataOptions.httpTokens": ("optional", ABSENT),
        "spec.metadataOptions.httpPutResponseHopLimit": (64, ABSENT),
    },
)
def imds(it: Resource) -> Findings:
    place = "spec.metadataOptions" if it.kind.startswith("kubernetes:") else "metadataOptions"
    if it.at(f"{place}.httpEndpoint") == "disabled":
        return
    tokens, hops = it.at(f"{place}.httpTokens"), it.at(f"{place}.httpPutResponseHopLimit")
    if tokens != "required":
        yield Finding(f"{place}.httpTokens", show(tokens), "it must be required")
    if hops is None or hops > 1:
        yield Finding(f"{place}.httpPutResponseHopLimit", show(hops), "with more than 1, pods get the machine's rights")


@rule(
    "machine-without-key-pair",
    "Machines of a pool take no key pair: they are reached over the mesh",
    sdk("pulumi_aws.ec2", "LaunchTemplate", "Instance", "SpotInstanceRequest", "LaunchConfiguration", "KeyPair"),
    HIGH,
    cure="Leave key_name and key pairs out: hosts authorise the operator's own key",
    reference="OWASP Top 10 2021, A07",
    guards={"keyName": ("admin",)},
)
def key_pair(it: Resource) -> Findings:
    if it.kind.endswith(":KeyPair"):
        yield Finding("the resource", "a key pair", "it would open every machine that names it")
    elif it.at("keyName"):
        yield Finding("keyName", show(it.at("keyName")), "a key pair outside of our identities opens the machine")


@rule(
    "s3-public-access-blocked",
    "Buckets block every kind of public access",
    sdk("pulumi_aws.s3", "BucketPublicAccessBlock", "AccountPublicAccessBlock"),
    CRITICAL,
    cure="Set block_public_acls, block_public_policy, ignore_public_acls and restrict_public_buckets to true",
    reference="CIS AWS Foundations 3.0.0, 2.1.4",
    guards={
        "blockPublicAcls": (False, ABSENT),
        "blockPublicPolicy": (False, ABSENT),
        "ignorePublicAcls": (False, ABSENT),
        "restrictPublicBuckets": (False, ABSENT),
    },
)
def public_access(it: Resource) -> Findings:
    for key in ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"):
        if it.at(key) is not True:
            yield Finding(key, show(it.at(key)), "it must be true")


@rule(
    "s3-acl-private",
    "No bucket and no object is public by its ACL",
    sdk("pulumi_aws.s3", "Bucket", "BucketV2", "BucketAcl", "BucketAclV2", "BucketObject", "BucketObjectv2"),
    CRITICAL,
    cure="Leave the ACL out, and set object_ownership to BucketOwnerEnforced",
    reference="CIS AWS Foundations 3.0.0, 2.1.4",
    guards={"acl": ("public-read", "public-read-write", "authenticated-read")},
)
def acl(it: Resource) -> Findings:
    if it.at("acl") in PUBLIC_ACLS:
        yield Finding("acl", show(it.at("acl")), "everybody could read it")
    for root in ("accessControlPolicy.grants", "grants"):
        for path, grant in it.each(root):
            uri = str((grant.get("grantee") or {}).get("uri") or grant.get("uri") or "")
            if uri.endswith(PUBLIC_GROUPS):
                yield Finding(path, uri.rpartition("/")[2], "everybody could read it")


@rule(
    "s3-website-off",
    "No bucket is served as a website",
    sdk("pulumi_aws.s3", "Bucket", "BucketWebsiteConfiguration", "BucketWebsiteConfigurationV2"),
    HIGH,
    cure="Serve it by CloudFront with an origin access control, as the issuer's documents are",
    reference="OWASP Top 10 2021, A05",
    guards={"website": ({"indexDocument": "index.html"},)},
)
def website(it: Resource) -> Findings:
    if "WebsiteConfiguration" in it.kind:
        yield Finding("the resource", "a website", "it is public and without TLS")
    elif is_map(it.at("website")):
        yield Finding("website", "set", "it is public and without TLS")


@rule(
    "lambda-not-public",
    "No function and no queue is open to everybody",
    sdk("pulumi_aws.lambda_", "FunctionUrl", "Permission"),
    HIGH,
    cure="Set authorization_type to AWS_IAM, and name the principal with its source_arn",
    reference="OWASP Top 10 2021, A01",
    guards={"authorizationType": ("NONE",), "principal": ("*",)},
)
def function(it: Resource) -> Findings:
    if it.at("authorizationType") == "NONE":
        yield Finding("authorizationType", "NONE", "everybody could call it")
    if it.at("principal") == "*":
        yield Finding("principal", "*", "everybody could call it")


RULES = (security_group, imds, key_pair, public_access, acl, website, function)
