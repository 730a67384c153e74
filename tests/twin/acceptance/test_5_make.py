"""A stack's life by what a user types: make, and plain `pulumi` in the shell of `make env`."""

import os
import shutil
from pathlib import Path

import pytest

from tests import networks
from tests.twin.acceptance.checkout import PASSPHRASE, Checkout, Done, host

pytestmark = [pytest.mark.twin, pytest.mark.timeout(900)]
NETWORK = networks.fresh()
STACK = "small"
# The packages are there, whatever the age of the copied files.
MAKE = ("make", "--silent", "-o", ".venv/.runtime", f"STACK={STACK}")
SHELL = f'eval "$({" ".join(MAKE)} env)" && '


class User:
    """Somebody in a fresh clone, whose shell knows nothing of Keystone."""

    def __init__(self, clone: Checkout) -> None:
        self.clone = clone
        kept = ("HOME", "KEYSTONE_TOOLS", "XDG_CACHE_HOME")
        self.shell = {name: os.environ[name] for name in kept if name in os.environ}
        self.shell |= {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "TMPDIR": str(clone.temporary)}

    def make(self, target: str) -> Done:
        return self.ran(self.clone.run(*MAKE, target, limit=400, environment=self.shell))

    def types(self, line: str) -> Done:
        """A line in the shell of `make env`."""
        return self.ran(self.clone.run("sh", "-c", SHELL + line, limit=300, environment=self.shell))

    def ran(self, done: Done) -> Done:
        assert done.ok, done.text
        assert "Traceback" not in done.text
        return done

    def label(self) -> str:
        """A label of the worker, as the cluster has it."""
        column = "{.metadata.labels.trial}"
        query = (
            f"keystone kubeconfig > kubeconfig && kubectl --kubeconfig kubeconfig get node w1 -o jsonpath='{column}'"
        )
        return self.types(query).stdout


@pytest.fixture
def user(tmp_path: Path, short_folder: Path) -> User:
    """A clone with a stack of two machines, and nothing of it made."""
    temporary = short_folder / "m"
    temporary.mkdir()
    hosts = {"primer": host(NETWORK, "primer", 10, "primer"), "w1": host(NETWORK, "w1", 11)}
    clone = Checkout(tmp_path / "keystone", STACK, NETWORK, hosts, temporary)
    with clone.editing() as config:
        config["twin:passphrase"] = PASSPHRASE
    shutil.rmtree(clone.folder / ".twin")
    return User(clone)


def test_make_and_plain_pulumi_lead_from_a_clone_to_a_cluster_and_back(user: User) -> None:
    clone = user.clone
    try:
        assert "created" in user.make("up").stdout
        assert "no changes" in user.make("up").stdout
        user.types("pulumi preview --expect-no-changes")
        with clone.editing() as config:
            config["keystone:hosts"]["w1"]["labels"] = {"trial": "changed"}
        assert user.label() == ""
        plain = user.types("keystone facts && pulumi up --yes --skip-preview")
        assert "~  kubernetes:core/v1:NodePatch node-w1 updated" in plain.stdout
        assert user.label() == "changed"
        assert "checks hold" in user.make("verify").stdout
        assert "no changes" in user.make("preview").stdout
        assert "nothing is left over" in user.make("destroy").stderr
    finally:
        user.clone.run(*MAKE, "down", limit=180, environment=user.shell)
    assert clone.processes() == []
    # The engine's Kubernetes plugin leaves one for each run of plain pulumi; keystone's own runs clear them away.
    assert [path for path in clone.temporary.iterdir() if not path.name.startswith("kubeconfig")] == []
    assert not (clone.folder / ".twin").exists()
    left = {str(path.relative_to(clone.folder)).split("/")[0] for path in clone.new_files()}
    assert left == {"Pulumi.small.yaml", "kubeconfig", "nix"}
