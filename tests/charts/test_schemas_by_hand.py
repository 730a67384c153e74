"""Schemas of values that no test can reach: the list of them, and that it is of the versions in use."""

import pytest

from keystone.charts import releases
from tests.charts.test_definitions import SCHEMAS
from tests.observability.test_monitors import catalogue

GITHUB = "https://github.com"
BY_HAND = {
    "amazon-eks-pod-identity-webhook": (
        "2.6.5",
        "jkroepke/helm-charts/blob/amazon-eks-pod-identity-webhook-2.6.5/charts/amazon-eks-pod-identity-webhook",
    ),
    "aws-ebs-csi-driver": (
        "2.64.0",
        "kubernetes-sigs/aws-ebs-csi-driver/blob/helm-chart-aws-ebs-csi-driver-2.64.0/charts/aws-ebs-csi-driver",
    ),
    "loki": ("18.11.0", "grafana-community/helm-charts/blob/loki-18.11.0/charts/loki"),
    "rds-chart": ("1.11.1", "aws-controllers-k8s/rds-controller/blob/v1.11.1/helm"),
    "traefik": ("41.3.0", "traefik/traefik-helm-chart/blob/v41.3.0/traefik"),
}
"""Charts whose schema no module of ours holds: the version whose schema took our values, held against it by hand.

That of RDS' controller stands for AWS' other controllers, which the same generator writes. All further charts of the
catalogue have no schema; what they read of ours is in values-in-use.json, where their sources were at hand.
"""


def test_schemas_that_no_module_holds_are_listed_and_were_read_in_the_version_in_use(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with capsys.disabled():
        print("\nvalues that no test holds against their chart's schema:")
        for chart, (version, place) in BY_HAND.items():
            print(f"  {chart} {version}: {GITHUB}/{place}/values.schema.json")
    used = {release.chart: release.version for found in catalogue() for release in releases(found).values()}
    assert {chart: used[chart] for chart in BY_HAND} == {chart: version for chart, (version, _) in BY_HAND.items()}
    assert not SCHEMAS.keys() & BY_HAND.keys()
