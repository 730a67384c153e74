"""The promises of remote commands and of copies to a remote machine, through the real engine and a real SSH server."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from tests.engine import Run, is_secret
from tests.plugins.ssh_server import ADDRESS, PASSWORD, SshServer
from tests.plugins.stage import Stage

STDIN = "line of the standard input\n" * 8000


@dataclass
class Story:
    server: SshServer
    stage: Stage
    first: Run
    first_state: dict[str, Any]
    first_log: str
    second: Run
    second_state: dict[str, Any]
    unchanged: Run
    failed: Run
    failed_dials: int
    destroy: Run
    free_port: int

    def there(self, name: str) -> str:
        """A file on the remote machine, "" if it is not there."""
        path = self.server.folder / name
        return path.read_text() if path.is_file() else ""


def entry(kind: str, server: SshServer, *, endpoint: dict[str, Any] | None = None, **args: Any) -> dict[str, Any]:
    """A scene's entry with a connection by key; `endpoint` replaces or adds fields (None takes one out)."""
    connection: dict[str, Any] = {
        "host": ADDRESS,
        "port": server.port,
        "private_key": {"$secret": server.user_key_text},
        **(endpoint or {}),
    }
    kept = {name: value for name, value in connection.items() if value is not None}
    return {"kind": kind, "args": {"connection": kept, **args}}


def first_scene(server: SshServer, local: Path) -> dict[str, Any]:
    pinned = {"host_key": server.public(server.host_key)}
    far = str(server.folder)
    proxy = {"host": ADDRESS, "port": server.port, "private_key": {"$secret": server.user_key_text}}
    return {
        "streams": entry("remote", server, create="echo out; echo err >&2"),
        "stdin": entry("remote", server, create="tee stdin.copy | wc -c", stdin=STDIN),
        "environment": entry("remote", server, create='printf "hi $NAME"', environment={"NAME": "world"}),
        "password": entry("remote", server, create="echo in", endpoint={"private_key": None, "password": PASSWORD}),
        "pinned": entry("remote", server, create="echo in", endpoint=pinned),
        "proxied": entry("remote", server, create="echo in", endpoint={"proxy": proxy}),
        "life": entry(
            "remote",
            server,
            create="echo create >> life.log; echo made",
            update='echo "update:$PULUMI_COMMAND_STDOUT" >> life.log; echo updated',
            delete='echo "delete:$PULUMI_COMMAND_STDOUT" >> life.log',
            environment={"N": "1"},
        ),
        "trigger": entry("remote", server, create="echo create >> trigger.log", delete="echo delete >> trigger.log",
                         triggers=["a"]),
        "text": entry("copy", server, source={"$asset": ["StringAsset", "one\n"]}, remote_path=f"{far}/new/deep/text"),
        "file": entry("copy", server, source={"$asset": ["FileAsset", str(local / "file")]}, remote_path=far),
        "folder": entry("copy", server, source={"$asset": ["FileArchive", str(local / "tree")]}, remote_path=far),
        "inside": entry("copy", server, source={"$asset": ["FileArchive", f"{local}/tree/"]}, remote_path=f"{far}/in"),
    }  # fmt: skip


def second_scene(server: SshServer, local: Path) -> dict[str, Any]:
    scene = first_scene(server, local)
    scene["life"]["args"]["environment"] = {"N": "2"}
    scene["trigger"]["args"]["triggers"] = ["b"]
    scene["text"]["args"]["source"] = {"$asset": ["StringAsset", "two\n"]}
    return scene


def failing_scene(server: SshServer, free_port: int) -> dict[str, Any]:
    once = {"dial_error_limit": 0}
    other = server.public(asyncssh.generate_private_key("ssh-ed25519"))
    stranger = {"private_key": server.private(asyncssh.generate_private_key("ssh-ed25519"))}
    return {
        "fails": entry("remote", server, create="echo before; echo broken >&2; exit 3"),
        "wrong-host": entry("remote", server, create="true", endpoint={**once, "host_key": other}),
        "wrong-key": entry("remote", server, create="true", endpoint={**once, **stranger}),
        "nobody": entry("remote", server, create="true", endpoint={"dial_error_limit": 2, "port": free_port}),
        "not-a-key": entry("remote", server, create="true", endpoint={"private_key": "nonsense"}),
        "onto-folder": entry(
            "copy", server, source={"$asset": ["StringAsset", "x"]}, remote_path=str(server.folder / "in")
        ),
    }


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    root, far, local = (tmp_path_factory.mktemp(name) for name in ("remote", "far", "local"))
    (local / "tree" / "deep").mkdir(parents=True)
    (local / "file").write_bytes(b"file \xff\n")
    (local / "tree" / "a").write_text("a\n")
    (local / "tree" / "deep" / "b").write_text("b\n")
    stage = Stage(root, checkpoints=False)
    with SshServer(far) as server, socket.create_server((ADDRESS, 0)) as probe:
        free_port = probe.getsockname()[1]
        probe.close()
        stage.set(first_scene(server, local))
        assert stage.preview().ok
        assert server.connections == 0, "a preview must not connect"
        first = stage.up()
        assert first.ok, first.output
        first_state = stage.resources()
        first_log = (far / "life.log").read_text()
        stage.set(second_scene(server, local))
        second = stage.up()
        assert second.ok, second.output
        second_state = stage.resources()
        unchanged = stage.preview()
        stage.set({**second_scene(server, local), **failing_scene(server, free_port)})
        before = server.connections
        failed = stage.up("--continue-on-error")
        dials = server.connections - before
        destroy = stage.destroy()
        yield Story(
            server, stage, first, first_state, first_log, second, second_state, unchanged, failed, dials, destroy,
            free_port,
        )  # fmt: skip


def stdout(story: Story, name: str) -> str:
    return story.first_state[name]["outputs"]["stdout"]


def failure(story: Story, name: str) -> str:
    return "\n".join(story.failed.messages(name, passing=False))


def test_both_streams_are_kept_and_shown(story: Story) -> None:
    held = story.first_state["streams"]["outputs"]
    assert (held["stdout"], held["stderr"]) == ("out", "err")
    assert sorted(message.strip() for message in story.first.messages("streams", passing=True)) == ["err", "out"]


def test_a_long_standard_input_arrives_whole(story: Story) -> None:
    assert story.there("stdin.copy") == STDIN


def test_the_environment_reaches_the_command(story: Story) -> None:
    assert stdout(story, "environment") == "hi world"


def test_a_password_opens_the_connection(story: Story) -> None:
    assert stdout(story, "password") == "in"


def test_the_right_host_key_is_accepted(story: Story) -> None:
    assert stdout(story, "pinned") == "in"


def test_a_proxy_forwards_the_connection(story: Story) -> None:
    assert stdout(story, "proxied") == "in"
    assert (ADDRESS, story.server.port) in story.server.forwarded


def test_the_connection_is_secret_and_the_output_is_not(story: Story) -> None:
    held = story.first_state["streams"]
    assert is_secret(held["inputs"]["connection"])
    assert is_secret(held["outputs"]["connection"])
    assert "PRIVATE KEY" not in str(story.first_state)
    assert PASSWORD not in str(story.first_state)


def test_update_and_delete_run_with_the_previous_output(story: Story) -> None:
    assert story.first_log == "create\n"
    assert story.there("life.log") == "create\nupdate:made\ndelete:updated\n"


def test_triggers_replace(story: Story) -> None:
    assert story.there("trigger.log") == "create\ncreate\ndelete\ndelete\n"
    assert story.second.changes["trigger"] == ["create-replacement", "replace", "delete-replaced"]


def test_exactly_the_changed_resources_change(story: Story) -> None:
    assert sorted(story.second.changes) == ["life", "text", "trigger"]
    assert story.unchanged.ok, story.unchanged.output
    assert story.unchanged.changes == {}


def test_a_text_is_copied_into_new_folders_and_again_when_it_changes(story: Story) -> None:
    assert story.second.changes["text"] == ["update"]
    assert story.there("new/deep/text") == "two\n"


def test_a_file_goes_into_an_existing_folder(story: Story) -> None:
    assert (story.server.folder / "file").read_bytes() == b"file \xff\n"


def test_a_folder_is_copied_and_with_a_slash_its_content(story: Story) -> None:
    assert (story.there("tree/a"), story.there("tree/deep/b")) == ("a\n", "b\n")
    assert (story.there("in/a"), story.there("in/deep/b")) == ("a\n", "b\n")


def test_a_failure_tells_status_command_and_both_streams(story: Story) -> None:
    told = failure(story, "fails")
    assert "Process exited with status 3" in told
    assert "before" in told
    assert "broken" in told


def test_another_host_key_is_refused(story: Story) -> None:
    assert "host key mismatch" in failure(story, "wrong-host")


def test_a_stranger_is_refused(story: Story) -> None:
    assert "unable to authenticate" in failure(story, "wrong-key")


def test_dialing_ends_after_the_limit_and_says_how_often_it_tried(story: Story) -> None:
    told = failure(story, "nobody")
    assert "after 2 failed attempts" in told
    assert str(story.free_port) in told
    assert [message.strip() for message in story.failed.messages("nobody", passing=True)] == [
        "Dial 1/2 failed: retrying",
        "Dial 2/2 failed: retrying",
    ]


def test_a_text_cannot_replace_a_folder(story: Story) -> None:
    assert "is a directory" in failure(story, "onto-folder")


def test_an_unusable_key_is_an_error_without_the_key(story: Story) -> None:
    assert failure(story, "not-a-key")
    assert "nonsense" not in failure(story, "not-a-key")


def test_destroy_leaves_nothing_in_the_state(story: Story) -> None:
    assert story.destroy.ok, story.destroy.output
    assert story.stage.resources() == {}
