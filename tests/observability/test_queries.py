"""Promises of dashboards and alerts alike: every expression is PromQL, and every metric in it is one that is told."""

import json

import pytest

from keystone.charts import releases
from keystone.charts.observability import STACK
from keystone.dashboards import dashboards
from tests.observability.queries import expressions, log_expressions, log_labels, metrics, site, streams
from tests.observability.sources import ASSEMBLED, OURS, SOURCES, UNPROVEN, proven, rook_names

EXPRESSIONS = sorted(set(expressions()))
LOG_EXPRESSIONS = sorted(set(log_expressions()))
METRICS = {name: place for place, expr in EXPRESSIONS for name in metrics(expr)}
# Sources are downloaded once per user; Loki's alone are 60 MB.
DOWNLOAD_SECONDS = 600


@pytest.mark.parametrize(("place", "expr"), EXPRESSIONS, ids=[place for place, _ in EXPRESSIONS])
def test_it_is_promql_and_asks_for_a_metric(place: str, expr: str) -> None:
    assert metrics(expr), place


def test_what_is_no_promql_is_refused() -> None:
    with pytest.raises(ValueError, match=r"unexpected|unclosed|parse"):
        metrics("sum(rate(up[5m])")


@pytest.mark.parametrize(("place", "expr"), LOG_EXPRESSIONS, ids=[place for place, _ in LOG_EXPRESSIONS])
def test_lines_are_chosen_by_labels_that_alloy_puts_on_them(place: str, expr: str) -> None:
    assert streams(expr) <= log_labels(), place


@pytest.mark.parametrize(
    "expr",
    [
        '{job="journal"',
        '{job=~"("}',
        '{job="journal"} |= "error"',
        "{}",
        '{job=~".*"}',
        '{job!="journal"}',
        'rate({job="journal"}[5m])',
        'up{job="journal"}',
    ],
)
def test_what_chooses_no_lines_is_refused(expr: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        streams(expr)


def test_the_labels_of_lines_are_read_from_alloys_configuration() -> None:
    assert log_labels() == {"namespace", "pod", "container", "app", "unit", "level", "job", "cluster", "node"}


@pytest.mark.timeout(DOWNLOAD_SECONDS)
@pytest.mark.parametrize("metric", sorted(METRICS.keys() - UNPROVEN.keys() - set(OURS)))
def test_the_programs_own_source_tells_the_metric(metric: str) -> None:
    assert proven(metric), f"{METRICS[metric]} asks for {metric}, which its program does not tell"


@pytest.mark.timeout(DOWNLOAD_SECONDS)
@pytest.mark.parametrize(
    "metric",
    [
        "headscale_node_online",  # what dashboards found elsewhere ask for, and Headscale never told
        "etcd_server_has_leaders",
        "kube_node_state",
        "node_zfs_pool_state",
        "node_memory_MemFreeable_bytes",
        "tailscaled_peers_online",
        "apiserver_requests_total",
        "unknown_metric",
    ],
)
def test_a_name_that_only_looks_right_is_not_proven(metric: str) -> None:
    assert not proven(metric)


def test_unproven_metrics_are_listed_and_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print("\nmetrics without a pinned source:")
        for name, why in sorted(UNPROVEN.items()):
            print(f"  {name}: {why}")
    assert UNPROVEN.keys() <= METRICS.keys(), "the list names metrics that nothing asks for"
    assert not {name for name in UNPROVEN if any(name.startswith(start) for start in SOURCES)}
    assert ASSEMBLED.keys() <= METRICS.keys()


@pytest.mark.timeout(DOWNLOAD_SECONDS)
def test_cephs_metrics_are_at_least_those_of_rooks_own_rules() -> None:
    assert {name for name in UNPROVEN if name.startswith("ceph_")} <= rook_names()


def test_the_metric_that_we_name_is_the_one_that_we_make() -> None:
    config = releases(site())[STACK].values["kube-state-metrics"]["customResourceState"]["config"]
    [name] = {
        f"{resource['metricNamePrefix']}_{metric['name']}"
        for resource in config["spec"]["resources"]
        for metric in resource["metrics"]
    }
    assert (name,) == OURS


def test_each_dashboard_has_a_uid_of_its_own_and_cannot_be_changed_by_hand() -> None:
    found = {name: json.loads(text) for name, text in dashboards(site()).items()}
    assert len({page["uid"] for page in found.values()}) == len(found) == 4
    for page in found.values():
        assert page["editable"] is False
        panels = [panel for panel in page["panels"] if panel["type"] != "row"]
        assert len({panel["id"] for panel in page["panels"]}) == len(page["panels"])
        for panel in panels:
            assert panel["title"]
            assert panel["description"]
            assert panel["datasource"]["uid"] in ("prometheus", "loki")


def test_panels_lie_side_by_side_and_none_on_another() -> None:
    for text in dashboards(site()).values():
        taken: set[tuple[int, int]] = set()
        for panel in json.loads(text)["panels"]:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & taken, panel["title"]
            assert max(x for x, _ in cells) < 24, panel["title"]
            taken |= cells


def test_dashboards_are_small_enough_for_one_config_map_and_the_state() -> None:
    assert sum(map(len, dashboards(site()).values())) < 100_000


def test_what_a_stack_lacks_has_no_panels() -> None:
    small, full = ("".join(dashboards(settings).values()) for settings in (site(full=False), site()))
    for metric in ("ceph_health_status", "cloudflared_tunnel_ha_connections"):
        assert metric in full
        assert metric not in small


def test_the_same_settings_give_the_same_bytes() -> None:
    assert dashboards(site()) == dashboards(site())
