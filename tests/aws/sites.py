"""Settings with a section `aws`, for the tests."""

from typing import Any

from keystone.settings import Settings, parse
from tests.recording import document

POOL: dict[str, Any] = {
    "instanceTypes": ["t3.medium", "t3a.medium"],
    "min": 1,
    "max": 3,
    "zones": ["eu-central-1a", "eu-central-1b"],
    "imageId": "ami-0123456789abcdef0",
    "labels": {"example.org/tier": "batch"},
    "taints": [{"key": "spot", "value": "yes", "effect": "NoSchedule"}],
}
KARPENTER: dict[str, Any] = {**POOL, "scaler": "karpenter", "min": 0}


def site(*, tunnel: bool = False, **aws: Any) -> Settings:
    """A Primer and two workers, and an account with one pool unless `nodePools` says otherwise."""
    return parse(document_of(tunnel=tunnel, **aws))


def document_of(*, tunnel: bool = False, **aws: Any) -> dict[str, Any]:
    """The same as a document."""
    base = document()
    base["cluster"]["issuerHost"] = "oidc.example.org"
    base["cluster"]["api"]["sans"].append("primer.mesh.keystone.test")
    if tunnel:
        base["tunnel"] = {
            "accountId": "a" * 32,
            "zone": "example.org",
            "zoneId": "b" * 32,
            "team": "home",
            "hostnames": {
                "grafana": {
                    "origin": {"namespace": "monitoring", "service": "grafana", "port": 80},
                    "access": {"emails": ["ada@example.org"]},
                }
            },
        }
    base["platform"] = {"certManager": {}}
    section = {
        "region": "eu-central-1",
        "accountId": "123456789012",
        "network": {"cidr": "10.60.0.0/16"},
        "nodePools": {"spot": POOL},
        **aws,
    }
    return {**base, "aws": section}
