"""The first Kubernetes resources: Keystone's own namespace, the labels and taints of the nodes, the wait for GitOps."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.core import v1 as core
from pulumi_kubernetes.meta import v1 as meta

from components.machine_command import Line, Machine, machine_command
from components.thing import thing
from keystone.charts.network import REMOTE_LABEL, ROLE_LABEL
from keystone.charts.policies import policy
from keystone.charts.release import pod_security
from keystone.settings import Host, Settings

NAMESPACE = "keystone-system"
PREFIX = "keystone.internal"
ZONE_LABEL = "topology.kubernetes.io/zone"
ENGINE_LIMIT = "15m"


@dataclass(frozen=True, kw_only=True)
class ClusterBaseArgs:
    """`nodes` are the registered nodes by host, `joins` what every host's joining is; `machine` is the Primer."""

    settings: Settings
    machine: Machine
    nodes: Mapping[str, pulumi.Input[str]]
    joins: Mapping[str, pulumi.Resource]


class ClusterBase(pulumi.ComponentResource):
    ready: pulumi.Resource
    """Stands for all joins and for the GitOps engine: every other Kubernetes resource depends on this one."""
    namespace: pulumi.Output[str]

    def __init__(self, name: str, args: ClusterBaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        settings = args.settings
        # What policies judge the cluster by: the hosts do it, and no resource shows it.
        judged = {
            "secretsEncryption": settings.cluster.secrets_encryption,
            "auditLog": settings.cluster.audit_log,
            "podEncryption": settings.network.encryption,
            # A preview does not know the kubeconfig yet.
            "endpoint": settings.cluster.api.endpoint,
            "pools": sorted(settings.network.load_balancer.pools),
        }
        super().__init__("keystone:components:ClusterBase", name, judged, opts)
        namespace = core.Namespace(
            f"{name}-namespace",
            metadata=meta.ObjectMetaArgs(
                name=NAMESPACE,
                labels=pod_security("restricted"),
            ),
            opts=pulumi.ResourceOptions(
                parent=self,
                # A destroy removes what is in Kubernetes while the nodes still run.
                depends_on=list(args.joins.values()),
            ),
        )
        for host in args.nodes:
            _node(host, settings.hosts[host], parent=self, after=namespace)
        engine = settings.gitops.engine
        self.ready = machine_command(
            f"gitops-{engine}",
            args.machine,
            Line(create=f"gitops {args.machine.name}"),
            pulumi.ResourceOptions(
                parent=self,
                # Its pods run on whichever node is there.
                depends_on=[namespace],
                custom_timeouts=pulumi.CustomTimeouts(create=ENGINE_LIMIT, update=ENGINE_LIMIT),
                additional_secret_outputs=["stdout", "stderr"],
            ),
        )
        # After the engine: it runs on the network plugin, whose kind the policy may be of. No pod of ours runs here.
        if denied := policy(settings, NAMESPACE, ()):
            thing(f"policy-{NAMESPACE}", denied, parent=self, after=[self.ready])
        self.namespace = namespace.metadata["name"]
        self.register_outputs({"namespace": self.namespace})


def _node(name: str, host: Host, *, parent: pulumi.Resource, after: pulumi.Resource) -> None:
    taints = [core.TaintPatchArgs(key=taint.key, value=taint.value, effect=taint.effect) for taint in host.taints]
    place = {REMOTE_LABEL: "true"} if host.remote else {}
    core.NodePatch(
        f"node-{name}",
        metadata=meta.ObjectMetaPatchArgs(
            # Plain, not the join's output: once the cluster is there, the provider refuses a patch whose name is
            # unknown, and so the preview of one host more.
            name=name,
            labels={ROLE_LABEL: host.role, ZONE_LABEL: host.failure_domain, **place, **host.labels},
            annotations={
                # k3s sets some of these labels too, at the node's first registration; the stack file wins.
                "pulumi.com/patchForce": "true",
                # A reinstalled host registers anew without our labels: its generation makes this patch apply again.
                f"{PREFIX}/install-generation": str(host.install_generation),
            },
        ),
        # Left out when empty: taking the whole list would take away the node controller's own taints.
        spec=core.NodeSpecPatchArgs(taints=taints) if taints else None,
        opts=pulumi.ResourceOptions(
            parent=parent,
            depends_on=[after],
            # The node goes with its host, and a host that is gone has no labels to take off.
            retain_on_delete=True,
        ),
    )
