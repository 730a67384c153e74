"""Reads the workflows, and plays a runner for their steps."""

import os
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).resolve().parents[1]
FOLDER = PROJECT / ".github"
EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
# What a runner calls `shell: bash`; a `run` without a shell lacks the pipefail, so those that pipe must name it.
BASH = ("bash", "--noprofile", "--norc", "-eo", "pipefail")
PLAIN = ("bash", "-e")


def workflows() -> dict[str, dict[str, Any]]:
    """Every workflow by name. YAML reads the key `on` as true."""
    found = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((FOLDER / "workflows").glob("*.yml"))}
    return {name: {("on" if key is True else key): value for key, value in one.items()} for name, one in found.items()}


def action(uses: str) -> dict[str, Any]:
    """A composite action of this repository."""
    return yaml.safe_load((PROJECT / uses / "action.yml").read_text())


@dataclass
class Runner:
    """Runs a job's `run` steps as they stand, in a checkout. `values` answer the expressions; others are unknown."""

    checkout: Path
    temporary: Path
    values: Mapping[str, str]
    environment: Mapping[str, str]
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Steps by name that cannot run here, with the reason."""
    ran: list[str] = field(default_factory=list)

    def job(self, name: str, job: str, check: Callable[[str], bool] = lambda _: True) -> str:
        """Run every step of a job for which `check` says yes; returns what they wrote, or fails with it."""
        document = workflows()[name]
        about = document["jobs"][job]
        shared = self._filled({**document.get("env", {}), **about.get("env", {})}, self.values)
        return "".join(self._step(step, self.values, shared) for step in about["steps"] if check(step.get("name", "")))

    def _filled(self, environment: Mapping[str, Any], values: Mapping[str, str]) -> dict[str, str]:
        return {key: EXPRESSION.sub(lambda found: values[found[1]], str(text)) for key, text in environment.items()}

    def _step(self, step: Mapping[str, Any], values: Mapping[str, str], shared: Mapping[str, str]) -> str:
        uses = step.get("uses", "")
        if uses.startswith("./"):
            given = self._filled(step.get("with", {}), values)
            inner = {**values, **{f"inputs.{key}": text for key, text in given.items()}}
            return "".join(self._step(one, inner, shared) for one in action(uses)["runs"]["steps"])
        if uses or step["name"] in self.skipped:
            return ""
        own = self._filled(step.get("env", {}), values)
        shell = BASH if step.get("shell") == "bash" else PLAIN
        done = subprocess.run(
            [*shell, "-c", step["run"]],
            cwd=self.checkout,
            env={**os.environ, **self.environment, "RUNNER_TEMP": str(self.temporary), **shared, **own},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=400,
            check=False,
        )
        self.ran.append(step["name"])
        assert done.returncode == 0, f"{step['name']}: status {done.returncode}\n{done.stdout}"
        return done.stdout
