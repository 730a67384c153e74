"""The pack over what the platform's settings can choose: charts, namespaces and storage of every sort pass."""

from collections.abc import Callable
from typing import Any

import pulumi
import pytest
from pulumi_kubernetes import Provider

from components.cluster_base import ClusterBase, ClusterBaseArgs
from components.machine_command import Machine
from components.platform import Platform, PlatformArgs
from keystone.settings import Secrets, parse
from tests.policy import court
from tests.recording import ROOT_SECRET, Engine, document

POOLS = {"ingress": "127.78.5.200-127.78.5.209"}
ROLE = "arn:aws:iam::123456789012:role/x"
KEY = "arn:aws:kms:eu-central-1:123456789012:key/7d0e2b1c-1111-2222-3333-444455556666"
CHOICES: dict[str, dict[str, Any]] = {
    "ceph": {
        "storage": {"default": "ceph-block", "ceph": {}, "localPath": {}, "longhorn": {}, "openebs": {}},
        "platform": {
            "certManager": {"acme": {"email": "a@example.org"}},
            "externalDns": {"provider": "cloudflare", "domains": ["example.org"]},
            "verticalPodAutoscaler": True,
        },
    },
    "argo": {"gitops": {"engine": "argocd"}, "storage": {"localPath": {}}, "platform": {"certManager": {}}},
    "metallb": {
        "network": {
            "cni": "calico",
            "gateway": "traefik",
            "serviceMesh": "istio",
            "loadBalancer": {"provider": "metallb", "pools": POOLS},
        }
    },
    "flannel": {
        "network": {
            "cni": "flannel",
            "gateway": "nginx",
            "serviceMesh": "istio",
            "loadBalancer": {"provider": "metallb", "pools": POOLS},
        },
        "platform": {"certManager": {}},
    },
    "linkerd": {
        "network": {"serviceMesh": "linkerd"},
        "storage": {"localPath": {}},
        "platform": {"certManager": {}},
        "observability": {},
    },
    "cilium": {"network": {"gateway": "cilium", "serviceMesh": "cilium", "loadBalancer": {"pools": POOLS}}},
    "observed": {"storage": {"localPath": {}}, "observability": {}},
    "observed with a bucket": {
        "storage": {"default": "ceph-block", "ceph": {}},
        "observability": {"logs": {"store": "bucket"}},
    },
    "aws": {
        "storage": {
            "default": "ebs-gp3",
            "ebs": {"roleArn": ROLE, "kmsKeyArn": KEY, "region": "eu-central-1"},
            "efs": {"roleArn": ROLE, "fileSystemId": "fs-0123"},
        }
    },
}


@pytest.mark.parametrize("choice", CHOICES)
def test_no_choice_of_the_platform_breaks_a_rule(choice: str, deploy: Callable[..., Engine]) -> None:
    given = document(agents=3)
    for host in given["hosts"].values():
        host["layout"] = "ext4-luks"  # on which every storage runs
        host["osdDisks"] = [f"/dev/disk/by-id/{host['diskSerial']}-osd"]
    settings = parse({**given, **CHOICES[choice]})

    def build() -> None:
        provider = Provider("kubernetes", kubeconfig="x", cluster_identifier="c")
        options = pulumi.ResourceOptions(providers=[provider])
        secrets = Secrets(root=pulumi.Output.secret(ROOT_SECRET))
        machine = Machine(stack="test", name="primer", root="root")
        args = ClusterBaseArgs(settings=settings, machine=machine, nodes={}, joins={})
        base = ClusterBase("cluster", args, opts=options)
        Platform("platform", PlatformArgs(settings=settings, secrets=secrets, after=base.ready), opts=options)

    engine = deploy(build)
    cases = [
        court.Case(kind=one.kind, name=one.name, props=one.inputs, protect=one.protect, provider=one.provider)
        for one in sorted(engine.resources, key=lambda one: not one.kind.startswith("keystone:"))
    ]
    assert len(cases) >= 8
    assert court.judge(cases).violations == []
