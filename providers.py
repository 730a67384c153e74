"""The only place that makes providers; stack files turn the default ones off."""

import pulumi
import pulumi_kubernetes


def kubernetes(kubeconfig: pulumi.Input[str], cluster: str) -> pulumi_kubernetes.Provider:
    """The provider of the cluster. Named by the cluster and not by its endpoint: a new endpoint replaces nothing."""
    return pulumi_kubernetes.Provider(
        "kubernetes", kubeconfig=kubeconfig, cluster_identifier=cluster, enable_server_side_apply=True
    )
