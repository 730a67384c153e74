"""One live site for all tests of this folder: made at the first use, taken down at the end of the session."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import networks
from tests.twin.acceptance.checkout import Checkout, host
from tests.twin.acceptance.watching import Argv

NETWORK = networks.fresh()


@pytest.fixture(scope="session")
def short_folder() -> Iterator[Path]:
    """A folder for temporary files: the path of a socket in it must stay short, so not below pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="ka-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def argv() -> Iterator[Argv]:
    """Every command line that any process of this computer had while the session ran."""
    with Argv().watching() as watcher:
        yield watcher


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, short_folder: Path, argv: Argv) -> Iterator[Checkout]:  # noqa: ARG001
    """A Primer and three workers, blank at first. The tests of a file run in their order and change it."""
    hosts = {
        "primer": host(NETWORK, "primer", 10, "primer", osdDisks=["/dev/disk/by-id/virtio-primer-osd0"]),
        **{f"w{number}": host(NETWORK, f"w{number}", 10 + number) for number in (1, 2, 3)},
    }
    temporary = short_folder / "s"
    temporary.mkdir()
    made = Checkout(tmp_path_factory.mktemp("acceptance") / "keystone", "trial", NETWORK, hosts, temporary)
    yield made
    made.twin("down", limit=180)
    left = made.processes()
    for process in left:
        process.kill()
    assert not left, f"processes are left: {left}"
