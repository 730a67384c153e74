"""Copies off the site by machines: what their units run, when, and with which rights.

nix/modules/offsite/copy.sh itself is tried with the real rclone in tests/backup/test_copies.py.
"""

import re
import subprocess
from pathlib import Path
from typing import Any

from keystone.backup import plan
from keystone.settings import Settings, parse
from tests.nix.evaluator import NIX, PROJECT, Flake
from tests.recording import document

ROLE = "arn:aws:iam::123456789012:role/keystone/site/site-backup-hosts"
MODULE = """{ pkgs, lib, ... }: { keystone.offsite.recipientFile = builtins.toFile "backup.pub" "ssh-ed25519 AAAA";
  keystone.host.offsite = lib.mkForce { bucket = "b"; region = "eu-central-1"; everyHours = 6; zfsDays = 7;
    datasets = [ "etcd" "headscale" ]; rclone = { RCLONE_S3_PROVIDER = "AWS"; };
    roleArn = "arn:aws:iam::123456789012:role/keystone/site/site-backup-hosts"; }; }"""
READ = """c: builtins.mapAttrs (n: _: {
    inherit (c.config.systemd.services.${n}) script environment;
    limits = c.config.systemd.services.${n}.serviceConfig;
    when = c.config.systemd.timers.${n}.timerConfig.OnCalendar;
  }) { offsite-backup = 0; offsite-zfs = 0; }"""


def site(**backup: Any) -> Settings:
    base = document(servers=3)
    base["cluster"]["issuerHost"] = "oidc.example.org"
    base["aws"] = {"region": "eu-central-1", "accountId": "123456789012"}
    base["platform"] = {"certManager": {}}
    return parse({**base, "backup": backup})


def test_servers_are_told_what_to_copy_and_agents_nothing() -> None:
    chosen = site(everyHours=3)
    primer, other = plan.offsite(chosen, "primer"), plan.offsite(chosen, "s2")
    assert primer
    assert other
    assert primer.role_arn == other.role_arn == ROLE
    assert (primer.every_hours, primer.datasets) == (3, ("etcd", "headscale", "root"))
    assert other.datasets == ("etcd", "root")
    assert plan.offsite(chosen, "w1") is None


def test_datasets_stay_where_that_is_not_chosen() -> None:
    found = plan.offsite(site(zfs="never"), "primer")
    assert found
    assert found.datasets == ()


def test_the_primer_copies_etcd_the_meshs_database_and_its_datasets(flake: Flake, tmp_path: Path) -> None:
    found = flake.changed("dev-primer", MODULE, READ)
    often, seldom = found["offsite-backup"], found["offsite-zfs"]
    assert re.findall(r"offsite-copy (.+) \|\|", often["script"]) == [
        "files /var/lib/rancher/k3s/server/db/snapshots 'etcd-snapshot-*' etcd",
        "files /var/backup/headscale 'db-*.sqlite' headscale",
    ]
    assert re.findall(r"offsite-copy (.+) \|\|", seldom["script"]) == [
        "dataset rpool/etcd zfs/etcd",
        "dataset rpool/headscale zfs/headscale",
    ]
    assert (often["when"], seldom["when"]) == ("*-*-* 0/6:20:00", "Sun *-*-* 03:40:00")
    for unit, hours in ((often, 1), (seldom, 12)):
        assert f"create token hosts --audience sts.amazonaws.com --duration {hours}h" in unit["script"]
        assert unit["environment"]["AWS_ROLE_ARN"] == ROLE
        assert unit["environment"]["PREFIX"] == "hosts/primer"
        assert not [name for name in unit["environment"] if name.startswith(("AWS_ACCESS", "AWS_SECRET"))]
        assert (unit["limits"]["UMask"], unit["limits"]["TimeoutStartSec"]) == ("0077", hours * 3600)
        script = tmp_path / f"{hours}"
        script.write_text(f"#!/usr/bin/env bash\nset -e\n{unit['script']}")
        checked = subprocess.run(
            [PROJECT / ".venv/bin/shellcheck", script], capture_output=True, text=True, check=False
        )
        assert checked.returncode == 0, checked.stdout


def test_one_copy_that_fails_does_not_keep_the_others_back(flake: Flake, tmp_path: Path) -> None:
    script = flake.changed("dev-primer", MODULE, "c: c.config.systemd.services.offsite-backup.script")
    log = tmp_path / "log"
    for name, text in (("kubectl", "echo token"), ("offsite-copy", f'echo "$2" >>{log}; [ "$4" != etcd ]')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    script = re.sub(r"\S*/bin/offsite-copy", str(tmp_path / "offsite-copy"), script)
    done = subprocess.run(
        ["bash", "-ec", script],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert log.read_text().splitlines() == ["/var/lib/rancher/k3s/server/db/snapshots", "/var/backup/headscale"]
    assert (tmp_path / "token").read_text() == "token\n"


def test_kubeadms_servers_save_etcd_and_k3s_saves_its_own(flake: Flake, tmp_path: Path) -> None:
    script = flake.host("kubeadm-primer", "c: c.config.systemd.services.etcd-backup.script")
    folder = tmp_path / "var/backup/etcd"
    folder.mkdir(parents=True)
    for day in range(10, 40):
        (folder / f"etcd-snapshot-202601{day}T000000Z.db").write_text("old")
    (tmp_path / "etcdctl").write_text('#!/bin/sh\nfor last; do :; done; echo saved >"$last"\n')
    (tmp_path / "etcdctl").chmod(0o755)
    script = script.replace("/var/backup", f"{tmp_path}/var/backup")
    done = subprocess.run(
        ["bash", "-ec", script], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    kept = sorted(file.name for file in folder.iterdir())
    assert len(kept) == 28
    assert (folder / kept[-1]).read_text() == "saved\n"
    assert "etcd-backup" not in flake.host("dev-primer", "c: builtins.attrNames c.config.systemd.services")


def test_a_machine_without_a_backup_has_none_of_it(flake: Flake) -> None:
    names = flake.host("dev-primer", "c: builtins.attrNames c.config.systemd.timers")
    assert not [name for name in names if name.startswith("offsite")]


def test_the_script_is_sound() -> None:
    script = NIX / "modules/offsite/copy.sh"
    done = subprocess.run([PROJECT / ".venv/bin/shellcheck", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
