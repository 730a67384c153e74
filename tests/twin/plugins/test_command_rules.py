"""The command provider's rules without the engine: checks, differences, what a preview shows."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from twin.plugins import sdk_version, wire
from twin.plugins.base import Operation, ProviderError
from twin.plugins.command import fields
from twin.plugins.command.provider import CommandProvider

URN = "urn:pulumi:s::p::some:component$command:{kind}::name"
LOCAL = Operation(urn=URN.format(kind="local:Command"), preview=True)
REMOTE = Operation(urn=URN.format(kind="remote:Command"), preview=True)
COPY = Operation(urn=URN.format(kind="remote:CopyToRemote"), preview=True)
ASSET = {wire.SIGNATURE: wire.ASSET, "text": "x", "hash": "1" * 64}


class NoGuard:
    def watch(self, group: int) -> None:
        raise AssertionError(f"nothing may run, but group {group} did")

    def forget(self, group: int) -> None:
        raise AssertionError(group)


@pytest.fixture
def provider() -> CommandProvider:
    return CommandProvider({}, NoGuard())


def checked(provider: CommandProvider, operation: Operation, inputs: wire.Map) -> tuple[wire.Map, Any]:
    return asyncio.run(provider.check_resource(operation, inputs))


def changed(provider: CommandProvider, old: wire.Map, new: wire.Map) -> dict[str, Any]:
    diff = asyncio.run(provider.diff_resource(LOCAL, old, {}, new)).message()
    return {"changes": diff.changes, "replaces": list(diff.replaces), "paths": sorted(diff.detailedDiff)}


def test_the_type_and_the_name_come_from_the_urn() -> None:
    assert (LOCAL.type, LOCAL.name) == ("command:local:Command", "name")


def test_a_name_may_hold_colons() -> None:
    assert Operation(urn="urn:pulumi:s::p::command:local:Command::a::b").name == "a::b"


def test_good_inputs_pass_unchanged(provider: CommandProvider) -> None:
    inputs = {
        "create": "true",
        "environment": {"A": wire.secret("x"), "B": wire.UNKNOWN},
        "stdin": wire.secret("y"),
        "triggers": [1.0, {"any": True}],
        "interpreter": ["sh"],
        "dir": wire.UNKNOWN,
    }
    assert checked(provider, LOCAL, inputs) == (inputs, [])


@pytest.mark.parametrize(
    ("inputs", "place", "reason"),
    [
        (
            {"create": 1.0},
            "create",
            "Field 'create' on 'command:local:Command' must be a 'string'; got 'float64' instead",
        ),
        ({"crate": "x"}, "crate", "Unrecognized field 'crate' on 'command:local:Command'"),
        (
            {"environment": {"A": wire.secret(True)}},
            "environment",
            "Field 'environment.A' on 'command:local:Command' must be a 'string'; got 'bool' instead",
        ),
        (
            {"interpreter": ["a", 1.0]},
            "interpreter",
            "Field 'interpreter[1]' on 'command:local:Command' must be a 'string'; got 'float64' instead",
        ),
        (
            {"addPreviousOutputInEnv": "yes"},
            "addPreviousOutputInEnv",
            "Field 'addPreviousOutputInEnv' on 'command:local:Command' must be a 'bool'; got 'string' instead",
        ),
        (
            {"triggers": "x"},
            "triggers",
            "Field 'triggers' on 'command:local:Command' must be a 'list'; got 'string' instead",
        ),
    ],
)
def test_wrong_inputs_are_refused_by_name(provider: CommandProvider, inputs: wire.Map, place: str, reason: str) -> None:
    assert checked(provider, LOCAL, inputs)[1] == [(place, reason)]


def test_all_faults_are_told_at_once(provider: CommandProvider) -> None:
    assert len(checked(provider, LOCAL, {"create": 1.0, "dir": 2.0, "x": "y"})[1]) == 3


def test_a_connection_gets_its_defaults_and_is_secret(provider: CommandProvider) -> None:
    inputs, failures = checked(provider, REMOTE, {"connection": {"host": "h", "proxy": {"host": "p"}}})
    assert failures == []
    defaults = {"user": "root", "port": 22.0, "dialErrorLimit": 10.0, "perDialTimeout": 15.0}
    assert inputs["connection"] == wire.secret({"host": "h", **defaults, "proxy": {"host": "p", **defaults}})


def test_an_unknown_connection_is_no_fault(provider: CommandProvider) -> None:
    assert checked(provider, REMOTE, {"connection": wire.UNKNOWN})[1] == []
    assert checked(provider, REMOTE, {"connection": wire.secret({"host": wire.UNKNOWN})})[1] == []


def test_a_missing_connection_and_a_missing_host_are_refused(provider: CommandProvider) -> None:
    assert checked(provider, REMOTE, {})[1] == [
        ("connection", "Missing required field 'connection' on 'command:remote:Command'")
    ]
    assert checked(provider, REMOTE, {"connection": {}})[1] == [
        ("connection.host", "Missing required field 'host' on 'command:remote:Command.connection'")
    ]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ({wire.SIGNATURE: wire.ASSET, "uri": "u"}, "asset must be a path-based file asset or a text asset"),
        ({wire.SIGNATURE: wire.ARCHIVE, "assets": {}}, "archive must be a path to a file or directory"),
    ],
)
def test_a_source_that_cannot_be_copied_is_refused(provider: CommandProvider, source: wire.Map, reason: str) -> None:
    _, failures = checked(provider, COPY, {"connection": {"host": "h"}, "remotePath": "/x", "source": source})
    assert [told for _, told in failures] == [reason]


def test_a_text_and_an_unknown_source_pass(provider: CommandProvider) -> None:
    for source in (ASSET, wire.UNKNOWN):
        _, failures = checked(provider, COPY, {"connection": {"host": "h"}, "remotePath": "/x", "source": source})
        assert failures == []


def test_an_unknown_type_is_refused(provider: CommandProvider) -> None:
    with pytest.raises(ProviderError, match="unknown resource type 'command:remote:CopyFile'"):
        checked(provider, Operation(urn=URN.format(kind="remote:CopyFile")), {})


def test_equal_inputs_are_no_change(provider: CommandProvider) -> None:
    inputs = {"create": "x", "triggers": [1.0], "environment": {"A": wire.secret("s")}}
    assert changed(provider, inputs, dict(inputs)) == {"changes": 1, "replaces": [], "paths": []}


def test_a_changed_environment_is_an_update(provider: CommandProvider) -> None:
    assert changed(provider, {"environment": {"A": "1"}}, {"environment": {"A": "2"}}) == {
        "changes": 2,
        "replaces": [],
        "paths": ["environment.A"],
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"triggers": [1.0]}, {"triggers": [2.0]}),
        ({"triggers": [1.0]}, {"triggers": [1.0, 2.0]}),
        ({"triggers": [1.0]}, {}),
        ({}, {"triggers": [1.0]}),
        ({"triggers": wire.secret([1.0])}, {"triggers": wire.secret([2.0])}),
        ({"triggers": [1.0]}, {"triggers": wire.UNKNOWN}),
    ],
)
def test_any_change_of_triggers_replaces(provider: CommandProvider, old: wire.Map, new: wire.Map) -> None:
    assert changed(provider, old, new)["replaces"] == ["triggers"]


def test_the_engines_own_properties_are_no_change(provider: CommandProvider) -> None:
    assert changed(provider, {"create": "x"}, {"create": "x", "version": "9", "__internal": "y"})["changes"] == 1


def test_without_old_inputs_the_state_is_compared(provider: CommandProvider) -> None:
    state = {"create": "x", "stdout": "printed", "stderr": ""}
    assert asyncio.run(provider.diff_resource(LOCAL, {}, state, {"create": "x"})).changes == {}


def test_a_previewed_create_has_unknown_outputs_and_runs_nothing(provider: CommandProvider) -> None:
    _, state = asyncio.run(provider.create_resource(LOCAL, {"create": "exit 1"}))
    assert state == {"create": "exit 1", "stdout": wire.UNKNOWN, "stderr": wire.UNKNOWN}


def test_a_previewed_update_keeps_outputs_until_an_input_changes(provider: CommandProvider) -> None:
    state = {"create": "x", "stdout": wire.secret("old"), "stderr": ""}
    same = asyncio.run(provider.update_resource(LOCAL, state, {"create": "x"}))
    assert same == {"create": "x", "stdout": "old", "stderr": ""}
    other = asyncio.run(provider.update_resource(LOCAL, state, {"create": "y"}))
    assert other == {"create": "y", "stdout": wire.UNKNOWN, "stderr": wire.UNKNOWN}


def test_a_delete_without_a_command_runs_nothing(provider: CommandProvider) -> None:
    asyncio.run(provider.delete_resource(LOCAL, {"create": "x", "stdout": "", "stderr": ""}))


def test_an_unknown_function_is_refused(provider: CommandProvider) -> None:
    with pytest.raises(ProviderError, match="unknown function 'command:local:ran'"):
        asyncio.run(provider.call_function("command:local:ran", {}))


@pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_command.*")
def test_every_property_of_the_sdk_is_known() -> None:
    from pulumi_command import local, remote

    for kind, token in ((local.CommandArgs, fields.LOCAL_COMMAND), (remote.CommandArgs, fields.REMOTE_COMMAND),
                        (remote.CopyToRemoteArgs, fields.COPY_TO_REMOTE)):  # fmt: skip
        ours = {name.lower() for name in fields.FIELDS[token]}
        theirs = {name.replace("_", "") for name, value in vars(kind).items() if isinstance(value, property)}
        assert ours == theirs, token


def test_the_version_is_the_sdks() -> None:
    from importlib.metadata import version

    assert sdk_version("command") == version("pulumi_command")
