"""Pools at other clouds than AWS: their autoscalers, Crossplane's providers for them, and the groups of machines."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.core import v1 as core
from pulumi_kubernetes.meta import v1 as meta

from components.chart_release import install
from components.namespace_secret import with_secret
from components.thing import thing
from keystone.charts import Release, cloud_pools, operators
from keystone.identities import Identities
from keystone.settings import Settings


@dataclass(frozen=True, kw_only=True)
class CloudPoolsArgs:
    """`after` are the releases that are installed already, Crossplane among them where a cloud needs it."""

    settings: Settings
    releases: Mapping[str, Release]
    namespaces: Mapping[str, pulumi.Input[str]]
    after: Mapping[str, pulumi.Resource]
    root: pulumi.Input[str]
    hetzner_token: pulumi.Input[str] | None = None
    """The token with which machines at Hetzner are made and removed."""


class CloudPools(pulumi.ComponentResource):
    releases: Mapping[str, pulumi.Resource]
    """What stands for each installed chart, by the release's name."""

    def __init__(self, name: str, args: CloudPoolsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        # What policies judge it by: no resource shows where a credential comes from.
        judged = {"staticKeys": cloud_pools.static_keys(args.settings)}
        super().__init__("keystone:components:CloudPools", name, judged, opts)
        self._name, self._args = name, args
        namespaces = {**args.namespaces, **self._token()}
        namespaces |= self._identities(namespaces)
        ours = [args.releases[release.name] for release in cloud_pools.releases(args.settings)]
        self.releases = install(ours, args.settings.gitops, namespaces, parent=self, after=args.after)
        if operators.CROSSPLANE in args.after:
            self._groups(namespaces[cloud_pools.NAMESPACE])
        self.register_outputs({})

    def _token(self) -> dict[str, pulumi.Input[str]]:
        """The namespace of Hetzner's autoscaler, known when its token is there."""
        token = self._args.hetzner_token
        if "hetzner" not in cloud_pools.clouds(self._args.settings) or token is None:
            return {}
        found = with_secret(
            f"{self._name}-{cloud_pools.HETZNER_SECRET}",
            cloud_pools.HETZNER_SECRET,
            {cloud_pools.HETZNER_SECRET_KEY: token},
            namespace=self._args.namespaces[cloud_pools.NAMESPACE],
            parent=self,
        )
        return {cloud_pools.NAMESPACE: found}

    def _identities(self, namespaces: Mapping[str, pulumi.Input[str]]) -> dict[str, pulumi.Input[str]]:
        """The namespaces that hold how a program becomes an account of GCP; who takes one comes after that."""
        gcp = cloud_pools.clouds(self._args.settings).get("gcp")
        if not isinstance(gcp, cloud_pools.GcpRenderer):
            return {}
        found: dict[str, pulumi.Input[str]] = {}
        for namespace in (cloud_pools.NAMESPACE, operators.CROSSPLANE_NAMESPACE):
            where = pulumi.Output.from_input(namespaces[namespace])
            made = core.ConfigMap(
                f"{self._name}-{cloud_pools.CONFIG}-{namespace}",
                metadata=meta.ObjectMetaArgs(name=cloud_pools.CONFIG, namespace=where),
                data=gcp.files(self._args.settings),
                opts=pulumi.ResourceOptions(parent=self),
            )
            found[namespace] = pulumi.Output.all(where, made.id).apply(lambda both: both[0])
        return found

    def _groups(self, namespace: pulumi.Input[str]) -> None:
        settings = self._args.settings
        before: list[pulumi.Resource] = [self._args.after[operators.CROSSPLANE]]
        for it in cloud_pools.providers(settings):
            before = [
                thing(f"{self._name}-{it.api.partition('/')[0]}-{it.kind}-{it.name}", it, parent=self, after=before)
            ]
        login = pulumi.Output.secret(self._args.root).apply(
            lambda root: Identities(root, settings.cluster.name).operator_key().public
        )
        # A public key is public.
        for it in cloud_pools.things(settings, pulumi.Output.unsecret(login)):
            # Their kinds come with the providers. A group names its template, which may come at the same time.
            thing(f"{self._name}-{it.kind}-{it.name}", it, parent=self, after=before, namespace=namespace)
