"""Everything inside the cluster up to the applications: namespaces, network, storage, monitoring."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from components.ceph_storage import CephStorage, CephStorageArgs
from components.cluster_network import ClusterNetwork, ClusterNetworkArgs
from components.namespaces import Namespaces, NamespacesArgs
from components.observability import Observability, ObservabilityArgs
from components.service_mesh import ServiceMesh, ServiceMeshArgs
from components.storage_classes import StorageClasses, StorageClassesArgs
from keystone import charts
from keystone.charts import mount_test, network, observability
from keystone.settings import Secrets, Settings


@dataclass(frozen=True, kw_only=True)
class PlatformArgs:
    """`after` stands for the nodes: a destroy removes the platform while they still run."""

    settings: Settings
    secrets: Secrets
    after: pulumi.Resource


class Platform(pulumi.ComponentResource):
    namespaces: Mapping[str, pulumi.Output[str]]
    """The namespaces of all charts that the settings choose, those of other components too."""
    releases: Mapping[str, pulumi.Resource]
    """What stands for each installed chart, by the release's name."""

    def __init__(self, name: str, args: PlatformArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("keystone:components:Platform", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        settings, storage = args.settings, args.settings.storage
        releases = charts.releases(settings)
        watching = {key: it for key, it in releases.items() if it.namespace == observability.NAMESPACE}
        self.namespaces = Namespaces(
            "namespaces",
            NamespacesArgs(
                settings=settings,
                releases={key: it for key, it in releases.items() if key not in watching},
                after=args.after,
                extra=network.namespaces(settings) | mount_test.namespaces(settings),
            ),
            opts=child,
        ).names
        network_part = ClusterNetwork(
            "network",
            ClusterNetworkArgs(
                settings=settings,
                releases=releases,
                namespaces=self.namespaces,
                after=args.after,
                acme_token=args.secrets.acme,
                dns_key=args.secrets.external_dns,
            ),
            opts=child,
        )
        found = dict(network_part.releases)
        if settings.network.service_mesh == "linkerd":
            mesh = ServiceMeshArgs(
                settings=settings,
                root=args.secrets.root,
                releases=releases,
                namespaces=self.namespaces,
                after=found,
            )
            found |= ServiceMesh("linkerd", mesh, opts=child).releases
        if storage:
            classes = StorageClassesArgs(
                settings=settings,
                releases=releases,
                namespaces=self.namespaces,
                proxmox_config=args.secrets.proxmox_config,
            )
            found |= StorageClasses("storage", classes, opts=child).releases
        if storage and storage.ceph:
            ceph = CephStorageArgs(
                settings=settings,
                ceph=storage.ceph,
                root=args.secrets.root,
                releases=releases,
                namespaces=self.namespaces,
                after=found,
            )
            found |= CephStorage("ceph", ceph, opts=child).releases
        if settings.observability:
            # The claims of its volumes go with the namespace: then what makes and removes volumes must still be there.
            volumes = [found[it] for it in observability.volumes(settings, settings.observability) if it in found]
            last = NamespacesArgs(settings=settings, releases=watching, after=[*volumes, args.after][0], extra={})
            self.namespaces = {**self.namespaces, **Namespaces("namespaces-watching", last, opts=child).names}
            monitoring = ObservabilityArgs(
                settings=settings,
                observability=settings.observability,
                secrets=args.secrets,
                releases=releases,
                namespaces=self.namespaces,
                after=found,
            )
            found |= Observability("observability", monitoring, opts=child).releases
        self.releases = found
        self.register_outputs({})
