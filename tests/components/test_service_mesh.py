"""Linkerd: an anchor of the root secret, an issuer that cert-manager makes anew, then the charts."""

from typing import Any

import pulumi
from cryptography import x509

from components.service_mesh import ServiceMesh, ServiceMeshArgs
from keystone import charts
from keystone.identities import Identities
from tests.components.platforms import Anything, names, settings
from tests.recording import ROOT_SECRET, Engine, is_secret, plain, run


def deploy() -> Engine:
    chosen = settings(network={"serviceMesh": "linkerd"}, platform={"certManager": {}})

    def build() -> None:
        args = ServiceMeshArgs(
            settings=chosen,
            root=pulumi.Output.secret(ROOT_SECRET),
            releases=charts.releases(chosen),
            namespaces=names(chosen),
            after={"cert-manager": Anything("cert-manager")},
        )
        ServiceMesh("linkerd", args)

    return run(build)


def test_proxies_trust_the_anchor_of_the_root_secret_and_its_key_is_secret() -> None:
    engine = deploy()
    anchor, roots = engine.named("linkerd-trust-anchor").inputs, engine.named("linkerd-trust-roots").inputs
    assert is_secret(anchor["stringData"])
    held: dict[str, Any] = plain(anchor["stringData"])
    certificate, key = Identities(ROOT_SECRET, "site").linkerd_anchor("cluster.local")
    assert held == {"tls.crt": certificate, "tls.key": key}
    assert roots["data"] == {"ca-bundle.crt": certificate}
    assert x509.load_pem_x509_certificate(certificate.encode()).subject.rfc4514_string() == (
        "CN=root.linkerd.cluster.local"
    )


def test_the_issuer_is_signed_by_the_anchor_and_made_anew_before_it_ends() -> None:
    engine = deploy()
    issuer, certificate = engine.named("linkerd-linkerd-trust-anchor"), engine.named("linkerd-linkerd-identity-issuer")
    assert issuer.inputs["spec"] == {"ca": {"secretName": "linkerd-trust-anchor"}}
    assert issuer.dependencies >= {"linkerd-trust-anchor", "cert-manager"}
    spec = certificate.inputs["spec"]
    assert (spec["secretName"], spec["isCA"]) == ("linkerd-identity-issuer", True)
    assert spec["issuerRef"]["name"] == "linkerd-trust-anchor"
    assert int(spec["renewBefore"].removesuffix("h")) < int(spec["duration"].removesuffix("h"))


def test_the_webhooks_certificates_are_made_anew_in_time_and_known_to_the_api_server() -> None:
    engine = deploy()
    release = engine.named("chart-linkerd-control-plane-release")
    webhooks = {
        "proxyInjector": "linkerd-proxy-injector",
        "profileValidator": "linkerd-sp-validator",
        "policyValidator": "linkerd-policy-validator",
    }
    for key, service in webhooks.items():
        assert release.inputs["spec"]["values"][key] == {"externalSecret": True, "injectCaFrom": f"linkerd/{service}"}
        certificate = engine.named(f"linkerd-{service}")
        spec = certificate.inputs["spec"]
        # The names are the chart's: its pods mount the Secret, and the API server asks for the service.
        assert (spec["secretName"], spec["dnsNames"]) == (f"{service}-k8s-tls", [f"{service}.linkerd.svc"])
        assert spec["issuerRef"]["name"] == "linkerd-trust-anchor"
        assert int(spec["renewBefore"].removesuffix("h")) < int(spec["duration"].removesuffix("h"))


def test_the_control_plane_comes_after_its_identity_and_the_other_charts() -> None:
    engine = deploy()
    release = engine.named("chart-linkerd-control-plane-release")
    assert release.dependencies >= {"linkerd-linkerd-identity-issuer", "linkerd-trust-roots"}
    assert [need["name"] for need in release.inputs["spec"]["dependsOn"]] == [
        "linkerd-crds",
        "linkerd-cni",
        "cert-manager",
    ]
    values = release.inputs["spec"]["values"]
    assert values["identity"] == {"externalCA": True, "issuer": {"scheme": "kubernetes.io/tls"}}
    assert values["cniEnabled"] is True
