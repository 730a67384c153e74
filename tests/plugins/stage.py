"""Programs for the scenario tests: a scene (a dict) says which resources exist, one program builds any scene."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tests.engine import Engine

PROGRAM = """
import json
from pathlib import Path

import pulumi
from pulumi_command import local, remote

KINDS = {"local": local.Command, "remote": remote.Command, "copy": remote.CopyToRemote}
made = {}


def value(given):
    if isinstance(given, list):
        return [value(item) for item in given]
    if not isinstance(given, dict):
        return given
    if "$secret" in given:
        return pulumi.Output.secret(value(given["$secret"]))
    if "$stdout" in given:
        return made[given["$stdout"]].stdout
    if "$asset" in given:
        kind, place = given["$asset"]
        return getattr(pulumi, kind)(place)
    return {key: value(item) for key, item in given.items()}


scene = json.loads(Path("scene.json").read_text())
for name, spec in scene["resources"].items():
    opts = dict(spec.get("opts", {}))
    if "custom_timeouts" in opts:
        opts["custom_timeouts"] = pulumi.CustomTimeouts(**opts["custom_timeouts"])
    made[name] = KINDS[spec.get("kind", "local")](name, **value(spec["args"]), opts=pulumi.ResourceOptions(**opts))
for name in scene.get("applied", []):
    made[name].stdout.apply(lambda text, name=name: Path(f"applied-{name}").write_text(text))
if "run" in scene:
    pulumi.export("run", local.run_output(**value(scene["run"])))
"""


def command(create: str | None = None, *, opts: dict[str, Any] | None = None, **args: Any) -> dict[str, Any]:
    """A scene's entry for a local command."""
    if create is not None:
        args["create"] = create
    return {"args": args, "opts": opts or {}}


def official_plugin() -> dict[str, Path]:
    """The real plugin if KEYSTONE_COMMAND_PLUGIN names its executable: the suite then judges that one."""
    chosen = os.environ.get("KEYSTONE_COMMAND_PLUGIN")
    return {"command": Path(chosen)} if chosen else {}


class Stage(Engine):
    """An engine whose program builds the last scene that it was given.

    Without `checkpoints` the state is written once, at the end of a run: faster, and of no use after a kill.
    """

    def __init__(self, root: Path, *, checkpoints: bool = True) -> None:
        environment = {} if checkpoints else {"PULUMI_SKIP_CHECKPOINTS": "true"}
        super().__init__(root, PROGRAM, replaced_plugins=official_plugin(), environment=environment)

    def set(self, resources: dict[str, Any], **more: Any) -> None:
        """The resources (name -> command(...)) of the next runs; `run` is a call of command:local:run."""
        (self.workdir / "scene.json").write_text(json.dumps({"resources": resources, **more}))

    def text(self, name: str) -> str:
        """A file in the program's folder, "" if it is not there."""
        path = self.workdir / name
        return path.read_text() if path.exists() else ""
