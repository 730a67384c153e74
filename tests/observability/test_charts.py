"""Promises of the charts of metrics and logs: what the settings say is what runs, and nothing is open or by default."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import toolchain
from keystone.charts import alloy, monitoring, releases
from keystone.charts.alertmanager import FOLDER, config
from keystone.charts.observability import STACK, prometheus_address, replica_services
from keystone.settings import Observability, Settings, parse
from tests.observability.queries import site
from tests.recording import document

BUILD_SECONDS = 900
RECEIVERS = {
    "slack": {"channel": "#alerts"},
    "pagerduty": {},
    "email": {"to": ["ops@test.org"], "sender": "k@test.org", "server": "smtp.test.org:587", "user": "k"},
    "webhook": {},
    "heartbeat": {},
}
ALERTING = {
    "receivers": RECEIVERS,
    "default": "slack",
    "routes": [
        {"receiver": "pagerduty", "severities": ["critical"], "passOn": True},
        {"receiver": "webhook", "severities": ["info"]},
        {"receiver": "email", "namespaces": ["rook-ceph"]},
    ],
}
SSO = {
    "name": "Login",
    "clientId": "grafana",
    "authUrl": "https://id.test/auth",
    "tokenUrl": "https://id.test/token",
    "apiUrl": "https://id.test/me",
    "adminGroups": ["it's us", "ops"],
    "editorGroups": ["dev"],
}


def values(settings: Settings, name: str = STACK) -> Any:
    return releases(settings)[name].values


def observability(**given: Any) -> Observability:
    found = site(observability=given).observability
    assert found
    return found


def test_without_the_section_nothing_of_it_is_installed() -> None:
    assert not {STACK, "loki", "alloy-logs", "alloy-hosts"} & set(releases(parse(document())))


def test_volumes_come_first_then_metrics_then_logs() -> None:
    order = list(releases(site(observability={"logs": {"store": "bucket"}})))
    assert order.index("rook-ceph-cluster") < order.index(STACK) < order.index("loki") < order.index("alloy-logs")


def test_retention_and_volumes_follow_the_settings() -> None:
    more = {
        "storageClass": "ceph-block",
        "metrics": {"retentionDays": 90, "volumeGib": 100, "scrapeSeconds": 60, "replicas": 2},
        "logs": {"retentionDays": 7, "volumeGib": 5},
        "alerting": {"volumeGib": 3},
    }
    found = site(observability=more)
    spec = values(found)["prometheus"]["prometheusSpec"]
    assert (spec["retention"], spec["scrapeInterval"], spec["replicas"]) == ("90d", "60s", 2)
    claim = spec["storageSpec"]["volumeClaimTemplate"]["spec"]
    assert claim["resources"]["requests"]["storage"] == "100Gi"
    assert claim["storageClassName"] == "ceph-block"
    alertmanager = values(found)["alertmanager"]["alertmanagerSpec"]["storage"]["volumeClaimTemplate"]["spec"]
    assert alertmanager["resources"]["requests"]["storage"] == "3Gi"
    loki = values(found, "loki")
    assert loki["loki"]["limits_config"]["retention_period"] == "168h"
    assert loki["loki"]["compactor"]["retention_enabled"] is True
    assert loki["singleBinary"]["persistence"] == {"enabled": True, "size": "5Gi", "storageClass": "ceph-block"}


def test_the_oldest_metrics_go_before_the_volume_is_full() -> None:
    spec = values(site(observability={"metrics": {"volumeGib": 10}}))["prometheus"]["prometheusSpec"]
    assert 8 * 1024 < int(spec["retentionSize"].removesuffix("MiB")) < 9 * 1024


def test_monitors_and_rules_of_every_namespace_are_read() -> None:
    spec = values(site())["prometheus"]["prometheusSpec"]
    kinds = ("serviceMonitor", "podMonitor", "rule", "probe", "scrapeConfig")
    assert {spec[f"{kind}SelectorNilUsesHelmValues"] for kind in kinds} == {False}


def test_what_listens_on_loopback_is_not_asked_for_over_the_network() -> None:
    found = values(site())
    for part in ("kubeControllerManager", "kubeScheduler", "kubeProxy", "kubeEtcd", "nodeExporter"):
        assert found[part] == {"enabled": False}


def test_loki_runs_as_one_pod_without_the_parts_of_a_big_one() -> None:
    found = values(site(), "loki")
    assert found["deploymentMode"] == "Monolithic"
    assert found["singleBinary"]["replicas"] == found["loki"]["commonConfig"]["replication_factor"] == 1
    assert {found[part]["replicas"] for part in ("read", "write", "backend")} == {0}
    assert "minio" not in found


def test_lokis_volume_may_get_another_size() -> None:
    found = values(site(), "loki")
    # Without the job Kubernetes refuses the chart; without the tag the job's image would be called after k3s.
    assert found["singleBinary"]["statefulSetRecreateJob"] == {"enabled": True}
    assert re.fullmatch(r"v1\.\d+\.\d+", found["defaults"]["statefulSetRecreateJob"]["image"]["tag"])


def test_logs_in_a_bucket_travel_encrypted_and_without_keys_in_the_values() -> None:
    found = values(site(observability={"logs": {"store": "bucket"}}), "loki")
    s3 = found["loki"]["storage"]["s3"]
    assert s3["endpoint"].startswith("https://")
    assert s3["insecure"] is False
    assert found["singleBinary"]["extraEnvFrom"] == [{"secretRef": {"name": "loki-bucket"}}]
    assert "secret" not in json.dumps(s3).lower()


def test_nothing_reports_to_its_makers() -> None:
    found = site()
    assert values(found)["grafana"]["grafana.ini"]["analytics"]["reporting_enabled"] is False
    assert values(found, "loki")["loki"]["analytics"]["reporting_enabled"] is False
    for name in ("alloy-logs", "alloy-hosts"):
        assert values(found, name)["alloy"]["enableReporting"] is False


def test_grafana_has_no_default_password_no_guests_and_no_volume() -> None:
    grafana = values(site())["grafana"]
    assert grafana["admin"] == {"existingSecret": "grafana-admin"}
    assert grafana["grafana.ini"]["auth.anonymous"] == {"enabled": False}
    assert not {"adminPassword", "persistence"} & set(grafana)


def test_login_maps_groups_to_roles_and_takes_its_secret_from_the_environment() -> None:
    grafana = values(site(observability={"grafana": {"sso": SSO}}))["grafana"]
    login = grafana["grafana.ini"]["auth.generic_oauth"]
    assert login["role_attribute_path"] == (
        "contains(groups[*], 'it\\'s us') && 'Admin' || contains(groups[*], 'ops') && 'Admin' || "
        "contains(groups[*], 'dev') && 'Editor' || 'Viewer'"
    )
    assert login["use_pkce"] is True
    assert "client_secret" not in login
    assert grafana["envFromSecret"] == "grafana-sso"
    assert "auth.generic_oauth" not in values(site())["grafana"]["grafana.ini"]


def test_prometheus_has_an_address_that_hosts_know_without_the_clusters_names() -> None:
    found = site()
    address = str(prometheus_address(found))
    assert values(found)["prometheus"]["service"]["clusterIP"] == address == "10.43.0.30"
    assert address in values(found, "alloy-hosts")["alloy"]["configMap"]["content"]
    assert values(found)["prometheus"]["prometheusSpec"]["enableRemoteWriteReceiver"] is True


def test_of_several_prometheus_each_hears_from_every_host() -> None:
    found = site(observability={"metrics": {"replicas": 2}})
    assert found.observability
    services = replica_services(found, found.observability)
    text = values(found, "alloy-hosts")["alloy"]["configMap"]["content"]
    for number, service in enumerate(services.values()):
        # By the pod's own name: the address of all is answered by one of them at a time.
        assert service["selector"] == {
            "statefulset.kubernetes.io/pod-name": f"prometheus-kube-prometheus-stack-prometheus-{number}"
        }
        assert f'"http://{service["clusterIP"]}:9090/api/v1/write"' in text
    addresses = [service["clusterIP"] for service in services.values()]
    assert addresses == ["10.43.0.31", "10.43.0.32"]
    assert str(prometheus_address(found)) not in text
    assert replica_services(site(), observability()) == {}


# --- Alertmanager ---


@pytest.fixture(scope="module")
def amtool() -> Path:
    return toolchain.ensure(["amtool"])["amtool"]


def ask(amtool: Path, folder: Path, *arguments: str) -> str:
    clean = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    done = subprocess.run(
        [str(amtool), *arguments], cwd=folder, env=clean, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def written(folder: Path, alerting: dict[str, Any]) -> Path:
    file = folder / "alertmanager.yaml"
    # Templates are the chart's, and lie in the pod.
    file.write_text(yaml.safe_dump({**config(observability(alerting=alerting).alerting), "templates": []}))
    return file


@pytest.mark.timeout(BUILD_SECONDS)
@pytest.mark.parametrize("alerting", [{}, ALERTING, {"receivers": {"heartbeat": {}}}])
def test_alertmanagers_own_tool_takes_the_configuration(alerting: dict[str, Any], amtool: Path, tmp_path: Path) -> None:
    said = ask(amtool, tmp_path, "check-config", str(written(tmp_path, alerting)))
    assert "SUCCESS" in said


@pytest.mark.timeout(BUILD_SECONDS)
@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        ({"alertname": "HostNotReady", "severity": "critical"}, "pagerduty"),
        ({"alertname": "CephError", "severity": "critical", "namespace": "rook-ceph"}, "pagerduty,email"),
        ({"alertname": "HostDiskFilling", "severity": "warning"}, "slack"),
        ({"alertname": "MeshRelayed", "severity": "info"}, "webhook"),
        ({"alertname": "Watchdog", "severity": "none"}, "heartbeat"),
        ({"alertname": "InfoInhibitor", "severity": "none"}, "nobody"),
    ],
)
def test_an_alert_goes_where_the_settings_say(
    labels: dict[str, str], receivers: str, amtool: Path, tmp_path: Path
) -> None:
    file = written(tmp_path, ALERTING)
    pairs = [f"{key}={value}" for key, value in labels.items()]
    said = ask(amtool, tmp_path, "config", "routes", "test", f"--config.file={file}", *pairs)
    # passOn: the alert goes on to later routes; the default one is for what no route takes.
    assert said.split() == [receivers]


def test_secrets_of_receivers_are_files_and_stand_in_no_value() -> None:
    text = json.dumps(config(observability(alerting=ALERTING).alerting))
    for name in RECEIVERS:
        assert f"{FOLDER}/{name}" in text
    assert not [key for key in ('"api_url"', '"routing_key"', '"auth_password"', '"url"') if key in text]
    assert values(site(observability={"alerting": ALERTING}))["alertmanager"]["alertmanagerSpec"]["secrets"] == [
        "alert-receivers"
    ]


# --- Alloy ---


@pytest.fixture(scope="module")
def parser() -> Path:
    return toolchain.ensure(["alloy-syntax"])["alloy-syntax"]


def components(parser: Path, text: str) -> list[str]:
    done = subprocess.run([str(parser)], input=text, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.timeout(BUILD_SECONDS)
def test_alloys_own_parser_takes_the_configurations(parser: Path) -> None:
    found = site()
    logs = components(parser, values(found, "alloy-logs")["alloy"]["configMap"]["content"])
    assert {"loki.source.kubernetes pods", "loki.source.journal host", "loki.write cluster"} <= set(logs)
    hosts = components(parser, values(found, "alloy-hosts")["alloy"]["configMap"]["content"])
    assert {"prometheus.exporter.blackbox probes", "prometheus.remote_write cluster"} <= set(hosts)
    assert "prometheus.scrape metallb" not in hosts
    several = values(site(observability={"metrics": {"replicas": 2}}), "alloy-hosts")
    assert components(parser, several["alloy"]["configMap"]["content"]) == hosts


@pytest.mark.timeout(BUILD_SECONDS)
def test_metallb_is_read_on_each_host_with_the_token_that_it_asks_for(parser: Path) -> None:
    found = site(network={"loadBalancer": {"provider": "metallb", "pools": {"ingress": "127.78.5.200-127.78.5.209"}}})
    text = values(found, "alloy-hosts")["alloy"]["configMap"]["content"]
    assert {"discovery.kubernetes metallb", "prometheus.scrape metallb"} <= set(components(parser, text))
    scrape = text.partition('prometheus.scrape "metallb"')[2].partition("\n}\n")[0]
    assert 'scheme            = "https"' in scrape
    assert "bearer_token_file" in scrape
    assert 'regex         = "metricshttps"' in text


@pytest.mark.timeout(BUILD_SECONDS)
def test_a_broken_configuration_is_refused(parser: Path) -> None:
    with pytest.raises(AssertionError, match=r"config\.alloy"):
        components(parser, alloy.logs(site(), "http://loki") + "loki.write {")


def test_what_is_read_and_probed_from_where() -> None:
    found = site()
    read = {target["job"]: target["hosts"] for target in alloy.scraped(found)}
    own = {"node-exporter": ",*,", "tailscale": ",*,", "etcd": ",primer,s2,s3,", "headscale": ",primer,"}
    assert read == {**own, "cilium": ",*,"}
    probes = {(target["probe"], target["target"]): target["hosts"] for target in alloy.probed(found)}
    assert probes["controller", "127.78.5.10:8443"] == ",*,"
    assert probes["tunnel", "grafana.example.org"] == ",primer,"
    others = set(found.hosts) - {"primer"}
    assert {target for probe, target in probes if probe == "mesh"} == others
    assert {hosts for (probe, _), hosts in probes.items() if probe == "mesh"} == {",primer,"}


@pytest.mark.parametrize(("plugin", "address"), [("calico", "127.0.0.1:9091"), ("flannel", None)])
def test_the_network_plugin_is_read_where_it_tells_metrics(plugin: str, address: str | None) -> None:
    found = site(full=False, network={"cni": plugin, "gateway": "traefik", "loadBalancer": {"provider": "metallb"}})
    read = {target["job"]: target["__address__"] for target in alloy.scraped(found)}
    assert read.get(plugin) == address


def test_one_host_more_is_one_probe_more() -> None:
    # Every host probing every other would be a square.
    few, more = (
        len(alloy.probed(parse({**document(agents=n), "observability": {}, "storage": {"localPath": {}}})))
        for n in (2, 12)
    )
    assert more - few == 10


def test_an_edge_is_probed_though_it_is_no_node() -> None:
    base = {**document(edges=1), "observability": {}, "storage": {"localPath": {}}}
    edge = next(name for name, host in base["hosts"].items() if host["role"] == "edge")
    assert edge in {target["target"] for target in alloy.probed(parse(base))}


def test_only_a_private_authority_goes_unchecked() -> None:
    def unchecked(**mesh: Any) -> bool:
        base = document()
        base["mesh"] |= mesh
        found = parse({**base, "observability": {}, "storage": {"localPath": {}}})
        return alloy.modules(found)["controller"]["http"]["tls_config"]["insecure_skip_verify"]

    assert unchecked()
    assert not unchecked(serverUrl="https://vpn.example.org", tls="acmeDns")


def test_agents_run_on_every_node_with_no_more_rights_than_they_need() -> None:
    for name in ("alloy-logs", "alloy-hosts"):
        release = releases(site())[name]
        assert release.namespace == "alloy"
        assert release.values["controller"]["tolerations"] == [{"operator": "Exists"}]
        context = release.values["alloy"]["securityContext"]
        assert context["capabilities"]["drop"] == ["ALL"]
        assert context["allowPrivilegeEscalation"] is False


def test_the_probes_of_mesh_names_ask_the_machines_own_resolver() -> None:
    hosts = releases(site())["alloy-hosts"].values
    assert hosts["controller"]["hostNetwork"] is True
    [mount] = hosts["alloy"]["mounts"]["extra"]
    [volume] = hosts["controller"]["volumes"]["extra"]
    assert mount == {"name": volume["name"], "mountPath": "/etc/resolv.conf", "readOnly": True}
    assert volume["hostPath"] == {"path": "/run/systemd/resolve/stub-resolv.conf", "type": "File"}


# --- our own objects ---


@pytest.mark.parametrize(
    ("network", "kind"),
    [
        ({"gateway": "cilium"}, None),
        ({"gateway": "nginx"}, "Ingress"),
        ({"loadBalancer": {"pools": {"ingress": "127.78.5.200-127.78.5.209"}}}, "HTTPRoute"),
    ],
)
def test_grafana_is_reached_by_what_the_cluster_has(network: dict[str, Any], kind: str | None) -> None:
    found = site(network=network)
    assert found.observability
    it = monitoring.route(found, found.observability)
    assert (it.kind if it else None) == kind


def test_grafanas_name_may_be_chosen() -> None:
    network = {"loadBalancer": {"pools": {"ingress": "127.78.5.200-127.78.5.209"}}}
    found = site(network=network, observability={"grafana": {"host": "graphs.keystone.test"}})
    assert found.observability
    it = monitoring.route(found, found.observability)
    assert it
    assert it.spec["hostnames"] == ["graphs.keystone.test"]
    assert values(found)["grafana"]["grafana.ini"]["server"]["root_url"] == "https://graphs.keystone.test"
