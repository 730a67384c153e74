"""Whether a switch wants a reboot: kernel, initial RAM disk and modules of the new system against the present one's.

Nothing is built: Nix evaluates three store paths in the tree of the pull request and in that of its base. The base
counts only when the running system was built from it, which the hash in the state tells.
"""

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from keystone import facts
from keystone.errors import KeystoneError
from keystone.preview_comment.machines import UNDETERMINED

SECONDS = 600
PARTS = ("kernel", "initrd", "modules")
APPLY = (
    "c: { kernel = c.system.build.kernel.outPath; initrd = c.system.build.initialRamdisk.outPath;"
    " modules = c.system.modulesTree.outPath; }"
)
Evaluate = Callable[[Path, str], dict[str, str]]


def evaluate(project: Path, configuration: str) -> dict[str, str]:
    """The store paths of a system's kernel, initial RAM disk and modules. Raises KeystoneError when Nix cannot tell."""
    nix = shutil.which("nix")
    if not nix:
        raise KeystoneError("nix", "is not on PATH")
    line = [
        *(nix, "--extra-experimental-features", "nix-command flakes", "eval", "--json", "--apply", APPLY),
        f"path:{project.resolve() / 'nix'}#nixosConfigurations.{configuration}.config",
    ]
    try:
        done = subprocess.run(
            line, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        found = json.loads(done.stdout) if done.returncode == 0 else None
    except subprocess.TimeoutExpired:
        raise KeystoneError("nix", f"did not evaluate {configuration} within {SECONDS} s") from None
    except ValueError:
        found = None
    if not isinstance(found, dict) or set(found) != set(PARTS):
        raise KeystoneError("nix", f"cannot evaluate {configuration}")
    return found


@dataclass
class Reboots:
    """Judges switches of a stack's hosts. `project` is the new tree, `base` the old one (None: there is none)."""

    stack: str
    project: Path
    base: Path | None
    evaluate: Evaluate = field(default=evaluate)

    def __call__(self, host: str, deployed: str) -> str:
        """What a switch of this host means, in words; `deployed` is the hash of its present system."""
        try:
            return self._judge(host, deployed)
        except KeystoneError as error:
            return f"{UNDETERMINED} ({error.place} {error.problem})"

    def _judge(self, host: str, deployed: str) -> str:
        if self.base is None:
            return UNDETERMINED
        if facts.rebuild_hash(self.stack, host, self.base) != deployed:
            return f"{UNDETERMINED} (the running system was not built from the base)"
        name = f"{self.stack}-{host}"
        old, new = self.evaluate(self.base, name), self.evaluate(self.project, name)
        differ = [part for part in PARTS if old[part] != new[part]]
        return f"switch; reboot for the new {', '.join(differ)}" if differ else "switch without a reboot"
