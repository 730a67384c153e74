"""What of the cluster can be reached, and how far a pod can reach."""

from collections.abc import Mapping
from typing import Any

from judging.kinds import sdk
from judging.resource import Resource, is_map, maps, read
from judging.rule import ABSENT, CRITICAL, HIGH, MEDIUM, Finding, Findings, rule, show

from rules import charts, workloads

NAMESPACE = sdk("pulumi_kubernetes.core.v1", "Namespace")
NAMESPACE_PATCH = sdk("pulumi_kubernetes.core.v1", "NamespacePatch")
LEVEL = "pod-security.kubernetes.io/enforce"
ESCAPED = LEVEL.replace(".", "\\.")
# By these Cilium and MetalLB choose a pool.
POOL_KEYS = ("keystone.internal/pool", "metallb.io/address-pool", "metallb.universe.tf/address-pool")
OUTSIDE = ("LoadBalancer", "NodePort")
# The namespaces whose pods need the host, each with the reason. Nothing else may be privileged.
PRIVILEGED = {
    "kube-system": "the network plugin and k3s' own add-ons work in the host's network",
    "rook-ceph": "OSDs open raw disks",
    "metallb-system": "the speaker answers ARP in the host's network",
    "longhorn-system": "the manager mounts volumes on the host",
    "openebs": "the node plugin mounts volumes on the host",
    "local-path-storage": "helper pods make folders on the host",
    "aws-ebs-csi-driver": "the node plugin mounts volumes on the host",
    "aws-efs-csi-driver": "the node plugin mounts volumes on the host",
    "observability": "node exporter and the log agent read the host's files",
    "monitoring": "node exporter reads the host's files",
    "alloy": "the agents read the hosts' journals, and their metrics on loopback",
    "istio-system": "the CNI plugin sets up pods' network from the host",
    "linkerd-cni": "the CNI plugin sets up pods' network from the host",
}
HOST_NAMESPACES = ("hostNetwork", "hostPID", "hostIPC")
EVERYBODY = ("system:anonymous", "system:unauthenticated", "system:authenticated", "system:serviceaccounts")
# What Pod Security's level "baseline" lets a container add.
CAPABILITIES = (
    *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE"),
    *("SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
)


def _pool(metadata: object, cluster: Resource | None) -> bool:
    """Whether labels or annotations name one of the cluster's load-balancer pools."""
    if not is_map(metadata) or cluster is None:
        return False
    found = {**(metadata.get("labels") or {}), **(metadata.get("annotations") or {})}  # type: ignore[attr-defined]
    named = {found[key] for key in POOL_KEYS if found.get(key)}
    return bool(named) and named <= set(cluster.at("pools") or ())


@rule(
    "service-pool-named",
    "A Service that is reachable from outside belongs to a named pool",
    sdk("pulumi_kubernetes.core.v1", "Service", "ServicePatch"),
    HIGH,
    cure=f"Make the type ClusterIP, or name a pool of network.loadBalancer by the label {POOL_KEYS[0]}",
    reference="OWASP Kubernetes Top Ten 2022, K07",
    guards={"spec.type": ("LoadBalancer", "NodePort"), "spec.externalIPs": (["203.0.113.9"],)},
)
def service(it: Resource) -> Findings:
    kind = it.at("spec.type")
    if kind in OUTSIDE and not _pool(it.at("metadata"), it.cluster):
        yield Finding("spec.type", show(kind), "it names no pool of the cluster's settings")
    if it.at("spec.externalIPs"):
        yield Finding("spec.externalIPs", "set", "it takes over addresses of others")


@rule(
    "chart-service-pool-named",
    "A Service that a chart makes reachable from outside belongs to a named pool",
    charts.CHARTS,
    HIGH,
    cure=f"Make its type ClusterIP in the values, or name a pool of network.loadBalancer by the label {POOL_KEYS[0]} "
    "beside it",
    reference="OWASP Kubernetes Top Ten 2022, K07",
    guards={"spec.values.service.type": ("LoadBalancer", "NodePort")},
)
def chart_service(it: Resource) -> Findings:
    path, values = charts.values(it)
    found: dict[str, Mapping[str, Any]] = {}
    for place, inner in maps(values, path):
        found[place] = inner
        kind = inner.get("type") if "type" in inner else inner.get("serviceType")
        # Some charts (Traefik's) keep the service's own spec apart from its labels and annotations.
        around = found.get(place.removesuffix(".spec"))
        if kind in OUTSIDE and not _pool(inner, it.cluster) and not _pool(around, it.cluster):
            yield Finding(f"{place}.type", show(kind), "it names no pool of the cluster's settings")


@rule(
    "namespace-pod-security",
    "Each namespace says how much its pods may do, and only listed ones are privileged",
    (*NAMESPACE, *NAMESPACE_PATCH),
    HIGH,
    cure=f"Label it {LEVEL}: restricted or baseline; a privileged one needs a line with its reason in the rule's list",
    reference="CIS Kubernetes 1.8, 5.2.1",
    guards={f"metadata.labels.{ESCAPED}": ("privileged", ABSENT), "metadata.labels": (ABSENT,)},
)
def namespace(it: Resource) -> Findings:
    labels = it.at("metadata.labels") or {}
    level = labels.get(LEVEL)
    place = f"metadata.labels[{LEVEL}]"
    if level == "privileged":
        # Read only here: a name that is made by the engine is unknown at preview.
        name = it.at("metadata.name")
        if name not in PRIVILEGED:
            yield Finding(place, "privileged", f"the list has no reason for {show(name)}")
    elif level not in ("restricted", "baseline") and (level is not None or it.kind in NAMESPACE):
        # A patch that says nothing of it leaves it as it is.
        yield Finding(place, show(level), "it must be restricted or baseline")


@rule(
    "workload-not-privileged",
    "No container is privileged, or in a namespace or on a port of its host, outside of the listed namespaces",
    workloads.WORKLOADS,
    CRITICAL,
    cure="Leave privileged, hostNetwork, hostPID, hostIPC, hostPort, hostPath volumes and added capabilities out",
    reference="CIS Kubernetes 1.8, 5.2.2 to 5.2.5, 5.2.9 and 5.2.13",
    guards={
        "spec.template.spec.containers.0.securityContext.capabilities.add": (["ALL"], ["SYS_ADMIN"]),
        "spec.template.spec.containers.0.ports": ([{"containerPort": 80, "hostPort": 80}],),
        "spec.template.spec.containers.0.securityContext.privileged": (True,),
        "spec.template.spec.hostNetwork": (True,),
        "spec.template.spec.hostPID": (True,),
        "spec.template.spec.volumes": ([{"name": "root", "hostPath": {"path": "/"}}],),
        "spec.containers.0.securityContext.privileged": (True,),
    },
)
def workload(it: Resource) -> Findings:
    if workloads.namespace(it) in PRIVILEGED:
        return
    path, spec = workloads.pod(it)
    for key in HOST_NAMESPACES:
        if spec.get(key) is True:
            yield Finding(f"{path}.{key}", "true", "a pod there sees and reaches what its host does")
    volumes = spec.get("volumes") or []
    for index in range(len(volumes)):
        if volumes[index].get("hostPath"):
            yield Finding(f"{path}.volumes.{index}.hostPath", "set", "the host's files are not a pod's")
    for place, container in workloads.containers(it):
        context = container.get("securityContext") or {}
        if context.get("privileged") is True:
            yield Finding(f"{place}.securityContext.privileged", "true", "such a container owns its host")
        added = [one for one in read(context, "capabilities.add") or [] if str(one) not in CAPABILITIES]
        if added:
            yield Finding(f"{place}.securityContext.capabilities.add", ", ".join(map(str, added)), "too much for a pod")
        ports = container.get("ports") or []
        for index in range(len(ports)):
            if ports[index].get("hostPort"):
                yield Finding(f"{place}.ports.{index}.hostPort", show(ports[index]["hostPort"]), "it opens the host")


@rule(
    "chart-not-privileged",
    "No chart's values ask for privileged pods, their host's namespaces or its files, outside of the listed namespaces",
    charts.CHARTS,
    CRITICAL,
    cure="Leave privileged, hostNetwork, hostPID, hostIPC, hostPath and added capabilities out of the values",
    reference="CIS Kubernetes 1.8, 5.2.2 to 5.2.5 and 5.2.9",
    guards={
        "spec.values.hostNetwork": (True,),
        "spec.values.controller.hostPID": (True,),
        "spec.values.securityContext.privileged": (True,),
        "spec.values.extraVolumes": ([{"name": "root", "hostPath": {"path": "/"}}],),
        "spec.values.securityContext.capabilities.add": (["SYS_ADMIN"],),
    },
)
def chart_workload(it: Resource) -> Findings:
    path, values = charts.values(it)
    for place, inner in maps(values, path):
        found = [(key, "true") for key in (*HOST_NAMESPACES, "privileged") if inner.get(key) is True]
        if read(inner.get("hostPath"), "path"):
            found.append(("hostPath", "set"))
        added = [str(one) for one in read(inner.get("capabilities"), "add") or [] if str(one) not in CAPABILITIES]
        if added:
            found.append(("capabilities.add", ", ".join(added)))
        for key, value in found:
            if charts.namespace(it) not in PRIVILEGED:
                yield Finding(f"{place}.{key}", value, "a pod there sees and reaches what its host does")


@rule(
    "binding-names-people",
    "No role is bound to everybody",
    (
        *sdk("pulumi_kubernetes.rbac.v1", "ClusterRoleBinding", "RoleBinding"),
        *sdk("pulumi_kubernetes.rbac.v1", "ClusterRoleBindingPatch", "RoleBindingPatch"),
    ),
    CRITICAL,
    cure="Name users, groups of people, or service accounts",
    reference="CIS Kubernetes 1.8, 5.1.1",
    guards={"subjects.0.name": EVERYBODY},
)
def binding(it: Resource) -> Findings:
    for path, one in it.each("subjects"):
        if one.get("name") in EVERYBODY:
            # That everybody may ask for a token's issuer is what the cluster's OIDC is for.
            if it.at("roleRef.name") == "system:service-account-issuer-discovery":
                continue
            yield Finding(f"{path}.name", show(one.get("name")), "it gives the role to everybody who reaches the API")


@rule(
    "role-not-everything",
    "No role gives every verb on every resource",
    sdk("pulumi_kubernetes.rbac.v1", "ClusterRole", "Role", "ClusterRolePatch", "RolePatch"),
    HIGH,
    cure="Name the groups, the resources and the verbs that are needed",
    reference="CIS Kubernetes 1.8, 5.1.3",
    guards={"rules.0": ({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},)},
)
def role(it: Resource) -> Findings:
    for path, one in it.each("rules"):
        if "*" in (one.get("resources") or []) and "*" in (one.get("verbs") or []):
            yield Finding(path, "every verb on every resource", "it may do everything")


@rule(
    "ingress-tls",
    "An Ingress has TLS",
    sdk("pulumi_kubernetes.networking.v1", "Ingress", "IngressPatch"),
    MEDIUM,
    cure="Give spec.tls the hosts and the Secret with their certificate",
    reference="OWASP Top 10 2021, A02",
    guards={"spec.tls": ([], ABSENT)},
)
def ingress(it: Resource) -> Findings:
    if not list(it.each("spec.tls")):
        yield Finding("spec.tls", "empty", "it would serve plain HTTP")


RULES = (service, chart_service, namespace, workload, chart_workload, binding, role, ingress)
