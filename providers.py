"""The only place that makes providers; stack files turn the default ones off."""

import pulumi
import pulumi_kubernetes

from keystone.aws import services
from keystone.settings import Aws, Tunnel


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


def aws(account: Aws, cluster: str) -> pulumi.ProviderResource:
    """The provider of the account. It holds no key: who runs the program brings a session, or a token to get one."""
    import pulumi_aws  # takes seconds, and few stacks need it

    endpoints = services.endpoints(account)
    return pulumi_aws.Provider(
        "aws",
        region=account.region,
        # A session of another account changes nothing.
        allowed_account_ids=[account.account_id],
        default_tags={"tags": {services.CLUSTER_TAG: cluster}},
        endpoints=[pulumi_aws.ProviderEndpointArgs(**endpoints)] if endpoints else None,
        # One address has no room for a host name per bucket.
        s3_use_path_style=True if endpoints else None,
    )
