"""What an interrupted update may have made at a cloud: whether making it again is safe, else how to find its id.

An object is taken for ours only if everything that tells it apart is as the update asked for it.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from keystone.engine import at_aws
from keystone.errors import KeystoneError
from keystone.settings.tunnel import OFFICIAL_API
from keystone.wire import name_of

REPEATED = ("command:", "kubernetes:", "keystone:", "pulumi:")
"""Creating one of these a second time adopts what is there: our commands look first, Kubernetes objects are applied by
the server, providers and components exist only in the state."""
REQUEST_SECONDS = 30
PER_PAGE = 100
PAGES = 50
_CF, _ACCESS = "cloudflare:index/", "zeroTrustAccess"
TUNNEL_CONFIG = f"{_CF}zeroTrustTunnelCloudflaredConfig:ZeroTrustTunnelCloudflaredConfig"
SERVICE_TOKEN = f"{_CF}{_ACCESS}ServiceToken:ZeroTrustAccessServiceToken"
# Each is one call that writes the whole of a setting: the second one finds the first one's value and writes it again.
WRITTEN_WHOLE = {
    TUNNEL_CONFIG,
    "aws:cloudwatch/eventRule:EventRule",
    "aws:cloudwatch/eventTarget:EventTarget",
    "aws:autoscaling/lifecycleHook:LifecycleHook",
    "aws:iam/rolePolicy:RolePolicy",
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
    "aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration",
    "aws:s3/bucketObjectv2:BucketObjectv2",
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
    "aws:s3/bucketPolicy:BucketPolicy",
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
    "aws:s3/bucketVersioning:BucketVersioning",
    "aws:sqs/queuePolicy:QueuePolicy",
    "aws:acm/certificateValidation:CertificateValidation",
}


@dataclass(frozen=True)
class Listed:
    """A kind that Cloudflare lists: where, and what of an object has to be as the inputs of that name say."""

    path: str
    same: Mapping[str, str]
    query: tuple[str, ...] = ()
    unique: str = ""
    """What no two may have alike, where there is such a thing."""
    prefix: str = ""
    """What `pulumi import` wants before OWNER/ID."""


LISTED = {
    f"{_CF}zeroTrustTunnelCloudflared:ZeroTrustTunnelCloudflared": Listed(
        "/accounts/{accountId}/cfd_tunnel", {"name": "name", "configSrc": "config_src"}, ("is_deleted=false",), "name"
    ),
    f"{_CF}dnsRecord:DnsRecord": Listed(
        "/zones/{zoneId}/dns_records", {"name": "name", "type": "type", "content": "content"}, unique="name"
    ),
    f"{_CF}{_ACCESS}Application:ZeroTrustAccessApplication": Listed(
        "/accounts/{accountId}/access/apps", {"name": "name", "domain": "domain"}, (), "domain", "accounts/"
    ),
    f"{_CF}{_ACCESS}Policy:ZeroTrustAccessPolicy": Listed(
        "/accounts/{accountId}/access/policies", {"name": "name", "decision": "decision"}
    ),
    f"{_CF}{_ACCESS}IdentityProvider:ZeroTrustAccessIdentityProvider": Listed(
        "/accounts/{accountId}/access/identity_providers", {"name": "name", "type": "type"}
    ),
}


@dataclass(frozen=True, kw_only=True)
class Pending:
    """A create that was interrupted: its resource, and the inputs of both resource and provider, secrets in plain."""

    urn: str
    kind: str
    inputs: Mapping[str, Any]
    provider: Mapping[str, Any]
    held: frozenset[str] = frozenset()
    """Ids that the state has already: what a replacement is to follow looks like it."""

    @property
    def name(self) -> str:
        return name_of(self.urn)


def repeatable(kind: str) -> bool:
    """Whether creating it a second time neither fails nor makes a second one."""
    return kind.startswith(REPEATED) or kind in WRITTEN_WHOLE


def find(pending: Pending, say: Callable[[str], None]) -> str | None:
    """The id of what the interrupted create may have made; None when it is to be created again.

    Raises KeystoneError when only a person can tell.
    """
    if pending.kind == SERVICE_TOKEN:
        # Its secret is told once, to the update that was killed: nobody can use this one.
        name = pending.inputs.get("name", pending.name)
        say(f"warning: the service token {name} may be at Cloudflare twice now: remove the one that was never used")
        return None
    if pending.kind in LISTED:
        found = _at_cloudflare(LISTED[pending.kind], pending)
    elif pending.kind in at_aws.KINDS:
        found = _at_aws(pending)
    else:
        raise doubt(pending.urn, "and may exist")
    found = [one for one in found if one not in pending.held]
    if len(found) > 1:
        raise doubt(pending.urn, f"and there are {len(found)} of that name")
    return found[0] if found else None


def _at_cloudflare(listed: Listed, pending: Pending) -> list[str]:
    wanted = {theirs: pending.inputs.get(ours) for ours, theirs in listed.same.items()}
    return [
        str(one["id"]) for one in _list(listed, pending) if all(one.get(key) == item for key, item in wanted.items())
    ]


def _at_aws(pending: Pending) -> list[str]:
    """Something foreign is left alone: the create says then that the name is taken."""
    try:
        found = dict(at_aws.look(pending.kind, pending.inputs, pending.provider))
    except KeyError:  # nothing to look for it by was asked for
        raise doubt(pending.urn, "and may exist") from None
    if None in found.values():
        raise doubt(pending.urn, "and nothing tells whether what is there is ours")
    return [one for one, ours in found.items() if ours]


def owner(pending: Pending) -> str | None:
    """What `pulumi import` takes of the object that has the name which a create wanted, whosever it is.

    Raises KeystoneError when its cloud does not tell.
    """
    given = pending.inputs
    if pending.kind in LISTED and (unique := LISTED[pending.kind].unique):
        listed = LISTED[pending.kind]
        found = [one["id"] for one in _list(listed, pending) if one.get(unique) == given.get(unique)]
        return f"{listed.prefix}{given.get('zoneId') or given['accountId']}/{found[0]}" if found else None
    if pending.kind in at_aws.KINDS:
        with contextlib.suppress(KeyError):  # what it would be looked for by
            return at_aws.owner(pending.kind, given, pending.provider)
    return None


def doubt(urn: str, why: str) -> KeystoneError:
    """What a person has to find out."""
    return KeystoneError(
        urn,
        f"was being created when the last update was interrupted, {why}",
        f"If it does, type `keystone refresh --adopt {urn}=ITS-ID`; if not, `pulumi refresh --clear-pending-creates`",
    )


def _list(listed: Listed, pending: Pending) -> Iterator[dict[str, Any]]:
    """All objects of a kind. Raises KeystoneError in one line when Cloudflare does not tell."""
    token = pending.provider.get("apiToken") or os.environ.get("CLOUDFLARE_API_TOKEN", "")
    base = str(pending.provider.get("baseUrl") or OFFICIAL_API).rstrip("/")
    url = base + listed.path.format(**pending.inputs)
    query = dict(one.split("=") for one in listed.query)
    with httpx.Client(headers={"Authorization": f"Bearer {token}"}, timeout=REQUEST_SECONDS) as http:
        for page in range(1, PAGES + 1):
            try:
                answer = http.get(url, params={**query, "page": page, "per_page": PER_PAGE})
                found = answer.raise_for_status().json()["result"]
            except (httpx.HTTPError, ValueError, KeyError) as error:
                problem = f"cannot tell whether {pending.name} exists, which the last update was creating: {error}"
                raise KeystoneError(url, problem.partition("\n")[0], "Run it again once Cloudflare answers") from None
            yield from found
            if len(found) < PER_PAGE:
                return
