"""The promises of remote commands and of copies to a remote machine, through the real engine and a real SSH server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.engine import Run, is_secret
from tests.plugins.ssh_server import ADDRESS, PASSWORD, SshServer, entry
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
    unchanged: Run
    destroy: Run

    def there(self, name: str) -> str:
        """A file on the remote machine, "" if it is not there."""
        path = self.server.folder / name
        return path.read_text() if path.is_file() else ""


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


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    root, far, local = (tmp_path_factory.mktemp(name) for name in ("remote", "far", "local"))
    (local / "tree" / "deep").mkdir(parents=True)
    (local / "file").write_bytes(b"file \xff\n")
    (local / "tree" / "a").write_text("a\n")
    (local / "tree" / "deep" / "b").write_text("b\n")
    stage = Stage(root, checkpoints=False)
    with SshServer(far) as server:
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
        unchanged = stage.preview()
        destroy = stage.destroy()
        yield Story(server, stage, first, first_state, first_log, second, unchanged, destroy)


def stdout(story: Story, name: str) -> str:
    return story.first_state[name]["outputs"]["stdout"]


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


def test_destroy_leaves_nothing_in_the_state(story: Story) -> None:
    assert story.destroy.ok, story.destroy.output
    assert story.stage.resources() == {}
