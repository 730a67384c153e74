"""DNS records that the world sees: in the tunnel's zone at Cloudflare, in a zone of Route 53, or made by the user."""

from typing import Any, Literal

import pulumi

from keystone.settings import Settings
from keystone.settings.aws import covers

TTL = 300


def where(settings: Settings) -> Literal["cloudflare", "route53", "user"]:
    """Who keeps the zone of the issuer's name."""
    host = settings.cluster.issuer_host or ""
    if settings.aws and settings.aws.hosted_zone_id:
        return "route53"
    if settings.tunnel and covers(settings.tunnel.zone, host):
        return "cloudflare"
    return "user"


def alias(
    name: str, settings: Settings, record: pulumi.Input[str], target: pulumi.Input[str], *, parent: pulumi.Resource
) -> pulumi.Resource | None:
    """A CNAME. None where the user makes it: then the log says what."""
    opts = pulumi.ResourceOptions(parent=parent)
    match where(settings):
        case "cloudflare":
            import pulumi_cloudflare as cloudflare  # takes seconds, and only these stacks need it

            assert settings.tunnel
            return cloudflare.DnsRecord(
                name,
                zone_id=settings.tunnel.zone_id,
                name=_without_dot(record),
                type="CNAME",
                content=_without_dot(target),
                # Proxied, Cloudflare would answer itself, and AWS would see another certificate.
                proxied=False,
                ttl=float(TTL),
                comment=f"Keystone cluster {settings.cluster.name}",
                opts=opts,
            )
        case "route53":
            from pulumi_aws import route53

            assert settings.aws
            assert settings.aws.hosted_zone_id
            return route53.Record(
                name,
                zone_id=settings.aws.hosted_zone_id,
                name=record,
                type="CNAME",
                ttl=TTL,
                records=[target],
                opts=opts,
            )
        case "user":
            pulumi.Output.all(record, target).apply(lambda pair: _ask(parent, *pair))
            return None


def _without_dot(text: pulumi.Input[str]) -> pulumi.Output[str]:
    return pulumi.Output.from_input(text).apply(lambda known: known.rstrip("."))


def _ask(parent: pulumi.Resource, record: Any, target: Any) -> None:
    pulumi.log.warn(f"Make this DNS record, or the update waits for it in vain: {record} CNAME {target}", parent)
