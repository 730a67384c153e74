"""One chart in the cluster, delivered by the GitOps engine and waited for until it is ready."""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.meta import v1 as meta

from keystone.charts import Release
from keystone.charts.gitops import FINALIZER
from keystone.settings import Gitops

# The provider gives up after the release did, so that it can tell the release's own message.
GRACE_SECONDS = 30
# A chart's finalizer runs until everything of it is gone.
DELETE_LIMIT = "5m"
INTERVAL = "15m"
RETRIES = 2
# A release that gave up would stay failed until somebody touched it; so the next `up` finds it mended.
AGAIN = {"name": "RetryOnFailure", "retryInterval": "30s"}


@dataclass(frozen=True, kw_only=True)
class ChartReleaseArgs:
    """`namespace` comes from the component that made it; `values` are added to the release's own, key by key.

    `protect` keeps the release from being deleted: what holds data that nothing else has.
    """

    release: Release
    gitops: Gitops
    namespace: pulumi.Input[str]
    values: Mapping[str, pulumi.Input[Any]] | None = None
    protect: bool = False

    @property
    def all_values(self) -> dict[str, pulumi.Input[Any]]:
        return {**self.release.values, **(self.values or {})}


class ChartRelease(pulumi.ComponentResource):
    ready: pulumi.Resource
    """Stands for the installed chart: custom resources of its kinds depend on it."""

    def __init__(self, name: str, args: ChartReleaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("keystone:components:ChartRelease", name, None, opts)
        self.ready = (_flux if args.gitops.engine == "flux" else _argo)(self, name, args)
        self.register_outputs({})


def install(
    releases: Iterable[Release],
    gitops: Gitops,
    namespaces: Mapping[str, pulumi.Input[str]],
    *,
    parent: pulumi.Resource,
    after: Mapping[str, pulumi.Resource],
    protect: Collection[str] = (),
) -> dict[str, pulumi.Resource]:
    """Releases in their order, named `chart-NAME`; what stands for each, with those of `after` that came before.

    `namespaces` are those of all charts. `protect` names releases.
    """
    ready = dict(after)
    for release in releases:
        ready[release.name] = ChartRelease(
            f"chart-{release.name}",
            ChartReleaseArgs(
                release=release,
                gitops=gitops,
                namespace=namespaces[release.namespace],
                protect=release.name in protect,
            ),
            opts=pulumi.ResourceOptions(
                parent=parent,
                # Flux waits by itself, but Argo CD knows no order between applications; and a removal needs it too.
                depends_on=[ready[need] for need in release.needs if need in ready],
            ),
        ).ready
    return ready


def _flux(component: ChartRelease, name: str, args: ChartReleaseArgs) -> pulumi.Resource:
    release, gitops = args.release, args.gitops
    kind = "OCIRepository" if release.oci else "HelmRepository"
    source = CustomResource(
        f"{name}-source",
        api_version="source.toolkit.fluxcd.io/v1",
        kind=kind,
        metadata=meta.ObjectMetaArgs(
            name=release.name,
            # Takes the chart's namespace first: what that waits for, the engine among it, must be there.
            namespace=pulumi.Output.from_input(args.namespace).apply(lambda _: gitops.namespace),
        ),
        spec=_oci_source(release) if release.oci else {"interval": "12h", "url": release.repository},
        opts=pulumi.ResourceOptions(parent=component),
    )
    chart: dict[str, Any]
    if release.oci:
        chart = {"chartRef": {"kind": kind, "name": release.name}}
    else:
        spec = {"chart": release.chart, "version": release.version, "sourceRef": {"kind": kind, "name": release.name}}
        chart = {"chart": {"spec": spec}}
    return CustomResource(
        f"{name}-release",
        api_version="helm.toolkit.fluxcd.io/v2",
        kind="HelmRelease",
        metadata=_metadata(release, gitops, "condition=Ready"),
        spec={
            **chart,
            "interval": INTERVAL,
            "timeout": f"{_limit(args)}s",
            "releaseName": release.name,
            "targetNamespace": args.namespace,
            "storageNamespace": args.namespace,
            **({"dependsOn": [{"name": need} for need in release.needs]} if release.needs else {}),
            # Namespaces are ours, with their levels and policies.
            "install": {"crds": "CreateReplace", "createNamespace": False, "strategy": AGAIN},
            "upgrade": {"crds": "CreateReplace", "strategy": AGAIN},
            # What somebody changes by hand goes back to what the catalogue says.
            "driftDetection": {"mode": "enabled"},
            "values": args.all_values,
        },
        opts=_waiting(component, args, [source]),
    )


def _oci_source(release: Release) -> dict[str, Any]:
    return {
        "interval": "12h",
        "url": f"{release.repository}/{release.chart}",
        "ref": {"tag": release.version},
        "layerSelector": {"mediaType": "application/vnd.cncf.helm.chart.content.v1.tar+gzip", "operation": "copy"},
    }


def _argo(component: ChartRelease, name: str, args: ChartReleaseArgs) -> pulumi.Resource:
    release, mark = args.release, _mark(args)
    waits = [
        # Argo CD tells no generation: what it has compared the cluster to must be this form, not the one before.
        pulumi.Output.concat("jsonpath={.status.sync.comparedTo.source.name}=", mark),
        "jsonpath={.status.sync.status}=Synced",
        "jsonpath={.status.health.status}=Healthy",
    ]
    return CustomResource(
        f"{name}-release",
        api_version="argoproj.io/v1alpha1",
        kind="Application",
        metadata=_metadata(release, args.gitops, pulumi.Output.json_dumps(waits), [FINALIZER]),
        spec={
            "project": "default",
            "source": {
                # Argo CD spells an OCI registry without its scheme.
                "repoURL": release.repository.removeprefix("oci://"),
                "name": mark,
                "chart": release.chart,
                "targetRevision": release.version,
                "helm": {"releaseName": release.name, "valuesObject": args.all_values},
            },
            "destination": {"server": "https://kubernetes.default.svc", "namespace": args.namespace},
            "syncPolicy": {
                "automated": {"prune": True, "selfHeal": True},
                "syncOptions": ["CreateNamespace=false", "ServerSideApply=true"],
                "retry": {"limit": RETRIES, "backoff": {"duration": "10s", "factor": 2, "maxDuration": "1m"}},
            },
        },
        opts=_waiting(component, args, []),
    )


def _mark(args: ChartReleaseArgs) -> pulumi.Output[str]:
    """Changes with what is asked for: version and values."""
    asked = pulumi.Output.json_dumps([args.release.version, args.all_values], sort_keys=True)
    return asked.apply(lambda text: hashlib.sha256(text.encode()).hexdigest()[:12])


def _metadata(
    release: Release, gitops: Gitops, wait_for: pulumi.Input[str], finalizers: list[str] | None = None
) -> meta.ObjectMetaArgs:
    return meta.ObjectMetaArgs(
        name=release.name,
        namespace=gitops.namespace,
        annotations={"pulumi.com/waitFor": wait_for},
        finalizers=finalizers,
    )


def _limit(args: ChartReleaseArgs) -> int:
    return args.gitops.release_seconds or args.release.limit_seconds


def _waiting(component: ChartRelease, args: ChartReleaseArgs, after: list[pulumi.Resource]) -> pulumi.ResourceOptions:
    limit = f"{_limit(args) + GRACE_SECONDS}s"
    return pulumi.ResourceOptions(
        parent=component,
        depends_on=after,
        protect=args.protect,
        custom_timeouts=pulumi.CustomTimeouts(create=limit, update=limit, delete=DELETE_LIMIT),
    )
