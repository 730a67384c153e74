"""The promises of the command provider, kept through the real engine: what runs when, and what the state then holds.

The suite judges whichever plugin is installed: KEYSTONE_COMMAND_PLUGIN names another executable, the official one say.
One story of a few runs serves all tests, since a run of the engine costs a second.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import psutil
import pytest

from tests.engine import Run, is_secret
from tests.plugins.stage import Stage, command

PARALLEL = 4
# Ends well only once all of them run: each comes and waits for the others.
MEET = f"""
touch here-{{n}}
for try in $(seq 200); do
    [ $(ls here-* | wc -l) = {PARALLEL} ] && exit 0
    sleep 0.1
done
exit 1
"""
LARGE = 1_000_000
STDIN = "line of the standard input\n" * 8000  # 216 kB, past every pipe's buffer
CANARY = "canary-7f3a9c51"


def first_scene() -> dict[str, Any]:
    life: dict[str, Any] = {
        "update": 'echo "update:$PULUMI_COMMAND_STDOUT:$PULUMI_COMMAND_STDERR" >> life.log; echo updated',
        "delete": 'echo "delete:$PULUMI_COMMAND_STDOUT:$MARK" >> life.log',
    }
    return {
        "echo": command("echo hello; echo warn >&2"),
        "after": command("cat", stdin={"$stdout": "echo"}),
        "environment": command('printf "hi $NAME from $(basename "$PWD")"', environment={"NAME": "world"}, dir="sub"),
        "stdin": command("tee stdin.copy | wc -c", stdin=STDIN),
        "unread": command("true", stdin=STDIN),
        "interpreter": command("print(6 * 7)", interpreter=[sys.executable, "-c"]),
        "large": command(f"head -c {LARGE} /dev/zero | tr '\\0' x", logging="none"),
        "bytes": command(r"printf 'a\377\376b'"),
        "newlines": command("printf 'one\\n\\n\\n'"),
        "silent": command("echo unseen-out; echo unseen-err >&2", logging="none"),
        "only-stdout": command("echo seen-out; echo unseen-err >&2", logging="stdout"),
        "only-stderr": command("echo unseen-out; echo seen-err >&2", logging="stderr"),
        "secret": command("true", environment={"TOKEN": {"$secret": CANARY}}, stdin={"$secret": CANARY}),
        "secret-output": command(
            'printf %s "$TOKEN"',
            environment={"TOKEN": {"$secret": CANARY}},
            logging="none",
            opts={"additional_secret_outputs": ["stdout"]},
        ),
        "files": command(
            "mkdir -p out/deep; echo 1 > out/a.txt; echo 2 > out/deep/b.txt; echo 3 > out/secret.txt",
            asset_paths=["out/**", "!**secret*"],
            archive_paths=["out/*.txt"],
        ),
        "idle": command(),
        "life": command("echo create >> life.log; echo made; echo noise >&2", environment={"MARK": "one"}, **life),
        "no-update": command("echo create >> no-update.log; echo $N", environment={"N": "1"}),
        "silent-past": command(
            'printf "[$PULUMI_COMMAND_STDOUT]"', add_previous_output_in_env=False, environment={"N": "1"}
        ),
        "trigger": command("echo create-$N >> trigger.log", delete="echo delete-$N >> trigger.log", triggers=[1, "x"],
                           environment={"N": "1"}),
        "trigger-first": command("echo create-$N >> first.log", delete="echo delete-$N >> first.log", triggers=[1],
                                 environment={"N": "1"}, opts={"delete_before_replace": True}),
        "no-delete": command("echo create >> no-delete.log"),
        "leaves": command("sleep 1000 >/dev/null 2>&1 & echo $! > left.pid"),
        **{f"meets-{n}": command(MEET.format(n=n)) for n in range(PARALLEL)},
    }  # fmt: skip


def second_scene() -> dict[str, Any]:
    scene = first_scene()
    scene["life"]["args"]["environment"] = {"MARK": "two"}
    scene["no-update"]["args"]["environment"] = {"N": "2"}
    scene["silent-past"]["args"]["environment"] = {"N": "2"}
    scene["trigger"]["args"].update(triggers=[2, "x"], environment={"N": "2"})
    scene["trigger-first"]["args"].update(triggers=[1, 2], environment={"N": "2"})
    del scene["no-delete"]
    # The engine hands assets to a refresh without their paths, and the SDK cannot read them back from such a state.
    del scene["files"]
    return scene


@dataclass
class Story:
    stage: Stage
    preview: Run
    preview_files: set[str]
    first: Run
    first_state: dict[str, Any]
    second_preview: Run
    second_preview_log: str
    second: Run
    second_state: dict[str, Any]
    refresh: Run
    unchanged: Run
    destroy: Run
    first_log: dict[str, str]
    second_log: dict[str, str]


LOGS = ("life.log", "no-update.log", "trigger.log", "first.log", "no-delete.log")


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    stage = Stage(tmp_path_factory.mktemp("story"), checkpoints=False)
    (stage.workdir / "sub").mkdir()
    before = {path.name for path in stage.workdir.iterdir()}
    stage.set(first_scene(), applied=["echo"], run={"command": 'echo "ran $N"', "environment": {"N": "1"}})
    preview = stage.preview()
    files = {path.name for path in stage.workdir.iterdir()} - before - {"scene.json", "__pycache__"}
    first = stage.up()
    assert first.ok, first.output
    first_state, first_log = stage.resources(), {name: stage.text(name) for name in LOGS}
    stage.set(second_scene(), run={"command": "echo again"})
    second_preview = stage.preview()
    second_preview_log = stage.text("life.log")
    second = stage.up()
    assert second.ok, second.output
    second_state, second_log = stage.resources(), {name: stage.text(name) for name in LOGS}
    refresh = stage.refresh()
    unchanged = stage.preview()
    destroy = stage.destroy()
    return Story(
        stage, preview, files, first, first_state, second_preview, second_preview_log, second, second_state,
        refresh, unchanged, destroy, first_log, second_log,
    )  # fmt: skip


def outputs(story: Story, name: str) -> dict[str, Any]:
    return story.first_state[name]["outputs"]


def test_a_preview_runs_nothing_and_leaves_outputs_unknown(story: Story) -> None:
    assert story.preview.ok, story.preview.output
    assert story.preview_files == set()  # an apply on a known stdout would have written applied-echo
    assert story.preview.steps["echo"] == ["create"]


def test_create_runs_once_and_keeps_both_streams(story: Story) -> None:
    assert (outputs(story, "echo")["stdout"], outputs(story, "echo")["stderr"]) == ("hello", "warn")
    assert story.stage.text("applied-echo") == "hello"


def test_an_id_is_the_name_and_eight_digits(story: Story) -> None:
    assert len(story.first_state["echo"]["id"]) == len("echo") + 8
    assert story.first_state["echo"]["id"].startswith("echo")


def test_an_output_feeds_the_next_command(story: Story) -> None:
    assert outputs(story, "after")["stdout"] == "hello"


def test_environment_and_folder_reach_the_command(story: Story) -> None:
    assert outputs(story, "environment")["stdout"] == "hi world from sub"


def test_a_long_standard_input_arrives_whole(story: Story) -> None:
    assert story.stage.text("stdin.copy") == STDIN
    assert outputs(story, "stdin")["stdout"].strip() == str(len(STDIN))


def test_a_command_need_not_read_its_standard_input(story: Story) -> None:
    assert outputs(story, "unread")["stdout"] == ""


def test_an_interpreter_takes_the_command_as_its_last_argument(story: Story) -> None:
    assert outputs(story, "interpreter")["stdout"] == "42"


def test_a_large_output_is_kept_whole(story: Story) -> None:
    assert outputs(story, "large")["stdout"] == "x" * LARGE


def test_output_that_is_not_utf8_is_kept_with_replacement_characters(story: Story) -> None:
    text = outputs(story, "bytes")["stdout"]
    assert (text[0], text[-1], "�" in text) == ("a", "b", True)


def test_one_line_end_is_cut_from_the_end(story: Story) -> None:
    assert outputs(story, "newlines")["stdout"] == "one\n\n"


def test_each_line_is_shown_as_a_passing_message(story: Story) -> None:
    shown = [message.strip() for message in story.first.messages("echo", passing=True)]
    assert sorted(shown) == ["hello", "warn"]
    assert story.first.messages("echo", passing=False) == []


@pytest.mark.parametrize(
    ("name", "shown"), [("silent", []), ("only-stdout", ["seen-out"]), ("only-stderr", ["seen-err"])]
)
def test_logging_chooses_the_shown_streams_and_keeps_both(story: Story, name: str, shown: list[str]) -> None:
    assert [message.strip() for message in story.first.messages(name)] == shown
    assert outputs(story, name)["stdout"].endswith("-out")
    assert outputs(story, name)["stderr"].endswith("-err")


def test_secret_inputs_are_encrypted_in_inputs_and_outputs(story: Story) -> None:
    for part in ("inputs", "outputs"):
        held = story.first_state["secret"][part]
        assert is_secret(held["stdin"])
        assert is_secret(held["environment"]["TOKEN"])


def test_an_output_is_plain_unless_it_is_named_secret(story: Story) -> None:
    assert outputs(story, "secret")["stdout"] == ""
    assert is_secret(outputs(story, "secret-output")["stdout"])


def test_no_secret_is_in_the_state_or_in_a_message(story: Story) -> None:
    assert CANARY not in str(story.first_state)
    assert CANARY not in story.first.output
    assert all(CANARY not in message for message in story.first.messages())


def test_files_come_back_as_assets_and_as_an_archive(story: Story) -> None:
    held = outputs(story, "files")
    assert sorted(held["assets"]) == ["out/a.txt", "out/deep/b.txt"]
    assert sorted(held["archive"]["assets"]) == ["out/a.txt", "out/secret.txt"]
    assert all(len(asset["hash"]) == 64 for asset in held["assets"].values())


def test_a_resource_without_commands_has_empty_outputs(story: Story) -> None:
    assert outputs(story, "idle") == {"stdout": "", "stderr": ""}


def test_commands_run_side_by_side(story: Story) -> None:
    assert all(f"meets-{n}" in story.first_state for n in range(PARALLEL))


def test_what_a_command_leaves_running_on_purpose_stays(story: Story) -> None:
    # Alive after its command, the run and the plugin have ended.
    process = psutil.Process(int(story.stage.text("left.pid")))
    assert process.name() == "sleep"
    process.kill()


def test_a_second_preview_runs_nothing(story: Story) -> None:
    assert story.second_preview.ok
    assert story.second_preview_log == story.first_log["life.log"]


def test_exactly_the_changed_resources_change(story: Story) -> None:
    replaced = ["create-replacement", "replace", "delete-replaced"]
    assert story.second.changes == {
        "life": ["update"],
        "no-update": ["update"],
        "silent-past": ["update"],
        "trigger": replaced,
        "trigger-first": ["delete-replaced", "replace", "create-replacement"],
        "no-delete": ["delete"],
        "files": ["delete"],
    }


def test_update_runs_the_update_command_with_the_previous_output(story: Story) -> None:
    assert story.second_log["life.log"] == "create\nupdate:made:noise\n"
    assert story.second_state["life"]["outputs"]["stdout"] == "updated"


def test_update_without_an_update_command_runs_create_again(story: Story) -> None:
    assert story.second_log["no-update.log"] == "create\ncreate\n"
    assert story.second_state["no-update"]["outputs"]["stdout"] == "2"


def test_the_previous_output_can_be_kept_out_of_the_environment(story: Story) -> None:
    assert story.second_state["silent-past"]["outputs"]["stdout"] == "[]"


def test_triggers_replace_and_the_old_state_is_deleted_after(story: Story) -> None:
    assert story.second_log["trigger.log"] == "create-1\ncreate-2\ndelete-1\n"


def test_delete_before_replace_turns_the_order_round(story: Story) -> None:
    assert story.second_log["first.log"] == "create-1\ndelete-1\ncreate-2\n"


def test_a_resource_without_a_delete_command_just_goes(story: Story) -> None:
    assert "no-delete" not in story.second_state
    assert story.second_log["no-delete.log"] == "create\n"


def test_refresh_changes_nothing(story: Story) -> None:
    assert story.refresh.ok, story.refresh.output
    assert story.stage.text("no-update.log") == story.second_log["no-update.log"]


def test_equal_inputs_are_no_change(story: Story) -> None:
    assert story.unchanged.ok, story.unchanged.output
    assert story.unchanged.changes == {}


def test_run_runs_in_every_preview_and_update(story: Story) -> None:
    assert "again" in str(story.second.events)


def test_destroy_runs_delete_with_the_last_state(story: Story) -> None:
    assert story.destroy.ok, story.destroy.output
    assert story.stage.text("life.log").endswith("delete:updated:two\n")
    assert story.stage.resources() == {}
