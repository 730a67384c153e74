"""Ceph by Rook: operator, drivers, cluster; a bucket to prove the object store, and a mount test of each class."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.batch import v1 as batch
from pulumi_kubernetes.core import v1 as core
from pulumi_kubernetes.meta import v1 as meta

from components.chart_release import install
from components.mount_job import mount_job
from components.thing import thing
from keystone.charts import Release, ceph, mount_test
from keystone.charts.backup import AUTHORITY_FILE
from keystone.charts.mount_test import TEST_NAMESPACE
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
        # What policies compare with what a backup covers.
        kinds = {"bucket": args.ceph.object, "volume": args.ceph.block or args.ceph.filesystem}
        held = {"holds": [kind for kind, there in kinds.items() if there]}
        super().__init__("keystone:components:CephStorage", name, held, opts)
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
            self._tests(name, args, where)
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

    def _tests(self, name: str, args: CephStorageArgs, namespace: pulumi.Input[str]) -> None:
        jobs = mount_test.jobs(args.settings)
        if classes := jobs.get(mount_test.CEPH_JOB):
            mount_job(
                f"{name}-mount-test",
                mount_test.CEPH_JOB,
                classes,
                namespace=namespace,
                parent=self,
                after=[self.ready],
            )
        if mount_test.BUCKET_JOB in jobs:
            self._bucket_test(name, args, namespace)

    def _bucket_test(self, name: str, args: CephStorageArgs, namespace: pulumi.Input[str]) -> None:
        cluster = args.settings.cluster.name
        bucket = thing(f"{name}-bucket-test", mount_test.bucket(), parent=self, after=[self.ready], namespace=namespace)
        certificate = pulumi.Output.from_input(args.root).apply(lambda root: Identities(root, cluster).mesh_ca()[0])
        authority = core.ConfigMap(
            f"{name}-bucket-test-authority",
            metadata=meta.ObjectMetaArgs(name=mount_test.AUTHORITY, namespace=namespace),
            # A certificate is public, though it is derived from what is not.
            data={AUTHORITY_FILE: pulumi.Output.unsecret(certificate)},
            opts=pulumi.ResourceOptions(parent=self),
        )
        batch.Job(
            f"{name}-bucket-test-job",
            metadata=meta.ObjectMetaArgs(name=mount_test.BUCKET_JOB, namespace=namespace),
            spec=mount_test.bucket_job(),
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[bucket, authority],  # the pod finds keys, name and certificate
                custom_timeouts=pulumi.CustomTimeouts(create="10m", delete="5m"),
            ),
        )
