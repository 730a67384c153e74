"""Certificates, DNS records, metrics of pods: what most clusters want besides network and storage."""

from collections.abc import Iterator
from typing import Any

import versions
from keystone.charts.release import CONTAINER, POD, Release
from keystone.settings import CertManager, ExternalDns, Settings

CERT_MANAGER, EXTERNAL_DNS, APPROVER = "cert-manager", "external-dns", "kubelet-csr-approver"
ACME_SECRET, ACME_SECRET_KEY = "acme-dns-provider", "token"
"""Secret with the token that proves names to a public authority."""
DNS_SECRET, DNS_SECRET_KEY = "dns-provider", "key"
"""Secret with the token or key that writes records."""
# Answers of the local network's name servers may differ from what the world sees, and the world's must be proven.
RESOLVERS = "1.1.1.1:53,9.9.9.9:53"


def releases(settings: Settings) -> Iterator[Release]:
    platform = settings.platform
    if settings.cluster.distribution == "kubeadm":
        yield kubelet_csr_approver(settings)
    if platform is None:
        return
    if platform.cert_manager:
        yield cert_manager(platform.cert_manager, settings)
    if platform.external_dns:
        yield external_dns(platform.external_dns, settings)
    if platform.metrics_server and settings.cluster.distribution == "kubeadm":
        yield metrics_server()
    if platform.vertical_pod_autoscaler:
        yield vertical_pod_autoscaler()


def cert_manager(choice: CertManager, settings: Settings) -> Release:
    values: dict[str, Any] = {
        "crds": {"enabled": True, "keep": True},
        "replicaCount": 2 if len(settings.nodes) > 2 else 1,
        "config": {
            "apiVersion": "controller.config.cert-manager.io/v1alpha1",
            "kind": "ControllerConfiguration",
            # Gateways get their certificates by an annotation; ingress-nginx knows no gateways.
            "enableGatewayAPI": settings.network.gateway != "nginx",
        },
    }
    if choice.acme:
        values |= {"dns01RecursiveNameservers": RESOLVERS, "dns01RecursiveNameserversOnly": True}
    return Release(
        name=CERT_MANAGER,
        chart="cert-manager",
        repository="oci://quay.io/jetstack/charts",
        version=f"v{versions.CERT_MANAGER_CHART}",
        namespace=CERT_MANAGER,
        crd_groups=("cert-manager.io", "acme.cert-manager.io"),
        values=values,
        openings=("api", "webhooks", *(("internet",) if choice.acme else ())),
    )


def external_dns(choice: ExternalDns, settings: Settings) -> Release:
    gateway = settings.network.gateway
    values: dict[str, Any] = {
        "provider": {"name": choice.provider},
        "sources": ["service", "ingress" if gateway == "nginx" else "gateway-httproute"],
        # Version 0.22 has no default for it.
        "policy": choice.policy,
        "registry": "txt",
        # Records of another cluster in the same zone carry another owner and stay as they are.
        "txtOwnerId": settings.cluster.name,
        "domainFilters": list(choice.domains),
        "env": [
            {
                "name": {"cloudflare": "CF_API_TOKEN", "pdns": "KEY"}[choice.provider],
                "valueFrom": {"secretKeyRef": {"name": DNS_SECRET, "key": DNS_SECRET_KEY}},
            }
        ],
    }
    if choice.provider == "pdns" and choice.server:
        values["extraArgs"] = [f"--pdns-server={choice.server}", "--pdns-server-id=localhost", "--pdns-api-key=$(KEY)"]
    return Release(
        name=EXTERNAL_DNS,
        chart=EXTERNAL_DNS,
        repository="https://kubernetes-sigs.github.io/external-dns/",
        version=versions.EXTERNAL_DNS_CHART,
        namespace=EXTERNAL_DNS,
        crd_groups=("externaldns.k8s.io",),
        values=values,
        openings=("api", "internet", *(("lan",) if choice.provider == "pdns" else ())),
    )


def kubelet_csr_approver(settings: Settings) -> Release:
    """Approves the certificates that kubeadm's kubelets ask for; k3s makes those of its own kubelets by itself.

    Without it nobody could read logs: the kubelets serve nothing until they have one.
    """
    return Release(
        name=APPROVER,
        chart="kubelet-csr-approver",
        repository="https://postfinance.github.io/kubelet-csr-approver",
        version=versions.KUBELET_CSR_APPROVER_CHART,
        namespace="kube-system",
        values={
            # A node's name, which the certificate has to begin with, is one label: none speaks for a name with a dot.
            "providerRegex": "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
            "providerIpPrefixes": sorted(
                {*(str(site.cidr) for site in settings.sites.values()), str(settings.mesh.prefix)}
            ),
            # Names of nodes stand in no zone that the cluster's DNS knows.
            "bypassDnsResolution": True,
        },
    )


def metrics_server() -> Release:
    return Release(
        name="metrics-server",
        chart="metrics-server",
        repository="https://kubernetes-sigs.github.io/metrics-server/",
        version=versions.METRICS_SERVER_CHART,
        namespace="kube-system",
        needs=(APPROVER,),  # it trusts certificates of the cluster's authority alone
        values={"args": ["--kubelet-preferred-address-types=InternalIP"]},
        openings=("api", "nodes"),
    )


def vertical_pod_autoscaler() -> Release:
    return Release(
        name="vertical-pod-autoscaler",
        chart="vertical-pod-autoscaler",
        repository="https://kubernetes.github.io/autoscaler",
        version=versions.VPA_CHART,
        namespace="vertical-pod-autoscaler",
        crd_groups=("autoscaling.k8s.io",),
        values={"podSecurityContext": POD, "containerSecurityContext": CONTAINER},
        openings=("api", "webhooks"),
    )
