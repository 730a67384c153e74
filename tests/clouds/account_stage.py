"""The AWS account's component in a project of its own, for the real engine, the stand-in plugin and the twin's AWS.

Kubernetes only renders YAML.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from keystone.settings import Settings, parse
from tests.aws.sites import document_of
from tests.clouds.aws import ACCOUNT, REGION, AwsCloud
from tests.engine import REPOSITORY, Engine, Run
from tests.recording import ROOT_SECRET
from twin.clouds.aws import ACCESS_KEY, SECRET_KEY

RUN_SECONDS = 240
"""The two big SDKs take their time to import on a busy machine."""
PROGRAM = """
import json
from pathlib import Path

import pulumi
import pulumi_kubernetes as kubernetes

import providers
from components.aws_account import AwsAccount, AwsAccountArgs
from keystone import charts
from keystone.settings import parse

scene = json.loads(Path("scene.json").read_text())
settings = parse(scene["settings"])
rendered = kubernetes.Provider("kubernetes", render_yaml_to_directory="rendered")
manager = kubernetes.core.v1.ConfigMap("manager", data={}, opts=pulumi.ResourceOptions(provider=rendered))
made = AwsAccount(
    "aws",
    AwsAccountArgs(
        settings=settings,
        root=pulumi.Output.secret(scene["root"]),
        namespace="keystone-system",
        namespaces={release.namespace: release.namespace for release in charts.releases(settings).values()},
        releases={"cert-manager": manager},
    ),
    opts=pulumi.ResourceOptions(providers=[rendered, providers.aws(settings.aws, "site")]),
)
pulumi.export("pipelineRoles", made.pipelines)
"""


class AccountStage(Engine):
    """An engine whose program makes the account of the last scene."""

    def __init__(self, root: Path, cloud: AwsCloud) -> None:
        self.cloud = cloud
        super().__init__(
            root,
            PROGRAM,
            names=("aws", "kubernetes"),
            environment={
                "PYTHONPATH": str(REPOSITORY),
                "PYTHONWARNINGS": "ignore",
                "AWS_ACCESS_KEY_ID": ACCESS_KEY,
                "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            },
            settings={"pulumi:disable-default-providers": ["aws", "cloudflare", "kubernetes"]},
        )
        self.set()

    def set(self, **aws: Any) -> None:
        """The account of the next runs."""
        account = {"accountId": ACCOUNT, "region": REGION, "endpoints": {"default": self.cloud.url}}
        settings = {**document_of(**account, **aws), "protectHosts": False}
        (self.workdir / "scene.json").write_text(json.dumps({"settings": settings, "root": ROOT_SECRET}))

    def settings(self) -> Settings:
        """Those of the last scene."""
        return parse(json.loads((self.workdir / "scene.json").read_text())["settings"])

    def pulumi_command(self, *words: str, timeout: float = RUN_SECONDS) -> Run:
        return super().pulumi_command(*words, timeout=max(timeout, RUN_SECONDS))

    def refresh(self, *words: str, timeout: float = RUN_SECONDS) -> Run:
        """Of what is at AWS; rendered YAML cannot be read again."""
        return super().refresh("--exclude", "**kubernetes:**", *words, timeout=timeout)
