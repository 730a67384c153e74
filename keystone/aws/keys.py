"""The mesh keys that the Primer's timer mints into SSM parameters: one for each pool and for each kind of pipeline."""

from collections.abc import Mapping
from dataclasses import dataclass

from keystone.aws import names
from keystone.iam import Statement
from keystone.settings import Settings

KEY_HOURS = 24
"""A new key is made every twelve."""
PIPELINE_TAGS: Mapping[str, str] = {"preview": "ci", "up": "ci-up"}
"""What a pipeline does -> its tag in the mesh, which also names its parameter."""


@dataclass(frozen=True, kw_only=True)
class MintedKey:
    """One parameter that the timer fills. The keys of nix/modules/mesh/pool-keys.nix."""

    region: str
    parameter: str
    key_id: str
    """The customer key; left out, SSM would take the account's own with every new value."""
    role_arn: str
    tags: tuple[str, ...]
    key_hours: int


def minted(settings: Settings) -> dict[str, MintedKey]:
    """The parameters by a name of ours: pool-NAME, ci, ci-up. None without a section `aws`."""
    aws = settings.aws
    if aws is None:
        return {}
    found = {f"pool-{name}": (names.pool_prefix(settings, name), "tag:pool") for name in sorted(aws.node_pools)}
    kinds = sorted(set(aws.ci.environments.values())) if aws.ci else []
    tags = [PIPELINE_TAGS[kind] for kind in kinds]
    found |= {tag: (f"{names.prefix(settings)}/{tag}", f"tag:{tag}") for tag in tags}
    return {
        name: MintedKey(
            region=aws.region,
            parameter=f"{prefix}/{names.MESH_KEY}",
            key_id=names.key_alias(settings),
            role_arn=names.role_arn(settings, names.POOL_KEYS),
            tags=(tag,),
            key_hours=KEY_HOURS,
        )
        for name, (prefix, tag) in found.items()
    }


def minter_rights(settings: Settings, key_arn: object) -> list[Statement]:
    """What the timer's role may: write these parameters, and use the key for that alone."""
    aws = names.chosen(settings)
    parameters = [names.parameter_arn(settings, key.parameter) for key in minted(settings).values()]
    return [
        Statement(
            sid="WriteMeshKeys",
            actions=("ssm:GetParameter", "ssm:PutParameter"),
            resources=parameters,
            reason="a timer puts a fresh mesh key into each parameter every twelve hours, and looks first whether the "
            "parameter is there: a key that made it would stand in the way of the program, whose it is",
        ),
        Statement(
            sid="EncryptMeshKeys",
            actions=("kms:Encrypt", "kms:GenerateDataKey"),
            resources=(key_arn,),
            conditions={"StringEquals": {"kms:ViaService": f"ssm.{aws.region}.amazonaws.com"}},
            reason="SSM encrypts the value with the customer key in the caller's name",
        ),
    ]
