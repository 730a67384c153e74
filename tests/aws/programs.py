"""Programs of the tests: the account as the program makes it, and its identity alone."""

import json
from collections.abc import Callable
from typing import Any

import pulumi
from pulumi_kubernetes.core.v1 import ConfigMap

import providers
from components.aws_account import AwsAccount, AwsAccountArgs
from components.aws_identity import AwsIdentity, AwsIdentityArgs
from components.aws_key import AwsKey, AwsKeyArgs
from keystone import charts
from keystone.settings import Settings
from tests.recording import ROOT_SECRET, Engine

CI = {"repository": "team/cluster", "environments": {"site": "up", "site-preview": "preview", "hotfix": "up"}}


def the_account(settings: Settings) -> Callable[[], object]:
    def program() -> object:
        kubernetes = providers.kubernetes("kubeconfig", "site")
        assert settings.aws
        given = [kubernetes, providers.aws(settings.aws, "site")]
        if settings.tunnel:
            given.append(providers.cloudflare("token", settings.tunnel))
        inside = pulumi.ResourceOptions(provider=kubernetes)
        releases = charts.releases(settings)
        made = AwsAccount(
            "aws",
            AwsAccountArgs(
                settings=settings,
                root=pulumi.Output.secret(ROOT_SECRET),
                namespace="keystone-system",
                namespaces={release.namespace: release.namespace for release in releases.values()},
                releases={"cert-manager": ConfigMap("cert-manager", data={}, opts=inside)},
            ),
            opts=pulumi.ResourceOptions(providers=given),
        )
        pulumi.export("pipelineRoles", made.pipelines)
        return made

    return program


def the_identity(settings: Settings) -> Callable[[], object]:
    def program() -> object:
        key = AwsKey("key", AwsKeyArgs(settings=settings))
        return AwsIdentity(
            "identity",
            AwsIdentityArgs(
                settings=settings,
                root=pulumi.Output.secret(ROOT_SECRET),
                key_arn=key.arn,
                key_alias=key.alias,
                namespace="keystone-system",
            ),
        )

    return program


def only(engine: Engine, kind: type[pulumi.Resource], name: str) -> Any:
    """The one resource of this kind and name."""
    [found] = [one for one in engine.of(kind) if one.name == name]
    return found


def statements(document: str) -> dict[str, Any]:
    """The statements of a policy document, by their names."""
    return {one["Sid"]: one for one in json.loads(document)["Statement"]}
