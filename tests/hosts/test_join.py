"""keystone/hosts/join.py against scripted machines."""

import json
from dataclasses import replace
from typing import Any

import pytest

from keystone.errors import KeystoneError
from keystone.hosts import join
from keystone.hosts.context import Context
from tests.hosts.machines import NETWORK, Fake, Script, context, installed, play

KEY = "hskey-auth-abc-canary"
MINT = "headscale preauthkeys create"


def status(state: str = "Running", key: str = "nodekey:1", tags: tuple[str, ...] = ("tag:agent",)) -> str:
    return json.dumps({"BackendState": state, "Self": {"PublicKey": key, "Tags": tags, "TailscaleIPs": ["100.64.0.9"]}})


def listed(*nodes: dict[str, Any]) -> str:
    return json.dumps(list(nodes))


NODE = {"id": 7, "given_name": "w1", "node_key": "nodekey:1", "tags": ["tag:agent"], "ip_addresses": ["100.64.0.9"]}
ACTIVE: Script = {"systemctl is-active": "active\n", "systemctl stop": "", "tailscale set": "", "rm -f": ""}
CONTROLLER: Script = {
    "headscale nodes list": listed(),
    MINT: json.dumps({"id": 3, "key": KEY}),
    "headscale preauthkeys expire": "",
    "headscale nodes delete": "",
    "kubectl delete secret": "",
    "kubectl get node": "node/w1\n",
}


def scene(host: Script, controller: Script | None = None) -> tuple[Context, Fake, Fake]:
    given = context()
    return given, installed(given, "w1", ACTIVE | host), installed(given, "primer", CONTROLLER | (controller or {}))


def fresh() -> Script:
    """A daemon that needs a login until `tailscale up` has run."""
    state = ["NeedsLogin"]

    def up(_given: str) -> str:
        state[0] = "Running"
        return ""

    return {"tailscale status": lambda _given: status(state[0]), "tailscale up": up}


def test_a_host_that_is_in_the_mesh_gets_no_key() -> None:
    given, host, controller = scene({"tailscale status": status()}, {"headscale nodes list": listed(NODE)})
    assert play(lambda: join.join(given, "w1"), host, controller) == {"node": "w1", "mesh": "100.64.0.9"}
    assert controller.called("kubectl taint node w1 node.kubernetes.io/out-of-service-")
    assert not controller.called(MINT)
    assert not host.called("tailscale up")
    assert not host.called("systemctl stop")


def test_a_new_host_gets_one_tagged_key_by_standard_input_only() -> None:
    given, host, controller = scene(fresh())
    play(lambda: join.join(given, "w1"), host, controller)
    assert [call for call in controller.calls if call.startswith(MINT)] == [f"{MINT} --tags tag:agent -e 1h -o json"]
    [up] = [call for call in host.calls if call.startswith("tailscale up")]
    assert f"--auth-key=file:/dev/stdin --login-server https://{NETWORK.at(10)}:8443 --hostname w1" in up
    assert host.inputs[up] == f"{KEY}\n"
    assert not [call for call in host.calls + controller.calls if KEY in call]
    assert not controller.called("headscale preauthkeys expire")


def test_a_controller_that_has_lost_its_database_gets_a_running_host_again() -> None:
    given = context()
    state = [status(key="nodekey:1")]

    def up(_given: str) -> str:
        state[0] = status(key="nodekey:2")
        return ""

    host = installed(
        given,
        "w1",
        ACTIVE | {"tailscale status": lambda _given: state[0], "tailscale up": up},
    )
    raised = given.settings.hosts["primer"].model_copy(update={"install_generation": 2})
    hosts = {**given.settings.hosts, "primer": raised}
    given = replace(given, settings=given.settings.model_copy(update={"hosts": hosts}))
    controller = installed(given, "primer", CONTROLLER | {"headscale nodes list": listed()})
    assert play(lambda: join.join(given, "w1"), host, controller) == {"node": "w1", "mesh": "100.64.0.9"}
    assert controller.called(f"{MINT} --tags tag:agent")
    # Under its old node key its peers would go on routing to its old address.
    steps = ("systemctl stop tailscaled", "rm -f /var/lib/tailscale/tailscaled.state", "tailscale up")
    found = [next(at for at, call in enumerate(host.calls) if call.startswith(step)) for step in steps]
    assert found == sorted(found)


def test_what_an_earlier_install_left_goes_before_the_join() -> None:
    old = NODE | {"node_key": "nodekey:old"}
    given, host, controller = scene(fresh(), {"headscale nodes list": listed(old)})
    play(lambda: join.join(given, "w1"), host, controller)
    deleted = controller.calls.index("headscale nodes delete --identifier 7 --force")
    assert deleted < next(at for at, call in enumerate(controller.calls) if call.startswith(MINT))
    assert controller.called("kubectl delete secret w1.node-password.k3s --namespace kube-system --ignore-not-found")


def test_a_node_that_is_ready_keeps_its_password() -> None:
    given, host, controller = scene(fresh(), {"kubectl get node w1 --output 'jsonpath=": "True"})
    play(lambda: join.join(given, "w1"), host, controller)
    assert not controller.called("kubectl delete secret")


def test_a_host_with_another_tag_joins_anew() -> None:
    given, host, controller = scene(fresh(), {"headscale nodes list": listed(NODE | {"tags": ["tag:edge"]})})
    play(lambda: join.join(given, "w1"), host, controller)
    assert controller.called(MINT)


def test_a_failed_join_expires_its_key_and_does_not_show_it() -> None:
    given, host, controller = scene(
        {"tailscale status": status("NeedsLogin"), "tailscale up": (1, "backend error: no route")}
    )
    with pytest.raises(KeystoneError, match="backend error: no route") as failed:
        play(lambda: join.join(given, "w1"), host, controller)
    assert controller.called("headscale preauthkeys expire --id 3")
    assert KEY not in str(failed.value)


def test_a_daemon_that_never_runs_is_given_up_on_with_what_it_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(join, "RUNNING_SECONDS", 1.0)
    given, host, controller = scene({"tailscale status": status("Starting"), "tailscale up": ""})
    with pytest.raises(KeystoneError, match=r"waited 1 s for its mesh daemon to be Running; .*state is Starting"):
        play(lambda: join.join(given, "w1"), host, controller)
    assert controller.called("headscale preauthkeys expire --id 3")


def test_a_node_that_never_registers_is_given_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(join, "NODE_SECONDS", 1.0)
    given, host, controller = scene(
        {"tailscale status": status()},
        {"headscale nodes list": listed(NODE), "kubectl get node": (1, 'nodes "w1" not found')},
    )
    with pytest.raises(KeystoneError, match=r'waited 1 s for its Kubernetes node; .*nodes "w1" not found'):
        play(lambda: join.join(given, "w1"), host, controller)


def test_stopped_services_are_started_again() -> None:
    given, host, controller = scene(
        {"systemctl is-active": (3, "inactive\n"), "systemctl start": "", "tailscale status": status()},
        {"headscale nodes list": listed(NODE)},
    )
    play(lambda: join.join(given, "w1"), host, controller)
    assert host.called("systemctl start tailscaled")
    assert host.called("systemctl start k3s")


def test_an_edge_has_a_mesh_address_and_no_node() -> None:
    given = context(edges=1)
    edge = NODE | {"given_name": "e1", "tags": ["tag:edge"]}
    host = installed(given, "e1", ACTIVE | {"tailscale status": status(tags=("tag:edge",))})
    controller = installed(given, "primer", CONTROLLER | {"headscale nodes list": listed(edge)})
    assert play(lambda: join.join(given, "e1"), host, controller) == {"node": None, "mesh": "100.64.0.9"}
    assert not controller.called("kubectl")


def test_a_host_with_another_key_is_told_nothing() -> None:
    given = context()
    host = installed(given, "w1", fresh(), generation=2)
    with pytest.raises(
        KeystoneError, match=rf"w1 .*{NETWORK.at(31)} port 2222.* shows the host key SHA256:.* expected"
    ):
        play(lambda: join.join(given, "w1"), host, installed(given, "primer", CONTROLLER))
    assert host.calls == []
