"""SSM parameters: encrypted with the customer key, their values written and never read back."""

import pulumi
from pulumi_aws import ssm

PLACEHOLDER = "not minted yet: the Primer's timer puts a key here"


def secure_parameter(
    name: str,
    parameter: str,
    description: str,
    value: pulumi.Input[str] = PLACEHOLDER,
    *,
    key_alias: pulumi.Input[str],
    parent: pulumi.Resource,
    version: int = 1,
) -> ssm.Parameter:
    """One parameter. A new value is written with a higher `version` alone: who else writes it is not fought.

    AWS keeps the key's name as it was last written, and the Primer's timer knows the alias: another name here would be
    drift, whose mending would need a value.
    """
    return ssm.Parameter(
        name,
        name=parameter,
        description=description,
        type="SecureString",
        key_id=key_alias,
        value_wo=pulumi.Output.secret(value),
        value_wo_version=version,
        opts=pulumi.ResourceOptions(parent=parent),
    )
