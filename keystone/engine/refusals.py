"""What to do where a cloud refuses: worked out from the errors of its plugin, which end in the cloud's own words.

The aws plugin (terraform-provider-aws) writes `..., CODE: words` or `..., api error CODE: words`; the cloudflare plugin
writes the answer as it came, `{"errors": [{"code": NUMBER, ...}]}`.
"""

import re
from collections.abc import Mapping
from typing import Any

from keystone.wire import name_of, provider_of

WORD = re.compile(r"[\w.]+(?=: )")
NUMBER = re.compile(r'"code": ?(\d+)')
CREDENTIALS = {
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "UnrecognizedClientException",
}
NO_CREDENTIALS = re.compile(
    r"[Nn]o valid credential|failed to refresh cached credentials|[Uu]nable to locate credentials"
)
DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}
QUOTA = re.compile(r"LimitExceeded|QuotaExceeded|TooMany(Buckets|Distributions)")
TAKEN = {
    "AlreadyExists",
    "AlreadyExistsException",
    "AlreadyExistsFault",
    "BucketAlreadyExists",
    "BucketAlreadyOwnedByYou",
    "CNAMEAlreadyExists",
    "EntityAlreadyExists",
    "EntityAlreadyExistsException",
    "InvalidGroup.Duplicate",
    "InvalidLaunchTemplateName.AlreadyExistsException",
    "InvalidPermission.Duplicate",
    "OriginAccessControlAlreadyExists",
    "ParameterAlreadyExists",
    "QueueAlreadyExists",
    "QueueNameExists",
    "Resource.AlreadyAssociated",
    "RouteAlreadyExists",
}
# Tunnels, records (of another type, the same, identical) and applications.
TAKEN_AT_CLOUDFLARE = {"1013", "81053", "81057", "81058", "11010"}
TOKEN = {"6003", "9106", "9109", "10000"}
TOKEN_STATUS = re.compile(r'": 40[13] ')
AWS_LOGIN = (
    "AWS refuses the credentials: they are wrong or have expired. Log in again (`aws sso login`, or the CI's OIDC step)"
)
AWS_RIGHT = "The credentials lack this right: docs/reference/aws-rights.md has all that are needed"
AWS_QUOTA = "A quota of the account is reached: raise it in the Service Quotas console, or remove what is unused"
CLOUDFLARE_TOKEN = (
    "Cloudflare refuses the API token: it is wrong, has expired or lacks a permission of docs/operations/tunnel.md"
)


def taken(kind: str, text: str) -> bool:
    """Whether a create failed because there is something of that name already."""
    match _cloud(kind):
        case "aws":
            # Route 53 has one code for all faults of a change.
            return bool(TAKEN & set(WORD.findall(text))) or ("InvalidChangeBatch" in text and "already exists" in text)
        case "cloudflare":
            return bool(TAKEN_AT_CLOUDFLARE & set(NUMBER.findall(text)))
    return False


def cure(kind: str, text: str) -> str:
    """What to do about an error; empty where its own words say enough."""
    match _cloud(kind):
        case "aws":
            codes = set(WORD.findall(text))
            if codes & CREDENTIALS or NO_CREDENTIALS.search(text):
                return AWS_LOGIN
            if codes & DENIED:
                return AWS_RIGHT
            return AWS_QUOTA if any(QUOTA.search(code) for code in codes) else ""
        case "cloudflare":
            return CLOUDFLARE_TOKEN if TOKEN & set(NUMBER.findall(text)) or TOKEN_STATUS.search(text) else ""
    return ""


def takeover(resource: Mapping[str, Any], identity: str | None) -> list[str]:
    """The lines about a taken name: `identity` is what `pulumi import` takes, None where it is not known.

    Without its parent and its provider, the next update would take the object for another resource and delete it.
    """
    words = [f"'{resource['type']}'", f"'{name_of(resource['urn'])}'", f"'{identity or 'ITS-ID'}'"]
    parent, provider = resource.get("parent") or "", resource.get("provider") or ""
    if parent and "::pulumi:pulumi:Stack::" not in parent:
        words.append(f"--parent '{name_of(parent)}={parent}'")
    if provider:
        urn = provider_of(provider)
        words.append(f"--provider '{name_of(urn)}={urn}'")
    return [
        "cure: something that this stack did not make has the name. Remove it, or let the stack take it over:",
        f"  pulumi import {' '.join(words)}",
    ]


def _cloud(kind: str) -> str:
    return kind.removeprefix("pulumi:providers:").partition(":")[0]
