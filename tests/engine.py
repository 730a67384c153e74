"""The real Pulumi engine for tests: one throw-away project with its own home, state and plugins.

    engine = Engine(tmp_path, "import pulumi\\npulumi.export('answer', 42)\\n")
    run = engine.up()
    assert run.ok, run.output
    assert engine.outputs() == {"answer": 42}

Nothing is taken from the user's own Pulumi: not its home, its login, its plugins or its environment.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.processes import end_tree
from twin import plugins
from twin.tools import kubernetes_plugin

REPOSITORY = Path(__file__).resolve().parents[1]
PASSPHRASE = "probe"
SECRET_MARK = "4dabf18193072939515e22adb298388d"
"""The key in an exported state by which an encrypted value is known; its text lies under "ciphertext"."""
RUN_SECONDS = 150
"""A run takes a few seconds; on a busy machine many times that."""
ENGINE_FILES = ("pulumi", "pulumi-language-python", "pulumi-language-python-exec")


def binaries() -> Path:
    """The folder with the engine: KEYSTONE_ENGINE_BIN if set, else the tool cache's, built when missing."""
    chosen = os.environ.get("KEYSTONE_ENGINE_BIN")
    if chosen:
        folder = Path(chosen)
    else:
        import toolchain

        toolchain.ensure(["pulumi", "pulumi-language-python"])
        folder = toolchain.bin_dir()
    missing = [name for name in ENGINE_FILES if not (folder / name).is_file()]
    assert not missing, (
        f"{folder} has no {', '.join(missing)}. Run `python -m toolchain`, or unset KEYSTONE_ENGINE_BIN."
    )
    return folder


@dataclass(frozen=True)
class Run:
    """One finished command of the engine."""

    code: int
    output: str
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether it succeeded."""
        return self.code == 0

    @cached_property
    def steps(self) -> dict[str, list[str]]:
        """Name of each resource but the stack -> its steps in order ("create", "update", "same", "delete", ...)."""
        found: dict[str, list[str]] = {}
        for event in self.events:
            metadata = event.get("resourcePreEvent", {}).get("metadata")
            if metadata and metadata["type"] != "pulumi:pulumi:Stack" and "pulumi:providers" not in metadata["type"]:
                found.setdefault(metadata["urn"].rsplit("::", 1)[1], []).append(metadata["op"])
        return found

    @property
    def changes(self) -> dict[str, list[str]]:
        """The steps of the resources that did not stay the same."""
        return {name: steps for name, steps in self.steps.items() if steps != ["same"]}

    def messages(self, name: str = "", *, passing: bool | None = None) -> list[str]:
        """What the engine said about a resource, or about all; `passing` picks status lines (True) or the others.

        Without debug messages: no user sees those, and the SDK prints secrets into them.
        """
        found = []
        for event in self.events:
            diagnostic = event.get("diagnosticEvent")
            if (
                not diagnostic
                or diagnostic["severity"] == "debug"
                or (name and diagnostic.get("urn", "").rsplit("::", 1)[-1] != name)
            ):
                continue
            if passing is None or bool(diagnostic.get("ephemeral")) == passing:
                found.append(diagnostic["message"])
        return found


class Engine:
    """A project and stack of its own below `root`. `settings` are the stack's plain config values."""

    def __init__(
        self,
        root: Path,
        program: str = "",
        *,
        project: str = "probe",
        stack: str = "test",
        names: Iterable[str] = ("command",),
        replaced_plugins: Mapping[str, Path] | None = None,
        environment: Mapping[str, str] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.root, self.stack, self.project = Path(root), stack, project
        self.workdir, self.home = self.root / "work", self.root / "home"
        for folder in (self.workdir, self.home, self.root / "state"):
            folder.mkdir(parents=True, exist_ok=True)
        tools = binaries()
        self.pulumi = tools / "pulumi"
        self.environment = {
            "PATH": os.pathsep.join([str(tools), str(Path(sys.executable).parent), "/usr/local/bin:/usr/bin:/bin"]),
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "PULUMI_HOME": str(self.home),
            "PULUMI_BACKEND_URL": f"file://{self.root / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_DISABLE_REGISTRY_RESOLVE": "true",
            "PULUMI_CREDENTIAL_STORE": "plaintext",
            "PULUMI_DEBUG_COMMANDS": "true",  # has the event log
            "NO_COLOR": "1",
            **(environment or {}),
        }
        self._count = 0
        self._install(names, replaced_plugins or {})
        runtime = {"name": "python", "options": {"toolchain": "pip", "virtualenv": str(Path(sys.prefix))}}
        (self.workdir / "Pulumi.yaml").write_text(yaml.safe_dump({"name": project, "runtime": runtime}))
        self.write(program)
        if not (self.workdir / f"Pulumi.{stack}.yaml").exists():
            made = self.pulumi_command("stack", "init", stack)
            assert made.ok, made.output
        if settings:
            stack_file = self.workdir / f"Pulumi.{stack}.yaml"
            document = yaml.safe_load(stack_file.read_text()) or {}
            stack_file.write_text(yaml.safe_dump({**document, "config": dict(settings)}))

    def _install(self, names: Iterable[str], replaced: Mapping[str, Path]) -> None:
        for name in names:
            if name == "kubernetes":
                program = kubernetes_plugin()  # the official one: it has no stand-in
                assert program is not None, "build the tools with `python -m toolchain`"
                self._link(name, version("pulumi-kubernetes"), program)
            elif name in replaced:
                self._link(name, plugins.sdk_version(name), replaced[name].resolve())
            else:
                plugins.install(self.home, [name])

    def _link(self, name: str, wanted: str, program: Path) -> None:
        place = self.home / "plugins" / f"resource-{name}-v{wanted}" / f"pulumi-resource-{name}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(program)

    def write(self, program: str) -> None:
        """Replace the program."""
        (self.workdir / "__main__.py").write_text(program)

    def arguments(self, *words: str) -> list[str]:
        """The whole command line of a command of the engine."""
        return [str(self.pulumi), *words, "--non-interactive"]

    def pulumi_command(self, *words: str, timeout: float = RUN_SECONDS) -> Run:
        """Any command of the engine, standard input closed. A run over `timeout` seconds is ended and raises."""
        running = subprocess.Popen(
            self.arguments(*words),
            cwd=self.workdir,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        with running:
            try:
                said, _ = running.communicate(timeout=timeout)
            except BaseException:
                end_tree(running.pid)  # plugins and the program outlive an engine that is killed alone
                raise
        return Run(running.returncode, said.decode("utf-8", "replace"))

    def keystone(self, *words: str, python: Sequence[str] = ("-m", "keystone")) -> Run:
        """A `keystone` command, as its users type it in the project's folder."""
        done = subprocess.run(
            [sys.executable, *python, *words, "--stack", self.stack],
            cwd=self.workdir,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=RUN_SECONDS,
            check=False,
        )
        return Run(done.returncode, done.stdout.decode("utf-8", "replace"))

    def up(self, *words: str, timeout: float = RUN_SECONDS) -> Run:
        """`pulumi up`."""
        return self._operation("up", ["--yes", "--skip-preview", *words], timeout)

    def preview(self, *words: str, timeout: float = RUN_SECONDS) -> Run:
        """`pulumi preview`."""
        return self._operation("preview", list(words), timeout)

    def refresh(self, *words: str, timeout: float = RUN_SECONDS) -> Run:
        """`pulumi refresh`."""
        return self._operation("refresh", ["--yes", "--skip-preview", *words], timeout)

    def destroy(self, *words: str, timeout: float = RUN_SECONDS) -> Run:
        """`pulumi destroy`; the stack itself stays."""
        return self._operation("destroy", ["--yes", "--skip-preview", *words], timeout)

    def start(self, *words: str) -> Background:
        """`pulumi up` in the background, for tests that interrupt it."""
        log, command = self._prepared("up", ["--yes", "--skip-preview", *words])
        return Background(command, log, self)

    def _operation(self, verb: str, words: list[str], timeout: float) -> Run:
        log, command = self._prepared(verb, words)
        done = self.pulumi_command(*command, timeout=timeout)
        return Run(done.code, done.output, read_events(log))

    def _prepared(self, verb: str, words: list[str]) -> tuple[Path, list[str]]:
        self._count += 1
        log = self.root / f"events-{self._count}.jsonl"
        return log, [verb, "--stack", self.stack, "--event-log", str(log), *words]

    def export(self) -> dict[str, Any]:
        """The deployment as `pulumi stack export` shows it: secrets encrypted."""
        run = self.pulumi_command("stack", "export", "--stack", self.stack)
        assert run.ok, run.output
        return json.loads(run.output)["deployment"]

    def texts(self) -> str:
        """Everything that runs have left behind: state, backups, history."""
        kept = self.root.glob("state/**/*")
        return "\n".join(path.read_text("utf-8", "replace") for path in kept if path.is_file())

    def resources(self) -> dict[str, dict[str, Any]]:
        """Name -> exported resource, without the stack and the providers."""
        kept = {}
        for resource in self.export().get("resources", []):
            if not resource["type"].startswith("pulumi:"):
                kept[resource["urn"].rsplit("::", 1)[1]] = resource
        return kept

    def outputs(self, *, show_secrets: bool = False) -> dict[str, Any]:
        """The stack's outputs."""
        words = ["--show-secrets"] if show_secrets else []
        run = self.pulumi_command("stack", "output", "--json", "--stack", self.stack, *words)
        assert run.ok, run.output
        return json.loads(run.output)


class Background:
    """A running `pulumi up`."""

    def __init__(self, words: list[str], log: Path, engine: Engine) -> None:
        self._log = log
        self._text = log.with_suffix(".out")
        self._left: list[psutil.Process] = []
        with self._text.open("wb") as output:
            self.process = subprocess.Popen(
                engine.arguments(*words),
                cwd=engine.workdir,
                env=engine.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def plugin(self, name: str) -> int:
        """The process of one of the project's own plugins, which the engine has started by now."""
        children = psutil.Process(self.process.pid).children()
        return next(child.pid for child in children if any(f"twin/plugins/{name}" in word for word in child.cmdline()))

    def interrupt(self) -> None:
        """What Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """End the engine at once, as a crash would."""
        # The language host, the program and official plugins do not notice for minutes, or ever; a test must not leave
        # them behind. The project's own plugins have to notice by themselves, and end their commands.
        engine = psutil.Process(self.process.pid)
        found = [child for child in engine.children() if not any("twin/plugins" in word for word in child.cmdline())]
        self._left = [one for child in found for one in (child, *child.children(recursive=True))]
        self.process.kill()

    def wait(self, timeout: float = RUN_SECONDS) -> Run:
        """Its end; past `timeout` seconds it is killed and the wait raises."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            end_tree(self.process.pid)
            self.process.wait()
            raise
        for left in self._left:
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()
        return Run(code, self._text.read_text("utf-8", "replace"), read_events(self._log))


def read_events(log: Path) -> list[dict[str, Any]]:
    """The engine's event log; a last line cut short by a kill is left out."""
    events = []
    for line in log.read_text().splitlines() if log.exists() else []:
        try:
            events.append(json.loads(line))
        except ValueError:
            break
    return events


def is_secret(value: Any) -> bool:
    """Whether an exported value is encrypted."""
    return isinstance(value, dict) and SECRET_MARK in value and "ciphertext" in value


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """An engine with an empty program; `write` gives it one."""
    return Engine(tmp_path)
