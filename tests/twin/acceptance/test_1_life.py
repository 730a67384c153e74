"""The life of a cluster on the twin: made, changed, broken off, mended. The tests run in this order, on one site."""

import json
import re
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from keystone.identities import Identities
from tests.twin.acceptance.checkout import PASSPHRASE, Checkout, of_host
from tests.twin.acceptance.watching import Argv, changed
from twin.disks import plant

pytestmark = [pytest.mark.twin, pytest.mark.timeout(900)]
FOUR = {"primer", "w1", "w2", "w3"}
REFUSED = 3


def verified(site: Checkout) -> dict[str, int]:
    """How many checks of each group of `keystone verify` hold; all have to."""
    done = site.keystone("verify", "--json", limit=120)
    checks = json.loads(done.stdout)["checks"] if done.stdout else []
    assert done.ok, [check for check in checks if not check["ok"]] or done.text
    counts: dict[str, int] = {}
    for check in checks:
        counts[check["group"]] = counts.get(check["group"], 0) + 1
    return counts


def test_up_makes_four_machines_a_cluster(site: Checkout):
    done = site.up()
    assert not {word for word in done.rows.values() if word not in ("created", "read")}, done.text
    assert len(done.rows) >= 4 * len(FOUR)
    assert site.nodes() == site.mesh_nodes() == FOUR


def test_verify_finds_four_nodes_and_twelve_pairs(site: Checkout):
    found = verified(site)
    assert (found["mesh ping"], found["node ready"], found["API over the mesh"]) == (12, 4, 3)


def test_a_second_up_ends_with_its_plan_and_touches_nothing(site: Checkout):
    before = site.state()
    done = site.up()
    assert f"up {site.stack}: no changes" in done.stdout
    # An update writes the state, even one without a change.
    assert site.state() == before
    preview = site.keystone("preview", "--expect-no-changes")
    assert preview.ok, preview.text


def formatted(site: Checkout, name: str) -> int:
    """How often an install of a machine has formatted its disks; the rest of it is still to come.

    Earlier, nixos-anywhere may not have reached the machine yet, and waits for one that is off.
    """
    return site.log(name).count("-disko -> 0")


def test_an_install_whose_machine_and_then_whose_engine_is_killed_goes_on_by_itself(site: Checkout):
    before = site.resources()
    site.add("w4", 14)
    with site.editing() as config:
        config["twin:installSeconds"] = 12

    started = site.start_up()
    site.until("an install of w4", lambda: formatted(site, "w4") == 1)
    assert site.twin("power-off", "w4").ok
    cut = site.end(started)
    assert cut.status == 1
    assert "install-w4" in cut.text
    assert "Traceback" not in cut.text

    assert site.twin("power-on", "w4").ok
    started = site.start_up()
    site.until("another install of w4", lambda: formatted(site, "w4") == 2)
    engine = next(one for one in psutil.Process(started.pid).children(recursive=True) if one.name() == "pulumi")
    engine.send_signal(signal.SIGKILL)
    killed = site.end(started)
    assert killed.status == 1
    assert "was killed by signal 9. Run it again: it goes on from here." in killed.text
    assert site.strays() == []

    with site.editing() as config:
        config["twin:installSeconds"] = 1
    mended = site.up()
    assert "Removed the state lock of a dead process" in mended.text
    assert "doing again: install-w4 (creating)" in mended.text
    assert changed(before, site.resources()) == dict.fromkeys(of_host("w4"), "made")
    assert site.nodes() == site.mesh_nodes() == FOUR | {"w4"}
    assert "no changes" in site.up().stdout


def test_removing_a_worker_takes_its_own_things_and_nothing_else(site: Checkout):
    before = site.resources()
    site.drop("w2")
    site.up()
    assert changed(before, site.resources()) == dict.fromkeys(of_host("w2"), "gone")
    assert site.nodes() == site.mesh_nodes() == FOUR - {"w2"} | {"w4"}
    secrets = site.on("primer", "kubectl", "get", "secrets", "--namespace", "kube-system", "--output", "name")
    assert "w2.node-password" not in secrets
    keys = json.loads(site.on("primer", "headscale", "preauthkeys", "list", "-o", "json"))
    assert all(key["used"] and not key.get("reusable") for key in keys)
    listed = json.loads(site.on("primer", "headscale", "nodes", "list", "-o", "json"))
    assert {key["id"] for key in keys} == {node["pre_auth_key"]["id"] for node in listed}


def test_a_removed_machine_stays_out_when_it_reboots(site: Checkout):
    assert site.twin("power-off", "w2").ok
    assert site.twin("power-on", "w2").ok
    site.until("a skipped k3s", lambda: "k3s.service was skipped because of an unmet condition" in site.log("w2"))
    units = site.status()["machines"]["w2"]["units"]
    assert {unit: state["state"] for unit, state in units.items()} == {"tailscaled": "inactive", "k3s": "inactive"}
    assert "w2" not in site.nodes() | site.mesh_nodes()


def test_the_first_worker_can_go_and_come_back(site: Checkout):
    before = site.resources()
    saved = site.hosts()["w1"]
    site.drop("w1")
    site.up()
    assert changed(before, site.resources()) == dict.fromkeys(of_host("w1"), "gone")
    assert site.nodes() == {"primer", "w3", "w4"}

    # Both were installed by this cluster, so they are adopted and not installed anew.
    without, installs = site.resources(), formatted(site, "w1")
    site.put("w1", saved)
    site.add("w2", 12)
    site.up()
    assert changed(without, site.resources()) == dict.fromkeys(of_host("w1") | of_host("w2"), "made")
    assert site.nodes() == site.mesh_nodes() == FOUR | {"w4"}
    assert formatted(site, "w1") == installs


def test_a_raised_generation_reinstalls_one_machine_and_a_lowered_one_is_refused(site: Checkout):
    before, installs = site.resources(), formatted(site, "w3")
    with site.editing() as config:
        config["keystone:hosts"]["w3"]["installGeneration"] = 2
    site.up()
    assert formatted(site, "w3") == installs + 1
    touched = changed(before, site.resources())
    assert set(touched) <= of_host("w3")
    assert touched["Command install-w3"] == "touched"
    assert site.nodes() == site.mesh_nodes() == set(site.hosts())

    with site.editing() as config:
        config["keystone:hosts"]["w3"]["installGeneration"] = 1
    lowered = site.try_up()
    assert lowered.status == 1
    assert "the machine has install generation 2, the stack file's 1 is lower" in lowered.text
    assert "Set hosts.w3.installGeneration to 2" in lowered.text
    with site.editing() as config:
        config["keystone:hosts"]["w3"]["installGeneration"] = 2
    site.up()
    assert formatted(site, "w3") == installs + 1
    assert "no changes" in site.up().stdout


def test_the_guard_refuses_and_writes_nothing(site: Checkout):
    before = site.resources()
    bad = {"x1": 21, "x2": 22, "x3": 23, "x4": 24}
    for name, number in bad.items():
        site.add(name, number)
    with site.editing() as config:
        hosts = config["keystone:hosts"]
        hosts["x1"]["installerHostKey"] = hosts["w3"]["installerHostKey"]
    site.ready()
    for name, what in (("x2", {"fstype": "ext4"}), ("x3", {"serial": "another-disk"})):
        plant(site.machine(name), f"/dev/disk/by-id/virtio-{name}-system", **what)
    assert site.twin("power-off", "x4").ok

    done = site.keystone("up")
    assert done.status == 1
    said = {name: re.findall(rf"hosts\.{name} at .*", done.text)[-1] for name in bad}
    assert re.search(
        "shows the host key SHA256:.*; expected the installer's .* Boot the installer on the right", said["x1"]
    )
    assert re.search(r"holds foreign data \(ext4\).*KEYSTONE_CONFIRM_WIPE=x2:x2-system:1", said["x2"])
    assert "has the serial 'another-disk', expected 'x3-system'. Correct hosts.x3.diskSerial" in said["x3"]
    assert re.search(r"cannot be reached \(waited 30 s .*Boot the installer on it", said["x4"])
    assert all("refused to install: " in line for line in said.values())
    assert not [name for name in bad if "ssh: sgdisk" in site.log(name)]

    site.drop(*bad)
    site.up()
    assert changed(before, site.resources()) == {}
    for name in bad:
        assert site.twin("remove", name).ok


def test_a_machine_of_another_cluster_is_refused(site: Checkout):
    marker = site.machine("w3") / "root/etc/keystone/install.json"
    ours = marker.read_text()
    marker.write_text(json.dumps(json.loads(ours) | {"cluster": "elsewhere"}))
    done = site.hosts_command("install", "w3")
    marker.write_text(ours)
    assert done.status == REFUSED
    assert (
        "the machine was installed by the cluster 'elsewhere', this one is 'trial'. Take another machine" in done.text
    )


def test_a_person_with_a_rule_switches_the_meshs_own_ssh_on(site: Checkout):
    with site.editing() as config:
        config["keystone:mesh"] |= {"users": ["ann"], "groups": {"admins": ["ann"]}}
    before = site.resources()
    site.up()
    touched = changed(before, site.resources())
    assert set(touched) == {"Command policy-mesh", *(f"Command join-{name}" for name in site.hosts())}
    assert json.loads(site.on("w1", "tailscale", "debug", "prefs"))["RunSSH"] is True
    people = json.loads(site.on("primer", "headscale", "users", "list", "-o", "json"))
    assert [one["name"] for one in people] == ["ann"]


def test_a_controller_without_its_database_gets_every_host_back(site: Checkout):
    database = site.machine("primer") / "root/var/lib/headscale"
    site.on("primer", "systemctl", "stop", "headscale")
    for path in database.glob("db.sqlite*"):
        path.unlink()
    site.on("primer", "systemctl", "start", "headscale")
    assert site.mesh_nodes() == set()
    # Another order than the first time, so that hosts get addresses which were others'.
    for words in (("policy", "primer"), *(("join", name) for name in sorted(site.hosts(), reverse=True))):
        done = site.hosts_command(*words)
        assert done.ok, done.text
    assert site.mesh_nodes() == set(site.hosts())
    verified(site)


def test_a_replaced_join_keeps_the_node_and_ends_in_the_mesh(site: Checkout, tmp_path: Path):
    def node() -> str:
        return json.loads(site.on("primer", "kubectl", "get", "node", "w1", "--output", "json"))["metadata"]["uid"]

    before, resources = node(), site.resources()
    replace = ("--replace", "**::join-w1", "--replace", "**::policy-mesh")
    # Plain Pulumi leaves the kubeconfig of its provider behind.
    plain = {**site.environment, "TMPDIR": str(tmp_path)}
    up = ("pulumi", "up", "--yes", "--skip-preview", "--suppress-outputs")
    done = site.run(*up, *replace, limit=300, environment=plain)
    assert done.ok, done.text
    assert node() == before
    assert site.mesh_nodes() == set(site.hosts())
    assert set(changed(resources, site.resources())) <= {"Command join-w1", "Command policy-mesh"}
    verified(site)


def test_a_stopped_twin_fails_a_preview_with_one_message_and_keeps_the_state(site: Checkout):
    before = site.state()
    assert site.twin("stop").ok
    preview = site.keystone("preview", limit=60)
    assert preview.status == 1
    assert preview.stderr.count("\n") == 1
    assert f"primer {site.network.at(10)}:2222 does not answer" in preview.stderr
    assert "Start the machines or mend the network; the state is untouched." in preview.stderr
    assert site.state() == before
    assert "no changes" in site.up().stdout
    # The machines of a mesh that was off find each other anew.
    site.until("a sound cluster after the restart", lambda: site.keystone("verify", limit=120).ok)
    assert verified(site)["node ready"] == len(site.hosts())


def private_parts(identities: Identities, hosts: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Every secret of the stack by name, as a text that nothing but the secret holds."""
    generations = {name: range(1, 3) for name in hosts}
    pems = {
        "operator key": identities.operator_key().private,
        "service account": identities.service_account_key(),
        "mesh CA": identities.mesh_ca()[1],
        **{name: text for name, text in identities.cluster_cas().items() if "PRIVATE KEY" in text},
    }
    found = {
        "server token": identities.server_token().rpartition(":")[2],
        "agent token": identities.agent_token().rpartition(":")[2],
        "noise key": identities.headscale_noise_key().partition(":")[2],
        "relay key": identities.headscale_derp_key().partition(":")[2],
    }
    for name, numbers in generations.items():
        for number in numbers:
            pems[f"host key {name} {number}"] = identities.ssh_host_key(name, number).private
            pems[f"initrd key {name} {number}"] = identities.initrd_host_key(name, number).private
            found[f"passphrase {name} {number}"] = identities.recovery_passphrase(name, number)
    for name, pem in pems.items():
        lines = [line for line in pem.strip().splitlines() if not line.startswith("-----")]
        # The middle of an OpenSSH key is its public half; a line near the end is private in every form.
        found[name] = lines[-2] if len(lines) > 2 else lines[-1]
    return found


def test_no_secret_is_in_state_logs_command_lines_or_files(site: Checkout, argv: Argv):
    identities = site.identities()
    secrets = private_parts(identities, site.hosts())
    kubeconfig = json.loads(site.must("pulumi", "stack", "output", "--json", "--show-secrets", limit=60).stdout)[
        "kubeconfig"
    ]
    secrets |= {"root": site.root_secret, "passphrase": PASSPHRASE}
    secrets["kubeconfig"] = kubeconfig.partition("client-key-data: ")[2].split()[0][40:120]
    assert len(secrets) > 40
    assert all(len(text) >= 16 for text in secrets.values())
    # The search must be able to find: the machines' own disks hold what they need.
    assert identities.operator_key().public in "".join(site.texts(site.folder / "nix").values())
    assert any("preauthkeys" in line for line in site.texts(site.logs).values())

    places = {"state": json.dumps(site.export()), "output": "\n".join(site.said), "argv": "\n".join(argv.seen)}
    assert "keystone.hosts install" in places["argv"]
    # Not the machines' own disks, which need their secrets, nor the tests, which hold made-up ones.
    places |= site.texts(site.folder, without=("machines", "tests", ".venv"))
    places |= site.texts(site.temporary)
    found = [(name, place) for place, text in places.items() for name, secret in secrets.items() if secret in text]
    assert found == []
    assert [place for place, text in places.items() if re.search(r"hskey-auth-\w{6,}", text)] == []


def test_between_runs_no_temporary_file_is_left_but_the_twins_sockets(site: Checkout):
    left = [path.name for path in site.temporary.iterdir() if not re.fullmatch(r"keystone-\d+-[0-9a-f]{10}", path.name)]
    assert left == []


def identity(site: Checkout) -> dict[str, str]:
    return {name: site.on(name, "cat", "/etc/ssh/ssh_host_ed25519_key.pub") for name in sorted(site.hosts())}


def test_destroy_leaves_nothing_and_up_brings_the_same_identities_back(site: Checkout):
    before, nodes = identity(site), site.nodes()
    engine, twin = site.destroy()
    assert engine.ok, engine.text
    assert twin.ok, twin.text
    assert "twin: nothing is left over" in twin.stderr
    assert site.processes() == []
    assert not (site.folder / ".twin").exists()
    assert list(site.temporary.iterdir()) == []

    site.up()
    assert identity(site) == before
    assert site.nodes() == site.mesh_nodes() == nodes


def test_the_files_of_the_checkout_are_those_of_the_project(site: Checkout):
    made = {path.relative_to(site.folder).parts[0] for path in site.new_files()}
    assert made <= {"Pulumi.trial.yaml", ".twin", "nix"}
    assert all("trial" in path.parts or "trial" in path.name for path in site.new_files() if ".twin" not in path.parts)
