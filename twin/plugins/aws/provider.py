"""The aws provider: what each operation does with a row of the table, and what the state holds afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Mapping
from typing import Any

from twin.plugins import sdk_version, wire
from twin.plugins.aws import check, functions, values
from twin.plugins.aws.client import Aws, settings_of
from twin.plugins.aws.kinds import Call, Kind
from twin.plugins.aws.rows import KINDS
from twin.plugins.base import Diff, Failures, Operation, Provider, ProviderError

TAGS_ALL = "tagsAll"


class AwsProvider(Provider):
    """`environment` stands in for settings that are not given."""

    plugin_name = "aws"

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.version = sdk_version("aws")
        self._environment = environment
        self._aws = Aws({}, environment)
        self._default_tags: dict[str, str] = {}

    async def take_settings(self, settings: wire.Map) -> None:
        given = settings_of(wire.reveal(settings))
        self._aws = Aws(given, self._environment)
        self._default_tags = dict((given.get("defaultTags") or {}).get("tags") or {})

    async def check_resource(self, operation: Operation, inputs: wire.Map) -> tuple[wire.Map, Failures]:
        kind = _kind(operation.type)
        made = check.completed(kind, operation.name, inputs, operation.old_inputs, operation.seed)
        return made, check.faults(kind, made)

    async def diff_resource(self, operation: Operation, old_inputs: wire.Map, state: wire.Map, news: wire.Map) -> Diff:
        kind, changes = _kind(operation.type), {}
        have, want = wire.reveal(state), wire.reveal(news)
        for name in kind.inputs:
            if name in kind.write_only or name == "tags":
                continue
            if want.get(name) is not None:
                if have.get(name) is None and not _nothing(want[name]):
                    changes[name] = "add"
                elif not _same(kind, name, have.get(name), want[name]):
                    changes[name] = "update"
            elif old_inputs.get(name) is not None:
                changes[name] = "delete"
        if kind.tagged:
            if not wire.equal(have.get("tags") or {}, want.get("tags") or {}):
                changes["tags"] = "update" if have.get("tags") else "add"
            if not wire.equal(have.get(TAGS_ALL) or {}, self._tags(kind, want)):
                changes[TAGS_ALL] = "update"
        return Diff(changes=changes, replace_on=kind.replaces())

    async def create_resource(self, operation: Operation, inputs: wire.Map) -> tuple[str, wire.Map]:
        kind = _kind(operation.type)
        if operation.preview:
            unknown = dict.fromkeys((name for name in kind.outputs if name not in inputs), wire.UNKNOWN)
            return "", {**unknown, **self._shown(kind, inputs)}
        return await asyncio.to_thread(self._create, kind, operation, inputs)

    async def update_resource(self, operation: Operation, state: wire.Map, inputs: wire.Map) -> wire.Map:
        kind = _kind(operation.type)
        if operation.preview:
            return {**state, **self._shown(kind, inputs), **dict.fromkeys(kind.moving, wire.UNKNOWN)}
        return await asyncio.to_thread(self._update, kind, operation, state, inputs)

    async def delete_resource(self, operation: Operation, state: wire.Map) -> None:
        kind = _kind(operation.type)
        call = self._call(kind, state, {}, operation)
        await asyncio.to_thread(kind.delete, call)

    async def read_resource(self, operation: Operation, resource_id: str, state: wire.Map) -> tuple[str, wire.Map]:
        kind = _kind(operation.type)
        call = self._call(kind, state, {}, operation, resource_id)
        found = await asyncio.to_thread(kind.read, call)
        if found is None:
            return "", {}
        return str(found.get("__id") or call.id), self._state(kind, found, state, call.region, state)

    async def read_inputs(self, operation: Operation, state: wire.Map, inputs: wire.Map) -> wire.Map:
        """The inputs as the object now has them; of an import, which has none before, those that say something."""
        kind = _kind(operation.type)
        if not inputs:
            given = {name: item for name, item in state.items() if name in kind.inputs and not _nothing(item)}
            return {**kind.defaults, **given}
        kept = {name: state.get(name, item) for name, item in inputs.items() if name in kind.inputs}
        return {name: item for name, item in kept.items() if item is not None}

    async def call_function(self, token: str, args: wire.Map) -> wire.Map:
        return values.numbers(await asyncio.to_thread(functions.call, self._aws, token, wire.reveal(args)))

    def schema(self) -> str:
        resources = {
            token: {"inputProperties": {name: {"$ref": "pulumi.json#/Any"} for name in kind.inputs}}
            for token, kind in KINDS.items()
        }
        return json.dumps({"name": self.plugin_name, "version": self.version, "resources": resources})

    # --- with AWS ---

    def _create(self, kind: Kind, operation: Operation, inputs: wire.Map) -> tuple[str, wire.Map]:
        self._aws.identity()  # the right account, before anything is made
        call = self._call(kind, {}, inputs, operation)
        identity = kind.create(call)
        call = self._call(kind, {}, inputs, operation, identity)
        try:
            if kind.update is not None:
                kind.update(call)
            return identity, self._read(kind, call, inputs, {})
        except BaseException:
            # The engine would know nothing of the object, and the next run would find its name taken.
            self._undo(kind, call, inputs)
            raise

    def _undo(self, kind: Kind, call: Call, inputs: wire.Map) -> None:
        state = wire.reveal(inputs)
        try:
            with contextlib.suppress(ProviderError):
                state |= values.numbers(kind.read(call) or {})
            kind.delete(self._call_of(call, state))
        except ProviderError as error:
            raise ProviderError(
                f"{kind.title} {call.id} was made but could not be finished, nor deleted: {error}"
            ) from None

    def _update(self, kind: Kind, operation: Operation, state: wire.Map, inputs: wire.Map) -> wire.Map:
        call = self._call(kind, state, inputs, operation)
        asked = {name for name in kind.inputs if not wire.equal(wire.reveal(state).get(name), call.inputs.get(name))}
        tags = kind.tagged and dict(call.tags) != (call.state.get(TAGS_ALL) or {})
        if kind.update is not None and (tags or asked - kind.here_only):
            kind.update(call)
        return self._read(kind, call, inputs, state)

    def _read(self, kind: Kind, call: Call, inputs: wire.Map, old: wire.Map) -> wire.Map:
        """The state after a creation or an update: what AWS tells, under the inputs as they were given."""
        found = kind.read(call)
        if found is None:
            raise ProviderError(
                f"{kind.title} {call.id} was made and is gone again. See AWS' CloudTrail for who removed it"
            )
        kept = {name: item for name, item in old.items() if name in kind.outputs}
        given = {name: item for name, item in inputs.items() if name not in kind.write_only and item is not None}
        made = self._state(kind, found, {**kept, **given}, call.region, {**inputs, TAGS_ALL: None})
        return values.over(made, given)

    def _state(self, kind: Kind, found: Mapping[str, Any], old: wire.Map, region: str, own: wire.Map) -> wire.Map:
        """A state from an answer. `own` tells which tags are the resource's and not the provider's."""
        read = values.numbers({name: item for name, item in found.items() if not name.startswith("__")})
        if kind.tagged:
            held, given = read.get(TAGS_ALL) or {}, wire.reveal(own).get("tags") or {}
            mine = {name: item for name, item in held.items() if name in given or name not in self._default_tags}
            read |= {"tags": mine or None, TAGS_ALL: held}
        loose = frozenset(kind.inputs) - {"tags"}
        state = values.taken_over(
            old,
            read,
            lambda name, item, before: _same(kind, name, item, before) if name in loose else wire.equal(item, before),
        )
        for name in kind.secret:
            if state.get(name) is not None:
                state[name] = wire.secret(state[name])
        for name in kind.write_only:
            state.pop(name, None)
        if "region" in {*kind.inputs, *kind.outputs}:
            state.setdefault("region", region)
        return state

    def _call(self, kind: Kind, state: wire.Map, inputs: wire.Map, operation: Operation, identity: str = "") -> Call:
        plain = {name: item for name, item in wire.reveal(inputs).items() if item is not None}
        before = {name: item for name, item in wire.reveal(state).items() if item is not None}
        identity, region = _identity(identity or operation.resource_id)
        return Call(
            aws=self._aws,
            region=str(plain.get("region") or before.get("region") or region or self._aws.region),
            inputs=plain,
            state=before,
            id=identity,
            tags=self._tags(kind, plain),
            limit=operation.timeout if not operation.preview else 0.0,
        )

    def _call_of(self, call: Call, state: dict[str, Any]) -> Call:
        return Call(aws=call.aws, region=call.region, state=state, id=call.id, limit=call.limit)

    def _tags(self, kind: Kind, inputs: Mapping[str, Any]) -> dict[str, str]:
        """All tags that an object shall have."""
        return {**self._default_tags, **(inputs.get("tags") or {})} if kind.tagged else {}

    def _shown(self, kind: Kind, inputs: wire.Map) -> wire.Map:
        """What a preview shows of the inputs."""
        shown = {name: item for name, item in inputs.items() if name not in kind.write_only}
        return {**shown, TAGS_ALL: self._tags(kind, wire.reveal(inputs))} if kind.tagged else shown


def _same(kind: Kind, name: str, have: Any, want: Any) -> bool:
    if kind.same is not None and have is not None and want is not None and kind.same(name, have, want):
        return True
    return values.covers(have, want, ordered=name in kind.ordered)


def _identity(text: str) -> tuple[str, str]:
    """An id and its region, as far as it tells one: an import says ID@REGION, an ARN has it inside."""
    found = re.fullmatch(r"(.+)@([a-z]{2}(?:-[a-z]+)+-\d)", text)
    if found:
        return found[1], found[2]
    parts = text.split(":")
    return text, parts[3] if text.startswith("arn:") and len(parts) > 5 else ""


def _nothing(value: Any) -> bool:
    return value is None or value is False or value in ([], {}, "")


def _kind(token: str) -> Kind:
    if token not in KINDS:
        raise ProviderError(f"unknown resource type {token!r}; this plugin has {', '.join(sorted(KINDS))}")
    return KINDS[token]
