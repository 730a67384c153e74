"""Pipelines at GitHub: whom AWS trusts there, and what each kind of job may."""

from collections.abc import Mapping

from keystone import iam
from keystone.aws import deployer, keys, names, rights
from keystone.iam import Statement
from keystone.settings import Ci, Settings

GITHUB = "token.actions.githubusercontent.com"
SESSION_SECONDS: Mapping[str, int] = {"preview": 3600, "up": 3 * 3600}
"""How long a job of each kind may run under its role: as long as its workflow lets it, for it saves the state last."""


def provider_arn(settings: Settings) -> str:
    """The ARN of GitHub's provider in the account, whoever made it."""
    return names.iam_arn(settings, f"oidc-provider/{GITHUB}")


def kinds(ci: Ci) -> list[str]:
    """What the pipelines do: preview, up."""
    return sorted(set(ci.environments.values()))


def trust(settings: Settings, ci: Ci, kind: str) -> str:
    """Trust in jobs of these environments of this repository; any other job of it is refused."""
    environments = [name for name, does in ci.environments.items() if does == kind]
    subjects = [f"repo:{ci.repository}:environment:{name}" for name in environments]
    return iam.web_identity_trust(provider_arn(settings), GITHUB, subjects)


def parameter(settings: Settings, kind: str) -> str:
    """Where a job reads its mesh key."""
    return keys.minted(settings)[keys.PIPELINE_TAGS[kind]].parameter


def joins(settings: Settings, kind: str, key_arn: object) -> list[Statement]:
    """What a job needs to come into the mesh."""
    own = (names.parameter_arn(settings, parameter(settings, kind)),)
    return [
        rights.reads_parameters(own, "its mesh key"),
        rights.decrypts_parameters(names.chosen(settings), own, key_arn),
    ]


def statements(settings: Settings, ci: Ci, kind: str, key_arn: object) -> list[Statement]:
    """What a job may: `preview` reads, `up` does what the person may who runs the program."""
    granted = deployer.statements(settings)
    return [
        *(granted if kind == "up" else deployer.reading(granted)),
        *joins(settings, kind, key_arn),
        *(_state(settings, ci, kind) if ci.state_bucket else ()),
    ]


def _state(settings: Settings, ci: Ci, kind: str) -> list[Statement]:
    """The stack's state and the key of its secrets; a preview writes nothing but its lock."""
    arn = f"arn:{names.chosen(settings).partition}:s3:::{ci.state_bucket}"
    written = f"{arn}/*" if kind == "up" else f"{arn}/.pulumi/locks/*"
    found = [
        Statement(
            sid="ReadState",
            actions=("s3:GetObject", "s3:ListBucket"),
            resources=(arn, f"{arn}/*"),
            reason="a plan begins with the state",
        ),
        Statement(
            sid="WriteState" if kind == "up" else "LockState",
            actions=("s3:DeleteObject", "s3:PutObject"),
            resources=(written,),
            reason="the engine writes the state" if kind == "up" else "the engine locks the state while it plans",
        ),
    ]
    if ci.state_key_arn:
        change = ("kms:Encrypt", "kms:GenerateDataKey") if kind == "up" else ()
        found.append(
            Statement(
                sid="StateKey",
                actions=("kms:Decrypt", *change),
                resources=(ci.state_key_arn,),
                reason="the secrets of the state are encrypted with it",
            )
        )
    return found
