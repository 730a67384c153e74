"""Archives stay inside their folder, with the filter of newer Pythons and without it."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from twin import archives


@pytest.fixture(params=["with the filter", "without it"])
def unpack(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes, Path], None]:
    if request.param == "without it":
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
    elif not hasattr(tarfile, "data_filter"):
        pytest.skip("this Python has no filter")

    def run(content: bytes, folder: Path) -> None:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            archives.unpack(archive, folder)

    return run


def packed(*members: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for member in members:
            data = b"text" if member.isfile() else b""
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, leads_to: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, leads_to, 0o600
    return info


def test_files_and_links_inside_are_unpacked_with_their_modes(
    unpack: Callable[[bytes, Path], None], tmp_path: Path
) -> None:
    unpack(packed(member("etc/key"), member("etc/link", tarfile.SYMTYPE, "key")), tmp_path)

    assert (tmp_path / "etc" / "link").read_bytes() == b"text"
    assert (tmp_path / "etc" / "key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "bad",
    [
        member("../outside"),
        member("link", tarfile.SYMTYPE, "../outside"),
        member("link", tarfile.SYMTYPE, "/etc/passwd"),
        member("link", tarfile.LNKTYPE, "../outside"),
        member("pipe", tarfile.FIFOTYPE),
    ],
    ids=["a path upwards", "a link upwards", "a link to the root", "a hard link upwards", "a pipe"],
)
def test_what_would_land_outside_is_refused(
    unpack: Callable[[bytes, Path], None], tmp_path: Path, bad: tarfile.TarInfo
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(tarfile.TarError):
        unpack(packed(bad), folder)

    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert list(folder.iterdir()) == []
