"""Files that are written in one step."""

import stat
from pathlib import Path

import pytest

from keystone.files import write_file


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("lasting", [False, True])
def test_a_file_is_replaced_with_its_mode_and_nothing_lies_beside_it(tmp_path: Path, *, lasting: bool) -> None:
    path = tmp_path / "a/b"
    write_file(path, b"old")
    write_file(path, b"new", 0o600, lasting=lasting)

    assert path.read_bytes() == b"new"
    assert mode(path) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_cannot_be_replaced_is_left_alone_and_nothing_lies_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "taken"
    (path / "by a folder").mkdir(parents=True)
    with pytest.raises(OSError, match="taken"):
        write_file(path, b"new")

    assert list(tmp_path.iterdir()) == [path]
    assert (path / "by a folder").is_dir()


def test_a_file_that_cannot_be_written_is_told_by_its_own_name(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    with pytest.raises(OSError, match="name too long") as caught:
        write_file(path, b"")

    assert caught.value.filename == str(path)
