"""The documents' way from one state backend to another, command by command."""

import re
import subprocess
from pathlib import Path

from tests.engine import Engine, is_secret

PROJECT = Path(__file__).resolve().parents[1]
PAGE = PROJECT / "docs/reference/state-backends.md"
PROGRAM = """
import pulumi
from pulumi_command import local

local.Command("made", create="printf made", stdin=pulumi.Output.secret("canary"), logging="none")
pulumi.export("plain", "value")
pulumi.export("hidden", pulumi.Output.secret("canary"))
"""


def commands() -> str:
    """The block of the page that moves a stack."""
    [block] = re.findall(r"\*\*To another backend\*\*.*?```\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return block


def test_moving_a_stack_as_the_page_says_changes_nothing_and_keeps_its_secrets(tmp_path: Path) -> None:
    engine = Engine(tmp_path, PROGRAM, stack="prod")
    assert engine.up().ok
    stack_file = (engine.workdir / "Pulumi.prod.yaml").read_bytes()
    (tmp_path / "new").mkdir()
    new = f"file://{tmp_path / 'new'}"
    # The page has the stack file put back after `stack init`, for which this project has no git.
    (tmp_path / "kept.yaml").write_bytes(stack_file)
    script = commands().replace("export PULUMI_BACKEND_URL=NEW", f"export PULUMI_BACKEND_URL={new}")
    script = re.sub(
        r"^(pulumi stack init .*)$", rf"\1\ncp {tmp_path}/kept.yaml Pulumi.prod.yaml", script, flags=re.MULTILINE
    )
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", script],
        cwd=engine.workdir,
        env=engine.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert not (engine.workdir / "state.json").exists()
    assert "canary" not in done.stdout + done.stderr
    engine.environment["PULUMI_BACKEND_URL"] = new
    assert engine.outputs() == {"plain": "value", "hidden": "[secret]"}
    assert engine.outputs(show_secrets=True)["hidden"] == "canary"
    assert is_secret(engine.resources()["made"]["inputs"]["stdin"])
    assert engine.up().changes == {}
