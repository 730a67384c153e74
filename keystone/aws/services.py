"""Where the services of AWS answer, where the settings say so."""

from typing import get_args

from keystone.settings import Aws
from keystone.settings.aws import Service

CLUSTER_TAG = "keystone-cluster"
"""On all that the program makes. No slash: EC2 refuses such tags where machines may see them."""
DEFAULT = "default"


def endpoints(aws: Aws) -> dict[str, str]:
    """The URL of each service that the program speaks to; none where the official ones answer."""
    every = aws.endpoints.get(DEFAULT)
    found = {name: aws.endpoints.get(name, every) for name in get_args(Service) if name != DEFAULT}
    return {name: url for name, url in found.items() if url}
