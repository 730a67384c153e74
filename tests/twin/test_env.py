"""The shell lines of a stack: a twin's engine for a stack on the twin, the user's own for every other."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from keystone.settings import SettingsError
from tests import networks
from tests.twin import sites
from twin.site import Site

REPOSITORY = Path(__file__).parents[2]
NETWORK = networks.fresh()
TOOLS = "/nowhere/tools"
OWN = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "KEYSTONE_TOOLS": TOOLS}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a stack on the twin, AWS included, one with a passphrase of its own, and one of real machines."""
    write(
        tmp_path, "trial", **{"twin:network": str(NETWORK), "keystone:aws": {"endpoints": {"s3": "http://127.0.0.9"}}}
    )
    write(tmp_path, "other", **{"twin:network": str(NETWORK), "twin:passphrase": "another"})
    write(tmp_path, "home")
    return tmp_path


def write(folder: Path, stack: str, **more: object) -> None:
    config = {f"keystone:{key}": value for key, value in sites.document(NETWORK).items()}
    (folder / f"Pulumi.{stack}.yaml").write_text(yaml.safe_dump({"config": {**config, **more}}))


def shell(project: Path, *stacks: str, then: str = "", own: dict[str, str] = OWN) -> dict[str, str]:
    """The variables of a shell in which the lines of these stacks were evaluated, one after the other."""
    lines = [
        f'lines="$({sys.executable} -m twin env --project {project} --stack {stack})" || exit; eval "$lines"; {then}'
        for stack in stacks
    ]
    done = subprocess.run(
        ["/bin/sh", "-c", "\n".join([*lines, "env -0"])],
        cwd=REPOSITORY, env=own, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = dict(line.split("=", 1) for line in done.stdout.split("\0") if line)
    return {name: value for name, value in found.items() if name not in {"PWD", "OLDPWD", "SHLVL", "_"}}


def test_a_stack_off_the_twin_gets_nothing_of_a_twins_shell(project: Path) -> None:
    twin = shell(project, "trial")
    assert twin["KEYSTONE_TWIN"] == str(project / ".twin/trial")
    assert twin["AWS_PROFILE"] == "keystone-twin"
    assert TOOLS in twin["PATH"].split(":")
    found = shell(project, "trial", "home")
    assert found.keys() == OWN.keys() | {"KEYSTONE_STACK"}
    assert found == shell(project, "home")
    assert not {TOOLS, str(REPOSITORY / "twin/bin")} & set(found["PATH"].split(":"))


@pytest.mark.parametrize("stack", ["trial", "home"])
def test_the_commands_that_cures_name_are_on_path(project: Path, stack: str) -> None:
    path = shell(project, stack)["PATH"]
    assert shutil.which("keystone", path=path) == str(REPOSITORY / "bin/keystone")
    assert shutil.which("twin", path=path) == str(REPOSITORY / "bin/twin")


def test_what_was_set_in_a_twins_shell_since_then_stays(project: Path) -> None:
    mine = {"PULUMI_CONFIG_PASSPHRASE": "mine", "PULUMI_BACKEND_URL": "s3://states", "AWS_PROFILE": "work"}
    exports = "; ".join(f"export {name}={value}" for name, value in mine.items())
    found = shell(project, "trial", "home", then=exports)
    assert {name: found[name] for name in mine} == mine
    assert found.keys() == OWN.keys() | mine.keys() | {"KEYSTONE_STACK"}


def test_the_users_own_pulumi_is_left_alone_without_a_twin(project: Path) -> None:
    own = {**OWN, "PULUMI_HOME": "/pulumi", "PULUMI_CONFIG_PASSPHRASE": "mine", "AWS_EC2_METADATA_DISABLED": "true"}
    found = shell(project, "home", own=own)
    assert found == {**own, "PATH": found["PATH"], "KEYSTONE_STACK": "home"}
    assert found["PATH"].endswith(OWN["PATH"])


def test_from_one_twin_to_another_the_passphrase_changes_and_the_cloud_goes(project: Path) -> None:
    found = shell(project, "trial", "other")
    assert found == shell(project, "other")
    assert found["PULUMI_CONFIG_PASSPHRASE"] == "another"
    assert shell(project, "other", "trial")["PULUMI_CONFIG_PASSPHRASE"] == "keystone-twin"


def test_a_twin_whose_stack_file_is_gone_is_left_all_the_same(project: Path) -> None:
    found = shell(project, "trial", "home", then=f"rm -f {project}/Pulumi.trial.yaml")
    assert found.keys() == OWN.keys() | {"KEYSTONE_STACK"}


def test_the_lines_do_not_want_sound_settings(project: Path) -> None:
    file = project / "Pulumi.trial.yaml"
    document = yaml.safe_load(file.read_text())
    document["config"] |= {"keystone:hosts": "none", "keystone:tunnel": {}, "keystone:aws": {"endpoints": ["x"]}}
    file.write_text(yaml.safe_dump(document))
    found = shell(project, "trial")
    assert found["PULUMI_BACKEND_URL"] == f"file://{project}/.twin/trial/state"
    assert "AWS_PROFILE" not in found
    with pytest.raises(SettingsError):
        Site.read("trial", project)
