"""Rules about the Cloudflare tunnel."""

from collections.abc import Iterator, Mapping

from keystone.settings.faults import Fault, did_you_mean
from keystone.settings.gitops import Gitops
from keystone.settings.hosts import Host
from keystone.settings.observability import Observability
from keystone.settings.tunnel import Tunnel


def public_names_have_policies(tunnel: Tunnel | None) -> Iterator[Fault]:
    for key, hostname in tunnel.hostnames.items() if tunnel else ():
        access = hostname.access
        if access is None or not (access.people or access.service_tokens):
            assert tunnel
            yield Fault(
                f"tunnel.hostnames.{key}.access",
                f"no policy says who may open {tunnel.name_of(key)}",
                "Name emails, emailDomains, groups or serviceTokens",
            )


def public_names_lead_to_one_place(tunnel: Tunnel | None) -> Iterator[Fault]:
    for key, hostname in tunnel.hostnames.items() if tunnel else ():
        if (hostname.origin is None) == (hostname.app is None):
            yield Fault(
                f"tunnel.hostnames.{key}",
                "leads nowhere" if hostname.origin is None else "has both an origin and an app",
                "Give origin: {namespace, service, port}, or app: grafana or argocd",
            )


def apps_run(tunnel: Tunnel | None, observability: Observability | None, gitops: Gitops) -> Iterator[Fault]:
    runs = {
        "grafana": (observability is not None, "Add observability: {}"),
        "argocd": (gitops.engine == "argocd", "Set gitops.engine to argocd"),
    }
    for key, hostname in tunnel.hostnames.items() if tunnel else ():
        there, cure = runs.get(hostname.app or "", (True, ""))
        if not there:
            yield Fault(
                f"tunnel.hostnames.{key}.app", f"{hostname.app} does not run here", f"{cure}, or remove the name"
            )


def access_names_known_tokens(tunnel: Tunnel | None) -> Iterator[Fault]:
    for key, hostname in tunnel.hostnames.items() if tunnel else ():
        for token in hostname.access.service_tokens if hostname.access else ():
            if tunnel and token not in tunnel.service_tokens:
                cure = did_you_mean(token, tunnel.service_tokens) if tunnel.service_tokens else ""
                yield Fault(
                    f"tunnel.hostnames.{key}.access.serviceTokens",
                    f"there is no service token {token}",
                    cure or f"Add tunnel.serviceTokens.{token}: {{}}",
                )


def groups_come_from_a_provider(tunnel: Tunnel | None) -> Iterator[Fault]:
    for key, hostname in tunnel.hostnames.items() if tunnel else ():
        if tunnel and tunnel.identity_provider is None and hostname.access and hostname.access.groups:
            yield Fault(
                f"tunnel.hostnames.{key}.access.groups",
                "a code by mail knows no groups",
                "Add tunnel.identityProvider, or name emails or emailDomains",
            )


def server_names_are_for_https(tunnel: Tunnel | None) -> Iterator[Fault]:
    for key, hostname in tunnel.hostnames.items() if tunnel else ():
        if hostname.origin and hostname.origin.server_name and hostname.origin.scheme != "https":
            yield Fault(
                f"tunnel.hostnames.{key}.origin.serverName",
                "http has no certificate that could hold a name",
                "Remove it, or set scheme to https",
            )


def rotations_say_when_the_old_secret_ends(tunnel: Tunnel | None) -> Iterator[Fault]:
    for name, token in tunnel.service_tokens.items() if tunnel else ():
        if (token.generation > 1) != (token.previous_until is not None):
            yield Fault(
                f"tunnel.serviceTokens.{name}.previousUntil",
                f"generation {token.generation} replaces a secret, and nothing says how long that one is accepted"
                if token.generation > 1
                else "generation 1 has no secret before it",
                "Give a moment like 2027-01-31T00:00:00Z" if token.generation > 1 else "Remove it, or raise generation",
            )


def ingress_nodes_are_nodes(tunnel: Tunnel | None, hosts: Mapping[str, Host]) -> Iterator[Fault]:
    nodes = sorted(name for name, host in hosts.items() if host.role != "edge")
    for index, name in enumerate(tunnel.ingress_nodes if tunnel else ()):
        if name not in nodes:
            yield Fault(
                f"tunnel.ingressNodes[{index}]",
                f"{name} is an edge, which is no node" if name in hosts else f"there is no host {name}",
                f"Take some of {', '.join(nodes)}",
            )


RULES = (
    public_names_have_policies,
    public_names_lead_to_one_place,
    apps_run,
    access_names_known_tokens,
    groups_come_from_a_provider,
    server_names_are_for_https,
    rotations_say_when_the_old_secret_ends,
    ingress_nodes_are_nodes,
)
