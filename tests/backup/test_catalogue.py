"""The catalogue of a stack, the page about restores, and the command that gives the key."""

import json
from pathlib import Path

import pytest

from keystone.backup import access, catalogue, plan
from keystone.backup.recipes import RECIPES
from keystone.charts import backup as jobs
from keystone.cli import main
from keystone.iam import Statement
from tests.backup.test_jobs import ROLES, site

PROJECT = Path(__file__).resolve().parents[2]
BUCKET, KEY = "arn:aws:s3:::b", "arn:aws:kms:eu-central-1:123456789012:key/k"


def of(**chosen: object) -> dict[str, dict[str, object]]:
    settings = site(**chosen)
    assert settings.backup
    found = catalogue.catalogue(settings, settings.backup, "home")
    return {source["name"]: source for source in found["sources"]}


def test_the_page_is_that_of_the_catalogue() -> None:
    assert (PROJECT / catalogue.PAGE).read_text() == catalogue.page(), "run `python -m keystone.backup`"


def test_everything_that_is_nowhere_else_is_in_the_catalogue() -> None:
    assert list(of(objectBuckets=["photos"])) == [
        "etcd of primer",
        "etcd of s2",
        "etcd of s3",
        "the mesh's database",
        "dataset etcd of primer",
        "dataset headscale of primer",
        "dataset root of primer",
        "dataset etcd of s2",
        "dataset root of s2",
        "dataset etcd of s3",
        "dataset root of s3",
        "bucket photos",
    ]


def test_a_source_says_where_it_lies_under_which_key_and_how_it_comes_back() -> None:
    found = of()["etcd of s2"]
    assert found["prefix"] == "hosts/s2/etcd"
    assert (found["everyHours"], found["overdueAfterHours"]) == (6, 26)
    assert "age" in str(found["encryptedWith"])
    lines = found["restore"]
    assert isinstance(lines, list)
    assert lines[0] == "aws s3 ls --recursive s3://keystone-site-backup-123456789012-eu-central-1/hosts/s2/etcd/"
    assert ".venv/bin/python -m keystone backup key --stack home --output backup.key" in lines
    # etcd comes back on the Primer, whichever server saved it.
    assert lines[-1] == "ssh root@primer systemctl start k3s"


def test_no_command_of_a_stack_has_a_word_left_to_fill_in_but_the_copys_own() -> None:
    for source in of(objectBuckets=["photos"]).values():
        words = {word for line in source["restore"] for word in line.replace("/", " ").split() if word.isupper()}  # type: ignore[attr-defined]
        assert words <= {"COPY", "COPY.age", "AWS"}, source["name"]


def test_every_kind_has_its_recipe_and_the_check_asks_for_every_place() -> None:
    settings = site(objectBuckets=["photos"])
    assert settings.backup
    sources = list(plan.sources(settings, settings.backup))
    assert {source.kind for source in sources} == set(RECIPES)
    [container] = jobs.jobs(settings, settings.backup, ROLES)["verify-backup"]["jobTemplate"]["spec"]["template"][
        "spec"
    ]["containers"]
    [expected] = [one["value"] for one in container["env"] if one["name"] == "EXPECTED"]
    assert expected.splitlines() == [f"{source.prefix} {source.limit_hours}" for source in sources]


def test_the_catalogue_is_the_same_bytes_each_time_and_holds_no_secret() -> None:
    settings = site()
    assert settings.backup
    text = catalogue.text(settings, settings.backup, "home")
    assert text == catalogue.text(settings, settings.backup, "home")
    assert json.loads(text)["bucket"]["name"] == "keystone-site-backup-123456789012-eu-central-1"


# --- rights ---


def allowed(statements: tuple[Statement, ...]) -> set[str]:
    return {action for one in statements for action in one.actions}


def test_no_role_may_remove_a_version_or_lift_a_lock() -> None:
    for statements in (access.hosts(BUCKET, KEY), access.buckets(BUCKET, KEY), access.verify(BUCKET)):
        taken = {
            "s3:DeleteObjectVersion",
            "s3:BypassGovernanceRetention",
            "s3:PutObjectRetention",
            "s3:PutBucketPolicy",
        }
        assert not allowed(statements) & taken
        assert not any("*" in action for action in allowed(statements))


def test_machines_cannot_remove_a_copy_and_the_check_can_only_list() -> None:
    assert "s3:DeleteObject" not in allowed(access.hosts(BUCKET, KEY))
    assert allowed(access.verify(BUCKET)) == {"s3:ListBucket"}


def test_each_role_sees_its_own_part_of_the_bucket() -> None:
    for statements, part in ((access.hosts(BUCKET, KEY), "hosts"), (access.buckets(BUCKET, KEY), "buckets")):
        objects = {place for one in statements for place in one.resources if place not in (BUCKET, KEY)}
        assert objects == {f"{BUCKET}/{part}/*"}


# --- the key ---


def test_the_key_is_written_for_its_owner_alone_and_never_over_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(PROJECT)
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "keystone-twin")
    file = tmp_path / "backup.key"
    assert main(["backup", "key", "--stack", "dev", "--output", str(file)]) == 0
    assert file.stat().st_mode & 0o777 == 0o600
    first = file.read_text()
    assert first.startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
    assert main(["backup", "key", "--stack", "dev", "--output", str(file)]) == 1
    assert "cannot be made: File exists" in capsys.readouterr().err
    assert main(["backup", "key", "--stack", "dev", "--generation", "2", "--output", str(tmp_path / "2")]) == 0
    assert (tmp_path / "2").read_text() != first


def test_a_stack_without_a_backup_has_no_catalogue(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(PROJECT)
    assert main(["backup", "catalogue", "--stack", "dev"]) == 1
    assert capsys.readouterr().err.startswith("Pulumi.dev.yaml: has no section keystone:backup.")
