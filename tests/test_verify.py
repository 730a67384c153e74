"""keystone/verify.py and its commands, against scripted machines."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from keystone import verify
from keystone.commands import kubeconfig as command
from keystone.commands.verify import table
from keystone.errors import KeystoneError
from keystone.hosts.context import Context
from keystone.settings.aws import Aws
from keystone.settings.storage import Storage
from keystone.verify import Report
from tests.hosts.machines import Fake, Script, context, installed, play

ADDRESSES = {"primer": "100.64.0.1", "w1": "100.64.0.2", "w2": "100.64.0.3"}


def node(name: str, role: str, *, ready: str = "True", control_plane: bool | None = None) -> dict[str, Any]:
    labels = {"keystone.internal/role": role}
    if role == "primer" if control_plane is None else control_plane:
        labels["node-role.kubernetes.io/control-plane"] = "true"
    conditions = [{"type": "Ready", "status": ready, "message": "kubelet stopped"}]
    return {"metadata": {"name": name, "labels": labels}, "status": {"conditions": conditions}}


PLUGIN = {
    "metadata": {"name": "cilium", "namespace": "kube-system", "generation": 1},
    "status": {"observedGeneration": 1, "desiredNumberScheduled": 3, "numberReady": 3},
}
NODES = [node("primer", "primer"), node("w1", "agent"), node("w2", "agent")]


@dataclass
class Silent(Fake):
    """A machine whose `tailscale nc` ends where a rule opens the API alone: the mesh drops what it refuses."""

    hangs: bool = False

    async def _handle(self, process: Any) -> None:
        if "tailscale nc" in (process.command or "") and (self.hangs or "6443" not in process.command):
            await asyncio.sleep(20)
        await super()._handle(process)


def good(given: Context, name: str) -> Fake:
    tag = given.settings.tag_of(name)
    status = {"BackendState": "Running", "Self": {"PublicKey": "k", "Tags": [tag], "TailscaleIPs": [ADDRESSES[name]]}}
    script: Script = {
        "tailscale status": json.dumps(status),
        "tailscale nc primer 6443": "HTTP/1.0 400 Bad Request\n",
        "tailscale ping": "pong from w (100.64.0.9) via 127.0.0.1:1 in 1ms\n",
        "kubectl": "ok",
        "kubectl get nodes": json.dumps({"items": NODES}),
        "kubectl get daemonsets": json.dumps({"items": [PLUGIN]}),
        "kubectl get helmcharts": json.dumps({"items": [{"metadata": {"name": "cilium"}}]}),
        "headscale nodes list": json.dumps([{"id": 1, "given_name": "w1", "tags": ["tag:agent"]}]),
        "headscale policy check": "",
    }
    for other, address in ADDRESSES.items():
        name_of = given.settings.mesh.name_of(other)
        script[f"tailscale dns query {name_of}"] = (
            f"Response code: RCodeSuccess\n\n{name_of}. 5 ClassINET TypeA {address}\n"
        )
    fake = installed(given, name, script)
    return Silent(name, fake.address, fake.key, script)


def checked(change: Callable[[dict[str, Fake]], None] = lambda _fakes: None) -> Report:
    given = context()
    fakes = {name: good(given, name) for name in ADDRESSES}
    change(fakes)
    return play(lambda: verify.verify(given), *fakes.values())


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "SILENCE_SECONDS", 0.4)
    monkeypatch.setattr(verify, "CONTROL_SECONDS", 1.0)
    monkeypatch.setattr(verify, "PLUGIN_SECONDS", 0.4)
    monkeypatch.setattr(verify, "PLUGIN_PAUSE", 0.1)


def failed(report: Report) -> list[tuple[str, str, str]]:
    return [(check.group, check.name, check.detail) for check in report.checks if not check.ok]


def test_a_good_cluster_holds_with_every_ordered_pair_pinged() -> None:
    report = checked()
    assert failed(report) == []
    assert report.ok
    counts = {group: len(checks) for group, checks in report.groups()}
    assert counts["mesh ping"] == 6
    assert counts["host answers"] == counts["node ready"] == counts["mesh refuses"] == 3
    assert counts["API over the mesh"] == 2
    assert report.not_run == ["mount test: not run (the stack file has none)"]


def test_a_node_without_kubelet_says_that_no_mount_was_tried() -> None:
    fake = [NODES[0] | {"metadata": NODES[0]["metadata"] | {"annotations": {"kwok.x-k8s.io/node": "fake"}}}, *NODES[1:]]
    report = checked(lambda fakes: fakes["primer"].script.update({"kubectl get nodes": json.dumps({"items": fake})}))
    assert report.not_run == ["mount test: not run (no kubelet)"]


@pytest.mark.parametrize(
    ("conditions", "detail"),
    [
        ([{"type": "Complete", "status": "True"}], "written and read"),
        ([{"type": "Failed", "status": "True"}], "the Job says Failed"),
        ([], "the Job says nothing yet"),
    ],
)
def test_the_mount_test_is_as_its_job(conditions: list[dict[str, str]], detail: str) -> None:
    given = context()
    storage = Storage.model_validate({"ceph": {}})
    given = replace(given, settings=given.settings.model_copy(update={"storage": storage}))
    fakes = {name: good(given, name) for name in ADDRESSES}
    fakes["primer"].script["kubectl get job mount-test"] = json.dumps({"status": {"conditions": conditions}})
    report = play(lambda: verify.verify(given), *fakes.values())
    found = {check.name: (check.ok, check.detail) for check in report.checks if check.group == "mount test"}
    assert found.keys() == {"ceph-block, ceph-filesystem", "ceph-bucket"}
    assert set(found.values()) == {(detail == "written and read", detail)}


def test_a_network_plugin_that_misses_nodes_fails() -> None:
    poor = {**PLUGIN, "status": {**PLUGIN["status"], "numberReady": 1}}
    report = checked(
        lambda fakes: fakes["primer"].script.update({"kubectl get daemonsets": json.dumps({"items": [poor]})})
    )
    assert failed(report) == [("network plugin", "cilium", "kube-system/cilium: ready on 1 of 3 nodes")]


def test_a_network_plugin_that_is_still_starting_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "PLUGIN_SECONDS", 60)
    poor = {**PLUGIN, "status": {**PLUGIN["status"], "numberReady": 1}}
    answers = iter([poor, PLUGIN])
    report = checked(
        lambda fakes: fakes["primer"].script.update(
            {"kubectl get daemonsets": lambda _given: json.dumps({"items": [next(answers)]})}
        )
    )
    assert failed(report) == []
    assert next(answers, None) is None, "it was asked twice"


def with_pool(*nodes: dict[str, Any]) -> Report:
    pool = {"instanceTypes": ["t3.medium"], "min": 1, "max": 2, "zones": ["eu-central-1a"], "imageId": f"ami-{'0' * 8}"}
    aws = Aws.model_validate({"region": "eu-central-1", "accountId": "1" * 12, "nodePools": {"spot": pool}})
    given = context()
    given = replace(given, settings=given.settings.model_copy(update={"aws": aws}))
    fakes = {name: good(given, name) for name in ADDRESSES}
    count = len(NODES) + len(nodes)
    plugin = {**PLUGIN, "status": {**PLUGIN["status"], "desiredNumberScheduled": count, "numberReady": count}}
    fakes["primer"].script |= {
        "kubectl get nodes": json.dumps({"items": [*NODES, *nodes]}),
        "kubectl get daemonsets": json.dumps({"items": [plugin]}),
    }
    return play(lambda: verify.verify(given), *fakes.values())


def instance(name: str, *, ready: str = "True", pool: str = "spot") -> dict[str, Any]:
    made = node(name, "agent", ready=ready)
    return {**made, "metadata": {"name": name, "labels": {"keystone.internal/pool": pool}}}


def test_the_machines_of_a_pool_are_counted_and_found_by_every_host() -> None:
    report = with_pool(instance("i-0a"), instance("i-0b"))
    assert failed(report) == []
    counts = {group: len(checks) for group, checks in report.groups()}
    assert (counts["pool size"], counts["pool node ready"], counts["mesh ping to pools"]) == (1, 2, 6)


def test_a_pool_that_is_too_small_or_not_ready_fails() -> None:
    assert failed(with_pool()) == [("pool size", "spot", "0 nodes; the stack file wants 1 to 2")]
    assert failed(with_pool(instance("i-0a", ready="False"))) == [
        ("pool node ready", "i-0a", "not Ready: kubelet stopped")
    ]


def test_a_node_of_no_pool_of_ours_is_a_stranger() -> None:
    [found, *_] = failed(with_pool(instance("i-0a"), instance("i-0b", pool="other")))
    assert found == ("nodes", "all of the stack file", "nodes that the stack file does not have: i-0b")


def test_a_host_that_does_not_answer_fails() -> None:
    report = checked(lambda fakes: fakes.pop("w2") and None)
    [(group, name, detail), *_] = failed(report)
    assert (group, name) == ("host answers", "w2")
    assert "no SSH session" in detail


@pytest.mark.parametrize(
    ("host", "script", "group", "message"),
    [
        ("w1", {"tailscale ping": (1, "timeout")}, "mesh ping", "timeout"),
        ("w1", {"tailscale dns query": "Response code: RCodeNameError\n"}, "mesh name", "does not give"),
        ("w1", {"tailscale status": '{"BackendState": "NeedsLogin"}'}, "mesh joined", "state NeedsLogin"),
        ("primer", {"headscale policy check": (1, "test failed: tag:agent")}, "mesh policy", "test failed: tag:agent"),
        ("primer", {"kubectl get --raw /readyz": (1, "etcd failed")}, "API", "etcd failed"),
        ("w1", {"kubectl": (1, "no route")}, "API over the mesh", "no route"),
    ],
)
def test_what_does_not_hold_is_named(host: str, script: Script, group: str, message: str) -> None:
    def spoil(fakes: dict[str, Fake]) -> None:
        for start in [*fakes[host].script]:
            if any(start.startswith(given) for given in script):
                del fakes[host].script[start]
        fakes[host].script.update(script)

    report = checked(spoil)
    assert not report.ok
    assert group in {found for found, _, _ in failed(report)}
    assert message in str(failed(report))


@pytest.mark.parametrize(
    ("nodes", "group", "message"),
    [
        (NODES[:2], "node ready", "there is no such node"),
        ([*NODES[:2], node("w2", "agent", ready="Unknown")], "node ready", "not Ready: kubelet stopped"),
        ([*NODES[:2], node("w2", "server")], "node ready", "its labels say 'server'"),
        ([*NODES[:2], node("w2", "agent", control_plane=True)], "node ready", "control plane True; expected agent"),
        ([*NODES, node("w9", "agent")], "nodes", "nodes that the stack file does not have: w9"),
    ],
)
def test_a_wrong_node_is_named(nodes: list[dict[str, Any]], group: str, message: str) -> None:
    said = json.dumps({"items": nodes})
    report = checked(lambda fakes: fakes["primer"].script.update({"kubectl get nodes": said}))
    assert [(found, message in detail) for found, _, detail in failed(report)] == [(group, True)]


@pytest.mark.parametrize("answer", ["", (1, "connection refused")])
def test_a_port_that_must_be_closed_and_answers_fails_even_by_refusing(
    answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "SILENCE_SECONDS", 60)

    def open_up(fakes: dict[str, Fake]) -> None:
        for name, fake in fakes.items():
            fakes[name] = installed(context(), name, fake.script | {"tailscale nc": answer})

    found = failed(checked(open_up))
    assert [(group, name) for group, name, _ in found] == [
        ("mesh refuses", f"{pair} tcp:2222") for pair in ("primer -> w1", "w1 -> w2", "w2 -> primer")
    ]
    assert all("the mesh let it through" in detail for _, _, detail in found)


def test_a_client_that_is_silent_where_it_may_get_through_proves_no_refusal() -> None:
    def hang(fakes: dict[str, Fake]) -> None:
        assert isinstance(fakes["w1"], Silent)
        fakes["w1"].hangs = True

    [(group, name, detail)] = failed(checked(hang))
    assert (group, name) == ("mesh refuses", "w1 -> w2 tcp:2222")
    assert detail == "no answer in 0.4 s, and primer tcp:6443, which a rule opens, fails too: silent"


def test_an_open_port_that_fails_says_how() -> None:
    report = checked(lambda fakes: fakes["w1"].script.update({"tailscale nc primer 6443": (1, "dial failed")}))
    [(_, name, detail)] = failed(report)
    assert name == "w1 -> w2 tcp:2222"
    assert detail.endswith("which a rule opens, fails too: dial failed")


def test_an_open_port_that_its_machine_refuses_is_reached_all_the_same() -> None:
    said = (1, "dial failure: connect tcp 100.64.0.1:6443: connection was refused")
    report = checked(lambda fakes: fakes["w1"].script.update({"tailscale nc primer 6443": said}))
    assert report.ok
    details = [check.detail for check in report.checks if check.name == "w1 -> w2 tcp:2222"]
    assert details == ["no answer in 0.4 s; primer tcp:6443 is reached"]


def test_a_host_that_may_reach_no_api_has_no_control_and_the_report_says_so() -> None:
    given = context()
    rules = {name: rule for name, rule in given.settings.mesh.rules.items() if name != "nodes-api"}
    network = given.settings.mesh.model_copy(update={"rules": rules})
    given = replace(given, settings=given.settings.model_copy(update={"mesh": network}))
    fakes = [good(given, name) for name in ADDRESSES]
    report = play(lambda: verify.verify(given), *fakes)
    assert "an open port as control of w1 -> w2 tcp:2222: no rule opens the API" in report.not_run


def test_the_closed_port_is_one_that_no_rule_opens() -> None:
    report = checked()
    [checks] = [checks for group, checks in report.groups() if group == "mesh refuses"]
    assert [check.name for check in checks] == ["primer -> w1 tcp:2222", "w1 -> w2 tcp:2222", "w2 -> primer tcp:2222"]


def test_a_report_without_checks_proves_nothing() -> None:
    assert not Report().ok


def test_the_table_shows_a_line_per_group_and_each_failure() -> None:
    report = checked(lambda fakes: fakes["primer"].script.update({"headscale policy check": (1, "bad")}))
    assert table(report).row_count == len(list(report.groups())) + 1
    document = json.loads(report.as_json())
    assert document["ok"] is False
    assert {"group", "name", "ok", "seconds", "detail"} == set(document["checks"][0])


OURS = yaml.safe_dump(
    {
        "clusters": [{"name": "site", "cluster": {"server": "https://new"}}],
        "users": [{"name": "site", "user": {}}],
        "contexts": [{"name": "site", "context": {"cluster": "site", "user": "site"}}],
        "current-context": "site",
    }
)


def test_a_merge_keeps_other_clusters_and_replaces_ours(tmp_path: Path) -> None:
    file = tmp_path / ".kube" / "config"
    command.merge_into(file, OURS)
    kept = yaml.safe_load(file.read_text())
    kept["clusters"] = [
        {"name": "other", "cluster": {"server": "https://other"}},
        {"name": "site", "cluster": {"server": "https://old"}},
    ]
    file.write_text(yaml.safe_dump(kept))
    assert command.merge_into(file, OURS) == "site"
    merged = yaml.safe_load(file.read_text())
    assert [entry["cluster"]["server"] for entry in merged["clusters"]] == ["https://other", "https://new"]
    assert merged["current-context"] == "site"
    assert file.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in file.parent.iterdir()] == ["config"]


@pytest.mark.parametrize(("text", "message"), [("- a\n", "is not a kubeconfig"), ("a: [", "is not sound YAML")])
def test_a_file_that_is_no_kubeconfig_is_left_as_it_is(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "config"
    file.write_text(text)
    with pytest.raises(KeystoneError, match=message):
        command.merge_into(file, OURS)
    assert file.read_text() == text
