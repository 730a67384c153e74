"""The twin's Nix store: names, exports and systems."""

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystone.errors import KeystoneError
from twin import store

NAME = "nixos-system-w1-26.05"
PATH = store.store_path({"a": b"1"}, NAME)


def test_a_path_looks_like_those_of_nix():
    assert PATH.startswith("/nix/store/")
    assert PATH.endswith(f"-{NAME}")
    digest = PATH.removeprefix("/nix/store/").removesuffix(f"-{NAME}")
    assert len(digest) == 32
    assert set(digest) <= set("0123456789abcdfghijklmnpqrsvwxyz")
    assert store.is_store_path(PATH)


@pytest.mark.parametrize(
    "path", ["/nix/store/w1", f"{PATH}/bin/x", "/tmp/" + PATH.rpartition("/")[2], "", "/nix/store/"]
)
def test_other_paths_are_no_store_paths(path: str):
    assert not store.is_store_path(path)


inputs = st.dictionaries(st.text(max_size=4), st.binary(max_size=4), max_size=4)


@given(inputs, inputs)
def test_equal_inputs_give_equal_paths_and_others_give_others(one: dict[str, bytes], two: dict[str, bytes]):
    assert (store.store_path(one, NAME) == store.store_path(two, NAME)) == (one == two)


def test_what_is_added_once_stays(tmp_path: Path):
    store.add(tmp_path, PATH, {"bin/x": b"1", "y": b"2"}, {"kernel": "../linux"})
    store.add(tmp_path, PATH, {"y": b"3"})
    folder = tmp_path / PATH.rpartition("/")[2]
    assert (folder / "y").read_bytes() == b"2"
    assert (folder / "bin/x").stat().st_mode & 0o111
    assert str((folder / "kernel").readlink()) == "../linux"
    assert [entry.name for entry in tmp_path.iterdir()] == [folder.name]


def test_an_export_unpacks_to_the_same_object_twice(tmp_path: Path):
    store.add(tmp_path / "here", PATH, {"bin/x": b"1"}, {"kernel": "../linux"})
    archive = store.export(tmp_path / "here", PATH)
    for _ in range(2):
        assert store.unpack(tmp_path / "there", archive) == PATH
    folder = tmp_path / "there" / PATH.rpartition("/")[2]
    assert (folder / "bin/x").read_bytes() == b"1"
    assert [entry.name for entry in (tmp_path / "there").iterdir()] == [folder.name]


def test_what_the_store_lacks_cannot_be_exported(tmp_path: Path):
    with pytest.raises(KeystoneError, match=rf"{PATH}: is not valid\."):
        store.export(tmp_path, PATH)
    with pytest.raises(KeystoneError, match=r"/etc/passwd: is not valid\."):
        store.export(tmp_path, "/etc/passwd")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["../outside"], "is not an export of a store path"),
        (["not-a-store-name/x"], "does not hold exactly one store path"),
        ([f"{'0' * 32}-a/x", f"{'1' * 32}-b/x"], "does not hold exactly one store path"),
    ],
)
def test_an_archive_of_another_form_is_refused_and_leaves_nothing(tmp_path: Path, names: list[str], message: str):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name), io.BytesIO(b""))
    with pytest.raises(KeystoneError, match=message):
        store.unpack(tmp_path / "store", buffer.getvalue())
    assert list((tmp_path / "store").iterdir()) == []
    assert not (tmp_path / "outside").exists()


def test_an_import_that_is_no_archive_is_refused(tmp_path: Path):
    with pytest.raises(KeystoneError, match="is not an export of a store path"):
        store.unpack(tmp_path, b"nonsense" * 100)


def test_an_object_that_is_no_system_is_refused(tmp_path: Path):
    store.add(tmp_path, PATH, {"layout.json": b"{}"})
    with pytest.raises(KeystoneError, match=r"is not a system that the twin's nix has built\."):
        store.read_system(tmp_path, PATH)
