"""How each kind of copy comes back: commands with capital words for what the reader puts in."""

from collections.abc import Mapping
from dataclasses import dataclass

from keystone.backup.plan import Kind

FETCH = (
    "aws s3 ls --recursive s3://BUCKET/PREFIX/",
    "aws s3 cp s3://BUCKET/PREFIX/COPY.age . && aws s3 cp s3://BUCKET/PREFIX/COPY.age.sum .",
    "sha256sum --check COPY.age.sum",
    ".venv/bin/python -m keystone backup key --stack STACK --output backup.key",
    "age --decrypt --identity backup.key --output COPY COPY.age",
)
"""The way of every copy that a machine encrypted, from the bucket to a plain file on the computer of who restores."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """`steps` come after FETCH where the copy is encrypted for the stack's key, and stand alone where it is not."""

    title: str
    needs: tuple[str, ...]
    steps: tuple[str, ...]
    encrypted: bool = True


KUBEADM_ETCD = Recipe(
    title="etcd, with kubeadm",
    needs=("the Primer, installed with the same stack file; this way was not tried on a machine",),
    steps=(
        "scp COPY root@PRIMER:/root/",
        "ssh root@PRIMER 'mkdir manifests && mv /etc/kubernetes/manifests/*.yaml manifests/'",
        "ssh root@PRIMER 'while crictl ps --quiet --name etcd | grep -q .; do sleep 2; done'",
        "ssh root@PRIMER find /var/lib/etcd -mindepth 1 -delete",
        "ssh root@PRIMER etcdutl snapshot restore /root/COPY --data-dir /var/lib/etcd --name PRIMER "
        "--initial-cluster PRIMER=https://ADDRESS:2380 --initial-advertise-peer-urls https://ADDRESS:2380",
        "ssh root@PRIMER 'mv manifests/*.yaml /etc/kubernetes/manifests/'",
    ),
)
RECIPES: Mapping[Kind, Recipe] = {
    "etcd": Recipe(
        title="etcd, on a Primer that is installed anew",
        needs=("the Primer, installed with the same stack file: its authorities and tokens are the old ones",),
        steps=(
            "scp COPY root@PRIMER:/root/ && ssh root@PRIMER systemctl stop k3s",
            "ssh root@PRIMER k3s server --cluster-reset --cluster-reset-restore-path=/root/COPY "
            "--token-file /run/agenix/server-token",
            "ssh root@PRIMER systemctl start k3s",
        ),
    ),
    "headscale": Recipe(
        title="The mesh's database",
        needs=("the Primer; without the database every machine joins again under a new address of the mesh",),
        steps=(
            "scp COPY root@PRIMER:/root/db.sqlite && ssh root@PRIMER systemctl stop headscale",
            "ssh root@PRIMER install -o headscale -g headscale -m 600 /root/db.sqlite /var/lib/headscale/db.sqlite",
            "ssh root@PRIMER rm -f /var/lib/headscale/db.sqlite-wal /var/lib/headscale/db.sqlite-shm",
            "ssh root@PRIMER systemctl start headscale",
        ),
    ),
    "zfs": Recipe(
        title="A dataset",
        needs=("a host with a ZFS pool; the dataset comes back beside the one that there is",),
        steps=(
            "ssh root@HOST zfs receive -u rpool/restored < COPY",
            "ssh root@HOST zfs set mountpoint=/mnt/restored rpool/restored && ssh root@HOST zfs mount rpool/restored",
        ),
    ),
    "bucket": Recipe(
        title="A bucket of the object store",
        needs=(
            "Ceph, and a bucket of the same name with keys that may write there, as the remote `store` of rclone",
            "rclone with your own rights at AWS",
        ),
        steps=(
            "rclone sync :s3,provider=AWS,env_auth,region=REGION:BUCKET/PREFIX/objects store:NAME",
            "# as it was on a day: add --s3-version-at 2027-01-31",
        ),
        encrypted=False,
    ),
}


def recipe_of(kind: Kind, distribution: str) -> Recipe:
    """How a copy comes back in a cluster of the distribution."""
    return KUBEADM_ETCD if (kind, distribution) == ("etcd", "kubeadm") else RECIPES[kind]


def steps(recipe: Recipe) -> tuple[str, ...]:
    """All commands, from the bucket on."""
    return (*FETCH, *recipe.steps) if recipe.encrypted else recipe.steps
