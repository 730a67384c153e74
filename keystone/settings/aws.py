"""Section `aws`: an AWS account that trusts the cluster's tokens, and pools of machines in it. Left out: none."""

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StrictInt, StrictStr

from keystone import addressing
from keystone.settings.hosts import LabelValue, QualifiedName, Taint
from keystone.settings.model import Bool, Cidr, Generation, Label, Model, Wrong

Service = Literal[
    "default",
    "acm",
    "autoscaling",
    "cloudfront",
    "ec2",
    "efs",
    "eventbridge",
    "iam",
    "kms",
    "route53",
    "s3",
    "sqs",
    "ssm",
    "sts",
]
"""Services of AWS that the program speaks to; `default` stands for all that are not named."""


def _endpoint(value: str) -> str:
    try:
        parts = urlsplit(value)
        local = ip_address(parts.hostname or "").is_loopback and (parts.port or 1) > 0
        sound = parts.scheme in ("http", "https") and parts.username is None and not parts.query
    except ValueError:  # not an address, or a port that is none
        local = sound = False
    if not (local and sound):
        raise Wrong(
            f"{value!r} is not the URL of a service on a loopback address",
            "Leave it out for the official services, or write it like http://127.0.0.1:5000",
        )
    return value.rstrip("/")


def _matching(pattern: str, what: str, cure: str) -> AfterValidator:
    def validate(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise Wrong(f"{value!r} is not {what}", cure)
        return value

    return AfterValidator(validate)


Endpoint = Annotated[StrictStr, AfterValidator(_endpoint)]
Region = Annotated[
    StrictStr, _matching(r"[a-z]{2}(-[a-z]+)+-\d", "a region of AWS", "Write its code, such as eu-central-1")
]
Zone = Annotated[
    StrictStr,
    _matching(r"[a-z]{2}(-[a-z]+)+-\d[a-h]", "an availability zone", "Write its full name, such as eu-central-1a"),
]
AccountId = Annotated[
    StrictStr, _matching(r"\d{12}", "an account's number, which has 12 digits", "Copy it from AWS, in quotes")
]
PolicyArn = Annotated[
    StrictStr,
    _matching(r"arn:aws[a-z-]*:iam::\d{12}:policy/[\w+=,.@/-]+", "the ARN of a policy", "Copy it from AWS' IAM"),
]
VpcId = Annotated[StrictStr, _matching(r"vpc-[0-9a-f]{8,17}", "a VPC's id", "Copy it from AWS: vpc-0123456789abcdef0")]
SubnetId = Annotated[
    StrictStr, _matching(r"subnet-[0-9a-f]{8,17}", "a subnet's id", "Copy it from AWS: subnet-0123456789abcdef0")
]
ImageId = Annotated[
    StrictStr, _matching(r"ami-[0-9a-f]{8,17}", "an image's id", "Give that of the uploaded pool image")
]


def _x86_64(value: str) -> str:
    """AWS names a processor by a letter behind the generation; `g` is its own, of ARM (`a1` came before that rule).

    Source: "Naming conventions", Amazon EC2 instance types guide.
    """
    if re.match(r"(a1|[a-z]+\d+g[a-z]*)\.", value):
        raise Wrong(f"{value!r} has a processor of ARM, and the pools' image is x86_64", "Write it like t3.medium")
    return value


InstanceType = Annotated[
    StrictStr,
    _matching(r"[a-z][a-z0-9-]*\.[a-z0-9-]+", "an instance type", "Write it like t3.medium"),
    AfterValidator(_x86_64),
]
HostedZoneId = Annotated[
    StrictStr, _matching(r"Z[A-Z0-9]{1,31}", "the id of a hosted zone", "Copy it from Route 53; it begins with Z")
]
GithubRepository = Annotated[
    StrictStr,
    _matching(
        r"[A-Za-z0-9-]+(@\d+)?/[A-Za-z0-9._-]+(@\d+)?",
        "a repository of GitHub",
        "Write OWNER/NAME, or OWNER@ID/NAME@ID for a repository with immutable subjects",
    ),
]
EnvironmentName = Annotated[
    StrictStr,
    _matching(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", "an environment's name", "Use letters, digits, '-', '_' and '.'"),
]
BucketName = Annotated[
    StrictStr,
    _matching(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "a bucket's name", "Give the bare name, without s3:// and folders"),
]
KeyArn = Annotated[
    StrictStr,
    _matching(r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[\w-]+", "the ARN of a key", "Copy it from AWS' KMS"),
]
PoolName = Annotated[Label, Field(max_length=16)]
Count = Annotated[StrictInt, Field(ge=0, le=1000)]
MAX_SUBNET_PREFIX, MIN_SUBNET_PREFIX = 24, 16


class Ci(Model):
    """Pipelines at GitHub that take a role by OIDC, each from one environment of one repository."""

    repository: GithubRepository = Field(description="OWNER/NAME; OWNER@ID/NAME@ID where GitHub sends immutable ids")
    environments: Mapping[EnvironmentName, Literal["preview", "up"]] = Field(
        min_length=1, description="environment -> what its jobs do: preview reads, up changes"
    )

    provider_is_there: Bool = Field(
        default=False, description="whether the account trusts GitHub already, by another stack or by hand"
    )
    state_bucket: BucketName | None = Field(default=None, description="bucket of the stack's state, if it is in S3")
    state_key_arn: KeyArn | None = Field(default=None, description="KMS key of the stack's secrets")


class AwsNetwork(Model):
    """The network of the pools: a new VPC of `cidr`, or subnets that are there already."""

    cidr: Cidr | None = Field(default=None, description="range of a new VPC, /16 to /24")
    vpc_id: VpcId | None = Field(default=None, description="a VPC that is there already")
    subnet_ids: Mapping[Zone, SubnetId] = Field(default_factory=dict, description="its subnets, by availability zone")
    nat: Literal["one", "perZone", "none"] = Field(
        default="one", description="how a new VPC reaches out: NAT gateways, or none and public addresses"
    )

    @property
    def public_addresses(self) -> bool:
        """Whether machines have public addresses: only where no NAT stands before them."""
        return self.nat == "none"


class Capacity(Model):
    """How a pool mixes spot and on-demand machines."""

    on_demand_base: Count = Field(default=0, description="so many machines first are on demand")
    spot_percent: Annotated[StrictInt, Field(ge=0, le=100)] = Field(
        default=100, description="part of all further machines that is spot"
    )


class NodePool(Model):
    """A group of equal machines at EC2 that join by themselves."""

    scaler: Literal["cluster-autoscaler", "karpenter", "none"] = Field(
        default="cluster-autoscaler", description="what changes the pool's size; none: `desired` alone"
    )
    instance_types: tuple[InstanceType, ...] = Field(min_length=1, description="types that may be taken")
    capacity: Capacity = Field(default=Capacity(), description="spot and on demand: {onDemandBase, spotPercent}")
    min: Count = Field(default=0, description="least number of machines")
    max: Count = Field(description="greatest number of machines")
    desired: Count | None = Field(
        default=None, description="number of machines; with an autoscaler only the first one, `min` when left out"
    )
    zones: tuple[Zone, ...] = Field(min_length=1, description="availability zones, such as [eu-central-1a]")
    image_id: ImageId = Field(description="the pool image, uploaded as AMI")
    disk_gib: Annotated[StrictInt, Field(ge=8, le=16384)] = Field(default=50, description="size of the disk")
    labels: Mapping[QualifiedName, LabelValue] = Field(default_factory=dict, description="labels of the nodes")
    taints: tuple[Taint, ...] = Field(default=(), description="taints of the nodes: {key, value, effect}")


class Aws(Model):
    """The AWS account of the cluster."""

    region: Region = Field(description="region of all that is not global, such as eu-central-1")
    account_id: AccountId = Field(description="number of the account; any other one is refused")
    endpoints: Mapping[Service, Endpoint] = Field(
        default_factory=dict, description="URLs of stand-ins on loopback addresses, by service; left out: the official"
    )
    credentials: Literal["webIdentity", "instanceProfile", "secret"] = Field(
        default="webIdentity",
        description="how controllers of pools prove themselves: by token, by the machine they run on, by a static key",
    )
    permissions_boundary: PolicyArn | None = Field(
        default=None, description="policy that bounds all our roles; left out: one is made"
    )
    signing_key_generation: Generation = Field(default=1, description="generation of the key that signs tokens")
    published_key_generation: Generation | None = Field(
        default=None, description="during a rotation: the other generation whose public key is published too"
    )
    hosted_zone_id: HostedZoneId | None = Field(
        default=None, description="Route 53 zone of cluster.issuerHost, where no tunnel has its zone"
    )
    ci: Ci | None = Field(default=None, description="pipelines that take a role: {repository, environments}")
    network: AwsNetwork | None = Field(default=None, description="network of the pools: {cidr} or {vpcId, subnetIds}")
    node_pools: Mapping[PoolName, NodePool] = Field(default_factory=dict, description="pools of machines, by name")

    @property
    def partition(self) -> str:
        """The part of AWS that the region belongs to, as ARNs have it."""
        prefixes = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}
        return next((part for prefix, part in prefixes.items() if self.region.startswith(prefix)), "aws")

    @property
    def key_generations(self) -> tuple[int, ...]:
        """The generations of signing keys in use: the one that signs, then the one that is published beside it."""
        other = self.published_key_generation
        return (self.signing_key_generation, *([other] if other else []))

    @property
    def zones(self) -> tuple[str, ...]:
        """The availability zones of all pools, sorted."""
        return tuple(sorted({zone for pool in self.node_pools.values() for zone in pool.zones}))


def covers(domain: str, host: str) -> bool:
    """Whether a DNS zone holds the name."""
    return addressing.is_domain(domain) and (host == domain or host.endswith(f".{domain}"))
