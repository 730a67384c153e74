"""The clouds that the settings choose, each with its provider: the tunnel at Cloudflare, the account at AWS.

Their SDKs take seconds to import, so a cluster without a cloud imports none.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi import ProviderResource as Provider

import providers
from components.cluster_base import ClusterBase
from components.platform import Platform
from keystone import charts
from keystone.charts import ceph, observability, operators, storage
from keystone.settings import Secrets, Settings

if TYPE_CHECKING:
    from components.aws_account import AwsAccount


class Clouds:
    def __init__(
        self, settings: Settings, secrets: Secrets, base: ClusterBase, platform: Platform, kubernetes: Provider
    ) -> None:
        self.settings, self.secrets = settings, secrets
        self.base, self.platform, self.kubernetes = base, platform, kubernetes
        self.operators: list[pulumi.Resource] = []
        """What in the cluster makes things at clouds, when the account is made."""

    @cached_property
    def _cloudflare(self) -> list[Provider]:
        """The provider of the tunnel's zone, where there is one: the issuer's name may lie in it too."""
        if self.settings.tunnel is None:
            return []
        token = self.secrets.cloudflare_token
        assert token is not None, "the settings want a token for a tunnel"
        return [providers.cloudflare(token, self.settings.tunnel)]

    def account(self) -> "AwsAccount | None":
        """What the cluster has at AWS."""
        aws = self.settings.aws
        if aws is None:
            self._pools_elsewhere({})
            return None
        from components.aws_account import AwsAccount, AwsAccountArgs

        args = AwsAccountArgs(
            settings=self.settings,
            root=self.secrets.root,
            namespace=self.base.namespace,
            namespaces=self.platform.namespaces,
            releases=self.platform.releases,
        )
        given = [self.kubernetes, providers.aws(aws, self.settings.cluster.name), *self._cloudflare]
        inside = pulumi.ResourceOptions(providers=given)
        account = AwsAccount("aws", args, opts=inside)
        self._pools_elsewhere(self._operators(account, inside))
        self._backup(account, inside)
        return account

    def _operators(self, account: "AwsAccount", inside: pulumi.ResourceOptions) -> Mapping[str, pulumi.Resource]:
        """What in the cluster makes things at clouds, where something is chosen that does."""
        if not (operators.chosen(self.settings) or storage.with_roles(self.settings)):
            return {}
        from components.aws_operators import AwsOperators, AwsOperatorsArgs

        args = AwsOperatorsArgs(
            settings=self.settings,
            releases=charts.releases(self.settings),
            namespaces=self.platform.namespaces,
            identity=account.trust,
            key_arn=account.key_arn,
            webhook=account.webhook,
        )
        made = AwsOperators("operators", args, opts=inside)
        self.operators.append(made)
        return made.releases

    def _pools_elsewhere(self, installed: Mapping[str, pulumi.Resource]) -> None:
        """Pools at other clouds."""
        if self.settings.clouds is None:
            return
        from components.cloud_pools import CloudPools, CloudPoolsArgs

        args = CloudPoolsArgs(
            settings=self.settings,
            releases=charts.releases(self.settings),
            namespaces=self.platform.namespaces,
            after=installed,
            root=self.secrets.root,
            hetzner_token=self.secrets.hetzner,
        )
        CloudPools("pools", args, opts=pulumi.ResourceOptions(providers=[self.kubernetes]))

    def _backup(self, account: "AwsAccount", inside: pulumi.ResourceOptions) -> None:
        """Copies off the site."""
        backup = self.settings.backup
        if backup is None:
            return
        from components.backup import Backup, BackupArgs

        args = BackupArgs(
            settings=self.settings,
            backup=backup,
            stack=pulumi.get_stack(),
            identity=account.trust,
            root=self.secrets.root,
            after=self.base.ready,
            object_store=self.platform.releases.get(ceph.CLUSTER),
        )
        Backup("backup", args, opts=inside)

    def service_tokens(self) -> Any:
        """Makes the tunnel; what programs pass its logins with."""
        tunnel = self.settings.tunnel
        if tunnel is None:
            return {}
        from components.tunnel import Tunnel, TunnelArgs

        args = TunnelArgs(
            settings=self.settings,
            tunnel=tunnel,
            after=self.base.ready,
            identity_provider_secret=self.secrets.identity_provider,
            namespaces=self.platform.namespaces,
            monitors=self.platform.releases.get(observability.STACK),
        )
        given = pulumi.ResourceOptions(providers=[self.kubernetes, *self._cloudflare])
        return Tunnel("tunnel", args, opts=given).service_tokens
