"""The comment on a pull request: golden files of real previews, its size, its counts, and what it never shows."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keystone.errors import KeystoneError
from keystone.preview_comment import LIMIT, Subject, read, render
from tests.preview import plans

REAL = sorted(path for path in plans.FOLDER.glob("*.json*") if path.suffix in (".json", ".jsonl"))
CANARY = "canary7f3e9a"


def comment(text: str, *, drift: bool = False) -> str:
    return render(read(text), Subject(stack="dev", drift=drift))


def golden(name: str, text: str) -> None:
    """Compare with the file; KEYSTONE_GOLDEN=write writes it anew (then read the difference)."""
    path = plans.FOLDER / f"{name}.md"
    if os.environ.get("KEYSTONE_GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text(), f"{path.name} differs; KEYSTONE_GOLDEN=write renders it anew"


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.name)
def test_a_real_preview_gives_the_golden_comment(path: Path) -> None:
    golden(path.name.rsplit(".", 1)[0], comment(path.read_text(), drift=path.name.startswith("drift")))


def test_a_preview_of_a_thousand_resources_gives_the_golden_comment_within_the_limit() -> None:
    plan = read(plans.thousand())
    text = comment(plans.thousand())

    assert len(plan.steps) == 1000
    assert len(text) <= LIMIT == 65_536
    assert len(text.encode()) <= LIMIT
    golden("thousand", text)


def test_what_does_not_fit_is_counted() -> None:
    text = comment(plans.thousand())
    lost = len(read(plans.thousand()).of("replace", "delete"))
    shown = text.split("### Machines")[0].count("| **")

    assert f"### Replaced and deleted ({lost})" in text
    assert shown < lost
    assert f"... and {lost - shown} more." in text


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.name)
def test_the_counts_are_those_of_the_engine(path: Path) -> None:
    text = path.read_text()
    if path.suffix == ".json":
        summary = json.loads(text)["changeSummary"]
    else:
        [summary] = [
            event["summaryEvent"]["resourceChanges"]
            for event in map(json.loads, text.splitlines())
            if "summaryEvent" in event
        ]

    assert {kind: count for kind, count in read(text).counts.items() if count} == summary


def test_replaced_and_deleted_come_before_everything_else() -> None:
    text = comment((plans.FOLDER / "hosts-change.stream.jsonl").read_text())
    headings = [line.split(" (")[0] for line in text.splitlines() if line.startswith(("### ", "<summary>"))]

    assert headings == [
        "### Replaced and deleted",
        "### Machines",
        "### Policies",
        "### By component",
        "<summary>Updated",
        "<summary>Created",
    ]
    rows = [line for line in text.split("### Machines")[0].splitlines() if line.startswith("| **")]
    assert [row.split("**")[1] for row in rows] == ["replaced", *["deleted"] * 5]


def test_a_disk_that_is_erased_is_told_above_hundreds_of_lost_resources() -> None:
    line = comment(plans.thousand()).splitlines()[7]

    assert line.startswith("**Machines whose disk is erased (20)**: `host000`, `host005`, ")
    assert line.endswith("`host046` and 10 more.")


def test_a_refused_preview_says_so_first_and_names_rule_resource_and_cure() -> None:
    text = comment((plans.FOLDER / "refused-by-policy.stream.jsonl").read_text())

    assert text.splitlines()[3] == "**Refused by policies**: 1 violation."
    assert "- **refused** `namespace-pod-security` on `open`: `open: metadata.labels" in text
    assert "Label it pod-security.kubernetes.io/enforce: restricted" in text


def test_a_preview_without_a_policy_pack_says_that_nobody_judged_it() -> None:
    assert "**No policy pack judged this preview.**" in comment(plans.events(plans.step("create", "a:b:C", "d")))
    assert "Not told by this output" in comment(plans.digest(plans.step("create", "a:b:C", "d")))


def test_a_stream_that_was_cut_off_is_called_a_part() -> None:
    lines = (plans.FOLDER / "hosts-change.stream.jsonl").read_text().splitlines()
    whole = comment("\n".join(lines))
    part = comment("\n".join(lines[:-2])[:-30])

    assert "a part" not in whole
    assert "**The output ends before the engine did**" in part


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "preview: printed nothing. Give the output of `pulumi preview --json`."),
        ("error: no stack", "preview: is not JSON. Give the standard output of `pulumi preview --json`."),
        ("[]", "preview: is JSON, but not that of a preview. Give the output of `pulumi preview --json`."),
        ('{"a": 1}', "preview: is JSON, but not that of a preview. Give the output of `pulumi preview --json`."),
    ],
)
def test_what_is_no_preview_is_refused_with_a_cure(text: str, message: str) -> None:
    with pytest.raises(KeystoneError) as caught:
        read(text)
    assert str(caught.value) == message


def everywhere() -> list[dict]:
    """A step of each kind with the canary in every place that holds a value."""
    values = {
        "stdin": CANARY,
        "environment": {"TOKEN": CANARY, "KEYSTONE_REBUILD_HASH": CANARY},
        "triggers": [CANARY],
        "create": f"login {CANARY}",
        "instanceType": CANARY * 4,
        "minSize": {"secret": CANARY},
        "data": {"password": CANARY},
    }
    steps = []
    for op in ("create", "update", "replace", "delete", "same"):
        for kind in (plans.COMMAND, "aws:autoscaling/group:Group", "aws:ec2/instance:Instance"):
            for purpose in ("install", "system"):
                one = plans.step(op, kind, f"{purpose}-{op}", old=values, new=values, diff={"stdin": "update"})
                for side in ("oldState", "newState"):
                    if side in one:
                        one[side]["outputs"] = values
                        one[side]["id"] = CANARY
                steps.append(one)
    return steps


def test_no_value_of_a_resource_is_ever_shown() -> None:
    noise = [
        {"diagnosticEvent": {"message": f"stdin={CANARY}", "severity": "debug"}},
        {"diagnosticEvent": {"message": CANARY, "severity": "error", "ephemeral": True}},
        {"preludeEvent": {"config": {"keystone:rootSecret": CANARY}}},
        {"stdoutEvent": {"message": CANARY}},
    ]
    for text in (
        plans.events(*everywhere(), more=noise),
        plans.digest(*everywhere()),
        plans.digest(*everywhere(), diagnostics=[{"severity": "debug", "message": CANARY}]),
    ):
        assert CANARY in text
        assert CANARY not in comment(text)
        assert CANARY not in comment(text, drift=True)


SECRETS = {
    "AWS access key": "AKIAIOSFODNN7EXAMPLF",
    "GitHub token": "ghp_9xQ2vTzR7mB4nK1cW8dL3fG6hJ5pS0aYtUeI",
    "Headscale key": "hskey-auth-aB3dE5fG7hI9-kL1mN3oP5qR7sT9uV1wX3yZ5aB7cD9eF1gH3iJ5kL7mN9oP1qR3sT5uV7wX9yZ1a",
    "k3s token": "K10" + "4f" * 32 + "::server:9b1deb4d3b7d4bad9bdd2b0d7b3dcb6d",
    "age key": "AGE-SECRET-KEY-1QQPQYRX79HRLGQHU9K43ZDDHWT5KTNVYJ8QMXJ6VXQ0KZLQFJ0SZ4KX2J",
    "root secret": "5f3ac1d6e7b8092a4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f80911223",
    "password": 'password: "hunter2"',
    "in a URL": "https://admin:hunter2x@example.org/",
    "private key": "-----BEGIN PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUA\n-----END PRIVATE KEY-----",
    "base64": "c2VjcmV0LXZhbHVlLW9mLXRoZS1zdGFjaw1xyz09",
}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_what_looks_like_a_credential_is_hidden_in_messages(secret: str) -> None:
    where = plans.urn("a:b:C", "d")
    shown = comment(
        plans.events(
            plans.step("create", "a:b:C", "d"),
            more=[
                plans.diagnostic("error", f"the provider said: {secret} is wrong", where),
                plans.diagnostic("warning", f"careful with {secret}", where),
                plans.policy("rule", where, f"d: data holds {secret}. Take it away."),
            ],
        )
    )
    for part in secret.replace('"', " ").replace("@", " ").replace("//admin:", " ").split():
        if len(part) > 6 and any(letter.isdigit() for letter in part):
            assert part not in shown
    assert shown.count("[hidden]") >= 3


def test_plain_words_of_a_message_stay_readable() -> None:
    text = "keystone:components:Host$command:local:Command::install-w2 did not answer at 127.79.0.10:2222 within 900 s"
    shown = comment(plans.events(plans.step("same", "a:b:C", "d"), more=[plans.diagnostic("error", text)]))

    assert text in shown


NASTY = st.text(alphabet=st.sampled_from('a|`<>@#*_[]()\\\n\r\t!-:$é\u202e{}"'), min_size=1, max_size=40)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(names=st.lists(NASTY, min_size=1, max_size=8), message=NASTY, paths=st.lists(NASTY, max_size=3))
def test_no_name_or_message_breaks_out_of_its_place(names: list[str], message: str, paths: list[str]) -> None:
    steps = [
        plans.step(op, "a:b:C", name.replace("::", "_"), diff=dict.fromkeys(paths, "update"))
        for number, name in enumerate(names)
        for op in [("replace", "delete", "update", "create")[number % 4]]
    ]
    text = comment(plans.events(*steps, more=[plans.diagnostic("error", message)]))
    inside = False
    for line in text.splitlines():
        if line.startswith("```"):
            inside = not inside
            continue
        if inside:
            continue
        assert line.count("`") % 2 == 0, line
        bare = "".join(line.split("`")[::2])
        assert not set(bare) & set("@[]\u202e"), line
        if line.startswith("| **"):
            assert line.count("|") == 6, line
    assert not inside


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    length=st.integers(min_value=1, max_value=400),
    resources=st.integers(min_value=1, max_value=200),
    errors=st.integers(min_value=0, max_value=100),
)
def test_a_comment_is_never_too_long(length: int, resources: int, errors: int) -> None:
    steps = [
        plans.step(("replace", "create", "update")[n % 3], "a:b:C", f"{n}{'|' * length}", diff={"x" * length: "update"})
        for n in range(resources)
    ]
    said = [plans.diagnostic("error", f"{n} {'word ' * length}") for n in range(errors)]
    text = comment(plans.events(*steps, more=said))

    assert len(text) <= LIMIT
    assert text.startswith("<!-- keystone-preview:dev -->\n")
    assert text.rstrip().endswith("</sub>")
