"""Linkerd: the identity that its proxies trust, then its charts. Istio's charts need no more than to be installed."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.core import v1 as core
from pulumi_kubernetes.meta import v1 as meta

from components.chart_release import install
from components.thing import things
from keystone.charts import Release, linkerd
from keystone.identities import Identities
from keystone.settings import Settings


@dataclass(frozen=True, kw_only=True)
class ServiceMeshArgs:
    """`after` are the releases of network and platform, by name: certificates come from one of them."""

    settings: Settings
    root: pulumi.Input[str]
    releases: Mapping[str, Release]
    namespaces: Mapping[str, pulumi.Input[str]]
    after: Mapping[str, pulumi.Resource]


class ServiceMesh(pulumi.ComponentResource):
    releases: Mapping[str, pulumi.Resource]
    """What stands for each installed chart, by the release's name."""

    def __init__(self, name: str, args: ServiceMeshArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("keystone:components:ServiceMesh", name, None, opts)
        settings = args.settings
        anchor, roots = self._anchor(name, args)
        identity = things(
            name,
            linkerd.identity(settings),
            parent=self,
            namespaces=args.namespaces,
            releases=args.after,
            after=[anchor],
        )
        # By its data, not by order: the control plane finds its identity when the chart comes.
        namespace = pulumi.Output.all(args.namespaces[linkerd.NAMESPACE], identity[-1].id, roots.id)
        self.releases = install(
            [args.releases[release.name] for release in linkerd.releases(settings)],
            settings.gitops,
            {**args.namespaces, linkerd.NAMESPACE: namespace.apply(lambda found: found[0])},
            parent=self,
            after=args.after,
        )
        self.register_outputs({})

    def _anchor(self, name: str, args: ServiceMeshArgs) -> tuple[pulumi.Resource, core.ConfigMap]:
        cluster, namespace = args.settings.cluster, args.namespaces[linkerd.NAMESPACE]
        made = pulumi.Output.secret(args.root).apply(
            lambda root: Identities(root, cluster.name).linkerd_anchor(cluster.cluster_domain)
        )
        secret = core.Secret(
            f"{name}-trust-anchor",
            metadata=meta.ObjectMetaArgs(name=linkerd.ANCHOR, namespace=namespace),
            type="kubernetes.io/tls",
            string_data={"tls.crt": made[0], "tls.key": made[1]},
            opts=pulumi.ResourceOptions(parent=self),
        )
        roots = core.ConfigMap(
            f"{name}-trust-roots",
            metadata=meta.ObjectMetaArgs(name=linkerd.ROOTS, namespace=namespace),
            # A certificate is public, though it is derived from what is not.
            data={linkerd.ROOTS_FILE: pulumi.Output.unsecret(made[0])},
            opts=pulumi.ResourceOptions(parent=self),
        )
        return secret, roots
