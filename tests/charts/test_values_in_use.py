"""Values of charts that have no schema, or whose schema no Go module holds: each is one that the chart reads.

A chart takes an unknown value in silence. `values-in-use.json` says for each chart of which version what it reads of
all that we give it: `values` are in the values file that `sources` name (what lies below an empty or a whole one too),
`templates` are read by the named template alone. A new version, or a new value, has to be looked up there and recorded.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from keystone.charts import Release, aws, cloud_pools, linkerd, network, observability, operators, platform, storage
from keystone.settings import Settings, parse
from tests.aws.sites import KARPENTER, POOL, document_of
from tests.charts.test_catalogue import POOLS, THREE, settings
from tests.charts.test_cloud_pools import CLOUDS
from tests.charts.test_definitions import SCHEMAS

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "values-in-use.json").read_text())
UNPROVEN = {"openebs": "the sources of 4.5 were not at hand; those of 4.2 have what its local engine is given"}
TOPICS = (platform, network, linkerd, storage, observability, aws, operators, cloud_pools)

ROLE = "arn:aws:iam::123456789012:role/csi"
CLASSES = {
    "default": "ceph-block",
    "ceph": {},
    "localPath": {},
    "longhorn": {},
    "openebs": {},
    "ebs": {"roleArn": ROLE, "kmsKeyArn": "arn:aws:kms:eu-central-1:123456789012:key/1", "region": "eu-central-1"},
    "efs": {"roleArn": ROLE, "fileSystemId": "fs-0123abcd"},
    "proxmox": {"storageId": "zfs", "encryptedByHost": True},
}
RECEIVERS = {
    "slack": {"channel": "#alerts"},
    "pagerduty": {},
    "webhook": {},
    "heartbeat": {},
    "email": {"to": ["a@example.org"], "sender": "b@example.org", "server": "smtp.example.org:587", "user": "b"},
}
SSO = {
    "name": "Login",
    "clientId": "grafana",
    **{key: f"https://login.example.org/{key}" for key in ("authUrl", "tokenUrl", "apiUrl")},
    "adminGroups": ["admins"],
}
WATCHED = {
    "logs": {"store": "bucket"},
    "alerting": {
        "receivers": RECEIVERS,
        "default": "slack",
        "routes": [{"receiver": name} for name in ("pagerduty", "webhook", "email")],
    },
    "grafana": {"sso": SSO},
}
METALLB = {"provider": "metallb", "pools": POOLS}
CERTIFICATES: dict[str, Any] = {"certManager": {}, "verticalPodAutoscaler": True}
STACKS: tuple[dict[str, Any], ...] = (
    {
        "network": {"gateway": "traefik", "serviceMesh": "istio", "loadBalancer": METALLB},
        "storage": CLASSES,
        "platform": CERTIFICATES,
        "observability": WATCHED,
    },
    {
        "network": {"gateway": "nginx", "serviceMesh": "linkerd"},
        "storage": {"longhorn": {}},
        "platform": CERTIFICATES,
        "observability": {},
    },
    *(
        {
            "network": {"cni": "flannel", "gateway": "traefik", "serviceMesh": mesh, "loadBalancer": METALLB},
            "storage": {"localPath": {}},
            "platform": CERTIFICATES,
            "observability": {},
            "gitops": {"engine": "argocd"},
        }
        for mesh in ("istio", "linkerd")
    ),
)
SCALED = {**POOL, "scaler": "cluster-autoscaler"}
ACCOUNTS: tuple[dict[str, Any], ...] = (
    {
        **document_of(nodePools={"spot": SCALED, "many": KARPENTER}),
        "operators": {"ack": {"services": ["ec2", "eks", "iam", "rds", "s3"]}},
        "clouds": CLOUDS,
    },
    document_of(nodePools={"spot": SCALED, "many": KARPENTER}, credentials="secret"),
)
"""Those with an account at AWS."""


def stacks() -> Iterator[Settings]:
    """Together they choose all there is."""
    yield from (settings(THREE, **sections) for sections in STACKS)
    yield from map(parse, ACCOUNTS)


def made_later(found: Settings) -> dict[str, dict[str, Any]]:
    """What the components add to a release once its role and its queue are there, by the release's name."""
    if found.aws is None:
        return {}
    return {
        aws.AUTOSCALER: aws.autoscaler_values(found, ROLE),
        aws.TERMINATION: aws.termination_values(found, ROLE, "https://sqs.example.org/queue"),
        aws.LIFECYCLE: aws.lifecycle_values(found, ROLE),
        aws.KARPENTER: aws.karpenter_values(found, ROLE, "queue"),
        **{operators.ack_name(service): operators.ack_values(service, ROLE) for service in operators.ACK_VERSIONS},
    }


def chosen() -> dict[str, list[Release]]:
    """The releases of all stacks by their chart."""
    found: dict[str, list[Release]] = {
        "metrics-server": [platform.metrics_server()],
        "kubelet-csr-approver": [platform.kubelet_csr_approver(settings(THREE))],
    }
    for one in stacks():
        later = made_later(one)
        for topic in TOPICS:
            for release in topic.releases(one):
                more = [replace(release, values=later[release.name])] if release.name in later else []
                found.setdefault(release.chart, []).extend([release, *more])
    return found


def leaves(values: Any, way: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all values that are given."""
    if not isinstance(values, dict) or not values:
        yield way
        return
    for key, value in values.items():
        yield from leaves(value, (*way, key))


def given(chart: str) -> set[tuple[str, ...]]:
    return {
        path for release in chosen()[chart] if release.values for path in leaves(json.loads(json.dumps(release.values)))
    }


def unread(chart: str) -> list[str]:
    known = [*RECORDED[chart]["values"], *RECORDED[chart].get("templates", {})]
    paths = {"/".join(path) for path in given(chart)}
    return sorted(path for path in paths if not any(path == one or path.startswith(f"{one}/") for one in known))


def test_every_chart_is_recorded_has_a_schema_or_is_given_nothing() -> None:
    valued = {chart for chart in chosen() if given(chart)}
    assert valued - RECORDED.keys() - SCHEMAS.keys() == UNPROVEN.keys()
    for chart, reason in UNPROVEN.items():
        print(f"not proven: {chart}: {reason}")


@pytest.mark.parametrize("chart", RECORDED)
def test_all_that_a_chart_is_given_it_reads(chart: str) -> None:
    assert {release.version for release in chosen()[chart]} == {RECORDED[chart]["version"]}
    assert unread(chart) == []


def test_a_value_that_no_chart_reads_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def misspelt() -> dict[str, list[Release]]:
        [release] = [platform.metrics_server()]
        return {"metrics-server": [Release(**{**vars(release), "values": {"arg": ["--x"], "args": []}})]}

    monkeypatch.setitem(globals(), "chosen", misspelt)
    assert unread("metrics-server") == ["arg"]


@pytest.mark.parametrize("chart", RECORDED)
def test_nothing_is_recorded_that_nobody_gives(chart: str) -> None:
    paths = {"/".join(path) for path in given(chart)}
    known = [*RECORDED[chart]["values"], *RECORDED[chart].get("templates", {})]
    assert [one for one in known if not any(path == one or path.startswith(f"{one}/") for path in paths)] == []
