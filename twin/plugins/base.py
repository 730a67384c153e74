"""What every stand-in provider shares: the server that the engine talks to, its log, and how errors are told.

It builds on `pulumi.provider.experimental`'s servicer and replaces the calls whose Python form loses something that a
faithful provider needs: the old inputs of a diff, unknown outputs, hashes of assets, plain error messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import traceback
from collections import deque
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, field
from typing import cast

import grpc
import grpc.aio
from google.protobuf import empty_pb2, struct_pb2
from pulumi.provider.experimental.provider import Provider as ExperimentalProvider
from pulumi.provider.experimental.server import ProviderServicer
from pulumi.runtime import proto
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
from pulumi.runtime.proto import provider_pb2_grpc

from twin.plugins import wire

ERROR_BYTES = 32 * 1024
"""The longest error message sent to the engine; of a longer one the end is kept, which is where the cause is."""
LOG_LINES = 5000
"""How many log lines may wait for the engine; of more, the oldest are dropped and counted."""
LOG_LINE_CHARACTERS = 4096
_PARENT_POLL_SECONDS = 0.5
_FLUSH_SECONDS = 2.0

_KINDS = {
    ("add", False): proto.PropertyDiff.ADD,
    ("add", True): proto.PropertyDiff.ADD_REPLACE,
    ("delete", False): proto.PropertyDiff.DELETE,
    ("delete", True): proto.PropertyDiff.DELETE_REPLACE,
    ("update", False): proto.PropertyDiff.UPDATE,
    ("update", True): proto.PropertyDiff.UPDATE_REPLACE,
}


class ProviderError(Exception):
    """An operation failed; the message reaches the user as it is."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What create, update and delete have in common. `timeout` is in seconds, 0 for none.

    `resource_id` is that of a resource which exists, else empty.
    """

    urn: str
    resource_id: str = ""
    preview: bool = False
    timeout: float = 0.0
    old_inputs: wire.Map = field(default_factory=dict)
    """Of a check: the inputs of the last run, so that what the plugin chose then can stay."""
    seed: bytes = b""
    """Of a check: the engine's random bytes for what the plugin chooses now; the same in a plan and its update."""

    @property
    def type(self) -> str:
        return self.urn.split("::")[2].rsplit("$", 1)[-1]

    @property
    def name(self) -> str:
        return self.urn.split("::", 3)[3]


@dataclass(frozen=True, kw_only=True)
class Diff:
    """Changed property paths with their kind, and the top-level properties whose change means a replacement."""

    changes: dict[str, str] = field(default_factory=dict)
    replace_on: frozenset[str] = frozenset()
    delete_before_replace: bool = False

    def replaces(self, path: str) -> bool:
        """Whether a change at `path` replaces the resource."""
        return wire.top_level(path) in self.replace_on

    def message(self) -> proto.DiffResponse:
        """The answer to the engine."""
        changed = sorted({wire.top_level(path) for path in self.changes})
        detailed = {
            path: proto.PropertyDiff(kind=_KINDS[kind, self.replaces(path)]) for path, kind in self.changes.items()
        }
        return proto.DiffResponse(
            changes=proto.DiffResponse.DIFF_SOME if self.changes else proto.DiffResponse.DIFF_NONE,
            replaces=[name for name in changed if name in self.replace_on],
            diffs=changed,
            detailedDiff=detailed,
            hasDetailedDiff=True,
            deleteBeforeReplace=self.delete_before_replace,
        )


Failures = list[tuple[str, str]]
"""(property, reason) for each fault of the inputs."""


class Log:
    """Lines for the engine's display, sent in order and in the background, so that nothing waits for the engine."""

    def __init__(self, engine_address: str) -> None:
        self._address = engine_address
        self._lines: deque[proto.LogRequest] = deque(maxlen=LOG_LINES)
        self._dropped = 0
        self._sender: asyncio.Task[None] | None = None

    def status(self, urn: str, message: str) -> None:
        """A passing line beside the resource, as the official provider shows a command's output."""
        if len(self._lines) == LOG_LINES:
            self._dropped += 1
        text = message if len(message) <= LOG_LINE_CHARACTERS else message[:LOG_LINE_CHARACTERS] + " ..."
        self._lines.append(proto.LogRequest(severity=proto.LogSeverity.INFO, message=text, urn=urn, ephemeral=True))
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send())

    async def _send(self) -> None:
        async with grpc.aio.insecure_channel(self._address) as channel:
            engine = proto.EngineStub(channel)
            while self._lines:
                line = self._lines.popleft()
                if self._dropped:
                    line.message = f"[{self._dropped} lines not shown] {line.message}"
                    self._dropped = 0
                try:
                    await cast(Awaitable[object], engine.Log(line, timeout=_FLUSH_SECONDS))
                except grpc.aio.AioRpcError:
                    # The engine is going away; the output is still in the state or in the error.
                    self._lines.clear()

    async def flush(self) -> None:
        """Wait until the engine has every line, at most a few seconds."""
        if self._sender is not None:
            await asyncio.wait([self._sender], timeout=_FLUSH_SECONDS)


class Provider(ExperimentalProvider):
    """A provider on wire values; subclasses implement these. `log` is there once the server runs."""

    plugin_name: str
    version: str
    log: Log

    async def take_settings(self, settings: wire.Map) -> None:
        """The provider's own inputs, before any other call; a provider without settings has nothing to do."""

    async def check_resource(self, operation: Operation, inputs: wire.Map) -> tuple[wire.Map, Failures]:
        """The inputs with defaults and secret marks, and their faults."""
        raise NotImplementedError

    async def diff_resource(self, operation: Operation, old_inputs: wire.Map, state: wire.Map, news: wire.Map) -> Diff:
        """What differs between the old and the new inputs."""
        raise NotImplementedError

    async def create_resource(self, operation: Operation, inputs: wire.Map) -> tuple[str, wire.Map]:
        """Create it (not in a preview); its id and state."""
        raise NotImplementedError

    async def update_resource(self, operation: Operation, state: wire.Map, inputs: wire.Map) -> wire.Map:
        """Update it (not in a preview); its new state."""
        raise NotImplementedError

    async def delete_resource(self, operation: Operation, state: wire.Map) -> None:
        """Delete it."""
        raise NotImplementedError

    async def read_resource(self, operation: Operation, resource_id: str, state: wire.Map) -> tuple[str, wire.Map]:
        """Its id ("" when it is gone) and state; by default as they were."""
        del operation
        return resource_id, state

    async def read_inputs(self, operation: Operation, state: wire.Map, inputs: wire.Map) -> wire.Map:
        """The inputs after a read that gave `state`; by default as they were. An import has none before."""
        del operation, state
        return inputs

    async def call_function(self, token: str, args: wire.Map) -> wire.Map:
        """The result of the function `token`."""
        raise NotImplementedError

    def schema(self) -> str:
        """The package's schema as JSON text; only tools that generate code ask for it."""
        raise NotImplementedError


class Servicer(ProviderServicer):
    """The plugin protocol on wire values."""

    def __init__(self, provider: Provider, engine_address: str) -> None:
        super().__init__([], provider.version, provider, engine_address)
        self._standin = provider

    async def GetSchema(self, request, context) -> proto.GetSchemaResponse:  # noqa: ARG002
        return proto.GetSchemaResponse(schema=self._standin.schema())

    async def CheckConfig(self, request, context) -> proto.CheckResponse:  # noqa: ARG002
        return proto.CheckResponse(inputs=request.news)

    async def DiffConfig(self, request, context) -> proto.DiffResponse:  # noqa: ARG002
        return proto.DiffResponse()

    async def Configure(self, request, context) -> proto.ConfigureResponse:
        async with _told(context):
            await self._standin.take_settings(wire.decode(request.args))
        # Not acceptOutputs: then unknowns come as one string and secrets as one mark, and nothing else.
        return proto.ConfigureResponse(acceptSecrets=True, acceptResources=True, supportsPreview=True)

    async def Check(self, request, context) -> proto.CheckResponse:
        async with _told(context):
            operation = Operation(
                urn=request.urn, preview=True, old_inputs=wire.decode(request.olds), seed=request.randomSeed
            )
            inputs, failures = await self._standin.check_resource(operation, wire.decode(request.news))
            faults = [proto.CheckFailure(property=place, reason=reason) for place, reason in failures]
            return proto.CheckResponse(inputs=wire.encode(inputs), failures=faults)
        raise AssertionError

    async def Diff(self, request, context) -> proto.DiffResponse:
        async with _told(context):
            state, news = wire.decode(request.olds), wire.decode(request.news)
            for name in request.ignoreChanges:
                if name in state:
                    news[name] = state[name]
            operation = Operation(urn=request.urn, resource_id=request.id, preview=True)
            diff = await self._standin.diff_resource(operation, wire.decode(request.old_inputs), state, news)
            return diff.message()
        raise AssertionError

    async def Create(self, request, context) -> proto.CreateResponse:
        async with _told(context):
            operation = Operation(urn=request.urn, preview=request.preview, timeout=request.timeout)
            resource_id, state = await self._standin.create_resource(operation, wire.decode(request.properties))
            return proto.CreateResponse(id=resource_id, properties=wire.encode(state))
        raise AssertionError

    async def Update(self, request, context) -> proto.UpdateResponse:
        async with _told(context):
            operation = Operation(
                urn=request.urn, resource_id=request.id, preview=request.preview, timeout=request.timeout
            )
            state, news = wire.decode(request.olds), wire.decode(request.news)
            for name in request.ignoreChanges:
                if name in state:
                    news[name] = state[name]
            return proto.UpdateResponse(
                properties=wire.encode(await self._standin.update_resource(operation, state, news))
            )
        raise AssertionError

    async def Delete(self, request, context) -> empty_pb2.Empty:
        async with _told(context):
            operation = Operation(urn=request.urn, resource_id=request.id, timeout=request.timeout)
            await self._standin.delete_resource(operation, wire.decode(request.properties))
        return empty_pb2.Empty()

    async def Read(self, request, context) -> proto.ReadResponse:
        async with _told(context):
            operation = Operation(urn=request.urn, resource_id=request.id)
            resource_id, state = await self._standin.read_resource(
                operation, request.id, wire.decode(request.properties)
            )
            inputs = await self._standin.read_inputs(operation, state, wire.decode(request.inputs))
            return proto.ReadResponse(id=resource_id, properties=wire.encode(state), inputs=wire.encode(inputs))
        raise AssertionError

    async def Invoke(self, request, context) -> proto.InvokeResponse:
        async with _told(context):
            result = await self._standin.call_function(request.tok, wire.decode(request.args))
            return _invoke_response(wire.encode(result))
        raise AssertionError


def _invoke_response(result: struct_pb2.Struct) -> proto.InvokeResponse:
    response = proto.InvokeResponse()
    getattr(response, "return").CopyFrom(result)  # the field's name is a word of Python
    return response


@contextlib.asynccontextmanager
async def _told(context: grpc.aio.ServicerContext) -> AsyncIterator[None]:
    """Turn an exception into the call's error: a ProviderError as it is, anything else as a fault of the plugin."""
    try:
        yield
    except ProviderError as fault:
        message = str(fault)
    except Exception as fault:
        where = traceback.extract_tb(fault.__traceback__)[-1]
        message = f"the plugin failed at {where.name}, line {where.lineno}: {type(fault).__name__}: {fault}"
    else:
        return
    await context.abort(grpc.StatusCode.UNKNOWN, clip(message))


def clip(message: str) -> str:
    """The message, or its first line and its end when it is longer than ERROR_BYTES."""
    data = message.encode("utf-8", "replace")
    if len(data) <= ERROR_BYTES:
        return data.decode()
    head = data[:1024].split(b"\n", 1)[0].decode("utf-8", "ignore")
    tail = data[-ERROR_BYTES + 2048 :].decode("utf-8", "ignore")
    return f"{head}\n[{len(data) - ERROR_BYTES} bytes not shown]\n{tail}"


def serve(provider: Provider, arguments: list[str]) -> None:
    """Be a plugin: serve on a loopback port told on standard output until the engine stops us or is gone."""
    addresses = [argument for argument in arguments if not argument.startswith("-")]
    if not addresses:
        sys.exit(f"pulumi-resource-{provider.plugin_name}: this is a plugin; the Pulumi engine starts it")
    asyncio.run(_serve(provider, addresses[0]))


async def _serve(provider: Provider, engine_address: str) -> None:
    provider.log = Log(engine_address)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    server = grpc.aio.server(options=_GRPC_CHANNEL_OPTIONS)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Servicer(provider, engine_address), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    parent = os.getppid()
    while not stopped.is_set() and os.getppid() == parent:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), _PARENT_POLL_SECONDS)
    await provider.cancel()
    await server.stop(grace=0.5)
    # An orderly end waits for threads, and one of them may be repeating a request to a cloud that the next update
    # already asks; grpc's threads print complaints when the interpreter takes itself apart around them.
    sys.stdout.flush()
    os._exit(0)
