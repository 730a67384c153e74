"""What each chart brings to a cluster: definitions, placeholder workloads, and what it makes of its values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from twin.charts import rendered
from twin.charts.definitions import Definition, Permissive, Source, kept_at, load, permissive

Object = dict[str, Any]
Render = Callable[[Mapping[str, Any], str], Iterator[Object]]

GATEWAY_API = Source("sigs.k8s.io/gateway-api", "config/crd/standard/*.yaml")
ROOK = "github.com/rook/rook"


@dataclass(frozen=True)
class Chart:
    """One chart. `workloads` are names of Deployments; `daemons` of DaemonSets, which run on every node."""

    sources: tuple[Source, ...] = ()
    permissive: tuple[Permissive, ...] = ()
    workloads: tuple[str, ...] = ()
    daemons: tuple[str, ...] = ()
    renders: Render | None = None

    def definitions(self) -> list[Definition]:
        """All definitions of the chart; reads files and may download modules."""
        found = [definition for source in self.sources for definition in load(source)]
        return found + [permissive(kind) for kind in self.permissive]


def _kinds(group: str, version: str, *kinds: str) -> tuple[Permissive, ...]:
    return tuple(Permissive(group, version, kind, f"{kind.lower()}s") for kind in kinds)


# Linkerd's, Istio's, Traefik's and the autoscaler's modules are not served; their kinds are accepted as they come.
TRAEFIK = (
    *_kinds("traefik.io", "v1alpha1", "IngressRoute", "IngressRouteTCP", "IngressRouteUDP", "Middleware"),
    *_kinds("traefik.io", "v1alpha1", "MiddlewareTCP", "TLSOption", "TLSStore", "TraefikService", "ServersTransport"),
)
AUTOSCALER = _kinds("autoscaling.k8s.io", "v1", "VerticalPodAutoscaler", "VerticalPodAutoscalerCheckpoint")
ISTIO = (
    *_kinds("networking.istio.io", "v1", "DestinationRule", "VirtualService", "Sidecar"),
    Permissive("security.istio.io", "v1", "AuthorizationPolicy", "authorizationpolicies"),
    *_kinds("security.istio.io", "v1", "PeerAuthentication", "RequestAuthentication"),
    Permissive("telemetry.istio.io", "v1", "Telemetry", "telemetries"),
    *_kinds("extensions.istio.io", "v1alpha1", "WasmPlugin"),
)
LINKERD = (
    *_kinds("policy.linkerd.io", "v1beta3", "Server", "HTTPRoute"),
    *_kinds("policy.linkerd.io", "v1beta1", "ServerAuthorization"),
    *_kinds("policy.linkerd.io", "v1alpha1", "MeshTLSAuthentication", "NetworkAuthentication", "EgressNetwork"),
    Permissive("policy.linkerd.io", "v1alpha1", "AuthorizationPolicy", "authorizationpolicies"),
    Permissive("policy.linkerd.io", "v1alpha1", "HTTPLocalRateLimitPolicy", "httplocalratelimitpolicies"),
    *_kinds("linkerd.io", "v1alpha2", "ServiceProfile"),
    *_kinds("workload.linkerd.io", "v1beta1", "ExternalWorkload"),
)

# Flux' operator's module wants a newer Go than ours.
FLUX_INSTANCE = Permissive("fluxcd.controlplane.io", "v1", "FluxInstance", "fluxinstances")

# Nor are those of AWS' controllers, of Crossplane and of its providers, which bring their kinds as they are installed.
ACK = {
    "ec2": ("InternetGateway", "NATGateway", "RouteTable", "SecurityGroup", "Subnet", "VPC"),
    "eks": ("Addon", "Cluster", "Nodegroup"),
    "iam": ("InstanceProfile", "Role"),
    "rds": ("DBCluster", "DBInstance", "DBParameterGroup", "DBSubnetGroup"),
    "s3": ("Bucket",),
}
ACK_CHARTS = {
    f"{service}-chart": Chart(
        permissive=_kinds(f"{service}.services.k8s.aws", "v1alpha1", *kinds), workloads=(f"ack-{service}",)
    )
    for service, kinds in ACK.items()
}
POLICY = Permissive("iam.services.k8s.aws", "v1alpha1", "Policy", "policies")
ACK_CHARTS["iam-chart"] = replace(ACK_CHARTS["iam-chart"], permissive=(*ACK_CHARTS["iam-chart"].permissive, POLICY))
CROSSPLANE = (
    *(
        Permissive("pkg.crossplane.io", version, kind, f"{kind.lower()}s", namespaced=False)
        for version, kind in (("v1", "Provider"), ("v1beta1", "DeploymentRuntimeConfig"))
    ),
    Permissive(
        "apiextensions.crossplane.io",
        "v1alpha1",
        "ManagedResourceActivationPolicy",
        "managedresourceactivationpolicies",
        namespaced=False,
    ),
    *(
        Permissive(
            f"{cloud}.m.upbound.io", "v1beta1", "ClusterProviderConfig", "clusterproviderconfigs", namespaced=False
        )
        for cloud in ("aws", "azure", "gcp")
    ),
    *_kinds("compute.gcp.m.upbound.io", "v1beta1", "InstanceTemplate", "InstanceGroupManager"),
    *_kinds("compute.azure.m.upbound.io", "v1beta1", "LinuxVirtualMachineScaleSet"),
)

CHARTS: dict[str, Chart] = {
    **ACK_CHARTS,
    "crossplane": Chart(permissive=CROSSPLANE, workloads=("crossplane", "crossplane-rbac-manager")),
    "alloy": Chart(permissive=_kinds("monitoring.grafana.com", "v1alpha2", "PodLogs"), daemons=("alloy",)),
    "argo-cd": Chart(
        sources=(Source("github.com/argoproj/argo-cd/v3", "manifests/crds/*.yaml"),),
        workloads=("argocd-application-controller", "argocd-server", "argocd-repo-server"),
    ),
    "aws-ebs-csi-driver": Chart(workloads=("ebs-csi-controller",), renders=rendered.class_list("ebs.csi.aws.com")),
    "aws-efs-csi-driver": Chart(workloads=("efs-csi-controller",), renders=rendered.class_list("efs.csi.aws.com")),
    "aws-cloud-controller-manager": Chart(workloads=("aws-node-lifecycle",)),
    "aws-node-termination-handler": Chart(workloads=("node-termination-handler",)),
    "amazon-eks-pod-identity-webhook": Chart(workloads=("pod-identity-webhook",)),
    "base": Chart(permissive=ISTIO),
    "cluster-autoscaler": Chart(workloads=("cluster-autoscaler",)),
    "ceph-csi-drivers": Chart(
        workloads=("rbd-ctrlplugin", "cephfs-ctrlplugin"),
        daemons=("rbd-nodeplugin", "cephfs-nodeplugin"),
        renders=rendered.ceph_csi_drivers,
    ),
    "cert-manager": Chart(
        sources=(Source("github.com/cert-manager/cert-manager", "deploy/crds/*.yaml"),),
        workloads=("cert-manager", "cert-manager-cainjector", "cert-manager-webhook"),
    ),
    "cilium": Chart(
        sources=(Source("github.com/cilium/cilium", "pkg/k8s/apis/cilium.io/client/crds/v2*/*.yaml"),),
        workloads=("cilium-operator", "hubble-relay"),
        daemons=("cilium",),
        renders=rendered.cilium,
    ),
    "cni": Chart(daemons=("istio-cni-node",)),
    "external-dns": Chart(
        sources=(Source("sigs.k8s.io/external-dns", "config/crd/standard/*.yaml"),), workloads=("external-dns",)
    ),
    # The operator brings its own kinds; the rest is what it makes of a FluxInstance.
    "flux-operator": Chart(
        sources=(
            Source("github.com/fluxcd/helm-controller", "config/crd/bases/*.yaml"),
            Source("github.com/fluxcd/kustomize-controller", "config/crd/bases/*.yaml"),
            Source("github.com/fluxcd/source-controller", "config/crd/bases/*.yaml"),
        ),
        permissive=(FLUX_INSTANCE,),
        workloads=(
            *("flux-operator", "helm-controller", "kustomize-controller"),
            *("notification-controller", "source-controller"),
        ),
    ),
    "gateway-api": Chart(sources=(GATEWAY_API,)),
    "ingress-nginx": Chart(workloads=("ingress-nginx-controller",), renders=rendered.ingress_nginx),
    "istiod": Chart(workloads=("istiod",)),
    "karpenter-crd": Chart(sources=(Source("sigs.k8s.io/karpenter", "pkg/apis/crds/*.yaml"),)),
    "karpenter": Chart(
        sources=(Source("sigs.k8s.io/karpenter", "pkg/apis/crds/*.yaml"),),
        permissive=(Permissive("karpenter.k8s.aws", "v1", "EC2NodeClass", "ec2nodeclasses", namespaced=False),),
        workloads=("karpenter",),
    ),
    "kube-prometheus-stack": Chart(
        sources=(
            Source("github.com/prometheus-operator/prometheus-operator", "example/prometheus-operator-crd/*.yaml"),
        ),
        workloads=("operator", "grafana", "kube-state-metrics", "prometheus", "alertmanager"),
        daemons=("node-exporter",),
    ),
    "linkerd-crds": Chart(permissive=LINKERD),
    "linkerd2-cni": Chart(daemons=("linkerd-cni",)),
    "linkerd-control-plane": Chart(workloads=("linkerd-destination", "linkerd-identity", "linkerd-proxy-injector")),
    "local-path-provisioner": Chart(workloads=("local-path-provisioner",), renders=rendered.local_path),
    "loki": Chart(workloads=("loki",)),
    "longhorn": Chart(
        sources=(Source("github.com/longhorn/longhorn-manager", "k8s/crds.yaml"),),
        workloads=("longhorn-ui", "longhorn-driver-deployer"),
        daemons=("longhorn-manager",),
        renders=rendered.longhorn,
    ),
    "metallb": Chart(
        sources=(Source("go.universe.tf/metallb", "config/crd/bases/*.yaml"),),
        workloads=("controller",),
        daemons=("speaker",),
    ),
    "metrics-server": Chart(workloads=("metrics-server",)),
    "openebs": Chart(workloads=("openebs-localpv-provisioner",), renders=rendered.openebs),
    "proxmox-csi-plugin": Chart(
        workloads=("proxmox-csi-plugin-controller",), renders=rendered.class_list("csi.proxmox.sinextra.dev")
    ),
    "rook-ceph": Chart(
        sources=(
            Source(ROOK, "deploy/examples/crds.yaml"),
            Source(ROOK, "deploy/examples/csi-operator.yaml", ("csi.ceph.io",)),
        ),
        workloads=("rook-ceph-operator", "ceph-csi-operator-controller-manager"),
    ),
    "rook-ceph-cluster": Chart(workloads=("rook-ceph-tools",), renders=rendered.ceph_cluster),
    "traefik": Chart(permissive=TRAEFIK, workloads=("traefik",), renders=rendered.traefik),
    "vertical-pod-autoscaler": Chart(permissive=AUTOSCALER, workloads=("vpa-recommender", "vpa-updater")),
    "ztunnel": Chart(daemons=("ztunnel",)),
}
"""A chart that is not here is installed as one placeholder workload of its name."""


def chart(name: str) -> Chart:
    return CHARTS.get(name) or Chart(workloads=(name,))


def fetch(charts: Iterable[str], say: Callable[[str], None]) -> None:
    """Get the definitions of charts that the cache lacks, so that no update waits for a download.

    Raises KeystoneError when one cannot be had.
    """
    wanted = {source for name in charts for source in chart(name).sources}
    missing = sorted((one for one in wanted if not kept_at(one).is_file()), key=lambda one: (one.module, one.files))
    for number, source in enumerate(missing, 1):
        say(f"[{number}/{len(missing)}] fetching the definitions in {source.module}, once")
        load(source)
