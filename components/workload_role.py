"""One role of IAM that the pods of one service account take, and nobody else."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import iam as aws

from keystone import iam
from keystone.iam import Statement


@dataclass(frozen=True, kw_only=True)
class Trust:
    """What AwsIdentity hands to those who make roles. `provider` is what has the plain `provider_arn`."""

    cluster: str
    issuer_host: str
    provider_arn: str
    provider: pulumi.Resource
    boundary_arn: pulumi.Input[str]


@dataclass(frozen=True, kw_only=True)
class WorkloadRoleArgs:
    """`role` is the part of its name after the cluster's; the service account's name when left out."""

    identity: Trust
    namespace: str
    service_account: str
    statements: Sequence[Statement]
    role: str | None = None


class WorkloadRole(pulumi.ComponentResource):
    arn: pulumi.Output[str]
    """For the annotation eks.amazonaws.com/role-arn, or AWS_ROLE_ARN beside a projected token."""

    def __init__(self, name: str, args: WorkloadRoleArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("keystone:components:WorkloadRole", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        identity = args.identity
        subject = iam.service_account(args.namespace, args.service_account)
        role = aws.Role(
            f"{name}-role",
            name=iam.role_name(identity.cluster, args.role or args.service_account),
            path=iam.path(identity.cluster),
            description=f"Pods of {args.namespace}/{args.service_account}",
            assume_role_policy=iam.web_identity_trust(identity.provider_arn, identity.issuer_host, subject),
            permissions_boundary=identity.boundary_arn,
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[identity.provider],  # the trust names it by a plain ARN, so that a preview can judge it
            ),
        )
        granted = aws.RolePolicy(
            f"{name}-rights",
            name="rights",
            role=role.name,
            policy=pulumi.Output.json_dumps(iam.policy(args.statements), sort_keys=True),
            opts=child,
        )
        # Who gets the ARN gets it with its rights.
        self.arn = pulumi.Output.all(role.arn, granted.id).apply(lambda values: values[0])
        self.register_outputs({"arn": self.arn})
