"""Logs: Loki with its volume or bucket, and what reads pods and journals."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.core import v1 as core
from pulumi_kubernetes.meta import v1 as meta

from components.chart_release import install
from components.thing import thing
from keystone.charts import Release, monitoring
from keystone.charts.observability import AUTHORITY, AUTHORITY_FILE, NAMESPACE
from keystone.identities import Identities
from keystone.settings import Observability, Settings

READER = "alloy-logs"


@dataclass(frozen=True, kw_only=True)
class LogsArgs:
    """`after` are the releases of storage and metrics, by name."""

    settings: Settings
    observability: Observability
    root: pulumi.Input[str]
    releases: Mapping[str, Release]
    namespaces: Mapping[str, pulumi.Input[str]]
    after: Mapping[str, pulumi.Resource]


class Logs(pulumi.ComponentResource):
    releases: Mapping[str, pulumi.Resource]
    """What stands for each installed chart, by the release's name."""

    def __init__(self, name: str, args: LogsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("keystone:components:Logs", name, None, opts)
        loki = args.releases["loki"]
        after = dict(args.after)
        if bucket := monitoring.bucket(args.settings, args.observability):
            claim = thing(
                f"{name}-bucket",
                bucket,
                parent=self,
                after=[after["rook-ceph-cluster"]],
                namespace=args.namespaces[NAMESPACE],
            )
            # Loki waits for its bucket, and with it for the store and the authority that it trusts.
            after["rook-ceph-cluster"] = self._authority(name, args, claim)
        found = install([loki, args.releases[READER]], args.settings.gitops, args.namespaces, parent=self, after=after)
        self.releases = {key: found[key] for key in (loki.name, READER)}
        self.register_outputs({})

    def _authority(self, name: str, args: LogsArgs, after: pulumi.Resource) -> core.ConfigMap:
        cluster = args.settings.cluster.name
        certificate = pulumi.Output.from_input(args.root).apply(lambda root: Identities(root, cluster).mesh_ca()[0])
        return core.ConfigMap(
            f"{name}-authority",
            metadata=meta.ObjectMetaArgs(name=AUTHORITY, namespace=args.namespaces[NAMESPACE]),
            # A certificate is public, though it is derived from what is not.
            data={AUTHORITY_FILE: pulumi.Output.unsecret(certificate)},
            opts=pulumi.ResourceOptions(parent=self, depends_on=[after]),
        )
