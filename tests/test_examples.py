"""Each stack file under examples/ as a user takes it: copied into the project, rendered, previewed under the pack.

The real engine judges the unchanged program. A first preview reaches no machine and no cloud.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from keystone.settings import read
from tests.settings.test_examples import CLUSTERS
from twin.env import install_plugins, variables
from twin.site import Site
from twin.tools import folder as tools

PROJECT = Path(__file__).parents[1]
PASSPHRASE = "keystone-example"
"""Published in every example: its secrets guard nothing."""
LIMIT = 120


def copy_of_project(folder: Path) -> None:
    """The project's files and its Python."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        source, target = PROJECT / name, folder / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(source)
    (folder / ".venv").symlink_to(sys.prefix)


class Project:
    """A copy of the project with an example as one of its stack files."""

    def __init__(self, folder: Path, stack: str, edit: Callable[[dict[str, Any]], None]) -> None:
        self.folder, self.stack = folder, stack
        copy_of_project(folder)
        document = yaml.safe_load((PROJECT / CLUSTERS[stack] / f"Pulumi.{stack}.yaml").read_text())
        # The twin lends its engine and plugins to a stack of its own only; a preview reaches no machine.
        document["config"]["twin:network"] = "127.78.40.0/24"
        edit(document["config"])
        if (exceptions := PROJECT / CLUSTERS[stack] / f"exceptions.{stack}.json").exists():
            # As its README says: copied, and dated anew.
            text = re.sub(r'"expires": ".*"', f'"expires": "{datetime.now(UTC).date()}"', exceptions.read_text())
            (folder / "policy" / exceptions.name).write_text(text)
        (folder / f"Pulumi.{stack}.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
        site = Site.read(stack, folder)
        assert site is not None
        site.make_folders()
        assert install_plugins(site)
        outside = {"PATH": f"{tools()}:/usr/local/bin:/usr/bin:/bin", "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE}
        kept = {key: os.environ[key] for key in ("HOME", "KEYSTONE_TOOLS", "XDG_CACHE_HOME") if key in os.environ}
        self.environment = {"LANG": "C.UTF-8", **kept, **outside, **variables(stack, folder, outside)}

    def keystone(self, *words: str) -> tuple[int, str]:
        done = subprocess.run(
            [".venv/bin/python", "-m", "keystone", *words, "--stack", self.stack],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT,
        )
        return done.returncode, done.stdout

    def preview(self) -> tuple[int, str]:
        status, said = self.keystone("facts")
        assert status == 0, said
        return self.keystone("preview")


def _as_it_is(config: dict[str, Any]) -> None:
    assert config


def _unprotected(config: dict[str, Any]) -> None:
    config["keystone:protectHosts"] = False


def test_the_lines_of_the_readme_preview_an_example(tmp_path: Path) -> None:
    [lines] = re.findall(r"```\n(.*?)```", (PROJECT / "examples/README.md").read_text(), re.DOTALL)
    copy_of_project(tmp_path)
    kept = {key: os.environ[key] for key in ("HOME", "PATH", "KEYSTONE_TOOLS", "XDG_CACHE_HOME") if key in os.environ}
    done = subprocess.run(
        ["bash", "-e", "-c", lines],
        cwd=tmp_path,
        # The packages are those that this test runs with.
        env={"LANG": "C.UTF-8", "MAKEFLAGS": "--assume-old=.venv/.runtime", **kept},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=2 * LIMIT,
    )
    assert done.returncode == 0, done.stdout
    assert "preview hybrid: " in done.stdout
    assert "would be created" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize("stack", sorted(CLUSTERS))
def test_an_example_previews_clean_under_the_policy_pack(stack: str, tmp_path: Path) -> None:
    status, said = Project(tmp_path, stack, _as_it_is).preview()
    assert status == 0, said
    for host in read(stack, tmp_path).hosts:
        assert f"+ install-{host} " in said
    assert "would be created" in said.splitlines()[-1]


def test_the_example_at_home_is_refused_until_somebody_accepts_that_nothing_is_copied(tmp_path: Path) -> None:
    project = Project(tmp_path, "home", _as_it_is)
    (tmp_path / "policy/exceptions.home.json").unlink()
    status, said = project.preview()
    assert status == 1
    assert "stateful-has-backup" in said
    assert "ceph: a volume there is without a backup" in said


def test_an_example_made_unsafe_is_refused_by_name_of_the_rule(tmp_path: Path) -> None:
    status, said = Project(tmp_path, "home", _unprotected).preview()
    assert status == 1
    assert "host-protected" in said
    assert "protectHosts" in said
