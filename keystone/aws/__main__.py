"""`python -m keystone.aws` prints the reference page of all rights, with `--stack STACK` the deployer's policy as JSON.

IAM takes 6144 characters in one policy: a larger one is printed as several documents, one line each.
"""

import argparse
import sys

from keystone import iam
from keystone.aws import deployer
from keystone.aws.page import page
from keystone.errors import KeystoneError
from keystone.settings import read


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m keystone.aws", description="What is wanted of an AWS account.")
    parser.add_argument("--stack", help="print the policy of who runs this stack's program")
    given = parser.parse_args(arguments)
    if given.stack is None:
        sys.stdout.write(page())
        return 0
    try:
        settings = read(given.stack)
        if settings.aws is None:
            raise KeystoneError(f"Pulumi.{given.stack}.yaml", "has no section aws", "Name a stack that has one")
    except KeystoneError as fault:
        sys.stderr.write(f"{fault}\n")
        return 1
    for document in deployer.documents(settings):
        sys.stdout.write(f"{iam.encoded(document)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
