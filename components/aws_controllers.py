"""What decides about the machines of pools: their number, their draining, the end of their nodes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_aws import iam as aws
from pulumi_kubernetes.core import v1 as core
from pulumi_kubernetes.meta import v1 as meta

from components.aws_node_events import AwsNodeEvents, AwsNodeEventsArgs
from components.chart_release import ChartRelease, ChartReleaseArgs
from components.workload_role import Trust, WorkloadRole, WorkloadRoleArgs
from keystone import iam
from keystone.aws import controllers, events, names
from keystone.charts import Release
from keystone.charts import aws as charts
from keystone.iam import Statement
from keystone.settings import Settings


@dataclass(frozen=True, kw_only=True)
class AwsControllersArgs:
    """`releases` are those of the settings, `namespaces` the ones that we made.

    `place` is a subnet of the pools with its zone and its VPC. `webhook` stands for what hands out roles to pods.
    """

    settings: Settings
    releases: Mapping[str, Release]
    namespaces: Mapping[str, pulumi.Input[str]]
    identity: Trust
    key_arn: pulumi.Input[str]
    vpc_id: pulumi.Input[str]
    place: tuple[str, pulumi.Input[str]]
    webhook: pulumi.Resource


class AwsControllers(pulumi.ComponentResource):
    draining: Sequence[pulumi.Resource]
    """Stands for what drains the machines of groups, and removes their nodes."""
    karpenter: Sequence[pulumi.Resource]
    """Stands for Karpenter and its kinds."""

    def __init__(self, name: str, args: AwsControllersArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        # What policies judge: no resource shows where a controller takes its credentials from.
        judged = {"credentials": names.chosen(args.settings).credentials}
        super().__init__("keystone:components:AwsControllers", name, judged, opts)
        self._name, self._args = name, args
        self.draining = [self._termination(), self._lifecycle()] if charts.TERMINATION in args.releases else []
        if charts.AUTOSCALER in args.releases:
            self._autoscaler()
        self.karpenter = [self._karpenter()] if charts.KARPENTER in args.releases else []
        self.register_outputs({})

    def _role(self, account: str, statements: Sequence[Statement]) -> pulumi.Output[str] | None:
        """The role of a controller; without web identity a policy, for whom the user lets it be."""
        settings = self._args.settings
        if names.chosen(settings).credentials != "webIdentity":
            aws.Policy(
                f"{self._name}-{account}-policy",
                name=iam.role_name(settings.cluster.name, account),
                path=iam.path(settings.cluster.name),
                policy=pulumi.Output.json_dumps(iam.policy(statements), sort_keys=True),
                opts=pulumi.ResourceOptions(parent=self),
            )
            return None
        return WorkloadRole(
            f"{self._name}-{account}",
            WorkloadRoleArgs(
                identity=self._args.identity,
                namespace=charts.NODES_NAMESPACE,
                service_account=account,
                statements=statements,
            ),
            opts=pulumi.ResourceOptions(parent=self),
        ).arn

    def _install(self, release: str, values: Mapping[str, Any], *after: pulumi.Resource) -> pulumi.Resource:
        chosen = self._args.releases[release]
        return ChartRelease(
            f"chart-{release}",
            ChartReleaseArgs(
                release=chosen,
                gitops=self._args.settings.gitops,
                namespace=self._args.namespaces[chosen.namespace],
                values=values,
            ),
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[self._args.webhook, *after],  # pods get their role as they start
            ),
        ).ready

    def _events(self, handler: str) -> AwsNodeEvents:
        return AwsNodeEvents(
            f"{self._name}-{handler}-events",
            AwsNodeEventsArgs(settings=self._args.settings, handler=handler, key_arn=self._args.key_arn),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _termination(self) -> pulumi.Resource:
        queue = self._events("drain")
        rights = controllers.termination_handler(self._args.settings, queue.arn, self._args.key_arn)
        role = self._role(charts.TERMINATION, rights)
        return self._install(charts.TERMINATION, charts.termination_values(self._args.settings, role, queue.url))

    def _autoscaler(self) -> None:
        role = self._role(charts.AUTOSCALER, controllers.autoscaler(self._args.settings))
        self._install(charts.AUTOSCALER, charts.autoscaler_values(self._args.settings, role))

    def _lifecycle(self) -> pulumi.Resource:
        settings, (zone, subnet) = self._args.settings, self._args.place
        config = core.ConfigMap(
            f"{self._name}-config",
            metadata=meta.ObjectMetaArgs(
                name=charts.CONFIG_MAP, namespace=self._args.namespaces[charts.NODES_NAMESPACE]
            ),
            data={
                charts.CONFIG_KEY: pulumi.Output.all(self._args.vpc_id, subnet).apply(
                    lambda ids: charts.cloud_config(settings, ids[0], ids[1], zone)
                )
            },
            opts=pulumi.ResourceOptions(parent=self),
        )
        role = self._role(charts.LIFECYCLE, controllers.lifecycle())
        return self._install(charts.LIFECYCLE, charts.lifecycle_values(settings, role), config)

    def _karpenter(self) -> pulumi.Resource:
        settings, queue = self._args.settings, self._events(charts.KARPENTER)
        role = self._role(charts.KARPENTER, controllers.karpenter(settings, queue.arn, self._args.key_arn))
        # The chart wants the queue's name; it is there when its address is.
        called = queue.url.apply(lambda _: events.queue_name(settings, charts.KARPENTER))
        kinds = self._install(charts.KARPENTER_CRDS, {})
        return self._install(charts.KARPENTER, charts.karpenter_values(settings, role, called), kinds)
