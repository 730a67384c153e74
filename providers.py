"""The only place that makes providers; stack files turn the default ones off."""

import pulumi
import pulumi_kubernetes

from keystone.settings import Tunnel


def kubernetes(kubeconfig: pulumi.Input[str], cluster: str) -> pulumi_kubernetes.Provider:
    """The provider of the cluster. Named by the cluster and not by its endpoint: a new endpoint replaces nothing."""
    return pulumi_kubernetes.Provider(
        "kubernetes",
        kubeconfig=kubeconfig,
        cluster_identifier=cluster,
        enable_server_side_apply=True,
        # Those of ours have fixed names: to replace one would take it away from who reads it for a moment.
        enable_config_map_mutable=True,
        enable_secret_mutable=True,
    )


def cloudflare(token: pulumi.Input[str], tunnel: Tunnel) -> pulumi.ProviderResource:
    """The provider of the tunnel's account and zone."""
    import pulumi_cloudflare  # takes seconds, and few stacks need it

    return pulumi_cloudflare.Provider("cloudflare", api_token=pulumi.Output.secret(token), base_url=tunnel.api_url)
