"""The stand-in for `nix`: what it builds, what it refuses, how it copies."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.twin.lab import FEATURES, NETWORK, PORT, Lab, console
from twin import nixcli

TOPLEVEL = "path:./nix#nixosConfigurations.lab-w1.config.system.build.toplevel"


async def nix(lab: Lab, *argv: str, **more: str):
    return await lab.program("nix", *FEATURES, *argv, more=more)


@pytest.mark.asyncio
async def test_a_system_is_built_and_its_path_printed_on_standard_output_alone(lab: Lab):
    done = await nix(lab, "build", "--no-link", "--print-out-paths", TOPLEVEL)
    assert done.status == 0
    assert done.stdout.count("\n") == 1
    assert done.stdout.strip().endswith("-nixos-system-w1-26.05")
    assert f"building '{done.stdout.strip()}.drv'..." in done.stderr
    name = done.stdout.strip().rpartition("/")[2]
    assert (lab.site.store / name / "facts/host.json").is_file()
    assert (lab.site.store / f"{name}.drv").read_text().startswith(f'Derive([("out","{done.stdout.strip()}"')


@pytest.mark.asyncio
async def test_the_same_inputs_give_the_same_path_and_nothing_is_built_again(lab: Lab):
    first = await nix(lab, "build", "--no-link", "--print-out-paths", TOPLEVEL)
    second = await nix(lab, "build", "--no-link", "--print-out-paths", TOPLEVEL)
    assert first.stdout == second.stdout
    assert "building" not in second.stderr


@pytest.mark.asyncio
async def test_only_inputs_of_this_host_change_its_path(lab: Lab):
    before = {name: await lab.build(name=name) for name in ("w1", "primer")}
    lab.host["labels"] = {"a": "b"}
    lab.render()
    assert await lab.build() != before["w1"]
    assert await lab.build(name="primer") == before["primer"]
    (lab.project / "nix/modules").mkdir()
    (lab.project / "nix/modules/base.nix").write_text("{ }\n")
    assert await lab.build(name="primer") != before["primer"]


@pytest.mark.asyncio
async def test_a_worker_that_is_added_changes_no_other_path(lab: Lab):
    before = await lab.build()
    worker = {**lab.host, "address": NETWORK.at(12), "mac": "02:00:00:78:99:12", "machineSerial": "twin-w2"}
    worker |= {"disk": "/dev/disk/by-id/virtio-w2-system", "diskSerial": "w2-system", "osdDisks": []}
    lab.config["keystone:hosts"]["w2"] = worker
    lab.render()
    assert await lab.build() == before


@pytest.mark.asyncio
async def test_no_private_text_is_in_the_store(lab: Lab):
    await lab.build(name="primer")
    everything = b"".join(file.read_bytes() for file in lab.site.store.rglob("*") if file.is_file())
    assert lab.identities.server_token().encode() not in everything
    assert b"PRIVATE KEY" not in everything


@pytest.mark.asyncio
async def test_real_options_of_a_user_are_accepted(lab: Lab):
    options = ["--json", "-L", "--show-trace", "--option", "cores", "2", "--accept-flake-config", "--max-jobs", "1"]
    done = await nix(lab, "build", *options, "--out-link", "out", TOPLEVEL)
    assert done.status == 0, done.stderr
    [built] = json.loads(done.stdout)
    assert built["outputs"]["out"] == str((lab.project / "out").readlink())


@pytest.mark.asyncio
async def test_without_no_link_there_is_a_link_called_result(lab: Lab):
    done = await nix(lab, "build", "--print-out-paths", TOPLEVEL)
    assert done.status == 0
    assert str((lab.project / "result").readlink()) == done.stdout.strip()


@pytest.mark.asyncio
@pytest.mark.parametrize("attribute", ["lab-w9", "lab-cluster", "other-w1", "w1"])
async def test_a_host_without_facts_is_no_attribute(lab: Lab, attribute: str):
    done = await nix(lab, "build", TOPLEVEL.replace("lab-w1", attribute))
    assert (done.status, done.stdout) == (1, "")
    assert "does not provide attribute 'nixosConfigurations." in done.stderr


@pytest.mark.asyncio
async def test_another_output_is_no_attribute(lab: Lab):
    done = await nix(lab, "build", TOPLEVEL.replace("toplevel", "isoImage"))
    assert done.status == 1
    assert "does not provide attribute" in done.stderr


def change(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document.update(changes)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("file", "edit", "message"),
    [
        ("w1", change(stray=1), "w1.json: stray: is not a known option"),
        ("w1", change(address=5), "w1.json: address: is a int, not a str"),
        ("w1", change(remote="no"), "w1.json: remote: is a str, not a bool"),
        ("w1", change(schemaVersion=2), "w1.json: schemaVersion: 2 is not 1"),
        ("w1", change(osdDisks="x"), "w1.json: osdDisks: is not a list"),
        ("w1", change(labels={"a": 1}), "w1.json: labels.a: is a int, not a str"),
        ("w1", change(ssh={"port": 22, "user": "root"}), "w1.json: ssh.initrdPort: is missing"),
        ("w1", change(taints=[{"key": "a", "effect": "NoSchedule"}]), "w1.json: taints[0].value: is missing"),
        ("w1", change(installGeneration=True), "w1.json: installGeneration: is a bool, not a int"),
        ("cluster", change(mesh=None), "cluster.json: mesh: is not an attribute set"),
    ],
)
async def test_what_the_types_of_the_facts_refuse_is_not_built(lab: Lab, file: str, edit: Any, message: str):
    path = lab.project / f"nix/facts/lab/{file}.json"
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))
    done = await nix(lab, "build", TOPLEVEL)
    assert (done.status, done.stdout) == (1, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.asyncio
async def test_a_missing_age_file_is_not_built(lab: Lab):
    (lab.project / "nix/secrets/lab/w1/agent-token.age").unlink()
    done = await nix(lab, "build", TOPLEVEL)
    assert done.status == 1
    assert "error: w1: keystone.secrets.folder lacks agent-token.age. Run `keystone facts`." in done.stderr


@pytest.mark.asyncio
async def test_a_system_that_nobody_could_log_in_to_is_not_built(lab: Lab):
    (lab.project / "nix/secrets/lab/operator.pub").unlink()
    done = await nix(lab, "build", TOPLEVEL)
    assert done.status == 1
    assert "no public key may log in" in done.stderr


@pytest.mark.asyncio
async def test_a_folder_without_a_flake_is_refused(lab: Lab):
    (lab.project / "nix/flake.nix").unlink()
    done = await nix(lab, "build", TOPLEVEL)
    assert "does not contain a '/flake.nix' file" in done.stderr


@pytest.mark.asyncio
async def test_the_features_must_be_enabled_as_for_the_real_nix(lab: Lab):
    done = await lab.program("nix", "build", TOPLEVEL)
    assert done.status == 1
    assert "error: experimental Nix feature 'nix-command': is disabled; add" in done.stderr
    done = await lab.program(
        "nix", "build", TOPLEVEL, more={"NIX_CONFIG": "experimental-features = nix-command flakes"}
    )
    assert done.status == 0


@pytest.mark.asyncio
async def test_outside_a_twin_it_says_what_to_do(lab: Lab):
    done = await nix(lab, "build", TOPLEVEL, KEYSTONE_TWIN="")
    assert (done.status, done.stderr) == (
        1,
        'error: KEYSTONE_TWIN: is not set. Run `eval "$(make -s env)"` first.\n',
    )


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["build", "--frobnicate"], "unrecognised flag '--frobnicate'"),
        (["frobnicate"], "'frobnicate' is not a recognised command"),
        ([], "no subcommand specified"),
        (["build", "--option", "cores"], "flag '--option' requires 2 argument(s)"),
        (["build", "--to", "x"], "unrecognised flag '--to'"),
    ],
)
def test_what_nix_does_not_know_is_refused(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    assert nixcli.main(argv) == 1
    assert capsys.readouterr().err.startswith(f"error: {message}")


@pytest.mark.asyncio
async def test_a_copy_over_ssh_makes_the_path_valid_on_the_machine(lab: Lab):
    machine = await lab.installed()
    lab.host["labels"] = {"a": "b"}
    lab.render()
    path = await lab.build()
    assert (await console(machine, "nix-store", "--check-validity", path)).status == 1
    known = lab.project / "known_hosts"
    known.write_text(f"[{machine.address}]:{PORT} {lab.pinned_key()}\n")
    options = f"-p {PORT} -i operator_key -o StrictHostKeyChecking=yes -o UserKnownHostsFile={known}"
    done = await nix(lab, "copy", "--to", f"ssh-ng://root@{machine.address}", path, NIX_SSHOPTS=options)
    assert done.status == 0, done.stderr
    assert f"copying path '{path}' to 'ssh-ng://root@{machine.address}'..." in done.stderr
    assert (await console(machine, "nix-store", "--check-validity", path)).status == 0


@pytest.mark.asyncio
async def test_a_copy_to_a_machine_with_another_host_key_or_to_none_fails(lab: Lab):
    path = await lab.build()
    machine = lab.machine()
    known = lab.project / "known_hosts"
    known.write_text(f"[{machine.address}]:{PORT} {lab.pinned_key()}\n")
    options = f"-p {PORT} -i operator_key -o StrictHostKeyChecking=yes -o UserKnownHostsFile={known}"
    for words in ("Connection refused", "Host key verification failed"):
        done = await nix(lab, "copy", "--to", f"ssh-ng://root@{machine.address}", path, NIX_SSHOPTS=options)
        assert done.status == 1
        assert words in done.stderr
        assert f"error: cannot copy to 'ssh-ng://root@{machine.address}': ssh ended with status 255." in done.stderr
        await machine.power_on()


@pytest.mark.asyncio
async def test_what_was_never_built_cannot_be_copied(lab: Lab):
    path = "/nix/store/" + "0" * 32 + "-x"
    done = await nix(lab, "copy", "--to", f"ssh-ng://root@{NETWORK.at(11)}", path)
    assert (done.status, f"error: {path}: is not valid." in done.stderr) == (1, True)
