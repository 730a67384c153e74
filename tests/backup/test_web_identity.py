"""A machine's copies with a token that AWS' STS checks: signature, issuer, audience, subject, the role's trust."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from keystone import iam
from keystone.backup import access, plan
from keystone.identities import Identities
from tests.backup.conftest import BUCKET, Store
from tests.backup.test_copies import SCRIPT
from tests.clouds import aws_issuer
from tests.clouds.aws import ACCOUNT, REGION, running
from tests.recording import ROOT_SECRET

ROLE = "site-backup-hosts"
HOSTS = iam.service_account(plan.NAMESPACE, plan.HOSTS_ACCOUNT)


@pytest.fixture
def store(tmp_path: Path, tools: Path) -> Iterator[Store]:
    """A bucket at the twin's AWS, and the role of the machines as the program makes it."""
    with running() as cloud:
        aws_issuer.publish(cloud)
        bucket, key = f"arn:aws:s3:::{BUCKET}", f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1"
        trust = iam.web_identity_trust(aws_issuer.PROVIDER, aws_issuer.HOST, HOSTS)
        roles = cloud.client("iam")
        roles.create_role(RoleName=ROLE, AssumeRolePolicyDocument=trust)
        rights = iam.document(access.hosts(bucket, key))
        roles.put_role_policy(RoleName=ROLE, PolicyName="rights", PolicyDocument=rights)
        cloud.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        identities = Identities(ROOT_SECRET, "site")
        (tmp_path / "ca.crt").write_text(identities.mesh_ca()[0])
        (tmp_path / "backup.pub").write_text(f"{identities.backup_key(1).public}\n")
        for folder in ("run", "snapshots", "bin"):
            (tmp_path / folder).mkdir()
        (tmp_path / "snapshots/etcd-snapshot-1.zip").write_bytes(b"etcd" * 1000)
        yield Store(folder=tmp_path, tools=tools, url=cloud.url)


def copied(store: Store, **claims: object) -> tuple[int, str]:
    """What the machine's service says with a token of these claims."""
    (store.folder / "token").write_text(aws_issuer.token(**{"sub": HOSTS, **claims}))
    done = store.run(
        ["bash", str(SCRIPT), "files", str(store.folder / "snapshots"), "etcd-snapshot-*", "etcd"],
        AWS_ROLE_ARN=f"arn:aws:iam::{ACCOUNT}:role/{ROLE}",
        RCLONE_RETRIES="1",
        RCLONE_LOW_LEVEL_RETRIES="1",
        # Without TLS, as this stand-in is, S3's client signs only what comes in parts.
        RCLONE_STREAMING_UPLOAD_CUTOFF="0",
    )
    return done.returncode, done.stdout + done.stderr


def test_the_machines_service_account_gets_the_role_and_copies(store: Store) -> None:
    code, said = copied(store)
    assert code == 0, said
    assert "etcd/etcd-snapshot-1.zip.age: copied" in said


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "system:serviceaccount:backup:verify-backup"},
        {"sub": "system:serviceaccount:default:hosts"},
        {"aud": ["https://kubernetes.default.svc"]},
        {"exp": 1_700_000_000},
        {"iss": "https://elsewhere.example.org"},
    ],
    ids=["another account", "another namespace", "another audience", "an old token", "another issuer"],
)
def test_no_other_token_copies_anything(store: Store, claims: dict[str, object]) -> None:
    code, said = copied(store, **claims)
    assert code != 0
    assert "copied\n" not in said
    assert "AssumeRoleWithWebIdentity" in said
