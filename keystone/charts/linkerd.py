"""Linkerd: its three charts, and the identity that its proxies trust.

The trust anchor is derived from the root secret, as every identity is, so it is the same after a new beginning, and
the program knows its certificate without asking the cluster. With it cert-manager signs a short-lived issuer and makes
a new one in time; Linkerd reads both where `identity.externalCA` and the scheme kubernetes.io/tls say.
https://linkerd.io/2/tasks/automatically-rotating-control-plane-tls-credentials/
"""

from collections.abc import Iterator
from typing import Any

import versions
from keystone.charts.objects import WAIT_READY, Thing
from keystone.charts.platform import CERT_MANAGER
from keystone.charts.release import Release
from keystone.settings import Settings

NAMESPACE = "linkerd"
CONTROL_PLANE = "linkerd-control-plane"
REPOSITORY = "https://helm.linkerd.io/edge"  # the project itself publishes no others
ANCHOR = "linkerd-trust-anchor"
"""Secret with certificate and key of the trust anchor, from which the issuer is signed."""
ROOTS, ROOTS_FILE = "linkerd-identity-trust-roots", "ca-bundle.crt"
"""ConfigMap with the certificate that proxies trust; Linkerd knows it by this name."""
ISSUER = "linkerd-identity-issuer"
"""Certificate, and the Secret with it that Linkerd knows by this name."""
WEBHOOKS = {
    "proxyInjector": "linkerd-proxy-injector",
    "profileValidator": "linkerd-sp-validator",
    "policyValidator": "linkerd-policy-validator",
}
"""The webhooks: a value of the chart, and the service, which is the Certificate's name too."""
# k3s keeps flannel's plugins in folders of its own; with any other plugin the usual folders hold.
K3S_FOLDERS = {
    "destCNINetDir": "/var/lib/rancher/k3s/agent/etc/cni/net.d",
    "destCNIBinDir": "/var/lib/rancher/k3s/data/cni",
}


def releases(settings: Settings) -> Iterator[Release]:
    """The charts, when Linkerd is the mesh. Namespaces take part by the annotation linkerd.io/inject=enabled."""
    if settings.network.service_mesh != "linkerd":
        return
    shared: dict[str, Any] = {"repository": REPOSITORY, "version": versions.LINKERD_CHART}
    yield Release(
        name="linkerd-crds",
        chart="linkerd-crds",
        namespace=NAMESPACE,
        crd_groups=("linkerd.io", "policy.linkerd.io", "workload.linkerd.io"),
        # The host layer brings the Gateway API, unless nothing else here needs it.
        values={"installGatewayAPI": settings.network.gateway == "nginx"},
        **shared,
    )
    flannel = settings.network.cni == "flannel" and settings.cluster.distribution == "k3s"
    yield Release(
        name="linkerd-cni",
        chart="linkerd2-cni",
        namespace="linkerd-cni",
        pod_security="privileged",  # it writes the plugin into the host's folders
        values={
            # Pods that came before the plugin would have no mesh: they are started again.
            "repairController": {"enabled": True},
            **(K3S_FOLDERS if flannel else {}),
        },
        **shared,
    )
    yield Release(
        name=CONTROL_PLANE,
        chart=CONTROL_PLANE,
        namespace=NAMESPACE,
        needs=("linkerd-crds", "linkerd-cni", CERT_MANAGER),
        values=_control_plane(settings),
        openings=("api", "webhooks", "cluster"),
        **shared,
    )


def _control_plane(settings: Settings) -> dict[str, Any]:
    cluster, several = settings.cluster, len(settings.nodes) > 2
    networks = (cluster.pod_cidr, cluster.service_cidr)
    return {
        "clusterDomain": cluster.cluster_domain,
        "clusterNetworks": ",".join(map(str, networks)),
        "identity": {"externalCA": True, "issuer": {"scheme": "kubernetes.io/tls"}},
        # Else the chart makes their certificates itself: other ones each time it is rendered, which end after a year.
        **{key: {"externalSecret": True, "injectCaFrom": f"{NAMESPACE}/{name}"} for key, name in WEBHOOKS.items()},
        # With the plugin pods need no right to change their network, and namespaces stay restricted.
        "cniEnabled": True,
        "controllerReplicas": 2 if several else 1,
        "enablePodAntiAffinity": several,
        "enablePodDisruptionBudget": several,
        # It would tell the project about the cluster once a day.
        "disableHeartBeat": True,
    }


def identity(settings: Settings) -> Iterator[Thing]:
    """What signs certificates, those of the webhooks, and the issuer: two days long, made anew after one."""
    place: dict[str, Any] = {"namespace": NAMESPACE, "after": CERT_MANAGER, "wait": WAIT_READY}
    yield Thing(api="cert-manager.io/v1", kind="Issuer", name=ANCHOR, spec={"ca": {"secretName": ANCHOR}}, **place)
    signed: dict[str, Any] = {
        "issuerRef": {"group": "cert-manager.io", "kind": "Issuer", "name": ANCHOR},
        "privateKey": {"algorithm": "ECDSA", "size": 256},
    }
    for webhook in WEBHOOKS.values():
        host = f"{webhook}.{NAMESPACE}.svc"
        yield Thing(
            api="cert-manager.io/v1",
            kind="Certificate",
            name=webhook,
            spec={
                **signed,
                "secretName": f"{webhook}-k8s-tls",
                "duration": "2160h",
                "renewBefore": "720h",
                "commonName": host,
                "dnsNames": [host],
                "usages": ["server auth"],
            },
            **place,
        )
    name = f"identity.linkerd.{settings.cluster.cluster_domain}"
    yield Thing(
        api="cert-manager.io/v1",
        kind="Certificate",
        name=ISSUER,
        spec={
            **signed,
            "secretName": ISSUER,
            "duration": "48h",
            "renewBefore": "25h",
            "commonName": name,
            "dnsNames": [name],
            "isCA": True,
            "usages": ["cert sign", "crl sign", "server auth", "client auth"],
        },
        **place,
    )
