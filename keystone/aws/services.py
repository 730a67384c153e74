"""Where the services of AWS answer, where the settings say so."""

from typing import Any, get_args

from keystone.settings import Aws
from keystone.settings.aws import Service

CLUSTER_TAG = "keystone-cluster"
"""On all that the program makes. No slash: EC2 refuses such tags where machines may see them."""
DEFAULT = "default"
ATTEMPTS = 5


def endpoints(aws: Aws) -> dict[str, str]:
    """The URL of each service that the program speaks to; none where the official ones answer."""
    every = aws.endpoints.get(DEFAULT)
    found = {name: aws.endpoints.get(name, every) for name in get_args(Service) if name != DEFAULT}
    return {name: url for name, url in found.items() if url}


def client(service: str, region: str, url: str | None) -> Any:
    """A client with the credentials of the surroundings. `url` is None where the official service answers."""
    import boto3  # takes a while, and few stacks need it
    from botocore.config import Config

    # One address has no room for a host name per bucket.
    s3 = {"addressing_style": "path"} if url else None
    config = Config(retries={"mode": "standard", "total_max_attempts": ATTEMPTS}, s3=s3)
    return boto3.client(service, region_name=region, endpoint_url=url, config=config)
