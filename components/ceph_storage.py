"""Ceph by Rook: operator, drivers, cluster; a bucket to prove the object store, and a mount test of each class."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.batch import v1 as batch
from pulumi_kubernetes.core import v1 as core
from pulumi_kubernetes.meta import v1 as meta

from components.chart_release import install
from components.thing import thing
from keystone.charts import Release, ceph
from keystone.charts.mount_test import JOB, TEST_NAMESPACE, bucket, claim, job
from keystone.identities import Identities
from keystone.settings import Ceph, Settings


@dataclass(frozen=True, kw_only=True)
class CephStorageArgs:
    """`after` are releases of others that Ceph's may need, by name."""

    settings: Settings
    ceph: Ceph
    root: pulumi.Input[str]
    releases: Mapping[str, Release]
    namespaces: Mapping[str, pulumi.Input[str]]
    after: Mapping[str, pulumi.Resource]


class CephStorage(pulumi.ComponentResource):
    releases: Mapping[str, pulumi.Resource]
    """What stands for each installed chart, by the release's name."""
    ready: pulumi.Resource
    """Stands for the cluster: volumes and buckets can be asked for."""

    def __init__(self, name: str, args: CephStorageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("keystone:components:CephStorage", name, None, opts)
        ours = [args.releases[release.name] for release in ceph.releases(args.settings, args.ceph)]
        namespaces = dict(args.namespaces)
        if args.ceph.object:
            secret = self._certificate(name, args)
            # By its data, not by order: the store finds its certificate when the chart comes.
            namespaces[ceph.NAMESPACE] = pulumi.Output.all(namespaces[ceph.NAMESPACE], secret.id).apply(
                lambda it: it[0]
            )
        self.releases = install(
            ours,
            args.settings.gitops,
            namespaces,
            parent=self,
            after=args.after,
            # It is the data of all volumes and buckets, as an installed host is that of its disks.
            protect=[ceph.CLUSTER] if args.settings.protect_hosts else [],
        )
        self.ready = self.releases[ceph.CLUSTER]
        where = args.namespaces.get(TEST_NAMESPACE)
        if where is not None:
            self._tests(name, args.ceph, where)
        self.register_outputs({})

    def _certificate(self, name: str, args: CephStorageArgs) -> core.Secret:
        """The object store's certificate, by the private authority; that one's own stands behind it, for Rook."""
        cluster = args.settings.cluster
        names = [ceph.OBJECT_STORE_HOST, f"{ceph.OBJECT_STORE_HOST}.{cluster.cluster_domain}"]

        def made(root: str) -> dict[str, str]:
            identities = Identities(root, cluster.name)
            certificate, key = identities.object_store_certificate(names)
            return {"tls.crt": certificate + identities.mesh_ca()[0], "tls.key": key}

        return core.Secret(
            f"{name}-object-store-tls",
            metadata=meta.ObjectMetaArgs(name=ceph.OBJECT_STORE_TLS, namespace=args.namespaces[ceph.NAMESPACE]),
            type="kubernetes.io/tls",
            string_data=pulumi.Output.secret(args.root).apply(made),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _tests(self, name: str, choice: Ceph, namespace: pulumi.Input[str]) -> None:
        classes = [
            kind for kind, wanted in ((ceph.BLOCK, choice.block), (ceph.FILESYSTEM, choice.filesystem)) if wanted
        ]
        claims = {
            kind: core.PersistentVolumeClaim(
                f"{kind}-claim",
                metadata=meta.ObjectMetaArgs(name=kind, namespace=namespace),
                spec=claim(kind),
                opts=pulumi.ResourceOptions(parent=self, depends_on=[self.ready]),
            )
            for kind in classes
        }
        if claims:
            batch.Job(
                f"{name}-mount-test",
                metadata=meta.ObjectMetaArgs(name=JOB, namespace=namespace),
                # The claims by their outputs: the pod waits for the volumes.
                spec=job({kind: made.metadata["name"] for kind, made in claims.items()}),
                opts=pulumi.ResourceOptions(
                    parent=self, custom_timeouts=pulumi.CustomTimeouts(create="10m", delete="5m")
                ),
            )
        if choice.object:
            thing(f"{name}-bucket-test", bucket(), parent=self, after=[self.ready], namespace=namespace)
