"""Drives the stand-in plugin for AWS as the engine does."""

import asyncio
import json
import re
from typing import Any

from tests.clouds.aws import REGION, AwsCloud
from tests.clouds.aws_life import Life
from twin.clouds.aws import ACCESS_KEY, SECRET_KEY
from twin.plugins import wire
from twin.plugins.aws.provider import AwsProvider
from twin.plugins.aws.values import numbers
from twin.plugins.base import Diff, Operation

SEED = bytes.fromhex("0123456789abcdef")
DEFAULT_TAGS = {"keystone": "dev"}


class Stage:
    """One provider; what it made is kept by name."""

    def __init__(self, cloud: AwsCloud, *, key: str = ACCESS_KEY, **settings: Any) -> None:
        self.cloud = cloud
        self.states: dict[str, wire.Map] = {}
        self.inputs: dict[str, wire.Map] = {}
        self.ids: dict[str, str] = {}
        self.tokens: dict[str, str] = {}
        self._provider = AwsProvider({})
        texts = {
            "endpoints": json.dumps(cloud.endpoints),
            "defaultTags": json.dumps({"tags": DEFAULT_TAGS}),
            "s3UsePathStyle": "true",
            **{name: json.dumps(item) for name, item in settings.items()},
        }
        plain = {"region": REGION, "accessKey": key, "secretKey": wire.secret(SECRET_KEY)}
        asyncio.run(self._provider.take_settings({**plain, **texts}))

    def filled(self, value: Any, own: str = "") -> Any:
        """The value with `${name.property}` and `${name}` filled in."""
        if isinstance(value, dict):
            return {key: self.filled(item, own) for key, item in value.items()}
        if isinstance(value, list):
            return [self.filled(item, own) for item in value]
        if not isinstance(value, str):
            return numbers(value)

        def found(match: re.Match[str]) -> str:
            name, prop = match[1].replace("self", own), match[2]
            return str(self.states[name][prop]) if prop else self.ids[name]

        return re.sub(r"\$\{(\w+)(?:\.(\w+))?\}", found, value)

    def operation(self, token: str, name: str, *, preview: bool = False) -> Operation:
        return Operation(
            urn=f"urn:pulumi:test::probe::keystone:components:Aws${token}::aws-{name}",
            resource_id=self.ids.get(name, ""),
            preview=preview,
            old_inputs=self.inputs.get(name, {}),
            seed=SEED,
        )

    def check(self, token: str, name: str, inputs: Any) -> tuple[wire.Map, list[tuple[str, str]]]:
        return asyncio.run(self._provider.check_resource(self.operation(token, name), inputs))

    def put(self, token: str, name: str, inputs: Any) -> wire.Map:
        """Create the resource, or update it; its state. What is right afterwards shows no difference."""
        checked, failures = self.check(token, name, self.filled({k: v for k, v in inputs.items() if v is not None}))
        assert failures == []
        operation = self.operation(token, name)
        if name in self.states:
            diff = self.diff_checked(token, name, checked)
            assert diff.changes, "nothing to update"
            replaced = [path for path in diff.changes if diff.replaces(path)]
            assert replaced == []
            self.states[name] = asyncio.run(self._provider.update_resource(operation, self.states[name], checked))
        else:
            self.ids[name], self.states[name] = asyncio.run(self._provider.create_resource(operation, checked))
            self.tokens[name] = token
        self.inputs[name] = checked
        for when in ("the operation", "a read"):
            left = self.diff_checked(token, name, checked).changes
            assert left == {}, (name, when, {path: self.states[name].get(path) for path in left})
            self.refresh(name)
        return self.states[name]

    def live(self, life: Life, **changes: Any) -> wire.Map:
        return self.put(life.token, life.name, {**life.first, **changes})

    def diff(self, life: Life, **changes: Any) -> Diff:
        wanted = {k: v for k, v in {**life.first, **changes}.items() if v is not None}
        checked, failures = self.check(life.token, life.name, self.filled(wanted))
        assert failures == []
        return self.diff_checked(life.token, life.name, checked)

    def diff_checked(self, token: str, name: str, checked: wire.Map) -> Diff:
        old, state = self.inputs.get(name, checked), self.states[name]
        return asyncio.run(self._provider.diff_resource(self.operation(token, name), old, state, checked))

    def refresh(self, name: str) -> str:
        """Read it; its id, empty when it is gone."""
        operation = self.operation(self.tokens[name], name)
        found, state = asyncio.run(self._provider.read_resource(operation, self.ids[name], self.states[name]))
        if found:
            self.states[name] = state
        return found

    def imported(self, token: str, identity: str) -> tuple[str, wire.Map, wire.Map]:
        """Id, state and inputs of an import."""
        operation = Operation(urn=self.operation(token, "imported").urn, resource_id=identity)

        async def work() -> tuple[str, wire.Map, wire.Map]:
            found, state = await self._provider.read_resource(operation, identity, {})
            return found, state, await self._provider.read_inputs(operation, state, {})

        return asyncio.run(work())

    def preview(self, token: str, inputs: wire.Map) -> wire.Map:
        checked, failures = self.check(token, "new", numbers(inputs))
        assert failures == []
        operation = self.operation(token, "new", preview=True)
        return asyncio.run(self._provider.create_resource(operation, checked))[1]

    def delete(self, name: str) -> None:
        operation = self.operation(self.tokens[name], name)
        asyncio.run(self._provider.delete_resource(operation, self.states[name]))

    def invoke(self, token: str, **args: Any) -> wire.Map:
        return asyncio.run(self._provider.call_function(token, args))
