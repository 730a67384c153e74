"""The customer key of all that the cluster encrypts at AWS: disks, parameters, queues, the issuer's bucket."""

from dataclasses import dataclass

import pulumi
from pulumi_aws import kms

from keystone import iam
from keystone.aws import names, rights
from keystone.settings import Settings


@dataclass(frozen=True, kw_only=True)
class AwsKeyArgs:
    settings: Settings


class AwsKey(pulumi.ComponentResource):
    arn: pulumi.Output[str]
    """Of the key, once its alias leads there."""
    alias: pulumi.Output[str]
    """Its name that the settings know, once it leads there."""

    def __init__(self, name: str, args: AwsKeyArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("keystone:components:AwsKey", name, None, opts)
        settings = args.settings
        key = kms.Key(
            f"{name}-cmk",
            description=f"Keystone cluster {settings.cluster.name}",
            enable_key_rotation=True,
            policy=iam.document(rights.key_policy(settings)),
            opts=pulumi.ResourceOptions(
                parent=self,
                # What is encrypted with it is lost with it.
                protect=settings.protect_hosts,
            ),
        )
        alias = kms.Alias(
            f"{name}-alias",
            name=names.key_alias(settings),
            target_key_id=key.key_id,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.arn = pulumi.Output.all(key.arn, alias.id).apply(lambda values: values[0])
        self.alias = alias.name
        self.register_outputs({"arn": self.arn, "alias": self.alias})
