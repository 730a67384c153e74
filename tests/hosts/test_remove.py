"""keystone/hosts/remove.py against scripted machines."""

import json
from dataclasses import replace

import pytest

from keystone.errors import KeystoneError
from keystone.hosts import etcd, remove, ssh
from keystone.hosts.context import Context
from keystone.hosts.remove import Removed
from tests.hosts.machines import NETWORK, Fake, Script, context, installed, play

NODE = {"id": 7, "given_name": "old", "node_key": "nodekey:1", "tags": ["tag:agent"], "pre_auth_key": {"id": 17}}
OTHER = NODE | {"id": 8, "given_name": "w1", "pre_auth_key": {"id": 18}}
CONTROLLER: Script = {
    "headscale nodes list": json.dumps([NODE, OTHER]),
    "headscale nodes delete": "",
    "headscale preauthkeys delete": "",
    "kubectl": "",
    "kubectl get node old --output name": "node/old\n",
    "kubectl get deployments": json.dumps({"items": []}),
}
HOST: Script = {"systemctl stop": "", "tailscale logout": "", "install -D": ""}


def gone(name: str = "old", role: str = "agent", address: str = NETWORK.at(99)) -> Removed:
    return Removed(name, role, ssh.Target(name, address, 2222), 1)


def machine(given: Context, removed: Removed, script: Script | None = None) -> Fake:
    key = given.identities.ssh_host_key(removed.name, removed.generation).private
    return Fake(removed.name, removed.target.address, key, HOST | (script or {}))


def take(given: Context, removed: Removed, *fakes: Fake) -> None:
    play(lambda: remove.remove(given, removed), *fakes)


def order(controller: Fake, *starts: str) -> list[int]:
    return [next(at for at, call in enumerate(controller.calls) if call.startswith(start)) for start in starts]


def test_a_removed_worker_is_drained_and_leaves_node_password_and_mesh() -> None:
    given = context()
    controller = installed(given, "primer", CONTROLLER)
    take(given, gone(), controller, machine(given, gone()))
    steps = ("kubectl drain old", "kubectl delete node old", "kubectl delete secret old.node-password.k3s")
    found = order(controller, *steps, "headscale nodes delete --identifier 7 --force")
    assert found == sorted(found)
    assert not controller.called("headscale nodes delete --identifier 8")
    assert not controller.called("kubectl annotate")


def test_the_mesh_key_of_a_removed_worker_goes_with_its_node() -> None:
    given = context()
    controller = installed(given, "primer", CONTROLLER)
    take(given, gone(), controller, machine(given, gone()))
    steps = ("headscale nodes delete --identifier 7", "headscale preauthkeys delete --id 17 --force")
    assert order(controller, *steps) == sorted(order(controller, *steps))
    assert not controller.called("headscale preauthkeys delete --id 18")


def test_a_mesh_key_that_others_use_stays() -> None:
    given = context()
    shared = NODE | {"pre_auth_key": {"id": 17, "reusable": True}}
    controller = installed(given, "primer", CONTROLLER | {"headscale nodes list": json.dumps([shared])})
    take(given, gone(), controller)
    assert controller.called("headscale nodes delete --identifier 7")
    assert not controller.called("headscale preauthkeys")


def test_its_services_stop_after_the_drain_and_log_out_of_the_mesh() -> None:
    given, removed = context(), gone()
    host = machine(given, removed)
    take(given, removed, installed(given, "primer", CONTROLLER), host)
    mark = "install -D -m 600 /dev/stdin /var/lib/keystone/removed"
    assert host.calls == ["systemctl stop k3s", "tailscale logout", "systemctl stop tailscaled", mark]


def test_a_host_that_is_dead_is_removed_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    given = context()
    controller = installed(given, "primer", CONTROLLER)
    take(given, gone(), controller)
    assert controller.called("headscale nodes delete --identifier 7")
    assert "old: its services were not stopped: no SSH session" in capsys.readouterr().err


def test_a_drain_that_does_not_end_is_forced_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    given = context()
    blocked: Script = {
        "kubectl drain": (1, "cannot evict pod: disruption budget"),
        "kubectl drain old --ignore-daemonsets --delete-emptydir-data --force": "",
    }
    controller = installed(given, "primer", CONTROLLER | blocked)
    take(given, gone(), controller)
    assert controller.called("kubectl drain old --ignore-daemonsets --delete-emptydir-data --force --disable-eviction")
    assert "draining by force, without regard to disruption budgets (cannot evict pod" in capsys.readouterr().err


def test_a_removed_server_leaves_etcd_before_its_node_goes() -> None:
    given = context()
    told = json.dumps({"metadata": {"annotations": {"etcd.k3s.cattle.io/removed-node-name": "old-1"}}})
    controller = installed(given, "primer", CONTROLLER | {"kubectl get node old --output json": told})
    take(given, gone(role="server"), controller)
    found = order(
        controller, "kubectl drain", "kubectl annotate node old etcd.k3s.cattle.io/remove=true", "kubectl delete node"
    )
    assert found == sorted(found)


def test_an_etcd_that_does_not_answer_is_said_and_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(etcd, "SECONDS", 1.0)
    given = context()
    silent = json.dumps({"metadata": {"annotations": {}}})
    controller = installed(given, "primer", CONTROLLER | {"kubectl get node old --output json": silent})
    take(given, gone(role="server"), controller)
    assert "no word that its etcd member left" in capsys.readouterr().err
    assert controller.called("kubectl delete node old")


def kubeadm(given: Context, members: list[list[str]], script: Script | None = None) -> tuple[Context, Fake]:
    """A kubeadm site and its Primer, whose etcd lists these names one list after the other, the last for ever."""
    cluster = given.settings.cluster.model_copy(update={"distribution": "kubeadm"})
    given = replace(given, settings=given.settings.model_copy(update={"cluster": cluster}))
    # Numbers of etcd's members are beyond what a float holds.
    lists = [[{"ID": 2**63 + number, "name": name} for number, name in enumerate(names)] for names in members]

    def listed(_: str) -> str:
        return json.dumps({"header": {}, "members": lists.pop(0) if len(lists) > 1 else lists[0]})

    pod = "kubectl exec --namespace kube-system etcd-primer --"
    return given, installed(
        given,
        "primer",
        CONTROLLER | {f"{pod} {' '.join(etcd.ETCDCTL)} member list": listed, f"{pod} etcdctl": ""} | (script or {}),
    )


def test_a_removed_server_of_kubeadm_leaves_etcd_before_its_node_goes() -> None:
    given, controller = kubeadm(context(), [["primer", "old", "s3"], ["primer", "s3"]])
    take(given, gone(role="server"), controller)
    [removal] = [call for call in controller.calls if "member remove" in call]
    assert removal.endswith("--key=/etc/kubernetes/pki/etcd/server.key member remove 8000000000000001")
    found = order(controller, "kubectl drain", removal, "kubectl delete node")
    assert found == sorted(found)
    assert not controller.called("kubectl annotate")


def test_a_member_of_kubeadm_that_stays_fails_the_removal_and_keeps_the_node() -> None:
    given, controller = kubeadm(context(), [["primer", "old"]])
    with pytest.raises(KeystoneError, match=r"hosts\.old: its etcd member 8000000000000001 is still listed after"):
        take(given, gone(role="server"), controller)
    assert not controller.called("kubectl delete node")


def test_a_second_removal_of_a_kubeadm_server_finds_its_member_gone(capsys: pytest.CaptureFixture[str]) -> None:
    given, controller = kubeadm(context(), [["primer"]], {"kubectl get node old --output name": ""})
    take(given, gone(role="server"), controller)
    assert "old: its etcd member is gone already" in capsys.readouterr().err
    assert not any("member remove" in call for call in controller.calls)


def test_an_agent_of_kubeadm_has_no_member_to_remove() -> None:
    given, controller = kubeadm(context(), [["primer"]])
    take(given, gone(), controller)
    assert not any("etcdctl" in call for call in controller.calls)


def test_a_host_of_the_stack_file_loses_only_what_a_join_brings_back() -> None:
    given, removed = context(), gone("w1", address=NETWORK.at(31))
    controller, host = installed(given, "primer", CONTROLLER), machine(given, removed)
    take(given, removed, controller, host)
    assert controller.called("headscale nodes delete --identifier 8")
    assert host.called("systemctl stop k3s")
    # The same command runs for a destroy and before a replaced join: pods, node and etcd member are not its to take.
    assert not controller.called("kubectl")


def test_a_destroy_goes_on_when_the_primer_is_gone(capsys: pytest.CaptureFixture[str]) -> None:
    given, removed = context(), gone("w1", address=NETWORK.at(31))
    host = machine(given, removed)
    take(given, removed, host)
    assert host.called("systemctl stop tailscaled")
    assert "w1: the Primer is gone, nothing to unregister (no SSH session" in capsys.readouterr().err


def test_a_single_removal_fails_when_the_primer_is_gone() -> None:
    with pytest.raises(KeystoneError, match=rf"primer \(root@{NETWORK.at(10)} port 2222\): no SSH session"):
        take(context(), gone())


def test_the_primers_services_stop_last() -> None:
    given, removed = context(), gone("primer", "primer", NETWORK.at(10))
    controller = installed(given, "primer", CONTROLLER | HOST)
    take(given, removed, controller)
    assert not controller.called("systemctl stop")
    play(lambda: remove.stop_primer(given, removed), controller)
    stops = [call for call in controller.calls if call.startswith("systemctl")]
    assert stops == ["systemctl stop k3s", "systemctl stop tailscaled", "systemctl stop headscale"]
    assert controller.calls[-1] == "install -D -m 600 /dev/stdin /var/lib/keystone/removed"


def test_a_second_removal_finds_nothing_to_do() -> None:
    given = context()
    empty: Script = {"headscale nodes list": "[]", "kubectl get node old --output name": ""}
    controller = installed(given, "primer", CONTROLLER | empty)
    take(given, gone(), controller)
    assert not controller.called("kubectl drain")
    assert not controller.called("headscale nodes delete")


def test_an_api_that_is_down_does_not_keep_the_mesh_node(capsys: pytest.CaptureFixture[str]) -> None:
    given = context()
    controller = installed(given, "primer", CONTROLLER | {"kubectl get --raw": (1, "connection refused")})
    take(given, gone(), controller)
    assert controller.called("headscale nodes delete --identifier 7")
    assert "the Kubernetes API is down, its node stays (connection refused)" in capsys.readouterr().err


def test_a_destroy_gives_up_the_pods_of_nodes_that_are_dead(capsys: pytest.CaptureFixture[str]) -> None:
    given = context()
    controller = installed(given, "primer", {"kubectl taint": "node/w1 modified\n"})
    play(lambda: remove.give_up(given, ["w1", "somebody else's"]), controller)
    assert controller.calls == [
        "kubectl taint node w1 node.kubernetes.io/out-of-service=nodeshutdown:NoExecute --overwrite"
    ]
    assert "w1: does not answer: its pods are given up\n" in capsys.readouterr().err


def test_a_destroy_goes_on_where_no_node_can_be_given_up(capsys: pytest.CaptureFixture[str]) -> None:
    given = context()
    controller = installed(given, "primer", {"kubectl taint": (1, "connection refused")})
    play(lambda: remove.give_up(given, ["w1"]), controller)
    assert "w1: does not answer: its pods stay (connection refused)\n" in capsys.readouterr().err
    play(lambda: remove.give_up(given, ["w1"]))
    assert "primer: the pods of dead machines stay: " in capsys.readouterr().err
