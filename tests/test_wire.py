"""What URNs say."""

import pytest

from keystone.wire import kind_of, name_of, provider_of

STACK = "urn:pulumi:dev::keystone::pulumi:pulumi:Stack::keystone-dev"
CHILD = "urn:pulumi:dev::keystone::keystone:components:Host$command:local:Command::install-w1"


@pytest.mark.parametrize(
    ("urn", "kind", "name"),
    [
        (STACK, "pulumi:pulumi:Stack", "keystone-dev"),
        (CHILD, "command:local:Command", "install-w1"),
        ("", "", ""),
        ("w1", "", "w1"),
    ],
)
def test_a_urn_names_the_resource_and_its_own_type(urn: str, kind: str, name: str) -> None:
    assert (kind_of(urn), name_of(urn)) == (kind, name)


def test_a_reference_to_a_provider_ends_in_its_id() -> None:
    urn = "urn:pulumi:dev::keystone::pulumi:providers:aws::aws"

    assert provider_of(f"{urn}::0f3c") == urn
    assert provider_of("") == ""
