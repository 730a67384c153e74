"""Names at AWS that follow from the settings alone, so that machines can be told of them before they exist."""

from keystone import iam
from keystone.settings import Aws, Settings

SYSTEM_NAMESPACE = "keystone-system"
POOL_KEYS = "pool-keys"
"""Service account and role of the timer on the Primer that mints mesh keys."""
MESH_KEY, AGENT_TOKEN = "mesh-key", "agent-token"
CERTIFICATE_REGION = "us-east-1"
"""Where CloudFront looks for certificates, wherever the rest is."""


def chosen(settings: Settings) -> Aws:
    """The section `aws`, which the caller knows to be there."""
    assert settings.aws is not None, "the settings have no section aws"
    return settings.aws


def issuer_host(settings: Settings) -> str:
    """The issuer's name, which a rule of the settings wants where there is a section `aws`."""
    host = settings.cluster.issuer_host
    assert host is not None, "the settings want an issuer for aws"
    return host


def key_alias(settings: Settings) -> str:
    """The customer key of all that we encrypt at AWS: disks, parameters, queues, the issuer's bucket."""
    return f"alias/keystone-{settings.cluster.name}"


def prefix(settings: Settings) -> str:
    """Where all our SSM parameters lie."""
    return f"/keystone/{settings.cluster.name}"


def pool_prefix(settings: Settings, pool: str) -> str:
    """Where the parameters of one pool lie: its machines read them, and no others."""
    return f"{prefix(settings)}/pools/{pool}"


def arn(settings: Settings, service: str, rest: str) -> str:
    """The ARN of something in our account and region."""
    aws = chosen(settings)
    return f"arn:{aws.partition}:{service}:{aws.region}:{aws.account_id}:{rest}"


def iam_arn(settings: Settings, rest: str) -> str:
    """The ARN of something of IAM in our account: IAM has no regions."""
    aws = chosen(settings)
    return f"arn:{aws.partition}:iam::{aws.account_id}:{rest}"


def parameter_arn(settings: Settings, name: str) -> str:
    """The ARN of a parameter, or of all below a prefix that ends in `/*`."""
    return arn(settings, "ssm", f"parameter{name}")


def role_arn(settings: Settings, what: str) -> str:
    """The ARN of one of our roles."""
    aws = chosen(settings)
    return iam.role_arn(aws.partition, aws.account_id, settings.cluster.name, what)


def boundary_arn(settings: Settings) -> str:
    """The ARN of the policy that bounds all our roles."""
    return chosen(settings).permissions_boundary or iam_arn(
        settings, f"policy{iam.path(settings.cluster.name)}boundary"
    )


def provider_arn(settings: Settings) -> str:
    """The ARN of the provider by which AWS trusts the cluster."""
    return iam_arn(settings, f"oidc-provider/{issuer_host(settings)}")


def bucket_arn(settings: Settings, what: str) -> str:
    """The ARN of a bucket of ours."""
    return f"arn:{chosen(settings).partition}:s3:::{bucket(settings, what)}"


def bucket_domain(settings: Settings, what: str) -> str:
    """Where S3 serves a bucket of ours, to those whom it allows."""
    return f"{bucket(settings, what)}.s3.{chosen(settings).region}.amazonaws.com"


def bucket(settings: Settings, what: str) -> str:
    """The name of a bucket: they share one namespace in all accounts, so it holds account and region."""
    aws = chosen(settings)
    return f"{_bucket_prefix(settings)}{what}-{aws.account_id}-{aws.region}"


def bucket_arns(settings: Settings) -> tuple[str, ...]:
    """The ARNs of all our buckets and their objects: by how we name them, and the one that the user has named."""
    root, own = f"arn:{chosen(settings).partition}:s3:::", settings.backup.bucket if settings.backup else None
    return (f"{root}{_bucket_prefix(settings)}*", *((f"{root}{own}", f"{root}{own}/*") if own else ()))


def _bucket_prefix(settings: Settings) -> str:
    return f"keystone-{settings.cluster.name[:18].rstrip('-')}-"
