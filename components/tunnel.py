"""A Cloudflare tunnel into the cluster: its public names, who may open them, and cloudflared with its token."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pulumi
import pulumi_cloudflare as cloudflare
from pulumi_kubernetes.apps import v1 as apps
from pulumi_kubernetes.core import v1 as core
from pulumi_kubernetes.meta import v1 as meta
from pulumi_kubernetes.policy import v1 as budgets

from components.thing import thing
from keystone.charts import tunnel as manifests
from keystone.charts.release import pod_security
from keystone.settings import Access, Settings
from keystone.settings import Tunnel as TunnelSettings

DEPLOYMENT_LIMIT = "5m"
DNS_SUFFIX = "cfargotunnel.com"
AUTOMATIC_TTL = 1.0
END_DAYS = 30
"""So long before its end a service token is spoken of, or the last quarter of its time."""


@dataclass(frozen=True, kw_only=True)
class TunnelArgs:
    """`after` stands for the nodes and the platform; `namespaces` are those that we made and that deny by default.

    `monitors` stands for the kinds of Prometheus' operator, when the cluster has them.
    """

    settings: Settings
    tunnel: TunnelSettings
    after: pulumi.Resource
    identity_provider_secret: pulumi.Input[str] | None = None
    namespaces: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    monitors: pulumi.Resource | None = None


class Tunnel(pulumi.ComponentResource):
    """A higher generation makes a second tunnel with its own pods, then leads the names there, then ends the first."""

    service_tokens: Mapping[str, pulumi.Output[dict[str, str]]]
    """Secret. Id and secret of each service token, for the headers CF-Access-Client-Id and CF-Access-Client-Secret."""

    def __init__(self, name: str, args: TunnelArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("keystone:components:Tunnel", name, None, opts)
        tunnel = args.tunnel
        edge = cloudflare.ZeroTrustTunnelCloudflared(
            f"{name}-{tunnel.generation}",
            account_id=tunnel.account_id,
            name=manifests.tunnel_name(args.settings, tunnel),
            config_src="cloudflare",
            opts=pulumi.ResourceOptions(parent=self),
        )
        tokens = self._service_tokens(name, args)
        applications = self._applications(name, args, tokens)
        config = cloudflare.ZeroTrustTunnelCloudflaredConfig(
            f"{name}-{tunnel.generation}-config",
            account_id=tunnel.account_id,
            tunnel_id=edge.id,
            config=_config(tunnel, applications),
            opts=pulumi.ResourceOptions(parent=self),
        )
        running = self._cloudflared(name, args, edge)
        for key in sorted(tunnel.hostnames):
            cloudflare.DnsRecord(
                f"{name}-dns-{key}",
                zone_id=tunnel.zone_id,
                name=tunnel.name_of(key),
                type="CNAME",
                content=pulumi.Output.concat(edge.id, ".", DNS_SUFFIX),
                proxied=True,
                ttl=AUTOMATIC_TTL,
                comment=f"Keystone cluster {args.settings.cluster.name}",
                opts=pulumi.ResourceOptions(
                    parent=self,
                    # A name appears last, when its login guards it and its tunnel is connected.
                    depends_on=[applications[key], config, running],
                ),
            )
        self.service_tokens = {
            key: pulumi.Output.secret(pulumi.Output.all(clientId=token.client_id, clientSecret=token.client_secret))
            for key, token in tokens.items()
        }
        self.register_outputs({})

    def _service_tokens(self, name: str, args: TunnelArgs) -> dict[str, cloudflare.ZeroTrustAccessServiceToken]:
        found = {}
        for key, token in sorted(args.tunnel.service_tokens.items()):
            # The provider takes generation and end of the old secret together or not at all.
            rotated = token.generation if token.previous_until else None
            found[key] = cloudflare.ZeroTrustAccessServiceToken(
                f"{name}-token-{key}",
                account_id=args.tunnel.account_id,
                name=f"{args.settings.cluster.name}-{key}",
                duration=f"{token.valid_days * 24}h",
                client_secret_version=rotated,
                previous_client_secret_expires_at=token.previous_until,
                opts=pulumi.ResourceOptions(parent=self, additional_secret_outputs=["clientSecret"]),
            )
            found[key].expires_at.apply(lambda moment, key=key, token=token: _tell(key, moment, token.valid_days, self))
        return found

    def _applications(
        self, name: str, args: TunnelArgs, tokens: Mapping[str, cloudflare.ZeroTrustAccessServiceToken]
    ) -> dict[str, cloudflare.ZeroTrustAccessApplication]:
        tunnel, provider = args.tunnel, self._identity_provider(name, args)
        found = {}
        for key, hostname in sorted(tunnel.hostnames.items()):
            access = hostname.access
            assert access is not None, "the settings refuse a name without a policy"
            session = f"{hostname.session_hours}h"
            rules = _rules(access, tokens, provider)
            policies = [
                cloudflare.ZeroTrustAccessPolicy(
                    f"{name}-policy-{key}-{who}",
                    account_id=tunnel.account_id,
                    name=f"{args.settings.cluster.name}-{key}-{who}",
                    decision=decision,
                    includes=includes,
                    session_duration=session,
                    opts=pulumi.ResourceOptions(parent=self),
                )
                for who, (decision, includes) in rules.items()
            ]
            found[key] = cloudflare.ZeroTrustAccessApplication(
                f"{name}-application-{key}",
                account_id=tunnel.account_id,
                name=f"{args.settings.cluster.name}-{key}",
                type="self_hosted",
                domain=tunnel.name_of(key),
                session_duration=session,
                http_only_cookie_attribute=True,
                app_launcher_visible=access.people,
                # A program without its token gets 401 and no login page.
                service_auth401_redirect=not access.people,
                allowed_idps=[provider.id] if provider else None,
                auto_redirect_to_identity=True if provider and access.people else None,
                policies=[
                    cloudflare.ZeroTrustAccessApplicationPolicyArgs(id=policy.id, precedence=number)
                    for number, policy in enumerate(policies, 1)
                ],
                opts=pulumi.ResourceOptions(parent=self),
            )
        return found

    def _identity_provider(self, name: str, args: TunnelArgs) -> cloudflare.ZeroTrustAccessIdentityProvider | None:
        choice = args.tunnel.identity_provider
        if choice is None:
            return None
        secret = args.identity_provider_secret
        assert secret is not None, "the settings want a secret for an identity provider"
        return cloudflare.ZeroTrustAccessIdentityProvider(
            f"{name}-login",
            account_id=args.tunnel.account_id,
            name=choice.name,
            type="oidc",
            config=cloudflare.ZeroTrustAccessIdentityProviderConfigArgs(
                client_id=choice.client_id,
                # The SDK does not mark it.
                client_secret=pulumi.Output.secret(secret),
                auth_url=choice.auth_url,
                token_url=choice.token_url,
                certs_url=choice.certs_url,
                scopes=list(choice.scopes),
                claims=["groups"],
                pkce_enabled=True,
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _cloudflared(self, name: str, args: TunnelArgs, edge: cloudflare.ZeroTrustTunnelCloudflared) -> apps.Deployment:
        tunnel, own = args.tunnel, pulumi.ResourceOptions(parent=self)
        prefix = f"{name}-{tunnel.generation}"
        namespace = core.Namespace(
            f"{name}-namespace",
            metadata=meta.ObjectMetaArgs(
                name=manifests.NAMESPACE,
                labels=pod_security("restricted"),
            ),
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[args.after],  # a destroy removes it while the nodes still run
            ),
        )
        spaces = {**args.namespaces, manifests.NAMESPACE: namespace.metadata["name"]}
        closed = [
            thing(f"{name}-policy-{it.namespace}-{it.name}", it, parent=self, namespace=spaces[it.namespace or ""])
            for it in manifests.network_policies(args.settings, tunnel, set(args.namespaces))
        ]
        token = cloudflare.get_zero_trust_tunnel_cloudflared_token_output(
            account_id=tunnel.account_id, tunnel_id=edge.id, opts=pulumi.InvokeOutputOptions(parent=self)
        ).token
        metadata = meta.ObjectMetaArgs(
            name=manifests.object_name(tunnel),
            namespace=spaces[manifests.NAMESPACE],
            labels=manifests.labels(tunnel),
        )
        secret = core.Secret(
            f"{prefix}-secret",
            metadata=metadata,
            # The SDK does not mark it.
            string_data={manifests.TOKEN_KEY: pulumi.Output.secret(token)},
            opts=own,
        )
        if args.monitors:
            thing(
                f"{name}-monitor",
                manifests.monitor(),
                parent=self,
                after=[args.monitors],
                namespace=spaces[manifests.NAMESPACE],
            )
        budgets.PodDisruptionBudget(
            f"{prefix}-budget",
            metadata=metadata,
            spec=cast(Any, manifests.disruption_budget(tunnel)),
            opts=own,
        )
        return apps.Deployment(
            f"{prefix}-cloudflared",
            metadata=metadata,
            spec=cast(Any, manifests.deployment(args.settings, tunnel)),
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[secret, *closed],  # no pod runs before its token is there and its network is closed
                custom_timeouts=pulumi.CustomTimeouts(create=DEPLOYMENT_LIMIT, update=DEPLOYMENT_LIMIT),
            ),
        )


def _tell(key: str, moment: str | None, valid_days: int, where: pulumi.Resource) -> None:
    """Say that a service token ends soon. Nothing renews it, and the programs that have it are shut out then."""
    ends = datetime.fromisoformat(moment) if moment else None
    if ends and ends - datetime.now(UTC) < timedelta(days=min(END_DAYS, valid_days // 4)):
        pulumi.log.warn(
            f"the service token {key} ends on {ends:%Y-%m-%d}. Refresh it at Cloudflare (Zero Trust, Access, Service "
            "credentials), which keeps its secret, then refresh the stack",
            where,
        )


def _config(
    tunnel: TunnelSettings, applications: Mapping[str, cloudflare.ZeroTrustAccessApplication]
) -> cloudflare.ZeroTrustTunnelCloudflaredConfigConfigArgs:
    """Where each name leads. cloudflared itself checks the login too, should the application ever be removed."""
    ingresses = [
        cloudflare.ZeroTrustTunnelCloudflaredConfigConfigIngressArgs(
            hostname=tunnel.name_of(key),
            service=manifests.service_url(manifests.origin(hostname)),
            origin_request=cloudflare.ZeroTrustTunnelCloudflaredConfigConfigIngressOriginRequestArgs(
                access=cloudflare.ZeroTrustTunnelCloudflaredConfigConfigIngressOriginRequestAccessArgs(
                    required=True, team_name=tunnel.team, aud_tags=[applications[key].aud]
                ),
                origin_server_name=manifests.origin(hostname).server_name,
            ),
        )
        for key, hostname in sorted(tunnel.hostnames.items())
    ]
    last = cloudflare.ZeroTrustTunnelCloudflaredConfigConfigIngressArgs(service=manifests.CATCH_ALL)
    return cloudflare.ZeroTrustTunnelCloudflaredConfigConfigArgs(ingresses=[*ingresses, last])


def _rules(
    access: Access,
    tokens: Mapping[str, cloudflare.ZeroTrustAccessServiceToken],
    provider: cloudflare.ZeroTrustAccessIdentityProvider | None,
) -> dict[str, tuple[str, list[cloudflare.ZeroTrustAccessPolicyIncludeArgs]]]:
    """The policies of a name: who -> decision and whom it includes."""
    include = cloudflare.ZeroTrustAccessPolicyIncludeArgs
    programs = [
        include(service_token=cloudflare.ZeroTrustAccessPolicyIncludeServiceTokenArgs(token_id=tokens[key].id))
        for key in access.service_tokens
    ]
    people = [
        *(include(email=cloudflare.ZeroTrustAccessPolicyIncludeEmailArgs(email=mail)) for mail in access.emails),
        *(
            include(email_domain=cloudflare.ZeroTrustAccessPolicyIncludeEmailDomainArgs(domain=domain))
            for domain in access.email_domains
        ),
    ]
    if provider:
        people += [
            include(
                oidc=cloudflare.ZeroTrustAccessPolicyIncludeOidcArgs(
                    claim_name="groups", claim_value=group, identity_provider_id=provider.id
                )
            )
            for group in access.groups
        ]
    rules = {"programs": ("non_identity", programs), "people": ("allow", people)}
    return {who: rule for who, rule in rules.items() if rule[1]}
