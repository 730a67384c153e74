"""Storage classes other than Ceph's: the charts of what the settings choose. One of all classes is the default one.

Drivers whose roles we make come with these (components/aws_operators.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from components.chart_release import install
from keystone.charts import Release, storage
from keystone.charts.ceph import NAMESPACE as CEPH
from keystone.settings import Settings


@dataclass(frozen=True, kw_only=True)
class StorageClassesArgs:
    settings: Settings
    releases: Mapping[str, Release]
    namespaces: Mapping[str, pulumi.Input[str]]


class StorageClasses(pulumi.ComponentResource):
    releases: Mapping[str, pulumi.Resource]
    """What stands for each installed chart, by the release's name."""

    def __init__(self, name: str, args: StorageClassesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("keystone:components:StorageClasses", name, None, opts)
        elsewhere = storage.with_roles(args.settings)
        ours = [
            args.releases[release.name]
            for release in storage.releases(args.settings)
            if release.namespace != CEPH and release.name not in elsewhere
        ]
        self.releases = install(ours, args.settings.gitops, args.namespaces, parent=self, after={})
        self.register_outputs({"default": args.settings.storage.default_class if args.settings.storage else None})
