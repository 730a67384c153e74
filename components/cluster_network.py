"""The network above the plugin: load balancer with its pools, certificates, gateway, service mesh, DNS records.

The plugin itself is the host layer's: it is there before any pod, and nothing here may own it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from components.chart_release import install
from components.namespace_secret import with_secret
from components.thing import things
from keystone.charts import Release, network, objects, platform
from keystone.settings import Settings


@dataclass(frozen=True, kw_only=True)
class ClusterNetworkArgs:
    """`namespaces` are those that we made; `after` is what must be there before the first object."""

    settings: Settings
    releases: Mapping[str, Release]
    namespaces: Mapping[str, pulumi.Input[str]]
    after: pulumi.Resource
    acme_token: pulumi.Input[str] | None = None
    """The token that proves names to a public authority."""
    dns_key: pulumi.Input[str] | None = None
    """The token or key with which external-dns writes records."""


class ClusterNetwork(pulumi.ComponentResource):
    releases: Mapping[str, pulumi.Resource]
    """What stands for each installed chart of network and platform, by the release's name."""

    def __init__(self, name: str, args: ClusterNetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("keystone:components:ClusterNetwork", name, None, opts)
        settings = args.settings
        ours = {release.name for topic in (platform, network) for release in topic.releases(settings)}
        namespaces = dict(args.namespaces)
        manager = settings.platform.cert_manager if settings.platform else None
        if manager and manager.acme and args.acme_token is not None:
            namespaces[platform.CERT_MANAGER] = with_secret(
                f"{name}-{platform.ACME_SECRET}",
                platform.ACME_SECRET,
                {platform.ACME_SECRET_KEY: args.acme_token},
                namespace=args.namespaces[platform.CERT_MANAGER],
                parent=self,
            )
        if platform.EXTERNAL_DNS in ours and args.dns_key is not None:
            namespaces[platform.EXTERNAL_DNS] = with_secret(
                f"{name}-dns-provider",
                platform.DNS_SECRET,
                {platform.DNS_SECRET_KEY: args.dns_key},
                namespace=args.namespaces[platform.EXTERNAL_DNS],
                parent=self,
            )
        self.releases = install(
            [release for release in args.releases.values() if release.name in ours],
            settings.gitops,
            namespaces,
            parent=self,
            after={},
        )
        groups = {"pool": objects.pools, "issuer": objects.issuers, "gateway": objects.gateway}
        before: list[pulumi.Resource] = [args.after]
        for prefix, group in groups.items():
            made = things(
                f"{name}-{prefix}",
                group(settings),
                parent=self,
                namespaces=args.namespaces,
                releases=self.releases,
                # A gateway waits for the address of its pool and for its certificate.
                after=before,
            )
            before = [*before, *made[-1:]]
        self.register_outputs({})
