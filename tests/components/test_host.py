"""components/host.py"""

from collections.abc import Callable

from pulumi_command import local

from components.host import Host, HostArgs
from components.machine_command import Machine
from keystone.settings import Settings
from tests.recording import ROOT_SECRET, Engine, is_secret, plain

Deploy = Callable[..., Engine]


def _host(site: Settings, **changes: object) -> HostArgs:
    machine = Machine(stack="site", name="w1", root=ROOT_SECRET)
    given = {"machine": machine, "host": site.hosts["w1"], "protect": True, "rebuild_hash": "abc", **changes}
    return HostArgs(**given)  # type: ignore[arg-type]


def test_a_host_is_two_commands_under_one_component(deploy: Deploy, site: Settings) -> None:
    engine = deploy(lambda: Host("w1", _host(site)))
    assert [(c.name, c.parent) for c in engine.of(local.Command)] == [("install-w1", "w1"), ("system-w1", "w1")]
    assert len(engine.resources) <= 8


def test_only_the_install_generation_triggers_a_reinstall(deploy: Deploy, site: Settings) -> None:
    engine = deploy(lambda: Host("w1", _host(site)))
    install, system = engine.named("install-w1"), engine.named("system-w1")
    assert install.inputs["triggers"] == [1]
    assert "triggers" not in system.inputs
    assert "abc" not in str(install.inputs)


def test_an_update_of_the_install_never_writes(deploy: Deploy, site: Settings) -> None:
    install = deploy(lambda: Host("w1", _host(site))).named("install-w1")
    assert install.inputs["create"].endswith("keystone.hosts install w1")
    assert install.inputs["update"].endswith("keystone.hosts install w1 --verify-only")
    assert "delete" not in install.inputs


def test_the_install_is_protected_exactly_where_hosts_are(deploy: Deploy, site: Settings) -> None:
    guarded = deploy(lambda: Host("w1", _host(site)))
    assert guarded.named("install-w1").protect
    assert not guarded.named("system-w1").protect
    assert not deploy(lambda: Host("w1", _host(site, protect=False))).named("install-w1").protect


def test_a_changed_system_is_an_update_after_the_install(deploy: Deploy, site: Settings) -> None:
    system = deploy(lambda: Host("w1", _host(site))).named("system-w1")
    assert system.inputs["environment"] == {"KEYSTONE_STACK": "site", "KEYSTONE_REBUILD_HASH": "abc"}
    assert system.inputs["create"] == system.inputs["update"]
    assert "install-w1" in system.dependencies


def test_the_root_secret_reaches_each_command_as_a_secret_on_standard_input(deploy: Deploy, site: Settings) -> None:
    for command in deploy(lambda: Host("w1", _host(site))).of(local.Command):
        assert is_secret(command.inputs["stdin"])
        assert plain(command.inputs["stdin"]) == ROOT_SECRET
        rest = {key: value for key, value in command.inputs.items() if key != "stdin"}
        assert ROOT_SECRET not in str(rest)
        assert command.secret_outputs == {"stdout", "stderr"}
        assert command.inputs["logging"] == "stderr"


def test_no_input_holds_an_absolute_path(deploy: Deploy, site: Settings) -> None:
    for command in deploy(lambda: Host("w1", _host(site))).of(local.Command):
        assert command.inputs["create"].startswith(".venv/bin/python -m keystone.hosts ")
        assert "dir" not in command.inputs


def test_the_component_says_what_policies_judge_a_host_by(deploy: Deploy, site: Settings) -> None:
    [host] = [r for r in deploy(lambda: Host("w1", _host(site))).resources if r.kind == "keystone:components:Host"]
    disk = {"layout": "zfs-luks", "encryption": "luks2", "unlock": "tpm2"}
    assert host.inputs == {"disk": disk, "address": "127.78.5.31", "protect": True}
