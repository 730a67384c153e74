"""Property values on the wire: nothing gets lost, secrets are found, differences are told by path."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.plugins import wire

SCALARS = st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
MAPS = st.dictionaries(st.text(max_size=6), VALUES, max_size=5)
ASSET = {wire.SIGNATURE: wire.ASSET, "path": "a", "hash": "1" * 64}


@given(MAPS)
def test_a_map_comes_back_as_it_went(values: wire.Map) -> None:
    assert wire.decode(wire.encode(values)) == values


def test_secrets_unknowns_and_assets_come_back_as_they_went() -> None:
    values = {"secret": wire.secret("x"), "unknown": wire.UNKNOWN, "asset": ASSET}
    assert wire.decode(wire.encode(values)) == values


@given(MAPS)
def test_equal_maps_have_no_changes(values: wire.Map) -> None:
    assert wire.changes(values, wire.decode(wire.encode(values))) == {}


@given(MAPS, MAPS)
def test_maps_without_changes_are_equal(old: wire.Map, new: wire.Map) -> None:
    assert (wire.changes(old, new) == {}) == wire.equal(old, new)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"a": "1"}, {"a": "2"}, {"a": "update"}),
        ({}, {"a": "2"}, {"a": "add"}),
        ({"a": "1"}, {}, {"a": "delete"}),
        ({"a": None}, {}, {}),
        ({"m": {"k": "1"}}, {"m": {"k": "2", "n": "3"}}, {"m.k": "update", "m.n": "add"}),
        ({"m": {"a.b": "1"}}, {"m": {"a.b": "2"}}, {'m["a.b"]': "update"}),
        ({"t": [1.0, "x"]}, {"t": [2.0]}, {"t[0]": "update", "t[1]": "delete"}),
        ({"t": [True]}, {"t": [1.0]}, {"t[0]": "update"}),
        ({"s": wire.secret("1")}, {"s": wire.secret("1")}, {}),
        ({"s": wire.secret({"k": "1"})}, {"s": wire.secret({"k": "2"})}, {"s": "update"}),
        ({"s": "1"}, {"s": wire.secret("1")}, {"s": "update"}),
        ({"a": ASSET}, {"a": {**ASSET, "path": "elsewhere"}}, {}),
        ({"a": ASSET}, {"a": {**ASSET, "hash": "2" * 64}}, {"a": "update"}),
        ({"a": "known"}, {"a": wire.UNKNOWN}, {"a": "update"}),
    ],
)
def test_changes_are_named_by_path_and_kind(old: wire.Map, new: wire.Map, expected: dict[str, str]) -> None:
    assert wire.changes(old, new) == expected


@pytest.mark.parametrize(
    ("path", "top"), [("a", "a"), ("a.b", "a"), ("a[0]", "a"), ('["x.y"].z', "x.y"), ('a["b"]', "a")]
)
def test_the_top_level_name_of_a_path(path: str, top: str) -> None:
    assert wire.top_level(path) == top


def test_every_text_below_a_secret_mark_is_found() -> None:
    value: dict[str, Any] = {
        "plain": "p",
        "deep": {"list": ["q", wire.secret(["one", {"k": "two"}])]},
        "unknown": wire.secret(wire.UNKNOWN),
    }
    assert wire.secret_texts(value) == {"one", "two"}


def test_revealing_takes_off_every_mark() -> None:
    assert wire.reveal({"a": wire.secret([wire.secret("x")])}) == {"a": ["x"]}


def test_marking_twice_marks_once() -> None:
    assert wire.secret(wire.secret("x")) == wire.secret("x")
