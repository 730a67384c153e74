"""Range arithmetic: tables for the ordinary, properties for the rest."""

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystone import addressing
from keystone.addressing import AddressRange

addresses = st.integers(0, 2**32 - 1).map(IPv4Address)
networks = st.builds(
    lambda item, length: IPv4Network((int(item) >> (32 - length) << (32 - length), length)),
    addresses,
    st.integers(1, 32),
)
ranges = st.tuples(addresses, addresses).map(lambda pair: AddressRange(min(pair), max(pair)))


@given(ranges)
def test_a_range_reads_what_it_prints(item: AddressRange) -> None:
    assert AddressRange.parse(str(item)) == item
    assert len(item) == int(item.last) - int(item.first) + 1


@given(networks)
def test_a_network_reads_what_it_prints_and_spans_the_same_range(block: IPv4Network) -> None:
    assert addressing.network(str(block)) == block
    assert AddressRange.parse(str(block)) == AddressRange(block[0], block[-1])
    assert AddressRange.of(block).inside(block)


@given(ranges, ranges)
def test_ranges_overlap_exactly_when_one_holds_an_end_of_the_other(one: AddressRange, two: AddressRange) -> None:
    expected = one.first in two or one.last in two or two.first in one
    assert one.overlaps(two) == two.overlaps(one) == expected


@given(networks, networks)
def test_networks_overlap_as_their_ranges_do(one: IPv4Network, two: IPv4Network) -> None:
    found = list(addressing.overlaps({"one": one, "two": two}))
    assert bool(found) == AddressRange.of(one).overlaps(AddressRange.of(two))


@given(networks, addresses)
def test_a_usable_address_is_inside_and_no_end_of_a_wide_range(block: IPv4Network, item: IPv4Address) -> None:
    for candidate in (item, block[0], block[-1], block[block.num_addresses // 2]):
        if addressing.usable(candidate, block):
            assert candidate in block
            if block.prefixlen < 31:
                assert candidate not in (block[0], block[-1])


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 5)))
def test_duplicates_name_each_later_one_with_the_first(items: dict[str, int]) -> None:
    found = list(addressing.duplicates(items))
    assert len(found) == len(items) - len(set(items.values()))
    assert all(items[first] == items[second] and first != second for first, second in found)


@given(st.text(max_size=40))
def test_any_text_is_a_range_or_a_plain_refusal(text: str) -> None:
    try:
        found = AddressRange.parse(text)
    except ValueError:
        return
    assert AddressRange.parse(str(found)) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10.1.2.0/16", "10.1.2.0/16 is not the start of a range; did you mean 10.1.0.0/16"),
        ("10.1.0.0", "'10.1.0.0' is not a range in CIDR form"),
        ("10.1.0.0/255.255.0.0/1", "is not an IPv4 range in CIDR form"),
        ("fd00::/8", "is not an IPv4 range in CIDR form"),
        ("/8", "is not an IPv4 range in CIDR form"),
    ],
)
def test_a_wrong_network_is_refused_in_plain_words(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        addressing.network(text)


@pytest.mark.parametrize("text", ["10.0.0.9-10.0.0.1", "10.0.0.1-", "10.0.0.1-x", "", "a-b-c"])
def test_a_wrong_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not an IPv4 address|ends before it starts"):
        AddressRange.parse(text)


def test_one_address_and_a_cidr_block_are_ranges_too() -> None:
    assert str(AddressRange.parse("10.0.0.7")) == "10.0.0.7-10.0.0.7"
    assert str(AddressRange.parse("10.0.0.8/30")) == "10.0.0.8-10.0.0.11"


@pytest.mark.parametrize(
    ("text", "label", "domain"),
    [
        ("w1", True, True),
        ("a-b", True, True),
        ("-a", False, False),
        ("a-", False, False),
        ("A", False, False),
        ("a" * 63, True, True),
        ("a" * 64, False, False),
        ("home.example.org", False, True),
        ("home..org", False, False),
        ("", False, False),
        ("10.0.0.1", False, False),
        (".".join(["a" * 60] * 5), False, False),
    ],
)
def test_names_are_labels_or_domains(text: str, label: bool, domain: bool) -> None:
    assert addressing.is_label(text) is label
    assert addressing.is_domain(text) is domain


def test_a_name_is_within_its_domain_by_whole_labels_only() -> None:
    assert addressing.within_domain("a.mesh.org", "mesh.org")
    assert addressing.within_domain("mesh.org", "mesh.org")
    assert not addressing.within_domain("notmesh.org", "mesh.org")


def test_an_address_of_a_range_is_had_by_its_number() -> None:
    assert str(addressing.nth(IPv4Network("10.43.0.0/16"), 10)) == "10.43.0.10"
    with pytest.raises(ValueError, match="has no address number 4"):
        addressing.nth(IPv4Network("10.0.0.0/30"), 4)
