"""The workflows: clean, pinned, without static keys, and with no more rights than their jobs need."""

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import toolchain
from keystone.aws import pipelines
from tests.workflows import EXPRESSION, FOLDER, PROJECT, Runner, action, workflows

ACTION = "./.github/actions/site"
JOBS = [(name, job) for name, document in workflows().items() for job in document["jobs"]]


def steps() -> list[tuple[str, dict[str, Any]]]:
    """Every step with where it is."""
    found = [
        (f"{name}.{job}", step)
        for name, document in workflows().items()
        for job, about in document["jobs"].items()
        for step in about["steps"]
    ]
    return found + [(ACTION, step) for step in action(ACTION)["runs"]["steps"]]


def actionlint(folder: Path) -> subprocess.CompletedProcess[str]:
    program = toolchain.ensure(["actionlint"])["actionlint"]
    files = sorted(str(path) for path in (folder / "workflows").glob("*.yml"))
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"  # it calls shellcheck for the steps' scripts
    return subprocess.run(
        [program, *files], cwd=PROJECT, env={"PATH": path}, capture_output=True, text=True, check=False
    )


def zizmor(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "zizmor"
    line = [program, "--offline", "--quiet", "--strict-collection", "--persona=pedantic", "--no-progress", folder]
    return subprocess.run(line, cwd=PROJECT, capture_output=True, text=True, check=False)


def test_actionlint_and_zizmor_have_nothing_to_say() -> None:
    for done in (actionlint(FOLDER), zizmor(FOLDER)):
        assert done.returncode == 0, done.stdout + done.stderr


PLANTED = {
    "an unpinned action": ("@08c6903cd8c0fde910a37f88322edcfb5dd907a8", "@v5", "unpinned-uses"),
    "an expression in a script": ('"$NUMBER"', "${{ github.head_ref }}", "template-injection"),
    "a token left on the disk": ("        with:\n          persist-credentials: false\n", "", "artipacked"),
    "too many rights": ("permissions: {}", "permissions: write-all", "excessive-permissions"),
    "pull requests of strangers": ("  pull_request:\n", "  pull_request_target:\n", "dangerous-triggers"),
}


@pytest.mark.parametrize(("there", "instead", "audit"), PLANTED.values(), ids=PLANTED)
def test_zizmor_notices_what_must_not_be(there: str, instead: str, audit: str, tmp_path: Path) -> None:
    copy = shutil.copytree(FOLDER, tmp_path / ".github")
    path = copy / "workflows/preview.yml"
    assert there in path.read_text()
    path.write_text(path.read_text().replace(there, instead, 1))
    done = zizmor(copy)

    assert done.returncode != 0
    assert f"[{audit}]" in done.stdout


def test_actionlint_notices_a_broken_script_and_an_unknown_key(tmp_path: Path) -> None:
    copy = shutil.copytree(FOLDER, tmp_path / ".github")
    path = copy / "workflows/up.yml"
    path.write_text(
        path.read_text().replace("keystone up", "keystone up $UNQUOTED").replace("timeout-minutes", "limit")
    )
    done = actionlint(copy)

    assert done.returncode != 0
    assert "SC2086" in done.stdout
    assert 'unexpected key "limit"' in done.stdout


def test_actions_of_others_are_pinned_by_commit_with_the_version_beside_it() -> None:
    for path in [*(FOLDER / "workflows").glob("*.yml"), FOLDER / "actions/site/action.yml"]:
        for line in path.read_text().splitlines():
            if "uses:" in line and "./" not in line:
                assert re.fullmatch(r"\s*(- )?uses: [\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), (
                    f"{path.name}: {line}"
                )


def test_the_same_action_has_the_same_commit_everywhere() -> None:
    used: dict[str, set[str]] = {}
    for _, step in steps():
        if "@" in step.get("uses", ""):
            name, _, commit = step["uses"].partition("@")
            used.setdefault(name, set()).add(commit)
    assert all(len(commits) == 1 for commits in used.values()), used


def test_no_workflow_knows_a_stored_secret() -> None:
    for path in FOLDER.rglob("*.yml"):
        assert "secrets." not in path.read_text(), path.name
        assert not re.search(r"(?i)aws_(secret_)?access_key|pulumi_access_token|passphrase", path.read_text()), (
            path.name
        )


def test_no_script_holds_an_expression() -> None:
    for where, step in steps():
        assert not EXPRESSION.search(step.get("run", "")), where


def test_every_right_is_a_jobs_own_and_the_preview_can_change_nothing() -> None:
    for name, document in workflows().items():
        assert document["permissions"] == {}, name
    rights = {name: document["jobs"][job]["permissions"] for name, job in JOBS for document in [workflows()[name]]}
    assert rights["check"] == {"contents": "read"}
    assert rights["up"] == {"contents": "read", "id-token": "write"}
    assert all(one["contents"] == "read" for one in rights.values())


def test_an_update_waits_for_its_environments_approval_and_is_never_cut_off() -> None:
    up, preview, drift = (workflows()[name]["jobs"][name] for name in ("up", "preview", "drift"))
    assert up["environment"] == "${{ matrix.stack }}"
    assert up["concurrency"] == {"group": "up-${{ matrix.stack }}", "cancel-in-progress": False}
    # Another environment, another role: who previews cannot take the role that changes things.
    assert preview["environment"] == drift["environment"] == "${{ matrix.stack }}-preview"


def test_a_fork_gets_no_preview() -> None:
    preview = workflows()["preview"]
    assert set(preview["on"]) == {"pull_request"}
    assert "head.repo.full_name == github.repository" in preview["jobs"]["preview"]["if"]


@pytest.mark.parametrize(("name", "job"), JOBS)
def test_every_job_has_a_time_limit(name: str, job: str) -> None:
    assert 0 < workflows()[name]["jobs"][job]["timeout-minutes"] <= 180


@pytest.mark.parametrize(("name", "kind"), [("preview", "preview"), ("drift", "preview"), ("up", "up")])
def test_a_job_keeps_its_role_until_its_end_and_asks_no_more_of_it_than_it_gives(name: str, kind: str) -> None:
    job = workflows()[name]["jobs"][name]
    [site] = [step for step in job["steps"] if step.get("uses") == ACTION]
    known = action(ACTION)
    [role] = [step for step in known["runs"]["steps"] if "configure-aws-credentials" in step.get("uses", "")]
    assert role["with"]["role-duration-seconds"] == "${{ inputs.session-seconds }}"
    seconds = int(site["with"].get("session-seconds", known["inputs"]["session-seconds"]["default"]))
    assert job["timeout-minutes"] * 60 <= seconds == pipelines.SESSION_SECONDS[kind]


def test_drift_is_looked_for_on_a_schedule() -> None:
    [entry] = workflows()["drift"]["on"]["schedule"]
    assert re.fullmatch(r"\d+ \d+ \* \* \*", entry["cron"])


def test_the_check_is_the_one_command_that_contributors_run() -> None:
    scripts = [step["run"] for where, step in steps() if where == "check.check" and "run" in step]
    assert scripts == [".ci/run"]
    assert "make check test" in (PROJECT / ".ci/run").read_text()


def test_what_users_type_is_tried_after_every_change_and_every_night() -> None:
    accept = workflows()["accept"]
    assert accept["on"]["push"] == {"branches": ["main"]}
    assert accept["on"]["schedule"]
    assert [step["run"] for where, step in steps() if where == "accept.accept" and "run" in step] == ["make accept"]


def test_what_pipes_fails_with_its_first_part() -> None:
    for where, step in steps():
        piped = re.search(r"(?<!\|)\|(?!\|)", re.sub(r"'[^']*'", "", step.get("run", "")))
        assert not piped or step.get("shell") == "bash", where


def test_the_mesh_key_goes_from_aws_to_the_client_by_standard_input_alone(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    fakes = {
        "sudo": 'exec "$@"',
        "aws": 'echo "aws $*" >> "$RUNNER_TEMP/log"; echo hskey-auth-canary',
        "tailscaled": 'echo "tailscaled $* ca=$SSL_CERT_FILE" >> "$RUNNER_TEMP/log"',
        "tailscale": 'echo "tailscale $*" >> "$RUNNER_TEMP/log"; cat > "$RUNNER_TEMP/received"',
    }
    for name, text in fakes.items():
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)
    runner = Runner(
        checkout=PROJECT,
        temporary=tmp_path,
        values={
            "matrix.stack": "dev",
            "vars.AWS_ROLE": "arn:aws:iam::123456789012:role/up",
            "vars.AWS_REGION": "eu-central-1",
            "vars.MESH_KEY_PARAMETER": "/keystone/dev/ci",
            "vars.PULUMI_BACKEND_URL": "file://nowhere",
        },
        environment={"PATH": f"{tools}:/usr/bin:/bin", "GITHUB_RUN_ID": "42"},
        skipped={"Install the Python packages": "there", "Build Pulumi and the mesh's client": "not needed"},
    )
    said = runner.job("up", "up", lambda name: not name)
    logged = tmp_path / "log"
    deadline = time.monotonic() + 30
    while "tailscaled" not in logged.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)  # the step leaves it in the background
    log = logged.read_text()

    assert runner.ran == ["Join the mesh"]
    assert (tmp_path / "received").read_text() == "hskey-auth-canary\n"
    assert "canary" not in log + said
    assert "aws ssm get-parameter --name /keystone/dev/ci --with-decryption" in log
    assert "up --login-server=https://127.79.0.10:8443 --auth-key=file:/dev/stdin --hostname=ci-42" in log
    assert f"ca={PROJECT}/nix/secrets/dev/mesh-ca.crt" in log
