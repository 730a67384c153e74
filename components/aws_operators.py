"""What in the cluster makes things at AWS: drivers of volumes, AWS' own controllers, Crossplane; each with its role."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from components.chart_release import ChartRelease, ChartReleaseArgs
from components.thing import thing
from components.workload_role import Trust, WorkloadRole, WorkloadRoleArgs
from keystone.aws import drivers
from keystone.aws import operators as rights
from keystone.charts import Release, operators, storage
from keystone.iam import Statement
from keystone.settings import Settings


@dataclass(frozen=True, kw_only=True)
class AwsOperatorsArgs:
    """`releases` are those of the settings; `webhook` stands for what hands out roles to pods."""

    settings: Settings
    releases: Mapping[str, Release]
    namespaces: Mapping[str, pulumi.Input[str]]
    identity: Trust
    key_arn: pulumi.Input[str]
    webhook: pulumi.Resource


class AwsOperators(pulumi.ComponentResource):
    releases: Mapping[str, pulumi.Resource]
    """What stands for each installed chart, by the release's name."""

    def __init__(self, name: str, args: AwsOperatorsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("keystone:components:AwsOperators", name, None, opts)
        self._name, self._args = name, args
        self.releases = self._drivers() | self._ack() | self._crossplane()
        self.register_outputs({})

    def _role(self, account: str, namespace: str, statements: Sequence[Statement], role: str | None = None) -> Any:
        return WorkloadRole(
            f"{self._name}-{role or account}",
            WorkloadRoleArgs(
                identity=self._args.identity,
                namespace=namespace,
                service_account=account,
                statements=statements,
                role=role,
            ),
            opts=pulumi.ResourceOptions(parent=self),
        ).arn

    def _install(self, release: str, values: Mapping[str, Any]) -> dict[str, pulumi.Resource]:
        chosen = self._args.releases[release]
        made = ChartRelease(
            f"chart-{release}",
            ChartReleaseArgs(
                release=chosen,
                gitops=self._args.settings.gitops,
                namespace=self._args.namespaces[chosen.namespace],
                values=values,
            ),
            # Pods get their role as they start.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[self._args.webhook]),
        )
        return {release: made.ready}

    def _drivers(self) -> dict[str, pulumi.Resource]:
        settings, found = self._args.settings, {}
        chosen, wanted = settings.storage, storage.with_roles(settings)
        if storage.EBS in wanted:
            assert chosen
            assert chosen.ebs
            assert settings.aws
            key = chosen.ebs.kms_key_arn or self._args.key_arn
            role = chosen.ebs.role_arn or self._driver(drivers.EBS, drivers.ebs(settings, key))
            region = chosen.ebs.region or settings.aws.region
            found |= self._install(storage.EBS, storage.ebs_values(settings, chosen, region, role, key))
        if storage.EFS in wanted:
            assert chosen
            assert chosen.efs
            role = self._driver(drivers.EFS, drivers.efs(settings, chosen.efs.file_system_id))
            found |= self._install(storage.EFS, storage.efs_values(settings, role))
        return found

    def _driver(self, account: str, statements: Sequence[Statement]) -> Any:
        return self._role(account, drivers.NAMESPACE, statements, drivers.ROLES[account])

    def _ack(self) -> dict[str, pulumi.Resource]:
        settings, found = self._args.settings, {}
        chosen = settings.operators.ack if settings.operators else None
        for service in sorted(chosen.services) if chosen else ():
            account = operators.ack_name(service)
            role = self._role(account, operators.ACK_NAMESPACE, rights.statements(settings, service))
            found |= self._install(account, operators.ack_values(service, role))
        return found

    def _crossplane(self) -> dict[str, pulumi.Resource]:
        settings = self._args.settings
        if not operators.wants_crossplane(settings):
            return {}
        found = self._install(operators.CROSSPLANE, {})
        made: list[pulumi.Resource] = []
        for service in operators.providers(settings):
            account = operators.provider_name(service)
            role = self._role(account, operators.CROSSPLANE_NAMESPACE, rights.statements(settings, service))
            before = [found[operators.CROSSPLANE]]
            for it in operators.provider(service, role):
                before = [thing(f"{self._name}-{account}-{it.kind}", it, parent=self, after=before)]
            made += before
        if made:
            # Its kind comes with the providers.
            thing(f"{self._name}-account", operators.account_of_aws(), parent=self, after=made)
        return found
