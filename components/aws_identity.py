"""What AWS knows of the cluster: its issuer, the bound of its roles, the Primer's role and those of the pipelines."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_aws import iam as aws
from pulumi_kubernetes.core import v1 as core
from pulumi_kubernetes.meta import v1 as meta

from components.aws_issuer import AwsIssuer, AwsIssuerArgs
from components.secure_parameter import secure_parameter
from components.workload_role import Trust, WorkloadRole, WorkloadRoleArgs
from keystone import iam
from keystone.aws import keys, names, pipelines, rights
from keystone.charts.aws import ROLE_ANNOTATION
from keystone.settings import Ci, Settings


@dataclass(frozen=True, kw_only=True)
class AwsIdentityArgs:
    """`key_arn` and `key_alias` are of the cluster's customer key, `namespace` Keystone's own, once it is there."""

    settings: Settings
    root: pulumi.Input[str]
    key_arn: pulumi.Input[str]
    key_alias: pulumi.Input[str]
    namespace: pulumi.Input[str]


class AwsIdentity(pulumi.ComponentResource):
    trust: Trust
    """For those who make roles."""
    pipelines: Mapping[str, pulumi.Output[str]]
    """The role of each kind of pipeline: preview, up."""

    def __init__(self, name: str, args: AwsIdentityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("keystone:components:AwsIdentity", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        settings, account = args.settings, names.chosen(args.settings)
        issuer = AwsIssuer(
            f"{name}-issuer", AwsIssuerArgs(settings=settings, root=args.root, key_arn=args.key_arn), opts=child
        )
        provider = aws.OpenIdConnectProvider(
            f"{name}-provider",
            # Taken from the issuer, which is read at once: IAM asks it for its certificate.
            url=issuer.url,
            client_id_lists=[iam.AUDIENCE],
            opts=child,
        )
        self.trust = Trust(
            cluster=settings.cluster.name,
            issuer_host=names.issuer_host(settings),
            provider_arn=names.provider_arn(settings),
            provider=provider,
            boundary_arn=self._boundary(name, settings),
        )
        self._minter(name, args)
        self.pipelines = self._pipelines(name, args, account.ci) if account.ci else {}
        self.register_outputs({"pipelines": self.pipelines})

    def _boundary(self, name: str, settings: Settings) -> pulumi.Output[str]:
        if given := names.chosen(settings).permissions_boundary:
            return pulumi.Output.from_input(given)
        return aws.Policy(
            f"{name}-boundary",
            name="boundary",
            path=iam.path(settings.cluster.name),
            description=f"The most that any role of the Keystone cluster {settings.cluster.name} may have",
            policy=iam.document(rights.boundary(settings)),
            opts=pulumi.ResourceOptions(parent=self),
        ).arn

    def _minter(self, name: str, args: AwsIdentityArgs) -> None:
        """The account of the Primer's timer, in the cluster and at AWS, if there is a key to mint."""
        settings = args.settings
        if not keys.minted(settings):
            return
        role = WorkloadRole(
            f"{name}-{names.POOL_KEYS}",
            WorkloadRoleArgs(
                identity=self.trust,
                namespace=names.SYSTEM_NAMESPACE,
                service_account=names.POOL_KEYS,
                statements=keys.minter_rights(settings, args.key_arn),
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        core.ServiceAccount(
            f"{name}-service-account",
            metadata=meta.ObjectMetaArgs(
                name=names.POOL_KEYS, namespace=args.namespace, annotations={ROLE_ANNOTATION: role.arn}
            ),
            automount_service_account_token=False,
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _pipelines(self, name: str, args: AwsIdentityArgs, ci: Ci) -> dict[str, pulumi.Output[str]]:
        settings, github = args.settings, []
        if not ci.provider_is_there:
            made = aws.OpenIdConnectProvider(
                f"{name}-github",
                url=f"https://{pipelines.GITHUB}",
                client_id_lists=[iam.AUDIENCE],
                opts=pulumi.ResourceOptions(parent=self),
            )
            github.append(made)
        found = {}
        for kind in pipelines.kinds(ci):
            secure_parameter(
                f"{name}-{kind}-mesh-key",
                pipelines.parameter(settings, kind),
                f"Mesh key of the pipelines that do {kind}",
                key_alias=args.key_alias,
                parent=self,
            )
            role = aws.Role(
                f"{name}-{kind}",
                name=iam.role_name(settings.cluster.name, f"ci-{kind}"),
                path=iam.path(settings.cluster.name),
                description=f"Jobs of {ci.repository} that do {kind}",
                assume_role_policy=pipelines.trust(settings, ci, kind),
                permissions_boundary=self.trust.boundary_arn,
                max_session_duration=pipelines.SESSION_SECONDS[kind],
                opts=pulumi.ResourceOptions(
                    parent=self,
                    depends_on=github,  # the trust names it, and nobody else waits for it
                ),
            )
            statements = pipelines.statements(settings, ci, kind, args.key_arn)
            granted = aws.RolePolicy(
                f"{name}-{kind}-rights",
                name="rights",
                role=role.name,
                policy=pulumi.Output.json_dumps(iam.policy(statements), sort_keys=True, separators=(",", ":")),
                opts=pulumi.ResourceOptions(parent=self),
            )
            found[kind] = pulumi.Output.all(role.arn, granted.id).apply(lambda values: values[0])
        return found
