"""All that the cluster has at AWS: its key, its identity, and the pools of machines with what decides about them."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from components.aws_controllers import AwsControllers, AwsControllersArgs
from components.aws_identity import AwsIdentity, AwsIdentityArgs
from components.aws_key import AwsKey, AwsKeyArgs
from components.aws_network import AwsNetwork, AwsNetworkArgs
from components.aws_node_pool import AwsNodePool, AwsNodePoolArgs
from components.chart_release import ChartRelease, ChartReleaseArgs
from components.workload_role import Trust
from keystone import charts
from keystone.aws import names
from keystone.charts import aws
from keystone.settings import Settings


@dataclass(frozen=True, kw_only=True)
class AwsAccountArgs:
    """`namespace` is Keystone's own, `namespaces` those of charts, `releases` what stands for each installed chart."""

    settings: Settings
    root: pulumi.Input[str]
    namespace: pulumi.Input[str]
    namespaces: Mapping[str, pulumi.Input[str]]
    releases: Mapping[str, pulumi.Resource]


class AwsAccount(pulumi.ComponentResource):
    trust: Trust
    """For those who make roles."""
    key_arn: pulumi.Output[str]
    webhook: pulumi.Resource
    """Stands for what hands out roles to pods."""
    pipelines: Mapping[str, pulumi.Output[str]]
    """The role of each kind of pipeline."""

    def __init__(self, name: str, args: AwsAccountArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("keystone:components:AwsAccount", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        key = AwsKey(f"{name}-key", AwsKeyArgs(settings=args.settings), opts=child)
        self.key_arn = key.arn
        identity = AwsIdentity(
            f"{name}-identity",
            AwsIdentityArgs(
                settings=args.settings,
                root=args.root,
                key_arn=key.arn,
                key_alias=key.alias,
                namespace=args.namespace,
            ),
            opts=child,
        )
        self.trust, self.pipelines = identity.trust, identity.pipelines
        release = charts.releases(args.settings)[aws.WEBHOOK]
        self.webhook = ChartRelease(
            f"chart-{release.name}",
            ChartReleaseArgs(
                release=release, gitops=args.settings.gitops, namespace=args.namespaces[release.namespace]
            ),
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[args.releases[need] for need in release.needs],  # Argo CD knows no order by itself
            ),
        ).ready
        if names.chosen(args.settings).node_pools:
            self._pools(name, args, key)
        self.register_outputs({"pipelines": self.pipelines})

    def _pools(self, name: str, args: AwsAccountArgs, key: AwsKey) -> None:
        child = pulumi.ResourceOptions(parent=self)
        settings, account = args.settings, names.chosen(args.settings)
        assert account.network, "the settings want a network for pools"
        network = AwsNetwork(f"{name}-network", AwsNetworkArgs(settings=settings, network=account.network), opts=child)
        zone = account.zones[0]
        controllers = AwsControllers(
            f"{name}-nodes",
            AwsControllersArgs(
                settings=settings,
                releases=charts.releases(settings),
                namespaces=args.namespaces,
                identity=self.trust,
                key_arn=key.arn,
                vpc_id=network.vpc_id,
                place=(zone, network.subnets[zone]),
                webhook=self.webhook,
            ),
            opts=child,
        )
        for pool, choice in sorted(account.node_pools.items()):
            AwsNodePool(
                f"pool-{pool}",
                AwsNodePoolArgs(
                    settings=settings,
                    pool=pool,
                    root=args.root,
                    identity=self.trust,
                    key_arn=key.arn,
                    key_alias=key.alias,
                    subnets=network.subnets,
                    security_group=network.security_group,
                    drained_by=controllers.karpenter if choice.scaler == "karpenter" else controllers.draining,
                ),
                opts=child,
            )
