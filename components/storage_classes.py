"""Storage classes other than Ceph's: the charts of what the settings choose. One of all classes is the default one.

Drivers whose roles we make come with these (components/aws_operators.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from components.chart_release import install
from components.mount_job import mount_job
from components.namespace_secret import with_secret
from keystone.charts import Release, mount_test, storage
from keystone.charts.ceph import NAMESPACE as CEPH
from keystone.settings import Settings


@dataclass(frozen=True, kw_only=True)
class StorageClassesArgs:
    settings: Settings
    releases: Mapping[str, Release]
    namespaces: Mapping[str, pulumi.Input[str]]
    proxmox_config: pulumi.Input[str] | None = None
    """The file with the clusters and tokens of Proxmox."""


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
        namespaces = dict(args.namespaces)
        if args.settings.storage and args.settings.storage.proxmox and args.proxmox_config is not None:
            namespaces[storage.PROXMOX_NAMESPACE] = with_secret(
                f"{name}-proxmox",
                storage.PROXMOX_SECRET,
                {storage.PROXMOX_FILE: args.proxmox_config},
                namespace=args.namespaces[storage.PROXMOX_NAMESPACE],
                parent=self,
            )
        self.releases = install(ours, args.settings.gitops, namespaces, parent=self, after={})
        where = args.namespaces.get(mount_test.TEST_NAMESPACE)
        if where is not None and (classes := mount_test.jobs(args.settings).get(mount_test.CLASSES_JOB)):
            mount_job(
                f"{name}-mount-test",
                mount_test.CLASSES_JOB,
                classes,
                namespace=where,
                parent=self,
                after=list(self.releases.values()),
                wait=False,
            )
        self.register_outputs({"default": args.settings.storage.default_class if args.settings.storage else None})
