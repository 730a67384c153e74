"""The command provider: when which command runs, and what the state holds afterwards."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from twin.plugins import sdk_version, wire
from twin.plugins.base import Diff, Failures, Operation, Provider, ProviderError
from twin.plugins.command import fields
from twin.plugins.command.local import GroupWatch, LocalRunner, archive, file_asset, find_files
from twin.plugins.command.output import Mask, Output

STDOUT_VARIABLE = "PULUMI_COMMAND_STDOUT"
STDERR_VARIABLE = "PULUMI_COMMAND_STDERR"

_SHOWN = {
    None: frozenset({"stdout", "stderr"}),
    "stdoutAndStderr": frozenset({"stdout", "stderr"}),
    "stdout": frozenset({"stdout"}),
    "stderr": frozenset({"stderr"}),
}
_OUTPUTS = ("stdout", "stderr", "assets", "archive")


class CommandProvider(Provider):
    """`environment` is what local commands inherit."""

    plugin_name = "command"

    def __init__(self, environment: Mapping[str, str], guard: GroupWatch) -> None:
        self.version = sdk_version("command")
        self._local = LocalRunner(environment, guard)
        self._running: set[asyncio.Task[Any]] = set()
        self._cancelled = False

    async def check_resource(self, operation: Operation, inputs: wire.Map) -> tuple[wire.Map, Failures]:
        checked, failures = fields.check(_fields_of(operation.type), operation.type, inputs)
        if operation.type == fields.COPY_TO_REMOTE and not failures:
            failures += _source_faults(checked["source"])
        return checked, failures

    async def diff_resource(self, operation: Operation, old_inputs: wire.Map, state: wire.Map, news: wire.Map) -> Diff:
        names = _fields_of(operation.type)
        # A state from before old inputs were sent holds the inputs too, under the same names.
        olds = old_inputs or {name: state[name] for name in names if name in state}
        return Diff(changes=wire.changes(_public(olds), _public(news)), replace_on=fields.REPLACE_ON)

    async def create_resource(self, operation: Operation, inputs: wire.Map) -> tuple[str, wire.Map]:
        copies = operation.type == fields.COPY_TO_REMOTE
        resource_id = ("" if copies else operation.name) + secrets.token_hex(4)
        if copies:
            if not operation.preview:
                await self._within(operation, self._copy(operation, inputs))
            return resource_id, inputs
        if operation.preview:
            return resource_id, {**inputs, "stdout": wire.UNKNOWN, "stderr": wire.UNKNOWN}
        return resource_id, await self._step(operation, "create", inputs, {})

    async def update_resource(self, operation: Operation, state: wire.Map, inputs: wire.Map) -> wire.Map:
        if operation.type == fields.COPY_TO_REMOTE:
            moved = not wire.equal(wire.reveal(state.get("source")), wire.reveal(inputs.get("source")))
            if not operation.preview and (moved or not _same(state, inputs, "remotePath")):
                await self._within(operation, self._copy(operation, inputs))
            return inputs
        olds = {name: wire.reveal(state[name]) for name in _OUTPUTS if state.get(name) is not None}
        if operation.preview:
            known = all(name not in state or _same(state, inputs, name) for name in _fields_of(operation.type))
            shown = olds if known else dict.fromkeys(olds, wire.UNKNOWN)
            return {**inputs, **shown}
        return await self._step(operation, "update", inputs, olds)

    async def delete_resource(self, operation: Operation, state: wire.Map) -> None:
        if operation.type != fields.COPY_TO_REMOTE and state.get("delete") is not None:
            olds = {name: wire.reveal(state[name]) for name in _OUTPUTS if state.get(name) is not None}
            await self._step(operation, "delete", state, olds)

    async def call_function(self, token: str, args: wire.Map) -> wire.Map:
        if token != fields.LOCAL_RUN:
            raise ProviderError(f"unknown function {token!r}; this plugin has {fields.LOCAL_RUN}")
        args, failures = fields.check(fields.RUN_FIELDS, token, args)
        if failures:
            raise ProviderError("; ".join(reason for _, reason in failures))
        operation = Operation(urn="")
        outputs = await self._within(operation, self._run_local(operation, args, wire.reveal(args["command"]), {}))
        return {**args, **outputs}

    async def cancel(self) -> None:
        """Stop every command; each fails with what it printed so far. Nothing starts after this."""
        self._cancelled = True
        running = set(self._running)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)

    def schema(self) -> str:
        resources = {
            token: {"inputProperties": {name: {"type": "string"} for name in names}}
            for token, names in fields.FIELDS.items()
        }
        return json.dumps({"name": self.plugin_name, "version": self.version, "resources": resources})

    async def _step(self, operation: Operation, step: str, inputs: wire.Map, olds: wire.Map) -> wire.Map:
        """Run the step's command if there is one, and return the new state."""
        command = inputs.get(step)
        if command is None and step == "update":
            command = inputs.get("create")
        outputs = {"stdout": "", "stderr": "", **olds}
        if command is not None:
            run = self._run_remote if operation.type == fields.REMOTE_COMMAND else self._run_local
            outputs |= await self._within(operation, run(operation, inputs, wire.reveal(command), olds))
        return {**{name: inputs[name] for name in inputs if name not in _OUTPUTS}, **outputs}

    async def _within(self, operation: Operation, work: Awaitable[wire.Map]) -> wire.Map:
        """Await the work under the operation's time limit, so that a cancellation reaches it."""
        task = asyncio.ensure_future(work)
        self._running.add(task)
        if self._cancelled:
            task.cancel()
        try:
            done, _ = await asyncio.wait([task], timeout=operation.timeout or None)  # never raises what the task did
            if not done:
                task.cancel()
                await asyncio.wait([task])
        except asyncio.CancelledError:
            # The engine gave the call up (its connection is gone, say): so must we.
            task.cancel()
            await asyncio.wait([task])
            raise
        finally:
            self._running.discard(task)
            await self.log.flush()
        if self._cancelled:
            why = "cancelled: the engine stopped the operation"
        elif done:
            return task.result()
        else:
            why = (
                f"context deadline exceeded: still running after {operation.timeout:g} s, the resource's custom timeout"
            )
        fault = None if task.cancelled() else task.exception()
        if fault is None and not task.cancelled():
            return task.result()  # it ended by itself, just then
        raise ProviderError(f"{why}: {fault}" if fault else why)

    async def _run_local(self, operation: Operation, inputs: wire.Map, command: str, olds: wire.Map) -> wire.Map:
        plain = wire.reveal(inputs)
        output = self._output(operation, inputs)
        await self._local.run(
            command,
            output,
            interpreter=plain.get("interpreter") or [],
            folder=plain.get("dir"),
            environment=_environment(plain, olds),
            stdin=plain.get("stdin"),
        )
        outputs: wire.Map = {"stdout": output.text("stdout"), "stderr": output.text("stderr")}
        folder = Path(plain.get("dir") or Path.cwd())
        if plain.get("assetPaths") is not None:
            found = await asyncio.to_thread(find_files, folder, plain["assetPaths"])
            outputs["assets"] = {name: await asyncio.to_thread(file_asset, path) for name, path in found.items()}
        if plain.get("archivePaths") is not None:
            found = await asyncio.to_thread(find_files, folder, plain["archivePaths"])
            outputs["archive"] = await asyncio.to_thread(archive, found)
        return outputs

    async def _run_remote(self, operation: Operation, inputs: wire.Map, command: str, olds: wire.Map) -> wire.Map:
        from twin.plugins.command import remote  # asyncssh takes longer to import than all the rest

        plain = wire.reveal(inputs)
        output = self._output(operation, inputs)
        async with remote.dial(plain["connection"], self._teller(operation)) as connection:
            await remote.run(
                connection, command, output, environment=_environment(plain, olds), stdin=plain.get("stdin")
            )
        return {"stdout": output.text("stdout"), "stderr": output.text("stderr")}

    async def _copy(self, operation: Operation, inputs: wire.Map) -> wire.Map:
        from twin.plugins.command import remote

        plain = wire.reveal(inputs)
        async with remote.dial(plain["connection"], self._teller(operation)) as connection:
            await remote.copy(connection, plain["source"], plain["remotePath"])
        return inputs

    def _output(self, operation: Operation, inputs: wire.Map) -> Output:
        shown = _SHOWN.get(wire.reveal(inputs.get("logging")), frozenset())
        return Output(shown, self._teller(operation), Mask(wire.secret_texts(inputs)))

    def _teller(self, operation: Operation) -> Callable[[str], None]:
        return lambda line: self.log.status(operation.urn, line)


def _fields_of(token: str) -> dict[str, fields.Field]:
    known = fields.FIELDS.get(token)
    if known is None:
        raise ProviderError(f"unknown resource type {token!r}; this plugin has {', '.join(fields.FIELDS)}")
    return known


def _public(inputs: wire.Map) -> wire.Map:
    return {name: value for name, value in inputs.items() if name != "version" and not name.startswith("__")}


def _same(state: wire.Map, inputs: wire.Map, name: str) -> bool:
    return wire.equal(wire.reveal(state.get(name)), wire.reveal(inputs.get(name)))


def _environment(plain: wire.Map, olds: wire.Map) -> dict[str, str]:
    """The inputs' variables, and the previous run's output unless it is unwanted or empty."""
    variables = dict(plain.get("environment") or {})
    if plain.get("addPreviousOutputInEnv") in (None, True):
        previous = {STDOUT_VARIABLE: olds.get("stdout"), STDERR_VARIABLE: olds.get("stderr")}
        variables |= {name: value for name, value in previous.items() if value}
    return variables


def _source_faults(source: wire.Value) -> Failures:
    source, _ = wire.open_secret(source)
    if source == wire.UNKNOWN:
        return []
    if wire.signature(source) == wire.ARCHIVE:
        return [] if "path" in source else [("archive", "archive must be a path to a file or directory")]
    if "path" in source or "text" in source:
        return []
    return [("asset", "asset must be a path-based file asset or a text asset")]
