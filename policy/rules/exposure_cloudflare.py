"""What the tunnel and the zone show to the world. That each hostname has an application is a rule over the stack."""

from collections.abc import Mapping
from typing import Any

from judging.kinds import sdk
from judging.resource import Resource, is_list, is_map, is_true, read
from judging.rule import ABSENT, CRITICAL, HIGH, MEDIUM, Finding, Findings, rule, show

TUNNEL_CONFIG = sdk("pulumi_cloudflare", "ZeroTrustTunnelCloudflaredConfig", "TunnelConfig")
APPLICATION = sdk("pulumi_cloudflare", "ZeroTrustAccessApplication", "AccessApplication")
POLICY = sdk("pulumi_cloudflare", "ZeroTrustAccessPolicy", "AccessPolicy")
RECORD = sdk("pulumi_cloudflare", "DnsRecord", "Record")
# Types of applications that ask for a login before they pass a request on; a bookmark is but a link.
ASKING = (None, "self_hosted", "ssh", "vnc", "rdp")
TUNNEL_NAME = ".cfargotunnel.com"


@rule(
    "access-application-guarded",
    "An Access application has a policy, and its cookie is kept from scripts",
    APPLICATION,
    CRITICAL,
    cure="Give policies at least one, leave http_only_cookie_attribute on, and make the type self_hosted",
    reference="OWASP Top 10 2021, A01",
    guards={"policies": ([], ABSENT), "httpOnlyCookieAttribute": (False,)},
)
def application(it: Resource) -> Findings:
    if it.at("type") == "bookmark":
        return  # a link, which guards nothing and takes no policy
    if not list(it.each("policies")):
        yield Finding("policies", "empty", "without a policy nobody decides who comes in")
    if it.at("httpOnlyCookieAttribute") is False:
        yield Finding("httpOnlyCookieAttribute", "false", "scripts could take the session")


@rule(
    "access-policy-names-people",
    "An Access policy lets nobody past and names whom it lets in",
    POLICY,
    CRITICAL,
    cure="Set decision to allow or non_identity, and include groups, addresses or service tokens, never everyone",
    reference="OWASP Top 10 2021, A01",
    guards={"decision": ("bypass",), "includes": ([{"everyone": {}}], [], ABSENT)},
)
def policy(it: Resource) -> Findings:
    yield from _lets_in("", it.props)


@rule(
    "access-inline-policy-names-people",
    "A policy within an Access application lets nobody past and names whom it lets in",
    APPLICATION,
    CRITICAL,
    cure="Name a policy of its own by id, or set its decision to allow or non_identity and include groups, addresses "
    "or service tokens, never everyone",
    reference="OWASP Top 10 2021, A01",
    guards={
        "policies.0": (
            {"decision": "bypass", "includes": [{"everyone": {}}]},
            {"decision": "allow", "includes": [{"everyone": {}}]},
            {"decision": "allow"},
            {"precedence": 1},
        )
    },
)
def inline(it: Resource) -> Findings:
    for path, one in it.each("policies"):
        # An id alone names a policy of its own, which has a rule of its own; a preview does not know it yet.
        if is_map(one) and ("id" not in one or "decision" in one or "includes" in one):
            yield from _lets_in(f"{path}.", one)


def _lets_in(at: str, policy: Mapping[str, Any]) -> Findings:
    """What is wrong with whom a policy lets in. `at` is where it stands, with its last dot."""
    decision = policy.get("decision")
    if decision == "deny":
        return
    if decision not in ("allow", "non_identity"):
        yield Finding(f"{at}decision", show(decision), "it must be allow, non_identity or deny")
    includes = policy.get("includes")
    if not is_list(includes) or not includes:
        yield Finding(f"{at}includes", "empty", "it names nobody")
        return
    for index, one in enumerate(includes):
        for key in ("everyone", "anyValidServiceToken"):
            if key in one and one[key] is not None and one[key] is not False:
                yield Finding(f"{at}includes.{index}.{key}", "set", "it names nobody")
        address = read(one, "ip.ip")
        if isinstance(address, str) and address.endswith("/0"):
            yield Finding(f"{at}includes.{index}.ip.ip", address, "it names nobody")


@rule(
    "tunnel-ends-closed",
    "A tunnel checks its origins' certificates and answers unknown hostnames with 404",
    TUNNEL_CONFIG,
    HIGH,
    cure="Leave no_tls_verify off, and end the ingresses with {service: http_status:404}",
    reference="OWASP Top 10 2021, A05",
    guards={
        "config.ingresses.0.originRequest.noTlsVerify": (True,),
        "config.originRequest.noTlsVerify": (True,),
        "config.ingresses": ([{"hostname": "x.example.org", "service": "https://127.0.0.1:443"}], []),
    },
)
def tunnel(it: Resource) -> Findings:
    if is_true(it.at("config.originRequest.noTlsVerify")):
        yield Finding("config.originRequest.noTlsVerify", "true", "anybody could stand in for the origin")
    last: object = None
    for path, one in it.each("config.ingresses"):
        last = one
        if is_true((one.get("originRequest") or {}).get("noTlsVerify")):
            yield Finding(f"{path}.originRequest.noTlsVerify", "true", "anybody could stand in for the origin")
    if not last or last.get("hostname") or not str(last.get("service")).startswith("http_status:4"):  # type: ignore[attr-defined]
        yield Finding("config.ingresses", "without a closing entry", "the last must answer every other name with 404")


@rule(
    "tunnel-record-proxied",
    "Names of the tunnel are served by Cloudflare, which asks for the login",
    RECORD,
    HIGH,
    cure="Set proxied to true",
    reference="OWASP Top 10 2021, A01",
    guards={"proxied": (False, ABSENT)},
)
def record(it: Resource) -> Findings:
    target = it.at("content") or it.at("value")
    if isinstance(target, str) and target.endswith(TUNNEL_NAME) and it.at("proxied") is not True:
        yield Finding("proxied", show(it.at("proxied")), "a record that leads into a tunnel must be proxied")


STRICT = {"ssl": ("full", "strict"), "min_tls_version": ("1.2", "1.3"), "always_use_https": ("on",)}


@rule(
    "zone-tls",
    "The zone speaks TLS 1.2 or newer, to its origins too",
    sdk("pulumi_cloudflare", "ZoneSetting"),
    MEDIUM,
    cure="Set ssl to strict, min_tls_version to 1.2 and always_use_https to on",
    reference="OWASP Top 10 2021, A02",
    guards={"value": ("off", "flexible", ABSENT)},
)
def zone(it: Resource) -> Findings:
    setting = it.at("settingId")
    allowed = STRICT.get(str(setting))
    if allowed and it.at("value") not in allowed:
        yield Finding(f"value of {setting}", show(it.at("value")), f"it must be {' or '.join(allowed)}")


RULES = (application, policy, inline, tunnel, record, zone)
